//! The file of options that `koh serve --config` names, and `koh config`, which says what is in force and where it came from.
//!
//! Invariant: an option wins over its variable, that over the file, and that over the default. A key of the file is the name of an
//! option; a key that is none is an error, so that a misspelt one never counts as absent.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, ValueEnum};
use serde_json::{Map, Value};

use super::serve::ServeArgs;
use super::{Cli, say, table};
use crate::model::nearest;
use crate::{normalize, runtime};

/// The commands that take the file.
const TAKE_IT: [&str; 2] = ["serve", "config"];
/// Options that a file cannot set: it is named by one of them.
const NOT_IN_A_FILE: [&str; 4] = ["config", "help", "version", "output"];

/// What a file sets: names of options and their values as text.
pub(super) type Values = BTreeMap<String, String>;

/// The file that was read, and where the value of each option comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    pub(super) file: Option<PathBuf>,
    /// What is said on the command line or by a variable, whatever the file says.
    pub(super) explicit: BTreeMap<String, ValueSource>,
    values: Values,
}

/// The arguments of the process, with those of the file behind them where nothing else is said.
pub(super) fn arguments(args: Vec<OsString>) -> anyhow::Result<(Vec<OsString>, Taken)> {
    // What is wrong with the command line is told when it is read in earnest.
    let Ok(matches) = Cli::command().ignore_errors(true).try_get_matches_from(&args) else {
        return Ok((args, Taken::default()));
    };
    let Some((name, matches)) = matches.subcommand().filter(|(name, _)| TAKE_IT.contains(name)) else {
        return Ok((args, Taken::default()));
    };
    let command = options_of(name);
    let said = |arg: &Arg| {
        let source = matches.value_source(arg.get_id().as_str())?;
        let explicit = matches!(source, ValueSource::CommandLine | ValueSource::EnvVariable);
        explicit.then(|| (arg.get_long().unwrap_or_default().to_owned(), source))
    };
    let explicit: BTreeMap<String, ValueSource> = command.get_arguments().filter_map(said).collect();
    let Some(file) = matches.get_one::<PathBuf>("config").cloned() else {
        return Ok((args, Taken { explicit, ..Taken::default() }));
    };
    let values = read(&file)?;
    let switches: BTreeSet<&str> = command.get_arguments().filter(|a| is_switch(a)).filter_map(Arg::get_long).collect();
    let silent = values.iter().filter(|(name, _)| !explicit.contains_key(*name));
    let silent = silent.filter_map(|(name, value)| argument(name, value, switches.contains(name.as_str())));
    let args = args.into_iter().chain(silent).collect();
    Ok((args, Taken { file: Some(file), explicit, values }))
}

/// A key as an argument; a switch that is off is none.
fn argument(name: &str, value: &str, is_switch: bool) -> Option<OsString> {
    match (is_switch, value) {
        (true, "false") => None,
        (true, _) => Some(format!("--{name}").into()),
        (false, value) => Some(format!("--{name}={value}").into()),
    }
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn options_of(name: &str) -> Command {
    let mut command = Cli::command();
    command.build();
    command.find_subcommand(name).cloned().unwrap_or_default()
}

/// The options that a file may set.
fn options() -> Vec<Arg> {
    let may = |arg: &&Arg| arg.get_long().is_some_and(|name| !NOT_IN_A_FILE.contains(&name));
    options_of("serve").get_arguments().filter(may).cloned().collect()
}

fn read(file: &Path) -> anyhow::Result<Values> {
    let text = runtime::text_of(file).map_err(|why| anyhow::anyhow!("cannot read {why}"))?;
    parse(&text).map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))
}

/// Reads the text of a file (YAML or JSON).
pub(super) fn parse(text: &str) -> Result<Values, String> {
    let written: Option<BTreeMap<String, Value>> =
        serde_saphyr::from_str(text).map_err(|e| e.without_snippet().to_string())?;
    let known = options();
    let names: Vec<&str> = known.iter().filter_map(Arg::get_long).collect();
    let mut values = Values::new();
    for (key, value) in written.unwrap_or_default() {
        let name = key.replace('_', "-");
        let Some(arg) = known.iter().find(|arg| arg.get_long() == Some(name.as_str())) else {
            let hint = nearest(&name, &names).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
            return Err(format!("there is no option '{}'; {hint}koh serve --help lists them", key.escape_debug()));
        };
        let value = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(is) => is.to_string(),
            _ => return Err(format!("{key}: an option has one value, as in {key}: VALUE")),
        };
        if is_switch(arg) && !["true", "false"].contains(&value.as_str()) {
            return Err(format!("{key} is true or false, not '{value}'"));
        }
        if values.insert(name, value).is_some() {
            return Err(format!("{key} is there twice, once with - and once with _"));
        }
    }
    Ok(values)
}

/// Reads the text of a file of a hub that runs, and looks at the values as a start would.
pub(super) fn parse_sound(text: &str) -> Result<Values, String> {
    let values = parse(text)?;
    let command = options_of("serve");
    let switches: BTreeSet<&str> = command.get_arguments().filter(|a| is_switch(a)).filter_map(Arg::get_long).collect();
    for (name, value) in &values {
        let Some(argument) = argument(name, value, switches.contains(name.as_str())) else { continue };
        use clap::error::ErrorKind::{InvalidValue, ValueValidation};
        let refused = command.clone().try_get_matches_from([OsString::from("serve"), argument]).err();
        if let Some(refused) = refused.filter(|e| matches!(e.kind(), InvalidValue | ValueValidation)) {
            let said = refused.to_string();
            return Err(said.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned());
        }
    }
    values.get(super::logging::LOG).map_or(Ok(()), |filter| super::logging::check(filter))?;
    Ok(values)
}

impl Taken {
    /// What the file set at the start.
    pub(super) fn values(&self) -> &Values {
        &self.values
    }

    /// Names the file where an option that is refused comes from it.
    pub(super) fn blame(&self, refused: &clap::Error) -> Option<String> {
        let file = self.file.as_ref()?;
        // Said twice is said elsewhere: no key is there twice in the file. Nor is one there that is no option.
        use clap::error::ErrorKind::{ArgumentConflict, UnknownArgument};
        if matches!(refused.kind(), ArgumentConflict | UnknownArgument) {
            return None;
        }
        let text = refused.to_string();
        let named = |name: &&String| text.contains(&format!("'--{name} ")) || text.contains(&format!("'--{name}'"));
        let name = self.values.keys().filter(|name| !self.explicit.contains_key(*name)).find(named)?;
        Some(format!("{name} is set in {}", file.display()))
    }

    fn source(&self, name: &str, variable: &str) -> String {
        match (self.explicit.get(name), &self.file) {
            (Some(ValueSource::CommandLine), _) => format!("option --{name}"),
            (Some(_), _) => format!("variable {variable}"),
            (None, Some(file)) if self.values.contains_key(name) => file.display().to_string(),
            _ => "default".to_owned(),
        }
    }
}

/// The keys of which another value is in force only after a restart.
pub(super) fn needing_restart<'a>(before: &'a Values, after: &'a Values, reloaded: &[&str]) -> Vec<&'a str> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let moved = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    moved.map(String::as_str).filter(|name| !reloaded.contains(name)).collect()
}

/// How the options are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// An aligned table.
    Table,
    /// A JSON array.
    Json,
}

/// Options of `koh config`: those of `koh serve`, and how to show them.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// How the options are shown.
    #[arg(long, short, env = "KOH_OUTPUT", value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl ConfigArgs {
    pub(super) fn run(self, taken: &Taken, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
        let row = |arg: Arg| {
            let (id, name) = (arg.get_id().as_str(), arg.get_long().unwrap_or_default());
            let value = if is_switch(&arg) {
                Value::from(matches.get_flag(id))
            } else {
                let raw = matches.get_raw(id).and_then(|mut all| all.next()).map(|v| v.to_string_lossy().into_owned());
                raw.filter(|v| !v.is_empty()).map_or(Value::Null, |v| Value::from(normalize::scrub(&v).into_owned()))
            };
            let variable = arg.get_env().map(|v| v.to_string_lossy().into_owned()).unwrap_or_default();
            let from = taken.source(name, &variable);
            Map::from_iter(
                [("option", Value::from(name)), ("value", value), ("from", Value::from(from))]
                    .map(|(k, v)| (k.to_owned(), v)),
            )
        };
        let rows: Vec<Map<String, Value>> = options().into_iter().map(row).collect();
        match self.output {
            Output::Table => say::out(table::draw(&["option", "value", "from"].map(str::to_owned), &rows))?,
            Output::Json => say::out(format_args!("{}\n", serde_json::to_string_pretty(&rows)?))?,
        }
        // Everything that a start looks at before it touches anything.
        let refused = "koh serve would not start with this";
        let config = self.serve.config().context(refused)?;
        runtime::look_at_files(&config).context(refused)?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(args: &[&str]) -> (Vec<String>, Taken) {
        let args = ["koh"].iter().chain(args).map(OsString::from).collect();
        let (args, taken) = arguments(args).unwrap();
        (args.into_iter().map(|a| a.into_string().unwrap()).collect(), taken)
    }

    #[test]
    fn what_the_file_says_stands_where_nothing_else_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("koh.yaml");
        std::fs::write(
            &file,
            "late_after: 1h\nsilent-after: 2h\nkubernetes: true\ninsecure-no-auth: false\nmax-waiters: 7\n",
        )
        .unwrap();
        let name = file.to_str().unwrap();
        let (args, taken) = given(&["serve", "--config", name, "--late-after", "5m"]);
        assert_eq!(args[5..], ["5m", "--kubernetes", "--max-waiters=7", "--silent-after=2h"]);
        assert_eq!(taken.source("late-after", ""), "option --late-after");
        assert_eq!(taken.source("silent-after", ""), name);
        assert_eq!(taken.source("drain", ""), "default");
        let (args, _) = given(&["sql", "--url", "http://x", "SELECT 1"]);
        assert_eq!(args.len(), 5, "other commands take no file");
    }

    #[test]
    fn a_file_with_what_is_no_option_is_refused_with_the_nearest() {
        let said = |text: &str| parse(text).unwrap_err();
        assert!(said("late-aftr: 1h").contains("no option 'late-aftr'; did you mean late-after?"));
        assert!(said("config: other.yaml").contains("no option 'config'"));
        assert!(said("kubernetes: maybe").contains("true or false"));
        assert!(said("listen: [a, b]").contains("one value"));
        assert!(said("late-after: 1h\nlate_after: 2h").contains("twice"));
        assert!(said("late-after: 1h\nlate-after: 2h").contains("late-after"));
        assert!(parse("").unwrap().is_empty());
        assert_eq!(parse(r#"{"max-waiters": 7}"#).unwrap()["max-waiters"], "7");
    }

    #[test]
    fn what_changed_and_is_not_reloaded_needs_a_restart() {
        let (before, after) = (parse("late-after: 1h\nlog: info").unwrap(), parse("log: debug\ndrain: 5s").unwrap());
        assert_eq!(needing_restart(&before, &after, &["log"]), ["drain", "late-after"]);
    }
}
