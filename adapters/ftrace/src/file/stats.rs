//! What the kernel's counters, kept in the file, say of each buffer.

use kstrace_schema::{Certainty, Cpu, HopAccount, LossReason, SourceId};

/// The accounts of the options CPUSTAT, in their order. `source_of` knows the
/// source of the buffer of a name; the first ones are of the top buffer.
pub(super) fn accounts<'a>(
    texts: impl Iterator<Item = &'a [u8]>,
    source_of: impl Fn(&str) -> Option<SourceId>,
) -> Vec<HopAccount> {
    let mut source = source_of("");
    let mut accounts = Vec::new();
    for text in texts {
        let text = String::from_utf8_lossy(text);
        if let Some(name) = text.trim_matches(['\0', '\n']).strip_prefix("Buffer: ") {
            source = source_of(name.trim());
        } else if let Some(source) = source {
            accounts.extend(account(source, &text));
        }
    }
    accounts
}

fn account(source: SourceId, text: &str) -> Option<HopAccount> {
    let number = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim_matches(['\0', ' ']).parse::<u64>().ok()
    };
    let cpu = u32::try_from(number("CPU: ")?).ok()?;
    let mut account = HopAccount::new(source, "ftrace-buffer", Cpu(cpu));
    account.drop_records(LossReason::KernelOverwritten, number("overrun: ")?);
    account.drop_records(
        LossReason::KernelCommitOverrun,
        number("commit overrun: ").unwrap_or(0),
    );
    account.drop_records(
        LossReason::KernelRingFull,
        number("dropped events: ").unwrap_or(0),
    );
    let entries = number("entries: ").unwrap_or(0);
    account.written = entries.saturating_add(number("read events: ").unwrap_or(0));
    account.seen = account.written.saturating_add(account.dropped_total());
    // Taken before the last pages were read, and pages that were spliced away do not count as read.
    account.certainty = Certainty::AtLeast;
    Some(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_buffer_has_its_own() {
        let texts: [&[u8]; 5] = [
            b"CPU: 0\nentries: 10\noverrun: 3\ncommit overrun: 0\ndropped events: 2\nread events: 5\n\0",
            b"CPU: 1\nentries: 1\noverrun: 0\n\0",
            b"\nBuffer: foo\n\n\0",
            b"CPU: 0\nentries: 7\noverrun: 9\n\0",
            b"rubbish\0",
        ];
        let found = accounts(texts.into_iter(), |name| match name {
            "" => Some(SourceId(1)),
            "foo" => Some(SourceId(2)),
            _ => None,
        });
        let said: Vec<_> = found
            .iter()
            .map(|a| {
                (
                    a.source.0,
                    a.cpu.0,
                    a.written,
                    a.dropped_total(),
                    a.balances(),
                )
            })
            .collect();
        assert_eq!(
            said,
            [(1, 0, 15, 5, true), (1, 1, 1, 0, true), (2, 0, 7, 9, true)]
        );
    }
}
