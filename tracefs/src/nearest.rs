//! Names that are much like a mistyped one.

/// Up to `count` of `names`, those most like `wanted`, best first.
///
/// Likeness is the number of insertions, deletions, replacements and swaps of
/// neighbours; names that differ in more than a third, and that do not hold
/// `wanted` as a part, are left out.
pub fn nearest<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
    count: usize,
) -> Vec<String> {
    let wanted = wanted.to_ascii_lowercase();
    let limit = wanted.len() / 3 + 1;
    let mut found: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_ascii_lowercase();
            let distance = distance(wanted.as_bytes(), lower.as_bytes(), limit);
            // "switch" means some "sched_switch"; the shorter the name, the likelier.
            let part = (wanted.len() >= 3 && lower.contains(&wanted))
                .then(|| limit + lower.len() - wanted.len());
            distance.into_iter().chain(part).min().map(|d| (d, name))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
        .into_iter()
        .take(count)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// The edit distance (optimal string alignment), `None` if it is more than `limit`.
fn distance(a: &[u8], b: &[u8], limit: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, &y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        if row.iter().all(|d| *d > limit) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|d| *d <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_are_understood() {
        let names = [
            "sched:sched_switch",
            "sched:sched_wakeup",
            "irq:irq_handler_entry",
            "sched_ext:dump",
        ];
        assert_eq!(
            nearest("sched:sched_swicth", names, 1),
            ["sched:sched_switch"]
        );
        assert_eq!(
            nearest("SCHED:SCHED_WAKEUP", names, 1),
            ["sched:sched_wakeup"]
        );
        assert_eq!(nearest("switch", names, 3), ["sched:sched_switch"]);
        assert!(nearest("net:netif_rx", names, 3).is_empty());
        assert!(nearest("", names, 3).is_empty());
    }

    #[test]
    fn swaps_count_once() {
        assert_eq!(distance(b"swicth", b"switch", 3), Some(1));
        assert_eq!(distance(b"kitten", b"sitting", 3), Some(3));
        assert_eq!(distance(b"kitten", b"sitting", 2), None);
    }
}
