//! The letters after an event's or a group's last colon.

use super::{Event, EventError};
use crate::attr::Attr;
use crate::uapi::flag;

const LETTERS: &str = "ukhGHpPSDIWeb";

/// Whether these are all letters of modifiers.
pub(super) fn are_letters(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| LETTERS.contains(c))
}

/// Applies modifiers to an event. A group's come on top of those of the event;
/// an event's own are all there is.
pub(super) fn apply(
    event: &mut Event,
    letters: &str,
    at: usize,
    of_group: bool,
) -> Result<(), EventError> {
    let bad = || EventError::new(at, "Bad modifier");
    for (index, letter) in letters.char_indices() {
        if letter != 'p' && letters[index + 1..].contains(letter) {
            return Err(bad());
        }
    }
    let had = if of_group { event.attr.flags } else { 0 };
    let has = |bit: u64| had & bit != 0;
    let mut user = has(flag::EXCLUDE_USER);
    let mut kernel = has(flag::EXCLUDE_KERNEL);
    let mut hv = has(flag::EXCLUDE_HV);
    let mut host = has(flag::EXCLUDE_HOST);
    let mut guest = has(flag::EXCLUDE_GUEST);
    let mut idle = has(flag::EXCLUDE_IDLE);
    let mut precise = if of_group { event.attr.precise_ip() } else { 0 };
    let mut said = of_group && (user || kernel || hv);
    let mut said_guest = of_group && event.names_guest;
    for letter in letters.chars() {
        if "ukh".contains(letter) && !std::mem::replace(&mut said, true) {
            (user, kernel, hv) = (true, true, true);
        }
        if "GH".contains(letter) && !std::mem::replace(&mut said_guest, true) {
            (guest, host) = (true, true);
        }
        match letter {
            'u' => {
                guest |= !said_guest;
                user = false;
            }
            'k' => kernel = false,
            'h' => hv = false,
            'G' => guest = false,
            'H' => host = false,
            'I' => idle = true,
            'p' => {
                precise += 1;
                guest |= !said_guest;
            }
            'P' => event.precise_max = true,
            'S' => event.sample_read = true,
            'D' => event.attr.flags |= flag::PINNED,
            'e' => event.attr.flags |= flag::EXCLUSIVE,
            'W' | 'b' => {}
            _ => return Err(EventError::parser(at)),
        }
    }
    if precise > 3 {
        return Err(bad());
    }
    event.names_guest = said_guest;
    for (on, bit) in [
        (user, flag::EXCLUDE_USER),
        (kernel, flag::EXCLUDE_KERNEL),
        (hv, flag::EXCLUDE_HV),
        (host, flag::EXCLUDE_HOST),
        (guest, flag::EXCLUDE_GUEST),
        (idle, flag::EXCLUDE_IDLE),
    ] {
        event.attr.flags &= !bit;
        if on {
            event.attr.flags |= bit;
        }
    }
    event.attr.set_precise_ip(precise);
    Ok(())
}

/// The modifiers that an attr stands for, as perf writes them behind a name of
/// its own making: `:ppH`.
pub(crate) fn suffix(attr: &Attr) -> String {
    let mut letters = String::new();
    let mut guest_excluded_by_default = false;
    if attr.has(flag::EXCLUDE_USER | flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV) {
        for (bit, letter) in [
            (flag::EXCLUDE_KERNEL, 'k'),
            (flag::EXCLUDE_USER, 'u'),
            (flag::EXCLUDE_HV, 'h'),
        ] {
            if !attr.has(bit) {
                letters.push(letter);
            }
        }
        guest_excluded_by_default = true;
    }
    for _ in 0..attr.precise_ip() {
        letters.push('p');
        guest_excluded_by_default = true;
    }
    if attr.has(flag::EXCLUDE_HOST) || attr.has(flag::EXCLUDE_GUEST) == guest_excluded_by_default {
        for (bit, letter) in [(flag::EXCLUDE_HOST, 'H'), (flag::EXCLUDE_GUEST, 'G')] {
            if !attr.has(bit) {
                letters.push(letter);
            }
        }
    }
    match letters.is_empty() {
        true => letters,
        false => format!(":{letters}"),
    }
}
