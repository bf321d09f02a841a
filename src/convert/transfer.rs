//! From an input to an output, everything in one order.

use kstrace_schema::merge::Merger;
use kstrace_schema::{Error, ErrorKind, FileInput, HopAccount, Result, Sink};

/// How reading a whole input ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What could not be read. All that is whole has been delivered.
    pub damage: Vec<Error>,
    /// The accounts of the streams.
    pub accounts: Vec<HopAccount>,
    /// Records handed over.
    pub records: u64,
    /// The output wanted no more before the end.
    pub ended_early: bool,
}

/// Delivers the session, all records sorted by time, and the accounts of `input` to `sink`, and
/// finishes it. `progress` is called now and then with what was read and what there is, in bytes.
///
/// # Errors
/// Those of the sink, except that its receiver has gone; those of opening the input's streams.
/// Damage within the input is no error: see [`Outcome`].
pub fn transfer(
    input: &mut dyn FileInput,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    sink.session(input.session())?;
    let mut merger = Merger::new(input.streams(sink)?);
    loop {
        let round = merger.round(sink);
        outcome
            .damage
            .extend(merger.take_errors().into_iter().map(|e| e.error));
        match round {
            Ok(round) => {
                outcome.records += round.emitted;
                if round.finished() {
                    break;
                }
            }
            Err(e) if e.kind() == ErrorKind::ReceiverGone => {
                outcome.ended_early = true;
                return finish(sink, outcome);
            }
            Err(e) => return Err(e),
        }
        if let Some((read, all)) = input.progress_bytes() {
            progress(read, all);
        }
    }
    match merger.finish(sink) {
        Ok(accounts) => outcome.accounts = accounts,
        Err(e) if e.kind() == ErrorKind::ReceiverGone => outcome.ended_early = true,
        Err(e) => outcome.damage.push(e),
    }
    outcome
        .damage
        .extend(merger.take_errors().into_iter().map(|e| e.error));
    outcome.damage.extend(input.misfits());
    for account in input.stated_accounts() {
        sink.account(&account)?;
    }
    // Reading has an account of its own only to tell where something was not taken on.
    for account in outcome.accounts.iter().filter(|a| a.dropped_total() > 0) {
        sink.account(account)?;
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
