//! From a statement to a running plan.
//!
//! Invariant: everything here runs on the engine's own threads, whose stacks bear the deepest statement the guard lets
//! pass; the session's functions and rules are built once, a statement only copies references to them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use datafusion::common::config::Dialect;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{FunctionRegistry, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use futures::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

use super::catalog::{CATALOG, Catalog, PUBLIC, Visible};
use super::engine::Statement;
use super::error::{QueryError, from_engine};
use super::functions::{self, planner::BoundedSyntax};
use super::memory::{StatementPool, Total};
use super::stop::Stop;
use super::table::Table;
use super::{physical, verify};

/// The session that all statements start from.
pub(super) fn base(partitions: usize) -> SessionState {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, PUBLIC)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_target_partitions(partitions.max(1))
        .with_batch_size(physical::BATCH_ROWS);
    let options = config.options_mut();
    options.execution.enable_recursive_ctes = false;
    options.execution.sort_spill_reservation_bytes = 2 * 1024 * 1024;
    options.sql_parser.map_string_types_to_utf8view = false;
    let mut planners = SessionStateDefaults::default_expr_planners();
    planners.insert(0, Arc::new(BoundedSyntax::new()));
    SessionStateBuilder::new()
        .with_config(config)
        .with_expr_planners(planners)
        .with_scalar_functions(functions::scalar())
        .with_aggregate_functions(functions::aggregate())
        .with_window_functions(functions::window())
        .build()
}

/// What a statement runs against.
pub(super) struct Prepare {
    pub(super) base: Arc<SessionState>,
    pub(super) env: Arc<RuntimeEnv>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) engine_table: Arc<dyn Table>,
    pub(super) statement: Statement,
    /// The slot the statement occupies; it moves into its memory pool.
    pub(super) slot: OwnedSemaphorePermit,
    /// Bytes the statement may reserve.
    pub(super) memory: usize,
    /// Bytes all statements may reserve.
    pub(super) total: Arc<Total>,
    /// Most rows the answer may have.
    pub(super) rows: usize,
    /// When the statement ends.
    pub(super) stop: Arc<Stop>,
}

impl Prepare {
    /// Plans, checks and starts the statement.
    pub(super) fn start(self) -> BoxFuture<'static, Result<SendableRecordBatchStream, QueryError>> {
        Box::pin(async move {
            let began = Instant::now();
            let visible =
                Visible::new(Arc::clone(&self.catalog), Arc::clone(&self.engine_table), Arc::clone(&self.base));
            let mut state = visible.session();
            for function in self.catalog.functions() {
                state.register_udf(Arc::clone(function)).map_err(|e| QueryError::internal(&e))?;
            }
            let plan = self.physical(&state).await?;
            let shape = physical::check(&plan)?;
            if let Some(rows) = physical::exact_rows(&plan).filter(|rows| *rows > self.rows) {
                return Err(too_many_rows(self.rows, Some(rows)));
            }
            let plan = physical::metered(plan).map_err(|e| QueryError::internal(&e))?;
            let mut config = state.config().clone().with_extension(Arc::clone(&self.stop));
            if let Some(rows) = NonZeroUsize::new(shape.batch_rows) {
                config = config.with_batch_size(rows.get());
            }
            let names = self.catalog.names();
            let memory = self.memory / shape.memory_divisor;
            let pool: Arc<dyn MemoryPool> = Arc::new(StatementPool::new(memory, self.total, Some(self.slot)));
            let env = RuntimeEnv { memory_pool: pool, ..RuntimeEnv::clone(&self.env) };
            let context = context(&state, config, env);
            tracing::debug!(planning = ?began.elapsed(), batch_rows = shape.batch_rows, "statement planned");
            execute_stream(plan, Arc::new(context)).map_err(|e| from_engine(&e, &names))
        })
    }

    fn physical<'a>(&'a self, state: &'a SessionState) -> BoxFuture<'a, Result<Arc<dyn ExecutionPlan>, QueryError>> {
        Box::pin(async move {
            let logical = self.logical(state).await?;
            verify::plan(&logical)?;
            state.create_physical_plan(&logical).await.map_err(|e| self.failed(&e))
        })
    }

    fn logical<'a>(&'a self, state: &'a SessionState) -> BoxFuture<'a, Result<LogicalPlan, QueryError>> {
        Box::pin(async move {
            let mut parsed =
                state.sql_to_statement(&self.statement.sql, &Dialect::Generic).map_err(|e| self.failed(&e))?;
            verify::tables(&parsed)?;
            self.statement.params.bind(&mut parsed)?;
            state.statement_to_plan(parsed).await.map_err(|e| self.failed(&e))
        })
    }

    fn failed(&self, error: &datafusion::common::DataFusionError) -> QueryError {
        from_engine(error, &self.catalog.names())
    }
}

/// What operators see while they run. Plans hold their own functions; those named here are what `SHOW FUNCTIONS` lists.
fn context(state: &SessionState, config: SessionConfig, env: RuntimeEnv) -> TaskContext {
    let (scalar, higher) = (state.scalar_functions().clone(), state.higher_order_functions().clone());
    let (aggregate, window) = (state.aggregate_functions().clone(), state.window_functions().clone());
    TaskContext::new(None, String::new(), config, scalar, higher, aggregate, window, Arc::new(env))
}

/// The answer has more rows than its format may have.
pub(super) fn too_many_rows(most: usize, have: Option<usize>) -> QueryError {
    QueryError::too_large(
        match have {
            Some(have) => format!("The answer has {have} rows, at most {most} are given in this form"),
            None => format!("The answer has more than {most} rows, the most given in this form"),
        },
        "Add LIMIT, aggregate, or ask for NDJSON, CSV, Arrow or Parquet, which stream.",
    )
}
