//! Against babeltrace2 and against being killed.

mod babeltrace;
mod ctf2;
mod metadata;
mod reading;
mod support;
mod writing;
