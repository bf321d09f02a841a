//! How the clocks of two traces relate, where that is known.

use kstrace_schema::{ClockDescriptor, ClockKind, Error, ErrorKind, Result};

/// What to add to the times of one trace to get those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// Nanoseconds.
    pub offset_ns: i64,
    /// How it is known.
    pub relation: Relation,
}

/// How an offset is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is the same clock of the same boot.
    SameClock,
    /// Both state what their clock is apart from the wall clock. As exact as those statements are:
    /// the wall clock may have been set or slewed between the two recordings.
    ThroughWallClock,
    /// The user said so.
    Asserted,
}

impl Relation {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Relation::SameClock => "the same clock",
            Relation::ThroughWallClock => "through the wall clock that both state",
            Relation::Asserted => "as asserted",
        }
    }
}

/// What must be added to times of `from` to get times of `to`.
///
/// # Errors
/// `ErrorKind::Unsupported` where the traces do not say enough: nothing is guessed.
pub fn relate(from: &ClockDescriptor, to: &ClockDescriptor) -> Result<ClockOffset> {
    if same_clock(from, to) {
        return Ok(ClockOffset {
            offset_ns: 0,
            relation: Relation::SameClock,
        });
    }
    let (Some(a), Some(b)) = (wall_clock_offset(from), wall_clock_offset(to)) else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "nothing relates the clock {} to the clock {}: record both with one clock \
                 (perf record -k mono, trace-cmd record -C mono), or say what must be added with --offset",
                shown(from),
                shown(to)
            ),
        ));
    };
    let offset_ns = a.checked_sub(b).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidData,
            format!("the clocks' offsets {a} and {b} to the wall clock lie too far apart"),
        )
    })?;
    Ok(ClockOffset {
        offset_ns,
        relation: Relation::ThroughWallClock,
    })
}

fn same_clock(a: &ClockDescriptor, b: &ClockDescriptor) -> bool {
    if a.kind != b.kind || a.counts_per_s != b.counts_per_s {
        return false;
    }
    match a.kind {
        // One for all machines and boots.
        ClockKind::Realtime | ClockKind::Tai => true,
        // Which clock it is only its name tells, and that of `local` is of one CPU only.
        ClockKind::Foreign => false,
        ClockKind::Sched => {
            same_boot(a, b)
                && [a, b]
                    .iter()
                    .all(|c| c.native_name.as_deref() != Some("local"))
        }
        _ => same_boot(a, b),
    }
}

fn same_boot(a: &ClockDescriptor, b: &ClockDescriptor) -> bool {
    !a.boot_id.is_empty() && a.boot_id == b.boot_id
}

/// What must be added to get nanoseconds since 1970; `None` if it is not known.
fn wall_clock_offset(clock: &ClockDescriptor) -> Option<i64> {
    if clock.counts_per_s.is_some() {
        return None;
    }
    match clock.kind {
        ClockKind::Realtime => Some(0),
        _ if clock.offset_to_realtime_ns != 0 => Some(clock.offset_to_realtime_ns),
        _ => None,
    }
}

fn shown(clock: &ClockDescriptor) -> String {
    let name = clock.native_name.as_ref().map_or_else(
        || clock.kind.to_string(),
        |n| format!("{} ({n})", clock.kind),
    );
    if clock.boot_id.is_empty() {
        format!("{name} of an unknown boot")
    } else {
        format!("{name} of boot {}", clock.boot_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(kind: ClockKind, boot: &str, offset: i64) -> ClockDescriptor {
        ClockDescriptor {
            kind,
            native_name: None,
            counts_per_s: None,
            recorded_with: None,
            mapping_error_bound_ns: 0,
            offset_to_realtime_ns: offset,
            boot_id: boot.to_owned(),
        }
    }

    #[test]
    fn one_clock_of_one_boot_needs_nothing() {
        let a = clock(ClockKind::Monotonic, "b", 5);
        let b = clock(ClockKind::Monotonic, "b", 9);
        let found = relate(&a, &b).unwrap();
        assert_eq!(found.offset_ns, 0);
        assert_eq!(found.relation, Relation::SameClock);
    }

    #[test]
    fn different_clocks_meet_at_the_wall_clock() {
        let a = clock(ClockKind::Monotonic, "b", 1_000);
        let b = clock(ClockKind::Boottime, "b", 400);
        assert_eq!(relate(&a, &b).unwrap().offset_ns, 600);
        assert_eq!(relate(&b, &a).unwrap().offset_ns, -600);
        let wall = clock(ClockKind::Realtime, "", 0);
        assert_eq!(relate(&a, &wall).unwrap().offset_ns, 1_000);
    }

    #[test]
    fn nothing_is_guessed() {
        let known = clock(ClockKind::Monotonic, "b", 1_000);
        let unknown_boot = clock(ClockKind::Monotonic, "", 0);
        let mut local = clock(ClockKind::Sched, "b", 0);
        local.native_name = Some("local".to_owned());
        let sched = clock(ClockKind::Sched, "b", 0);
        let foreign = clock(ClockKind::Foreign, "b", 0);
        for (a, b) in [
            (&known, &unknown_boot),
            (&unknown_boot, &unknown_boot),
            (&local, &sched),
            (&foreign, &foreign),
            (&sched, &known),
        ] {
            let error = relate(a, b).unwrap_err();
            assert!(error.to_string().contains("--offset"), "{error}");
        }
        assert_eq!(relate(&sched, &sched).unwrap().offset_ns, 0);
    }
}
