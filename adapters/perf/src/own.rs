//! Keeping the recorder out of its own recording.

use crate::target;

/// `common_pid` conditions that leave out these threads, runs of them as ranges.
///
/// `None` for no threads.
fn conditions(tids: &[i32]) -> Option<String> {
    let mut tids = tids.to_vec();
    tids.sort_unstable();
    tids.dedup();
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for tid in tids {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == tid => *last = tid,
            _ => ranges.push((tid, tid)),
        }
    }
    let terms: Vec<String> = ranges
        .iter()
        .map(|(first, last)| match first == last {
            true => format!("common_pid != {first}"),
            false => format!("(common_pid < {first} || common_pid > {last})"),
        })
        .collect();
    (!terms.is_empty()).then(|| terms.join(" && "))
}

/// A tracepoint filter that leaves out this process's threads, beside what the
/// user asked for. `None` where nothing is to be filtered.
pub(crate) fn filter_without_own(user: Option<&str>) -> Option<String> {
    let own = i32::try_from(std::process::id()).ok()?;
    let without = conditions(&target::threads(own).ok()?);
    match (user, without) {
        (Some(user), Some(without)) => Some(format!("({user}) && {without}")),
        (Some(user), None) => Some(user.to_owned()),
        (None, without) => without,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_threads_become_ranges() {
        assert_eq!(conditions(&[]), None);
        assert_eq!(conditions(&[7]).as_deref(), Some("common_pid != 7"));
        assert_eq!(
            conditions(&[9, 5, 6, 7, 20]).as_deref(),
            Some("(common_pid < 5 || common_pid > 7) && common_pid != 9 && common_pid != 20")
        );
    }

    #[test]
    fn the_users_filter_stays() {
        let filter = filter_without_own(Some("id == 1 || id == 2")).unwrap();
        assert!(filter.starts_with("(id == 1 || id == 2) && "), "{filter}");
    }
}
