//! Integration tests of tracefs, one binary.

mod format;
