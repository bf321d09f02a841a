//! kstraced as it is: the real daemon, real clients, the real kernel.

mod clients;
mod daemon;
mod hostile;
mod interface;
mod lifecycle;
mod live_in;
mod lttng_live;
mod peers;
mod raw;
mod recording;
mod ring_access;
mod sessions;
#[path = "../e2e/support.rs"]
#[allow(
    dead_code,
    reason = "helpers of the end-to-end tests, not all needed here"
)]
mod support;
