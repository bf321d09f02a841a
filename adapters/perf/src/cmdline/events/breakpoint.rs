//! `mem:ADDRESS[/LENGTH][:rwx]`.

use super::terms::number;
use super::{Event, EventError};
use crate::uapi::PERF_TYPE_BREAKPOINT;

const READ: u32 = 1;
const WRITE: u32 = 2;
const EXECUTE: u32 = 4;

/// Parses what follows `mem:`, up to the end of the event. Gives the event and
/// the number of bytes used.
pub(super) fn parse(text: &str, at: usize) -> Result<(Event, usize), EventError> {
    let end = text.find([',', '}']).unwrap_or(text.len());
    let body = &text[..end];
    let rest = &body["mem:".len()..];
    let mut parts = rest.splitn(3, ':');
    let place = parts.next().unwrap_or_default();
    let access = parts.next();
    let modifiers = parts.next();
    let (address, length) = match place.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (place, None),
    };
    let bad = |inside: usize| EventError::parser(at + inside);
    let address = number(address).ok_or_else(|| bad("mem:".len()))?;
    let length = match length {
        Some(length) => Some(number(length).ok_or_else(|| bad("mem:".len()))?),
        None => None,
    };
    let mut kind = 0;
    let mut letters = modifiers;
    if let Some(access) = access {
        let is_access = !access.is_empty() && access.chars().all(|c| "rwx".contains(c));
        if is_access {
            for letter in access.chars() {
                let bit = match letter {
                    'r' => READ,
                    'w' => WRITE,
                    _ => EXECUTE,
                };
                if kind & bit != 0 {
                    return Err(EventError::new(at, "Invalid argument"));
                }
                kind |= bit;
            }
        } else if modifiers.is_none() && super::modifier::are_letters(access) {
            letters = Some(access);
        } else {
            return Err(bad(body.len() - access.len()));
        }
    }
    if kind == 0 {
        kind = READ | WRITE;
    }
    // As it was written, up to a length.
    let name = body.split('/').next().unwrap_or(body).to_owned();
    let mut event = Event::new(&name, PERF_TYPE_BREAKPOINT, 0);
    event.attr.bp_type = kind;
    event.attr.config1 = address;
    event.attr.config2 = length.unwrap_or(if kind == EXECUTE { 8 } else { 4 });
    event.attr.sample_period = 1;
    if let Some(letters) = letters {
        super::modifier::apply(&mut event, letters, at, false)?;
    }
    Ok((event, end))
}
