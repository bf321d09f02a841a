//! Against babeltrace2 and against being killed.

mod babeltrace;
mod ctf2;
mod metadata;
mod support;
mod writing;
