//! Reading perf.data, and writing again what was read, judged by the real perf.

mod foreign;
mod hostile;
mod kit;
mod made;
mod order;
mod rewrite;
mod swap;
