//! What tests ask a daemon for.

use kstrace::control::client::Client;
use kstrace::engine::request::{EventRequest, RecordRequest};

/// Everybody's task switches.
pub(crate) fn switches() -> RecordRequest {
    let event = EventRequest {
        spec: "sched:sched_switch".to_owned(),
        ..Default::default()
    };
    RecordRequest {
        events: vec![event],
        kernel_buffer_bytes_per_cpu: 1 << 20,
        ..Default::default()
    }
}

/// A session that records them.
pub(crate) fn running(client: &mut Client, detached: bool) -> String {
    let created = client
        .create_session(&switches(), &[], detached)
        .expect("create");
    client.start_session(&created.session).expect("start");
    created.session
}

/// The state of each session.
pub(crate) fn states(client: &mut Client) -> Vec<String> {
    client
        .list_sessions()
        .expect("list")
        .into_iter()
        .map(|s| s.state)
        .collect()
}
