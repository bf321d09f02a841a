//! From a source to a sink, everything in one order.

use kstrace_schema::merge::Merger;
use kstrace_schema::{Error, ErrorKind, HopAccount, Result, Sink, Source};

/// How reading a whole source ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What could not be read. All that is whole has been delivered.
    pub damage: Vec<Error>,
    /// The accounts of the streams.
    pub accounts: Vec<HopAccount>,
    /// The sink wanted no more before the end.
    pub ended_early: bool,
}

/// Delivers all records of `source` to `sink`, sorted by time, and finishes it.
///
/// # Errors
/// Those of the sink, except that its receiver has gone; those of opening the
/// source's streams. Damage within the source is no error: see [`Outcome`].
pub fn read_into(source: &mut dyn Source, sink: &mut dyn Sink) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut merger = Merger::new(source.streams(sink)?);
    loop {
        let round = merger.round(sink);
        outcome
            .damage
            .extend(merger.take_errors().into_iter().map(|e| e.error));
        match round {
            Ok(round) if round.finished() => break,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::ReceiverGone => {
                outcome.ended_early = true;
                return finish(sink, outcome);
            }
            Err(e) => return Err(e),
        }
    }
    match merger.finish(sink) {
        Ok(accounts) => outcome.accounts = accounts,
        Err(e) if e.kind() == ErrorKind::ReceiverGone => outcome.ended_early = true,
        Err(e) => outcome.damage.push(e),
    }
    finish(sink, outcome)
}

fn finish(sink: &mut dyn Sink, mut outcome: Outcome) -> Result<Outcome> {
    match sink.finish() {
        Err(e) if e.kind() == ErrorKind::ReceiverGone => outcome.ended_early = true,
        result => result?,
    }
    Ok(outcome)
}
