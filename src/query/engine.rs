//! The engine: slots, deadlines, threads.
//!
//! Invariant: callers never run the engine's code on their own threads; a statement occupies a slot from before it is
//! planned until the last holder of its memory pool (or, before there is one, its planning) is gone, whatever its caller does meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionState;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::catalog::Catalog;
use super::error::{ErrorKind, QueryError, from_engine};
use super::format::{Encoder, Format, plain_batch, plain_schema};
use super::limits::Limits;
use super::log::{QueryLog, Running};
use super::memory::Total;
use super::params::Params;
use super::prepare::{Prepare, base, too_many_rows};
use super::stop::Stop;
use super::stream::{Output, Sender, body};
use super::tally::Tally;
use super::{guard, stream::Head};

/// One statement and the values for its parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// Values for `$1` or `$name`.
    pub params: Params,
}

impl Statement {
    /// A statement without parameters.
    pub fn new(sql: impl Into<String>) -> Statement {
        Statement { sql: sql.into(), params: Params::None }
    }
}

/// An answer as Arrow batches, for callers inside the hub.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The columns; texts are plain strings.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

impl Rows {
    /// The rows as a JSON array, as a statement would answer them.
    pub fn json(&self) -> Result<Bytes, QueryError> {
        let mut encoder = Encoder::new(Format::Json, &self.schema)?;
        let mut out = Vec::new();
        for batch in self.batches.iter().filter(|b| b.num_rows() > 0) {
            out.extend_from_slice(&encoder.batch(batch)?);
        }
        out.extend_from_slice(&encoder.finish()?);
        Ok(out.into())
    }
}

/// What the engine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Slots taken.
    pub running: usize,
    /// Statements waiting for a slot.
    pub waiting: usize,
    /// Bytes reserved by all statements.
    pub reserved: usize,
    /// Bytes that they may reserve.
    pub reservable: usize,
}

/// Stack of each thread: the deepest statement the guard passes uses a small part of it, also unoptimised.
const STACK: usize = 32 * 1024 * 1024;

/// Runs statements. Dropping it stops what runs; it does not wait.
#[derive(Debug)]
pub struct Engine {
    inner: Arc<Inner>,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    base: Arc<SessionState>,
    env: Arc<RuntimeEnv>,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    total: Arc<Total>,
    log: Arc<QueryLog>,
    handle: Handle,
}

impl Engine {
    /// Starts the engine's threads and prepares its spill directory.
    pub fn new(limits: Limits) -> Result<Engine, QueryError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(limits.concurrency.clamp(2, 16))
            .thread_stack_size(STACK)
            .thread_name("koh-sql")
            .enable_time()
            .build()
            .map_err(|e| QueryError::internal(&e))?;
        let disk = limits.disk().map_err(|e| QueryError::internal(&e))?;
        let env = RuntimeEnvBuilder::new().with_disk_manager_builder(disk).build_arc();
        let env = env.map_err(|e| QueryError::internal(&e))?;
        // Statements have no business with files: the local store goes, whatever else already keeps them from it.
        let _ = env.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref());
        let inner = Inner {
            base: Arc::new(base(limits.partitions)),
            env,
            slots: Arc::new(Semaphore::new(limits.concurrency.max(1))),
            waiting: AtomicUsize::new(0),
            total: Total::new(limits.total_memory),
            log: QueryLog::new(),
            handle: runtime.handle().clone(),
            limits,
        };
        Ok(Engine { inner: Arc::new(inner), runtime: Some(runtime) })
    }

    /// Runs a statement; the answer streams in `format`.
    pub fn run(
        &self,
        catalog: Arc<Catalog>,
        statement: Statement,
        format: Format,
    ) -> BoxFuture<'static, Result<Output, QueryError>> {
        let inner = Arc::clone(&self.inner);
        let span = tracing::debug_span!(target: crate::TRACES, "sql");
        Box::pin(async move { inner.run(catalog, statement, format).await }.instrument(span))
    }

    /// Runs a statement; the answer comes whole, as batches.
    pub fn rows(&self, catalog: Arc<Catalog>, statement: Statement) -> BoxFuture<'static, Result<Rows, QueryError>> {
        let inner = Arc::clone(&self.inner);
        let span = tracing::debug_span!(target: crate::TRACES, "sql");
        Box::pin(async move { inner.rows(catalog, statement).await }.instrument(span))
    }

    /// Waits until no statement holds a slot; statements that come meanwhile wait behind it.
    pub async fn idle(&self) {
        let all = u32::try_from(self.inner.limits.concurrency.max(1)).unwrap_or(u32::MAX);
        // The slots are never closed.
        let _ = self.inner.slots.acquire_many(all).await;
    }

    /// What the engine is doing now.
    pub fn usage(&self) -> Usage {
        Usage {
            running: self.inner.limits.concurrency.saturating_sub(self.inner.slots.available_permits()),
            waiting: self.inner.waiting.load(Ordering::Relaxed),
            reserved: self.inner.total.used(),
            reservable: self.inner.total.limit(),
        }
    }

    /// How statements ended since the start.
    pub fn tally(&self) -> &Tally {
        &self.inner.log.tally
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A statement that has its slot.
struct Job {
    prepare: Prepare,
    running: Running,
    deadline: Instant,
    stop: CancellationToken,
}

impl Inner {
    async fn run(
        self: Arc<Self>,
        catalog: Arc<Catalog>,
        statement: Statement,
        format: Format,
    ) -> Result<Output, QueryError> {
        let most_rows = if format == Format::Json { self.limits.json_rows } else { usize::MAX };
        let limits = (most_rows, self.limits.bytes);
        let Job { prepare, mut running, deadline, stop } = self.accept(catalog, statement, most_rows).await?;
        let cancel = stop.clone();
        let guard = stop.drop_guard();
        let (head, announced) = oneshot::channel();
        let (pieces, received) = mpsc::channel(2);
        let timeout = QueryError::timeout(self.limits.timeout);
        let late = timeout.clone();
        self.handle.spawn(async move {
            let mut sender = Sender { head: Some(head), pieces };
            let work = async {
                let batches = prepare.start().await?;
                sender.send(batches, format, limits, &mut running).await
            };
            let ended = tokio::select! {
                ended = work => ended,
                () = cancel.cancelled() => return,
                () = sleep_until(deadline) => Err(late),
            };
            // A failure to hand rows on to a caller who went away is no failure of the statement.
            if ended.is_ok() || !cancel.is_cancelled() {
                running.ended(status(&ended));
            }
            if let Err(error) = ended {
                sender.fail(error);
            }
        });
        let head: Head = match timeout_at(deadline, announced).await {
            Ok(Ok(head)) => head?,
            Ok(Err(_)) => return Err(QueryError::internal(&"the statement's task panicked")),
            Err(_) => return Err(timeout),
        };
        Ok(Output {
            content_type: format.content_type(),
            schema: Arc::clone(&head.schema),
            complete: head.complete,
            body: body(head, received, guard, timeout),
        })
    }

    async fn rows(self: Arc<Self>, catalog: Arc<Catalog>, statement: Statement) -> Result<Rows, QueryError> {
        let most = self.limits.rows;
        let Job { prepare, mut running, deadline, stop } = self.accept(catalog, statement, most).await?;
        let cancel = stop.clone();
        let _guard = stop.drop_guard();
        let (answer, answered) = oneshot::channel();
        let timeout = QueryError::timeout(self.limits.timeout);
        let late = timeout.clone();
        let bytes = prepare.memory;
        self.handle.spawn(async move {
            let ended = tokio::select! {
                ended = collect(prepare, most, bytes, &mut running) => ended,
                () = cancel.cancelled() => return,
                () = sleep_until(deadline) => Err(late),
            };
            running.ended(status(&ended));
            let _ = answer.send(ended);
        });
        match timeout_at(deadline, answered).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(_)) => Err(QueryError::internal(&"the statement's task panicked")),
            Err(_) => Err(timeout),
        }
    }

    /// Lets a statement in: the cheap checks, then a slot.
    async fn accept(&self, catalog: Arc<Catalog>, statement: Statement, rows: usize) -> Result<Job, QueryError> {
        let deadline = Instant::now() + self.limits.timeout;
        let sound = guard::check(&statement.sql).and_then(|tokens| statement.params.check(&tokens.placeholders));
        sound.inspect_err(|error| self.log.tally.count(outcome(error)))?;
        let mut running = self.log.begin(&statement.sql);
        let slot = match self.slot(deadline).await {
            Ok(slot) => slot,
            Err(busy) => {
                running.ended("busy");
                return Err(busy);
            }
        };
        let (memory, total) = self.limits.memory(catalog.memory);
        self.total.set(total);
        let stop = CancellationToken::new();
        let ends = Stop { deadline, timeout: self.limits.timeout, cancelled: stop.clone() };
        let prepare = Prepare {
            base: Arc::clone(&self.base),
            env: Arc::clone(&self.env),
            catalog,
            engine_table: Arc::clone(&self.log) as Arc<dyn super::Table>,
            statement,
            slot,
            memory,
            total: Arc::clone(&self.total),
            rows,
            stop: Arc::new(ends),
        };
        Ok(Job { prepare, running, deadline, stop })
    }

    async fn slot(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, QueryError> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        let _waiting = Waiting::enter(&self.waiting, self.limits.queue).ok_or_else(|| busy(&self.limits))?;
        match timeout_at(deadline, Arc::clone(&self.slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(busy(&self.limits)),
        }
    }
}

/// A place in the queue, given back on every way out.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn enter(count: &AtomicUsize, most: usize) -> Option<Waiting<'_>> {
        let entered = |n: usize| (n < most).then_some(n + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, entered).ok().map(|_| Waiting(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn collect(prepare: Prepare, most: usize, bytes: usize, running: &mut Running) -> Result<Rows, QueryError> {
    let mut stream = prepare.start().await?;
    let schema = plain_schema(&stream.schema())?;
    let mut batches = Vec::new();
    let mut size = 0usize;
    while let Some(batch) = stream.next().await {
        let batch = plain_batch(&batch.map_err(|e| from_engine(&e, &[]))?, &schema)?;
        running.rows += batch.num_rows();
        size += batch.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or(0)).sum::<usize>();
        if running.rows > most {
            return Err(too_many_rows(most, None));
        }
        if size > bytes {
            return Err(QueryError::too_large("The answer is too large", "Add LIMIT or select fewer columns."));
        }
        batches.push(batch);
    }
    Ok(Rows { schema, batches })
}

fn busy(limits: &Limits) -> QueryError {
    QueryError {
        kind: ErrorKind::Busy,
        title: "Too many statements are running".into(),
        detail: format!("{} run and {} may wait; try again in a few seconds.", limits.concurrency, limits.queue),
    }
}

fn status<T>(ended: &Result<T, QueryError>) -> &'static str {
    match ended {
        Ok(_) => "done",
        Err(error) => outcome(error),
    }
}

fn outcome(error: &QueryError) -> &'static str {
    match error.kind {
        ErrorKind::Invalid => "invalid",
        ErrorKind::Refused => "refused",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Busy => "busy",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::Internal => "internal",
    }
}
