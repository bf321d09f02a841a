//! End-to-end: the real command on the real kernel, judged by the real old tools.

mod both;
mod byte_order;
mod command_line;
mod convert;
mod corpus;
mod corpus_ctf;
mod counted;
mod faults;
mod kill;
mod loss;
mod made_tracepoints;
mod memory;
mod perf_record;
mod perf_record_attrs;
mod support;
mod text;
