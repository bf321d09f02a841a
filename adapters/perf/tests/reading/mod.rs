//! Reading perf.data, and writing again what was read, judged by the real perf.

mod foreign;
mod hostile;
pub(crate) mod kit;
pub(crate) mod made;
mod order;
mod rewrite;
mod swap;
