//! Places between operators where memory is accounted for and time is looked at.
//!
//! Invariant: rows that went into a window operator and did not come out of it are reserved in the statement's pool,
//! twice, because the operator copies them together before it computes. No operator that gives many batches for one that it
//! takes goes on after the statement's end.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions, replace_children_if_necessary,
};
use futures::Stream;

use super::super::stop::Stop;

/// Puts a meter before and behind every window operator, and a place to stop behind every operator that can give many
/// batches for one it takes: without it a statement whose leaves are hardly read is never found to be over its time, nor one
/// whose batches each cost seconds.
pub(in super::super) fn metered(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let metered = plan.transform_up(|node| {
        let multiplies = node.is::<HashJoinExec>()
            || node.is::<NestedLoopJoinExec>()
            || node.is::<CrossJoinExec>()
            || node.is::<SortMergeJoinExec>()
            || node.is::<UnnestExec>();
        if multiplies {
            let passed = Arc::new(MeterExec { input: node, out: Arc::default(), side: Side::Passing });
            return Ok(Transformed::yes(Arc::new(CooperativeExec::new(passed)) as Arc<dyn ExecutionPlan>));
        }
        if !node.is::<WindowAggExec>() && !node.is::<BoundedWindowAggExec>() {
            return Ok(Transformed::no(node));
        }
        let Some(input) = node.children().first().map(|input| Arc::clone(input)) else {
            return Ok(Transformed::no(node));
        };
        let partitions = input.properties().partitioning.partition_count();
        let out: Arc<[AtomicUsize]> = (0..partitions.max(1)).map(|_| AtomicUsize::new(0)).collect();
        let before = Arc::new(MeterExec { input, out: Arc::clone(&out), side: Side::Before });
        let node = replace_children_if_necessary(node, vec![before])?;
        Ok(Transformed::yes(Arc::new(MeterExec { input: node, out, side: Side::Behind }) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(metered.data)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// Before a window operator.
    Before,
    /// Behind it.
    Behind,
    /// Behind an operator that multiplies: only time is looked at.
    Passing,
}

#[derive(Debug)]
struct MeterExec {
    input: Arc<dyn ExecutionPlan>,
    /// Rows that came out, by partition.
    out: Arc<[AtomicUsize]>,
    side: Side,
}

impl DisplayAs for MeterExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "MeterExec")
    }
}

impl ExecutionPlan for MeterExec {
    fn name(&self) -> &'static str {
        "MeterExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.with_children(children)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.with_children(children)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reserved = match self.side {
            Side::Before => Some(MemoryConsumer::new("window").register(context.memory_pool())),
            Side::Behind | Side::Passing => None,
        };
        let stop = Stop::of(&context);
        let input = self.input.execute(partition, context)?;
        let out = Arc::clone(&self.out);
        Ok(Box::pin(Metered { input, out, partition, reserved, stop, rows: 0, bytes: 0 }))
    }
}

impl MeterExec {
    fn with_children(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(MeterExec { input, out: Arc::clone(&self.out), side: self.side }))
    }
}

struct Metered {
    input: SendableRecordBatchStream,
    out: Arc<[AtomicUsize]>,
    partition: usize,
    /// Only before the operator.
    reserved: Option<MemoryReservation>,
    stop: Option<Arc<Stop>>,
    rows: usize,
    bytes: usize,
}

impl Metered {
    fn count(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(out) = self.out.get(self.partition) else { return Ok(()) };
        let Some(reserved) = &self.reserved else {
            out.fetch_add(batch.num_rows(), Ordering::Relaxed);
            return Ok(());
        };
        self.rows += batch.num_rows();
        self.bytes += batch.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or(0)).sum::<usize>();
        let inside = self.rows.saturating_sub(out.load(Ordering::Relaxed));
        let bytes = (self.bytes as u128 * inside as u128 / self.rows.max(1) as u128) as usize;
        reserved.try_resize(bytes.saturating_mul(2))
    }
}

impl Stream for Metered {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(Err(ended)) = self.stop.as_ref().map(|stop| stop.check()) {
            return Poll::Ready(Some(Err(ended)));
        }
        let next = ready!(self.input.as_mut().poll_next(cx));
        if let Some(Ok(batch)) = &next
            && let Err(e) = self.count(batch)
        {
            return Poll::Ready(Some(Err(e)));
        }
        Poll::Ready(next)
    }
}

impl RecordBatchStream for Metered {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
