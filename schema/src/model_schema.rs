//! The JSON Schemas of the model, made from the types themselves.

use crate::canonical::CanonicalTable;
use crate::{ClockPair, EventRecordClass, HopAccount, Loss, SessionInfo};
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything that a trace states about itself, as one document. It names the
/// types that `schema/v1/model.schema.json` describes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "kstrace event model, version 1")]
pub struct Model {
    /// The session.
    pub session: SessionInfo,
    /// Its classes, by id.
    pub classes: Vec<EventRecordClass>,
    /// What was lost, by time.
    pub losses: Vec<Loss>,
    /// The accounts of all hops.
    pub accounts: Vec<HopAccount>,
    /// Clocks read together, by time.
    pub clock_pairs: Vec<ClockPair>,
}

/// The JSON Schema of [`Model`]: `schema/v1/model.schema.json`.
pub fn model_schema() -> Value {
    schema_for!(Model).to_value()
}

/// The JSON Schema of [`CanonicalTable`]: `schema/v1/canonical.schema.json`.
pub fn canonical_schema() -> Value {
    schema_for!(CanonicalTable).to_value()
}
