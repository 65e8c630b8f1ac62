//! Tables the hub offers to SQL, and the one adapter that makes them scannable.
//!
//! Invariant: the adapter never holds more than one batch per partition, hands out at most the engine's batch size of
//! rows at a time, and stops pulling once a pushed-down limit is met.

use std::fmt::{self, Debug};
use std::pin::Pin;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, UInt32Array};
use datafusion::arrow::compute::take_record_batch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::future::BoxFuture;

use super::stop::Stop;
use super::within;

/// The batches of one partition, in order.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch, DataFusionError>> + Send>;

/// An immutable table: what a generation, an export or the engine itself offers to SQL.
pub trait Table: Debug + Send + Sync {
    /// The name it has in SQL, lower snake case.
    fn name(&self) -> &str;
    /// Its columns.
    fn schema(&self) -> SchemaRef;
    /// Into how many independent parts it is split.
    fn partitions(&self) -> usize;
    /// The batches of one part with the columns `projection` (indexes into [`Table::schema`], in that order).
    fn scan(&self, partition: usize, projection: &[usize]) -> Batches;
    /// How many rows it has, where that is known exactly.
    fn rows(&self) -> Option<usize>;
    /// The column by whose time parts of it can be left out.
    fn dated(&self) -> Option<&'static str> {
        None
    }
    /// The table without parts of which no row lies between two microseconds, where there are such.
    fn within(&self, _first: i64, _last: i64) -> Option<Arc<dyn Table>> {
        None
    }
    /// How many rows it has at most, where that is known.
    fn most_rows(&self) -> Option<usize> {
        self.rows()
    }
}

/// Makes a [`Table`] known to the planner.
#[derive(Debug)]
pub(super) struct Scannable(pub(super) Arc<dyn Table>);

impl Scannable {
    fn plan(
        &self,
        threads: usize,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let narrowed = self.0.dated().and_then(|column| {
            let (first, last) = within::within(filters, column);
            self.0.within(first, last)
        });
        let table = narrowed.unwrap_or_else(|| Arc::clone(&self.0));
        let full = table.schema();
        let projection: Arc<[usize]> = match projection {
            Some(columns) => columns.as_slice().into(),
            None => (0..full.fields().len()).collect(),
        };
        let schema = Arc::new(full.project(&projection)?);
        let streams = table.partitions().clamp(1, threads.max(1));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(streams),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Arc::new(TableScan { table, projection, schema, limit, streams, properties: Arc::new(properties) }))
    }
}

// Written out by hand instead of with `#[async_trait]`: the macro's futures make rustc prove `Send` for every
// expression type of the engine, at seconds per impl.
impl TableProvider for Scannable {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn scan<'life0, 'life1, 'life2, 'life3, 'async_trait>(
        &'life0 self,
        session: &'life1 dyn Session,
        projection: Option<&'life2 Vec<usize>>,
        filters: &'life3 [Expr],
        limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<dyn ExecutionPlan>>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        'life3: 'async_trait,
        Self: 'async_trait,
    {
        ready(self.plan(session.config().target_partitions(), projection, filters, limit))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let of = |filter: &&Expr| match self.0.dated() {
            Some(column) if within::bounds(filter, column) => TableProviderFilterPushDown::Inexact,
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(of).collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        self.0.rows().map(|rows| Statistics::new_unknown(&self.0.schema()).with_num_rows(Precision::Exact(rows)))
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

/// The leaf of a plan that reads a [`Table`].
#[derive(Debug)]
pub(super) struct TableScan {
    table: Arc<dyn Table>,
    projection: Arc<[usize]>,
    schema: SchemaRef,
    limit: Option<usize>,
    streams: usize,
    properties: Arc<PlanProperties>,
}

impl TableScan {
    /// The most rows it gives, where known.
    pub(super) fn most_rows(&self) -> Option<usize> {
        self.table.most_rows().map(|rows| rows.min(self.limit.unwrap_or(usize::MAX)))
    }

    /// Exact number of rows, where known.
    pub(super) fn rows(&self) -> Option<usize> {
        self.table.rows().map(|rows| rows.min(self.limit.unwrap_or(usize::MAX)))
    }
}

impl DisplayAs for TableScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let columns: Vec<&str> = self.schema.fields().iter().map(|c| c.name().as_str()).collect();
        write!(f, "TableScan: table={}, columns=[{}]", self.table.name(), columns.join(", "))?;
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for TableScan {
    fn name(&self) -> &'static str {
        "TableScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, stream: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        // Stream i reads the partitions i, i + n, i + 2n …, one after the other.
        let (table, projection) = (Arc::clone(&self.table), Arc::clone(&self.projection));
        let partitions = (stream..self.table.partitions()).step_by(self.streams);
        let batches = partitions.flat_map(move |partition| table.scan(partition, &projection));
        let pieces = Pieces {
            batches: Box::new(batches),
            at_most: context.session_config().batch_size().max(1),
            left: self.limit.unwrap_or(usize::MAX),
            current: None,
            stop: Stop::of(&context),
        };
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(pieces));
        Ok(Box::pin(cooperative(stream)))
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let unknown = Statistics::new_unknown(&self.schema);
        Ok(Arc::new(match (self.rows(), args.partition()) {
            (Some(rows), None) => unknown.with_num_rows(Precision::Exact(rows)),
            (Some(rows), Some(_)) => unknown.with_num_rows(Precision::Inexact(rows.div_ceil(self.streams))),
            (None, _) => unknown,
        }))
    }
}

/// Cuts batches to the engine's batch size and to a limit, until the statement is to end.
struct Pieces {
    batches: Batches,
    at_most: usize,
    left: usize,
    current: Option<(RecordBatch, usize)>,
    stop: Option<Arc<Stop>>,
}

impl Iterator for Pieces {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        if let Some(Err(ended)) = self.stop.as_ref().map(|stop| stop.check()) {
            self.left = 0;
            return Some(Err(ended));
        }
        let (batch, from) = match self.current.take() {
            Some(current) => current,
            None => match self.batches.next()? {
                Ok(batch) => (batch, 0),
                Err(e) => return Some(Err(e)),
            },
        };
        let rows = (batch.num_rows() - from).min(self.at_most).min(self.left);
        self.left -= rows;
        if from == 0 && rows == batch.num_rows() {
            return Some(Ok(batch));
        }
        // Copied rather than sliced: a slice counts its whole batch in every memory reservation downstream.
        let piece = match u32::try_from(from + rows) {
            Ok(_) if batch.num_columns() == 0 => Ok(batch.slice(from, rows)),
            Ok(to) => take_record_batch(&batch, &UInt32Array::from_iter_values(from as u32..to)).map_err(Into::into),
            Err(_) => Ok(batch.slice(from, rows)),
        };
        if from + rows < batch.num_rows() {
            self.current = Some((batch, from + rows));
        }
        Some(piece)
    }
}
