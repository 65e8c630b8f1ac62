//! `koh token`: makes, lists and revokes the tokens of a file, and lists the accounts that it names.
//!
//! Invariant: a token's text is printed once, when it is made, and is nowhere after that; the file is replaced as a whole and
//! readable for its owner only.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::access::{File, Restriction, Scope, Token};
use crate::model::{Micros, micros};

/// Options of `koh token`.
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token: its text goes to standard output, once; its entry into the file.
    Create {
        /// Who will use it; shown in logs.
        #[arg(long, env = "KOH_TOKEN_NAME", value_name = "NAME")]
        name: String,
        /// What it allows: read, report or admin; several with commas.
        #[arg(long, env = "KOH_TOKEN_SCOPES", value_name = "SCOPES", value_delimiter = ',', required = true)]
        scopes: Vec<ScopeWord>,
        /// It expires after this long; never when not given.
        #[arg(long, env = "KOH_TOKEN_EXPIRES_IN", value_name = "SPAN", value_parser = crate::model::span)]
        expires_in: Option<Duration>,
        /// Only what is wanted in these workspaces, and what runs of it, is seen and may be told; several with commas.
        #[arg(long, env = "KOH_TOKEN_WORKSPACES", value_name = "NAMES", value_delimiter = ',')]
        workspaces: Vec<String>,
        /// Only hosts with this label (key=value) are seen and may be told of; several with commas, and the same key with several values
        /// means any.
        #[arg(long, env = "KOH_TOKEN_HOSTS", value_name = "LABELS", value_delimiter = ',', value_parser = label)]
        hosts: Vec<(String, String)>,
        /// The file of tokens, made when absent; without it the entry is printed after the token.
        #[arg(long, env = "KOH_TOKENS", value_name = "FILE")]
        tokens: Option<PathBuf>,
    },
    /// List the tokens of a file, and the accounts that it names.
    List {
        /// The file of tokens.
        #[arg(long, env = "KOH_TOKENS", value_name = "FILE")]
        tokens: PathBuf,
    },
    /// Take a token out of a file; a hub that runs notices within seconds.
    Revoke {
        /// Its name.
        #[arg(long, env = "KOH_TOKEN_NAME", value_name = "NAME")]
        name: String,
        /// The file of tokens.
        #[arg(long, env = "KOH_TOKENS", value_name = "FILE")]
        tokens: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ScopeWord {
    Read,
    Report,
    Admin,
}

impl TokenArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            TokenCommand::Create { name, scopes, expires_in, workspaces, hosts, tokens } => {
                let mut sees = Restriction { workspaces: workspaces.into_iter().collect(), ..Restriction::default() };
                for (key, value) in hosts {
                    sees.hosts.entry(key).or_default().insert(value);
                }
                create(&name, &scopes, expires_in, sees, tokens.as_deref())?
            }
            TokenCommand::List { tokens } => list(&tokens)?,
            TokenCommand::Revoke { name, tokens } => revoke(&name, &tokens)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write a label as key=value, as in region=eu")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn create(
    name: &str,
    scopes: &[ScopeWord],
    expires_in: Option<Duration>,
    sees: Restriction,
    path: Option<&Path>,
) -> anyhow::Result<()> {
    let scopes: BTreeSet<Scope> = scopes
        .iter()
        .map(|word| match word {
            ScopeWord::Read => Scope::Read,
            ScopeWord::Report => Scope::Report,
            ScopeWord::Admin => Scope::Admin,
        })
        .collect();
    let expires = expires_in.map(|span| Micros::now().plus(micros(span)));
    let (text, token) = Token::create(name, scopes, expires, sees).context("no randomness to be had")?;
    File { tokens: vec![token.clone()], accounts: None }.fault().map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))?;
    let Some(path) = path else {
        let entry = serde_saphyr::to_string(&File { tokens: vec![token], accounts: None })?;
        println!("{text}");
        eprint!("# for the file that koh serve --tokens names:\n{entry}");
        return Ok(());
    };
    let mut file = if path.exists() { read(path)? } else { File::default() };
    if file.tokens.iter().any(|t| t.name == name) {
        bail!("{}: there is a token '{name}' already; revoke it first, or choose another name", path.display());
    }
    file.tokens.push(token);
    write(path, &file)?;
    println!("{text}");
    Ok(())
}

fn list(path: &Path) -> anyhow::Result<()> {
    let file = read(path)?;
    if file.tokens.is_empty() && file.accounts.as_ref().is_none_or(Vec::is_empty) {
        println!("no tokens: nobody gets in");
    }
    let restricted =
        |sees: &Restriction| if sees.is_none() { String::new() } else { format!("\trestricted to {sees}") };
    for token in file.tokens {
        let scopes: Vec<&str> = token.scopes.iter().map(|s| s.as_str()).collect();
        let state = match &token.expires {
            Some(at) if token.expired(Micros::now()) => format!("expired {at}"),
            Some(at) => format!("expires {at}"),
            None => "does not expire".to_owned(),
        };
        println!("{}\t{}\t{state}{}", token.name, scopes.join(","), restricted(&token.sees));
    }
    for account in file.accounts.into_iter().flatten() {
        println!("{}\tby its roles\twhile they last{}", account.name, restricted(&account.sees.unwrap_or_default()));
    }
    Ok(())
}

fn revoke(name: &str, path: &Path) -> anyhow::Result<()> {
    let mut file = read(path)?;
    let before = file.tokens.len();
    file.tokens.retain(|t| t.name != name);
    if file.tokens.len() == before {
        bail!("{}: there is no token '{name}'; koh token list shows those there are", path.display());
    }
    write(path, &file)
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    File::parse(&text).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))
}

fn write(path: &Path, file: &File) -> anyhow::Result<()> {
    // A name that stands for a file elsewhere goes on standing for it.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A temporary file is readable for its owner only, and so is what it becomes where there was none.
    let mut beside =
        tempfile::NamedTempFile::new_in(folder).with_context(|| format!("cannot write into {}", folder.display()))?;
    beside.write_all(serde_saphyr::to_string(file)?.as_bytes())?;
    if let Ok(before) = std::fs::metadata(path) {
        let kept = "cannot keep who may read";
        keep_owner(beside.path(), &before).with_context(|| format!("{kept} {}", path.display()))?;
    }
    beside.as_file().sync_all()?;
    beside.persist(path).with_context(|| format!("cannot replace {}", path.display()))?;
    Ok(())
}

/// Whoever may read the file now - a hub that runs as another user - may read what replaces it.
#[cfg(unix)]
fn keep_owner(beside: &Path, before: &std::fs::Metadata) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let made = std::fs::metadata(beside)?;
    if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
        chown(beside, Some(before.uid()), Some(before.gid()))?;
    }
    std::fs::set_permissions(beside, before.permissions())
}

#[cfg(not(unix))]
fn keep_owner(_: &Path, _: &std::fs::Metadata) -> std::io::Result<()> {
    Ok(())
}
