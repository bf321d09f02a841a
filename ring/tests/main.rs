//! Integration tests of the ring.

mod support;

mod basics;
mod by_offsets;
mod hostile;
mod model;
mod threads;
