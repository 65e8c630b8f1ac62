//! From a configuration to a running hub, and back to a quiet disk.
//!
//! Invariant: shutdown goes from the outside in: stop accepting, let requests finish, stop the sources, export, checkpoint, close the
//! file. What was acknowledged is safe at every point of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backups::{self, Schedule};
use super::classes::Classes;
use super::exports;
use super::hub::{Engines, Hub};
use super::reload::{self, Loaded};
use super::retention::{Retention, archive_directory, retain_regularly};
use super::{check, kubernetes, manifests, waiters};
use crate::access;
use crate::api;
use crate::api::listen::tls::{Identity, Shown, Tls};
use crate::backup::{Place, ledger_of};
use crate::ledger::{self, Ledger, Store};
use crate::model::micros;
use crate::query::{self, Engine};
use crate::rollout::Policies;
use crate::state::Heartbeat;

/// What is done beside requests ends at a stop within this time, or is left: a disk that hangs must not keep the hub from closing its
/// ledger.
const TASKS_END_WITHIN: Duration = Duration::from_secs(30);
/// Hosts are looked at every second; where so much lies between two looks, the hub was not there to listen.
const LONGEST_GAP: Duration = Duration::from_secs(60);

/// What a hub is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory; nothing is kept where there is none.
    pub data: Option<PathBuf>,
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// A folder of manifests to watch.
    pub manifests: Option<PathBuf>,
    /// An API server to watch.
    pub kubernetes: Option<kubernetes::Options>,
    /// A file of named policies.
    pub policies: Option<PathBuf>,
    /// A file of host classes.
    pub classes: Option<PathBuf>,
    /// A file of tokens; without one nobody is asked who he is.
    pub tokens: Option<PathBuf>,
    /// How long history is kept, and where.
    pub retention: Retention,
    /// Where backups go by themselves, and how often.
    pub backups: Option<Schedule>,
    /// Accounts of a cluster that are taken as clients.
    pub accounts: Option<kubernetes::Accounts>,
    /// The files of a certificate chain and its key, which may be one; without them HTTP is spoken in the clear.
    pub tls: Vec<PathBuf>,
    /// Whom alerts name where nobody else is named; may be empty.
    pub default_contact: String,
    /// Waiters for answers of the gate, at once.
    pub max_waiters: usize,
    /// A host not heard for this long is late, unless its class says otherwise.
    pub late_after: Duration,
    /// A host not heard for this long is silent, unless its class says otherwise.
    pub silent_after: Duration,
    /// Limits of the API.
    pub limits: api::Limits,
    /// Patience with clients.
    pub patience: api::listen::Patience,
}

/// Why a hub did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made.
    #[error("cannot create the data directory {path}", path = path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The ledger does not open.
    #[error(transparent)]
    Ledger(#[from] ledger::OpenError),
    /// The ledger is damaged.
    #[error("{0}")]
    Damaged(String),
    /// What is archived cannot be read.
    #[error(transparent)]
    Archive(#[from] crate::snapshot::export::ExportError),
    /// The SQL engine does not start.
    #[error(transparent)]
    Engine(#[from] query::QueryError),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// There is no configuration for the API server, or it cannot be used.
    #[error(transparent)]
    Kubernetes(#[from] kubernetes::ConnectError),
    /// The file of policies is not sound.
    #[error("the policies cannot be taken: {0}")]
    Policies(String),
    /// The file of host classes is not sound.
    #[error("the host classes cannot be taken: {0}")]
    Classes(String),
    /// The file of tokens is not sound.
    #[error("the tokens cannot be taken: {0}")]
    Tokens(String),
    /// The certificate or its key is not sound.
    #[error("TLS cannot be spoken: {0}")]
    Tls(String),
    /// Threads could not be made.
    #[error("cannot start threads")]
    Threads(#[source] std::io::Error),
}

/// A hub that serves.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// The hub behind it.
    pub hub: Arc<Hub>,
    exports: Option<PathBuf>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    tasks: TaskTracker,
    ingest: Threads,
}

/// The threads that pushes are read on. A start that fails after they were made leaves them from within another runtime, where
/// nothing may wait for them.
#[derive(Debug)]
struct Threads(Option<tokio::runtime::Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Opens the ledger, starts the sources and listens.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let Files { policies, classes, tokens, identity } = files(&config)?;
    let Config {
        data,
        listen,
        manifests,
        kubernetes,
        retention,
        backups,
        accounts,
        default_contact,
        max_waiters,
        late_after,
        silent_after,
        limits,
        patience,
        ..
    } = config;
    if let Some(path) = &data {
        std::fs::create_dir_all(path).map_err(|source| StartError::Directory { path: path.clone(), source })?;
    }
    let stop = CancellationToken::new();
    let default = Heartbeat { late_after: micros(late_after), silent_after: micros(silent_after), optional: false };
    let described = classes.as_ref().map(|loaded| loaded.content().clone()).unwrap_or_default();
    let options = ledger::Options {
        heartbeats: described.heartbeats(default),
        watched_sources: manifests
            .iter()
            .map(|_| manifests::SOURCE.to_owned())
            .chain(kubernetes.iter().map(|k| k.source.clone()))
            .collect(),
        longest_gap: LONGEST_GAP,
        ..ledger::Options::default()
    };
    let ledger = open(data.clone(), options, backups.as_ref().map(|b| b.place.clone())).await?;
    let engines = engines(data.as_deref())?;
    let hub = Arc::new(Hub::new(ledger, engines, max_waiters, stop.clone()));

    let listener = TcpListener::bind(listen).await.map_err(|source| StartError::Listen { address: listen, source })?;
    let address = listener.local_addr().map_err(|source| StartError::Listen { address: listen, source })?;
    let ingest = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).min(4))
        .thread_name("ingest")
        .enable_all()
        .build()
        .map_err(StartError::Threads)?;
    let (threads, ingest) = (ingest.handle().clone(), Threads(Some(ingest)));

    let tasks = TaskTracker::new();
    tasks.spawn(waiters::answer_waiters(Arc::clone(&hub)));
    if let Some(loaded) = policies {
        let set = Arc::clone(&hub);
        loaded.follow(move |policies| set.set_policies(policies), &hub, &tasks);
    }
    if let Some(loaded) = classes {
        let set = Arc::clone(&hub);
        loaded.follow(move |classes| set.ledger().set_heartbeats(classes.heartbeats(default)), &hub, &tasks);
    }
    if let Some(loaded) = tokens {
        if accounts.is_none() && loaded.content().accounts.is_some() {
            tracing::warn!(
                "the file of tokens lists accounts, and none gets in: their tokens are taken with --token-review"
            );
        }
        let set = Arc::clone(&hub);
        loaded.follow(move |file| set.set_tokens(file.into()), &hub, &tasks);
    }
    if let Some(accounts) = accounts {
        kubernetes::review(&hub, accounts).await?;
    }
    let tls = identity.map(|loaded| speak_tls(loaded, &hub, &tasks)).transpose()?;
    let exports = data.as_deref().map(exports::export_directory);
    if let Some(directory) = &exports {
        hub.kept().exports_go_to(directory);
        tasks.spawn(exports::export_regularly(Arc::clone(&hub), directory.clone()));
    }
    if let Some(data) = &data {
        let archive = archive_directory(data);
        hub.open_archive(&archive)?;
        tasks.spawn(retain_regularly(Arc::clone(&hub), retention, archive));
    }
    if let Some(schedule) = backups {
        tasks.spawn(backups::back_up_regularly(Arc::clone(&hub), schedule));
    }
    if let Some(folder) = manifests {
        manifests::watch(&hub, folder, &tasks);
    }
    if let Some(options) = kubernetes {
        kubernetes::watch(&hub, options, &tasks).await?;
    }
    let service = api::service(Arc::clone(&hub), limits, &default_contact, threads);
    let (seq, format) = (hub.seq(), ledger::migrations::newest(ledger::migrations::MIGRATIONS));
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), seq, format, data = ?data, "listening");
    let serving = tokio::spawn(api::listen::serve(listener, tls, service, patience, stop.clone()));
    Ok(Running { address, hub, exports, stop, serving, tasks, ingest })
}

/// The files that a start reads, and a hub follows.
struct Files {
    policies: Option<Loaded<Policies>>,
    classes: Option<Loaded<Classes>>,
    tokens: Option<Loaded<access::File>>,
    identity: Option<Loaded<Identity>>,
}

fn files(config: &Config) -> Result<Files, StartError> {
    let Config { policies, classes, tokens, tls, .. } = config;
    Ok(Files {
        policies: at_start("policies", policies.clone(), Policies::parse, StartError::Policies)?,
        classes: at_start("classes", classes.clone(), Classes::parse, StartError::Classes)?,
        tokens: at_start("tokens", tokens.clone(), access::File::parse, StartError::Tokens)?,
        identity: at_start("certificates", tls.clone(), Identity::parse, StartError::Tls)?,
    })
}

/// Reads the files that a start reads, and keeps nothing.
pub fn look_at_files(config: &Config) -> Result<(), StartError> {
    files(config).map(drop)
}

/// What files hold, where any are named.
fn at_start<T>(
    what: &'static str,
    paths: impl IntoIterator<Item = PathBuf>,
    parse: fn(&str) -> Result<T, String>,
    unsound: fn(String) -> StartError,
) -> Result<Option<Loaded<T>>, StartError> {
    let paths: Vec<PathBuf> = paths.into_iter().collect();
    let loaded = (!paths.is_empty()).then(|| reload::load(what, paths, parse)).transpose();
    loaded.map_err(unsound)
}

/// TLS with the certificate of these files, now and when they are renewed.
fn speak_tls(loaded: Loaded<Identity>, hub: &Hub, tasks: &TaskTracker) -> Result<Tls, StartError> {
    let shown = Shown::new(loaded.content().clone());
    let tls = Tls::new(Arc::clone(&shown)).map_err(|e| StartError::Tls(e.to_string()))?;
    loaded.follow(move |identity| shown.renew(identity), hub, tasks);
    Ok(tls)
}

/// Statements of clients get most of the memory; those of lists and views are known, many and short.
fn engines(data: Option<&Path>) -> Result<Engines, StartError> {
    let spill = |name: &str| data.map(|d| d.join("spill").join(name));
    let sql = query::Limits { spill: spill("sql"), ..query::Limits::default() };
    let rows = query::Limits {
        spill: spill("rows"),
        concurrency: std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8),
        queue: 1024,
        ..query::Limits::default()
    };
    Ok(Engines { rows: Engine::new(rows)?, sql: Engine::new(sql)? })
}

async fn open(data: Option<PathBuf>, options: ledger::Options, backups: Option<Place>) -> Result<Ledger, StartError> {
    let store = match &data {
        Some(directory) => Store::file(&ledger_of(directory)),
        None => Store::memory(),
    };
    let opened = tokio::task::spawn_blocking(move || Ledger::open(store, options)).await;
    let damage = match opened {
        Ok(Ok(ledger)) => return Ok(ledger),
        Ok(Err(error)) if !error.is_damage() => return Err(error.into()),
        Ok(Err(error)) => check::in_full(&error),
        Err(panic) if data.is_none() => std::panic::resume_unwind(panic.into_panic()),
        // The storage engine stumbles over pages that are not its own; what it said is in the log.
        Err(_) => "the store cannot be read: its pages do not fit together".to_owned(),
    };
    let what_to_do = move || check::what_to_do(&damage, &data.unwrap_or_default(), backups.as_ref());
    match tokio::task::spawn_blocking(what_to_do).await {
        Ok(told) => Err(StartError::Damaged(told)),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

impl Running {
    /// Follows files until the hub stops.
    pub fn follow<T: Send + 'static>(&self, loaded: Loaded<T>, set: impl Fn(T) + Send + 'static) {
        loaded.follow(set, &self.hub, &self.tasks);
    }

    /// Stops: drains requests, then sources, then the ledger, beside a last export.
    pub async fn stop(self) {
        let Running { address, hub, exports, stop, serving, tasks, ingest } = self;
        tracing::info!(%address, "stopping");
        stop.cancel();
        if let Err(error) = serving.await {
            tracing::error!(%error, "the accept loop did not end well");
        }
        tasks.close();
        if tokio::time::timeout(TASKS_END_WITHIN, tasks.wait()).await.is_err() {
            tracing::error!(
                "something that the hub does beside requests does not end; the ledger is closed without it"
            );
        }
        drop(ingest);
        // A hub that is killed amid its last export starts from here.
        let checkpoint = hub.ledger().checkpoint();
        let export = async {
            if let Some(directory) = exports {
                exports::export_finally(&hub, &directory).await;
            }
        };
        // What keeps the checkpoint from being written keeps the ledger from closing well, and is said then.
        let _ = tokio::join!(checkpoint, export);
        match tokio::task::spawn_blocking(move || hub.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the ledger did not close well"),
            Err(error) => tracing::error!(%error, "the ledger did not close well"),
        }
        tracing::info!("stopped");
    }
}
