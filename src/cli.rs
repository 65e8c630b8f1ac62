//! The command line: one structure of flattened blocks, every option with a `--long` name, a `KOH_*` variable and a default.
//!
//! Invariant: commands that ask a hub exit 0 only when the answer was had; what went wrong is one sentence on standard error.

mod allocator;
mod ask;
mod backup;
mod check;
mod config;
mod crds;
mod demo;
mod foreign;
mod grafana;
mod import;
mod logging;
mod open_files;
mod progress;
mod rollout;
mod say;
mod serve;
mod sql;
mod table;
mod token;
mod traces;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Deployment observability hub: what should run where, what does run where, and is my commit live.
#[derive(Debug, Parser)]
#[command(name = "koh", version, about, long_about = None, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    logging: logging::LoggingArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub.
    Serve(Box<serve::ServeArgs>),
    /// Show the options of koh serve as they are in force, and where each comes from.
    Config(Box<config::ConfigArgs>),
    /// Run one read-only SQL statement, against a hub or straight from a data directory.
    Sql(sql::SqlArgs),
    /// Ask about rollouts: is my commit live everywhere?
    Rollout(rollout::RolloutArgs),
    /// Copy all that a hub remembers into one file.
    Backup(backup::BackupArgs),
    /// Make a data directory from a backup.
    Restore(backup::RestoreArgs),
    /// See whether all that is kept is sound: the store, what is counted, the exports; or a backup.
    Check(check::CheckArgs),
    /// Take over what another hub remembers.
    Import(import::ImportArgs),
    /// Make, list and revoke tokens.
    Token(token::TokenArgs),
    /// Run a simulated fleet against a hub.
    Demo(demo::DemoArgs),
    /// Print the OpenAPI document.
    Openapi,
    /// Print the definitions of the custom resources, ready for `kubectl apply --server-side -f -`.
    Crds,
    /// Write what Grafana and Prometheus read.
    Grafana(grafana::GrafanaArgs),
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    let (args, taken) = match config::arguments(std::env::args_os().collect()) {
        Ok(read) => read,
        Err(error) => return unusable(&error),
    };
    let read = Cli::command().try_get_matches_from(args);
    let matches = read.unwrap_or_else(|refused| refuse(&refused, &taken));
    let Cli { logging, command } = Cli::from_arg_matches(&matches).unwrap_or_else(|refused| refuse(&refused, &taken));
    let (level, _traces) = match logging.init(matches!(command, Command::Serve(_))) {
        Ok(started) => started,
        Err(error) => return unusable(&error),
    };
    let outcome = match command {
        Command::Serve(args) => {
            allocator::settle();
            args.run(taken, level)
        }
        Command::Config(args) => args.run(&taken, matches.subcommand_matches("config").unwrap_or(&matches)),
        Command::Sql(args) => args.run(),
        Command::Rollout(args) => args.run(),
        Command::Backup(args) => args.run(),
        Command::Restore(args) => args.run(),
        Command::Check(args) => args.run(),
        Command::Import(args) => args.run(),
        Command::Token(args) => args.run(),
        Command::Demo(args) => args.run(),
        Command::Crds => crds::print(),
        Command::Grafana(args) => args.run(),
        Command::Openapi => say::out(crate::api::document()).map(|()| ExitCode::SUCCESS).map_err(Into::into),
    };
    outcome.unwrap_or_else(|error| failed(&error))
}

/// An option or a file of options that cannot be used: nothing was asked or begun, which is another code than an answer of no.
fn unusable(error: &anyhow::Error) -> ExitCode {
    say::note(format_args!("koh: {error:#}"));
    ExitCode::from(2)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    say::note(format_args!("koh: {error:#}"));
    ExitCode::FAILURE
}

/// Says what is wrong with the command line, or with the file that is a part of it.
fn refuse(refused: &clap::Error, taken: &config::Taken) -> ! {
    if let Some(where_from) = taken.blame(refused) {
        say::note(where_from);
    }
    refused.exit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_has_an_environment_variable_and_a_help_text() {
        fn check(command: &clap::Command) {
            for arg in command.get_arguments().filter(|a| !matches!(a.get_id().as_str(), "help" | "version")) {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
                if arg.get_long().is_some() {
                    assert!(arg.get_env().is_some(), "{} --{}", command.get_name(), arg.get_id());
                }
            }
            command.get_subcommands().for_each(check);
        }
        let command = Cli::command();
        for name in ["serve", "config", "sql", "rollout", "backup", "restore", "check", "import", "token", "grafana"] {
            check(command.find_subcommand(name).unwrap());
        }
    }
}
