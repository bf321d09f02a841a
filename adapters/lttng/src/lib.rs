//! LTTng's side of kstrace.
//!
//! [`live`] is the protocol by which viewers (babeltrace2, Trace Compass) follow a trace while
//! it is recorded: the one that LTTng's relay daemon speaks.
#![forbid(unsafe_code)]

pub mod live;
