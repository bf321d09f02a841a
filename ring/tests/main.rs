//! Integration tests of the ring.

mod support;

mod basics;
