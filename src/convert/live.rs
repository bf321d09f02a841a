//! Sessions of a relay daemon as inputs.

use kstrace_lttng::live::{Beginning, LiveInput, LiveUrl};
use kstrace_schema::{Error, ErrorKind, FileInput, Result};
use nix::sys::signal::{SigSet, Signal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The URL that an input's name is, if it is one.
pub fn live_url(input: &Path) -> Option<Result<LiveUrl>> {
    let text = input.to_str().filter(|text| LiveUrl::is_one(text))?;
    Some(text.parse())
}

/// Attaches to the session that is meant. It ends with its session, or at SIGINT or SIGTERM:
/// what came until then is then complete, and a second signal ends this process.
///
/// # Errors
/// Those of [`LiveInput::open`].
pub fn open_live(url: &LiveUrl, from: Beginning) -> Result<Box<dyn FileInput>> {
    let stop = Arc::new(AtomicBool::new(false));
    stop_at_signals(Arc::clone(&stop))?;
    Ok(Box::new(LiveInput::open(url, from, stop)?))
}

fn stop_at_signals(stop: Arc<AtomicBool>) -> Result<()> {
    let failed = |e: nix::Error| Error::io("cannot wait for signals", e.into());
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    // Threads made from here on leave them to the one that waits.
    signals.thread_block().map_err(failed)?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if signals.wait().is_ok() {
                stop.store(true, Ordering::Relaxed);
            }
            // From here on they do what they do by default.
            let _ = signals.thread_unblock();
            loop {
                std::thread::park();
            }
        })
        .map_err(|e| Error::with_source(ErrorKind::Io, "cannot make a thread", e))?;
    Ok(())
}
