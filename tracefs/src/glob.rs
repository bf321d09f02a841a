//! Patterns with `*`, `?` and `[...]`, as shells have them.

/// Whether `pattern` holds a character with a meaning of its own.
pub fn is_pattern(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// Whether `text` matches the whole of `pattern`.
///
/// `*` stands for any run of characters, `?` for any one, `[a-z]` for one of a
/// set, `[!a-z]` or `[^a-z]` for one outside. A `[` without its `]` stands for itself.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on if the last `*` has to take one more character: linear
    // retries only, never a stack of them.
    let mut retry: Option<(usize, usize)> = None;
    while let Some(&byte) = text.get(t) {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => match set(pattern.get(p..).unwrap_or_default(), byte) {
                Some((true, length)) => Some(length),
                Some((false, _)) => None,
                None => (byte == b'[').then_some(1),
            },
            Some(&literal) => (literal == byte).then_some(1),
            None => None,
        };
        match (step, retry) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((after_star, from))) => {
                retry = Some((after_star, from + 1));
                (p, t) = (after_star, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|b| *b == b'*')
}

/// Whether `byte` is in the set at the start of `pattern`, and the set's length.
fn set(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    at += usize::from(negated);
    let mut found = false;
    let first = at;
    loop {
        let low = *pattern.get(at)?;
        if low == b']' && at > first {
            return Some((found != negated, at + 1));
        }
        let high = match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some(b'-'), Some(&high)) if high != b']' => {
                at += 2;
                high
            }
            _ => low,
        };
        found |= (low..=high).contains(&byte);
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_marks_and_sets() {
        for (pattern, text, expected) in [
            ("sched_*", "sched_switch", true),
            ("sched_*", "sched", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*open*at", "sys_enter_openat", true),
            ("*open*at", "sys_enter_openat2", false),
            ("sys_?nter", "sys_enter", true),
            ("irq_[a-e]*", "irq_dance", true),
            ("irq_[!a-e]*", "irq_dance", false),
            ("a[]]b", "a]b", true),
            ("a[bc", "a[bc", true),
            ("a*b*c*d", "axxbxxcxxbxxd", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_does_not_explode() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!matches(&pattern, &"a".repeat(5000)));
    }
}
