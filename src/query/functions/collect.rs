//! `array_agg` and `string_agg`, with a bound on what one group may collect.
//!
//! Invariant: no collected value over [`COLLECTED`] bytes leaves the aggregation; a later join would copy it into every
//! row of a batch. While collecting, the rows are reserved in the statement's memory pool as for any aggregate.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature};

use super::bounded::{check_scalar, too_long_together};

/// Most bytes of one collected value.
pub(in super::super) const COLLECTED: usize = 64 * 1024;

/// Puts `udaf` behind the bound.
pub(in super::super) fn bound(udaf: &Arc<AggregateUDF>) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(Collecting(Arc::clone(udaf))))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Collecting(Arc<AggregateUDF>);

impl AggregateUDFImpl for Collecting {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.0.return_field(fields)
    }

    fn is_nullable(&self) -> bool {
        self.0.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Counted { name: self.0.name().to_string(), inner: self.0.accumulator(args)? }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.0.state_fields(args)
    }

    fn with_beneficial_ordering(self: Arc<Self>, beneficial: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let ordered = AggregateUDF::clone(&self.0).with_beneficial_ordering(beneficial)?;
        Ok(ordered.map(|udaf| Arc::new(Collecting(Arc::new(udaf))) as Arc<dyn AggregateUDFImpl>))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.0.order_sensitivity()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.0.coerce_types(types)
    }

    fn default_value(&self, kind: &DataType) -> Result<ScalarValue> {
        self.0.default_value(kind)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.0.supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.0.supports_within_group_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }
}

#[derive(Debug)]
struct Counted {
    name: String,
    inner: Box<dyn Accumulator>,
}

impl Accumulator for Counted {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)?;
        self.check_growth()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.inner.evaluate()?;
        check_scalar(&self.name, &value, COLLECTED)?;
        Ok(value)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)?;
        self.check_growth()
    }
}

impl Counted {
    /// The engine reserves memory for a group only after a batch, and thousands of groups grow at once: a text that is too long
    /// already ends the statement while it grows. Capacities grow by doubling, so twice the limit is not yet too long.
    fn check_growth(&self) -> Result<()> {
        if self.name == "string_agg" && self.inner.size() > 2 * COLLECTED + size_of_val(&*self.inner) {
            return Err(too_long_together(&self.name, COLLECTED));
        }
        Ok(())
    }
}
