//! Integration tests of tracefs, one binary.

mod format;
mod helper;
mod live;
mod page;
mod print_fmt;
