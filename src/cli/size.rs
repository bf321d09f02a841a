//! Sizes, times and numbers as people type them.

use std::time::Duration;

/// Bytes with `K`, `M` or `G` (optionally followed by `B` or `iB`), or a plain number of pages as in perf.
pub(super) fn parse_buffer_size(text: &str) -> Result<u64, String> {
    let bad = || format!("'{text}' is no size: give bytes as 512K, 64M, 1G, or a number of pages");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| bad())?;
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => {
            return number
                .checked_mul(u64::from(crate::engine::host::page_size_bytes()))
                .filter(|n| *n > 0)
                .ok_or_else(bad);
        }
        "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(bad()),
    };
    number
        .checked_mul(1 << shift)
        .filter(|n| *n > 0)
        .ok_or_else(bad)
}

/// Seconds, possibly with a fraction and `ms`, `s`, `m` or `h`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("'{text}' is no duration: give seconds as 10, 0.5, 500ms, 10s, 2m, 1h");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(bad()),
    };
    let number: f64 = digits.parse().map_err(|_| bad())?;
    Duration::try_from_secs_f64(number * unit).map_err(|_| bad())
}

/// `12345678` as `12,345,678`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Bytes with a unit: `12.3 MB`.
pub(super) fn bytes_text(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" {
                format!("{bytes} B")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_buffer_size("64M"), Ok(64 << 20));
        assert_eq!(parse_buffer_size("512KiB"), Ok(512 << 10));
        assert_eq!(
            parse_buffer_size("128"),
            Ok(128 * u64::from(crate::engine::host::page_size_bytes()))
        );
        for bad in ["", "M", "0", "12X", "99999999999999G", "-1"] {
            assert!(parse_buffer_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("0.25"), Ok(Duration::from_millis(250)));
        for bad in ["", "s", "-1", "1d", "1e99"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1234), "1,234");
        assert_eq!(grouped(12_345_678), "12,345,678");
        assert_eq!(bytes_text(999), "999 B");
        assert_eq!(bytes_text(12_345_678), "12.3 MB");
    }
}
