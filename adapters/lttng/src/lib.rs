//! LTTng's side of kstrace.
//!
//! [`kernel`] records with LTTng's kernel modules, without LTTng's own daemons.
//! [`live`] is the protocol by which viewers (babeltrace2, Trace Compass) follow a trace while
//! it is recorded: the one that LTTng's relay daemon speaks.

pub mod kernel;
pub mod live;
