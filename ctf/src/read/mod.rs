//! Reading kstrace's own traces.

mod damage;
mod lane;
mod side;
mod trace;

pub use damage::Damage;
pub use trace::{ReadSummary, TraceReader};
