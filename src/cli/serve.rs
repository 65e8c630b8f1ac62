//! `koh serve`.
//!
//! Invariant: without authentication the hub listens on loopback only, unless told otherwise in so many words.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::config::{self, Taken};
use super::logging::{LOG, Level};
use super::open_files;
use crate::api;
use crate::backup::Place;
use crate::runtime::{self, Config, Retention, Schedule};

/// Options of the server.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// File of options (YAML or JSON): the keys are their names. An option or a variable wins over it.
    #[arg(long, env = "KOH_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory that holds everything the hub remembers; made when absent.
    #[arg(long, env = "KOH_DATA", default_value = "koh-data", value_name = "DIR")]
    data: PathBuf,
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, env = "KOH_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// File of tokens (see koh token): whoever asks must present one of them, or be an account that it lists. Read again whenever it
    /// changes.
    #[arg(long, env = "KOH_TOKENS", value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// File of the certificate chain (PEM) to speak TLS with. Read again whenever it changes.
    #[arg(long, env = "KOH_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// File of its private key (PEM), where it is not in the same file.
    #[arg(long, env = "KOH_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Listen beyond loopback although nobody has to authenticate.
    #[arg(long, env = "KOH_INSECURE_NO_AUTH")]
    insecure_no_auth: bool,
    /// Folder of custom resources (YAML, JSON, NDJSON) to read and watch; a git checkout also gives the commit.
    #[arg(long, env = "KOH_MANIFESTS", value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// File of named policies for the gate and of thresholds for alerts (YAML or JSON); read again whenever it changes.
    #[arg(long, env = "KOH_POLICIES", value_name = "FILE")]
    policies: Option<PathBuf>,
    /// File of host classes (YAML or JSON): after how long without a word their hosts are late and silent; read again whenever it
    /// changes.
    #[arg(long, env = "KOH_CLASSES", value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Whom alerts name where neither the target nor a threshold names anybody.
    #[arg(long, env = "KOH_DEFAULT_CONTACT", default_value = "", hide_default_value = true, value_name = "WHO")]
    default_contact: String,
    /// Write the address here once the hub listens, for whoever started it.
    #[arg(long, env = "KOH_ANNOUNCE", value_name = "FILE")]
    announce: Option<PathBuf>,
    #[command(flatten)]
    kubernetes: KubernetesArgs,
    #[command(flatten)]
    liveness: LivenessArgs,
    #[command(flatten)]
    retention: RetentionArgs,
    #[command(flatten)]
    backups: BackupsArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// The Kubernetes API server as a source.
#[derive(Debug, Args)]
#[command(next_help_heading = "Kubernetes")]
struct KubernetesArgs {
    /// Watch the custom resources of the API server that the pod or KUBECONFIG names.
    #[arg(long, env = "KOH_KUBERNETES")]
    kubernetes: bool,
    /// Context of the kubeconfig.
    #[arg(long, env = "KOH_KUBERNETES_CONTEXT", value_name = "NAME")]
    kubernetes_context: Option<String>,
    /// Watch this namespace only; a Role in it is enough then.
    #[arg(long, env = "KOH_KUBERNETES_NAMESPACE", value_name = "NAME", requires = "kubernetes")]
    kubernetes_namespace: Option<String>,
    /// Name under which what this API server says is filed; hubs that exchange history name their clusters apart.
    #[arg(long, env = "KOH_KUBERNETES_SOURCE", value_name = "NAME", default_value = "kubernetes")]
    kubernetes_source: String,
    /// Namespace of the Lease by which several hubs agree who writes statuses; the pod's own by default.
    #[arg(long, env = "KOH_LEASE_NAMESPACE", value_name = "NAME", requires = "kubernetes")]
    lease_namespace: Option<String>,
    /// Name of that Lease.
    #[arg(long, env = "KOH_LEASE_NAME", value_name = "NAME", default_value = "koh")]
    lease_name: String,
    /// Take tokens of ServiceAccounts: the API server says whose they are, and its roles what they may (read, report or admin on
    /// hubs.hub.kalypso.io).
    #[arg(long, env = "KOH_TOKEN_REVIEW")]
    token_review: bool,
    /// Audience that such tokens must be made for.
    #[arg(long, env = "KOH_TOKEN_AUDIENCE", value_name = "NAME", default_value = "koh")]
    token_audience: String,
    /// Namespace of the roles that say what ServiceAccounts may; the pod's own by default.
    #[arg(long, env = "KOH_TOKEN_NAMESPACE", value_name = "NAME", requires = "token_review")]
    token_namespace: Option<String>,
}

impl KubernetesArgs {
    fn accounts(&self) -> Option<runtime::kubernetes::Accounts> {
        self.token_review.then(|| runtime::kubernetes::Accounts {
            context: self.kubernetes_context.clone(),
            audience: self.token_audience.clone(),
            namespace: self.token_namespace.clone(),
        })
    }

    fn options(self) -> Option<runtime::kubernetes::Options> {
        let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        self.kubernetes.then(|| runtime::kubernetes::Options {
            source: self.kubernetes_source,
            context: self.kubernetes_context,
            namespace: self.kubernetes_namespace,
            lease_namespace: self.lease_namespace,
            lease_name: self.lease_name,
            // A second process of one name, or the same one restarted, must not take itself for the first.
            identity: format!(
                "{}_{:08x}",
                host.as_deref().unwrap_or("koh"),
                getrandom::u32().unwrap_or(std::process::id())
            ),
        })
    }
}

/// When a host counts as late or silent whose class is described nowhere.
#[derive(Debug, Args)]
#[command(next_help_heading = "Hosts")]
struct LivenessArgs {
    /// A host that is not heard for this long is late, unless its class says otherwise.
    #[arg(long, env = "KOH_LATE_AFTER", default_value = "15m", value_parser = crate::model::span, value_name = "SPAN")]
    late_after: Duration,
    /// A host that is not heard for this long is silent, unless its class says otherwise.
    #[arg(long, env = "KOH_SILENT_AFTER", default_value = "60m", value_parser = crate::model::span, value_name = "SPAN")]
    silent_after: Duration,
}

/// How long history is kept, and where. Where nothing is said it stays in the ledger for ever.
#[derive(Debug, Args)]
#[command(next_help_heading = "Retention")]
struct RetentionArgs {
    /// Move what reconcilers reported longer ago than this out of the ledger into Parquet files (DIR/archive), day by day, each after it
    /// was read back; SQL reads both. Last words on every commit stay. At least 1d.
    #[arg(long, env = "KOH_HOT_WINDOW", value_parser = crate::model::span, value_name = "SPAN")]
    hot_window: Option<Duration>,
    /// Forget what reconcilers reported longer ago than this, but for what they run now. At least 1d, and not less than --hot-window.
    #[arg(long, env = "KOH_KEEP_HISTORY", value_parser = crate::model::span, value_name = "SPAN")]
    keep_history: Option<Duration>,
}

impl RetentionArgs {
    fn retention(self) -> anyhow::Result<Retention> {
        let RetentionArgs { hot_window, keep_history } = self;
        let day = Duration::from_secs(86_400);
        for (option, span) in [("--hot-window", hot_window), ("--keep-history", keep_history)] {
            if span.is_some_and(|span| span < day) {
                bail!("{option} must not be shorter than 1d: history goes by whole days");
            }
        }
        if let (Some(hot), Some(keep)) = (hot_window, keep_history)
            && keep < hot
        {
            bail!("--keep-history must not be shorter than --hot-window: what is forgotten is not archived");
        }
        Ok(Retention { hot_window, keep_history })
    }
}

/// Backups that nobody has to ask for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Backups")]
struct BackupsArgs {
    /// Put backups there: a folder, which should lie on another disk than the data, or s3://BUCKET/NAME, az://CONTAINER/NAME,
    /// gs://BUCKET/NAME, with credentials from the environment.
    #[arg(long, env = "KOH_BACKUP_DIR", value_name = "DIR|URL")]
    backup_dir: Option<PathBuf>,
    /// How often; after a restart that is counted from the newest one in the folder.
    #[arg(long, env = "KOH_BACKUP_EVERY", default_value = "24h", value_parser = some_time, value_name = "SPAN")]
    backup_every: Duration,
    /// How many are kept.
    #[arg(long, env = "KOH_BACKUP_KEEP", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    backup_keep: u16,
}

impl BackupsArgs {
    fn schedule(self) -> anyhow::Result<Option<Schedule>> {
        let BackupsArgs { backup_dir, backup_every, backup_keep } = self;
        let place = backup_dir.map(|place| Place::parse(&place)).transpose().context("--backup-dir")?;
        Ok(place.map(|place| Schedule { place, every: backup_every, keep: usize::from(backup_keep) }))
    }
}

/// How much of the hub one client can take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Connections at once; for one more an idle one makes room.
    #[arg(long, env = "KOH_MAX_CONNECTIONS", default_value_t = 12288, value_parser = at_least_one, value_name = "N")]
    max_connections: usize,
    /// Connections of one address at once; raise it to --max-connections where a proxy stands before the hub.
    #[arg(long, env = "KOH_MAX_CONNECTIONS_PER_PEER", default_value_t = 9216, value_parser = at_least_one, value_name = "N")]
    max_connections_per_peer: usize,
    /// A client must take some bytes of its answer within this time.
    #[arg(long, env = "KOH_READER_IDLE", default_value = "30s", value_parser = some_time, value_name = "SPAN")]
    reader_idle: Duration,
    /// Ingest streams at once; more are told to come back.
    #[arg(long, env = "KOH_MAX_INGEST_STREAMS", default_value_t = 512, value_parser = at_least_one, value_name = "N")]
    max_ingest_streams: usize,
    /// An ingest body may pause this long before the stream is closed.
    #[arg(long, env = "KOH_INGEST_IDLE", default_value = "5m", value_parser = some_time, value_name = "SPAN")]
    ingest_idle: Duration,
    /// Every other answer must begin within this time.
    #[arg(long, env = "KOH_ANSWER_WITHIN", default_value = "60s", value_parser = some_time, value_name = "SPAN")]
    answer_within: Duration,
    /// Clients that wait for the gate or follow the changes, at once; more are told to come back.
    #[arg(long, env = "KOH_MAX_WAITERS", default_value_t = runtime::MAX_WAITERS, value_parser = at_least_one, value_name = "N")]
    max_waiters: usize,
    /// Requests in flight get this long to finish at shutdown.
    #[arg(long, env = "KOH_DRAIN", default_value = "20s", value_parser = crate::model::span, value_name = "SPAN")]
    drain: Duration,
}

/// More of anything than a machine has is as much as it has; none of it is a hub that serves nobody.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(1..=MOST) => Ok(text.parse().unwrap_or(MOST)),
        _ => Err(format!("write a number from 1 to {MOST}")),
    }
}

/// The greatest number of anything.
const MOST: usize = 1_000_000;

/// A span that is not over at once.
fn some_time(text: &str) -> Result<Duration, String> {
    let span = crate::model::span(text)?;
    if span.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(span) }
}

impl ServeArgs {
    pub(super) fn run(self, taken: Taken, level: Level) -> anyhow::Result<ExitCode> {
        let announce = self.announce.clone();
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        let config = self.config()?;
        let threads = tokio::runtime::Builder::new_multi_thread()
            .thread_name("api")
            .enable_all()
            .build()
            .context("cannot start threads")?;
        threads.block_on(serve(config, scheme, announce, taken, level))?;
        threads.shutdown_timeout(Duration::from_secs(5));
        Ok(ExitCode::SUCCESS)
    }

    pub(super) fn config(self) -> anyhow::Result<Config> {
        let ServeArgs {
            config: _,
            data,
            listen,
            tokens,
            tls_cert,
            tls_key,
            insecure_no_auth,
            manifests,
            policies,
            classes,
            default_contact,
            announce: _,
            kubernetes,
            liveness,
            retention,
            backups,
            limits,
        } = self;
        if !listen.ip().is_loopback() && tokens.is_none() && !kubernetes.token_review && !insecure_no_auth {
            bail!(
                "refusing to listen on {listen}: anybody who reaches the address could read everything and report anything. Name a \
                 file of tokens with --tokens (koh token create makes it), take those of ServiceAccounts with --token-review, \
                 listen on 127.0.0.1, or say --insecure-no-auth if the \
                 network itself is trusted"
            );
        }
        let LivenessArgs { late_after, silent_after } = liveness;
        if silent_after < late_after {
            bail!("--silent-after must not be shorter than --late-after: a host is late before it is silent");
        }
        if let Some(folder) = manifests.as_deref().filter(|f| !f.is_dir()) {
            bail!("--manifests {}: there is no such folder", folder.display());
        }
        let LimitArgs {
            max_connections,
            max_connections_per_peer,
            reader_idle,
            max_ingest_streams,
            ingest_idle,
            answer_within,
            max_waiters,
            drain,
        } = limits;
        Ok(Config {
            data: Some(data),
            listen,
            manifests,
            accounts: kubernetes.accounts(),
            kubernetes: kubernetes.options(),
            policies,
            classes,
            tokens,
            retention: retention.retention()?,
            backups: backups.schedule()?,
            tls: tls_cert.into_iter().chain(tls_key).collect(),
            default_contact,
            max_waiters,
            late_after,
            silent_after,
            limits: api::Limits { ingest_streams: max_ingest_streams, ingest_idle, answer_within, drain },
            patience: api::listen::Patience {
                connections: open_files::connections(max_connections),
                per_peer: max_connections_per_peer,
                reader: reader_idle,
                drain,
                ..api::listen::Patience::default()
            },
        })
    }
}

async fn serve(
    config: Config,
    scheme: &str,
    announce: Option<PathBuf>,
    taken: Taken,
    level: Level,
) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    // Before anybody is told that the hub listens: what changes from then on changes a hub that runs.
    let load = |file| runtime::load("options", vec![file], config::parse_sound).map_err(|why| anyhow::anyhow!(why));
    let options = taken.file.clone().map(load).transpose()?;
    let running = runtime::start(config).await?;
    let address = running.address;
    println!("listening on {scheme}://{address}");
    std::io::stdout().flush().ok();
    if let Some(file) = announce {
        announce_at(&file, address).with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(options) = options {
        follow_file(&running, options, taken, level);
    }
    signals.recv().await;
    running.stop().await;
    Ok(())
}

/// Puts another log level in force when the file of options names one, and says of the rest what it takes.
fn follow_file(running: &runtime::Running, options: runtime::Loaded<config::Values>, taken: Taken, level: Level) {
    let said_elsewhere = taken.explicit.contains_key(LOG);
    let known = parking_lot::Mutex::new(taken.values().clone());
    running.follow(options, move |values: config::Values| {
        let mut known = known.lock();
        if !said_elsewhere && known.get(LOG) != values.get(LOG) {
            match level.set(values.get(LOG).map(String::as_str)) {
                Ok(()) => tracing::warn!(log = values.get(LOG), "the log level changed"),
                Err(why) => tracing::error!("the log level stays what it was: {why:#}"),
            }
        }
        let waiting = config::needing_restart(&known, &values, &[LOG]);
        if !waiting.is_empty() {
            tracing::warn!(options = ?waiting, "these options changed; they are in force after a restart");
        }
        *known = values;
    });
}

/// Writes the address so that a reader sees all of it or nothing.
fn announce_at(file: &Path, address: SocketAddr) -> std::io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, format!("{address}\n"))?;
    std::fs::rename(&beside, file)
}

/// The signals that mean "finish what you are doing and go".
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    async fn recv(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
