//! Against babeltrace2 and against being killed.

mod babeltrace;
mod chunks;
mod constructs;
mod ctf2;
mod damage;
mod foreign;
mod foreign_ctf2;
mod metadata;
mod reading;
mod support;
mod writing;
