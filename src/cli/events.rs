//! `-e` and `--filter`, which belong together by their order.

use crate::engine::request::EventRequest;
use anyhow::Result;
use clap::ArgMatches;

/// Pairs every `--filter` with the `-e` before it.
pub(super) fn event_requests(matches: &ArgMatches) -> Result<Vec<EventRequest>> {
    let indexed = |id: &str| -> Vec<(usize, String)> {
        let values = matches
            .get_many::<String>(id)
            .into_iter()
            .flatten()
            .cloned();
        matches
            .indices_of(id)
            .into_iter()
            .flatten()
            .zip(values)
            .collect()
    };
    let mut all: Vec<(usize, bool, String)> = indexed("event")
        .into_iter()
        .map(|(i, v)| (i, true, v))
        .collect();
    all.extend(indexed("filter").into_iter().map(|(i, v)| (i, false, v)));
    all.sort();

    let mut requests: Vec<EventRequest> = Vec::new();
    // How many of the requests the last -e made: its filter is for all of them.
    let mut last = 0;
    for (_, is_event, value) in all {
        if is_event {
            let more = split_list(&value).into_iter().map(one).collect::<Vec<_>>();
            last = more.len();
            requests.extend(more);
        } else if last == 0 {
            return Err(super::usage(format!(
                "--filter '{value}' comes before any -e: a filter belongs to the event before it"
            )));
        } else {
            let from = requests.len() - last;
            for request in &mut requests[from..] {
                request.filter = Some(match request.filter.take() {
                    Some(first) => format!("({first}) && ({value})"),
                    None => value.clone(),
                });
            }
        }
    }
    Ok(requests)
}

/// At commas, but not inside `/.../` or `{...}`.
fn split_list(text: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut slashed, mut braces) = (false, 0u32);
    for c in text.chars() {
        match c {
            '/' => slashed = !slashed,
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            ',' if !slashed && braces == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    parts.retain(|p| !p.is_empty());
    parts
}

fn one(spec: String) -> EventRequest {
    for (suffix, stack) in [("/stack/", true), ("/nostack/", false)] {
        if let Some(event) = spec.strip_suffix(suffix) {
            return EventRequest {
                spec: event.to_owned(),
                stack: Some(stack),
                ..EventRequest::default()
            };
        }
    }
    EventRequest {
        spec,
        ..EventRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction, Command};

    fn parse(args: &[&str]) -> Result<Vec<EventRequest>> {
        let command = Command::new("x")
            .arg(Arg::new("event").short('e').action(ArgAction::Append))
            .arg(Arg::new("filter").long("filter").action(ArgAction::Append));
        event_requests(&command.get_matches_from([&["x"], args].concat()))
    }

    #[test]
    fn a_filter_belongs_to_the_event_before_it() {
        let r = parse(&[
            "-e",
            "a:b,c:d",
            "--filter",
            "x > 1",
            "-e",
            "cpu-clock",
            "--filter",
            "y",
        ])
        .unwrap();
        assert_eq!(r.len(), 3);
        assert_eq!(r[0].filter.as_deref(), Some("x > 1"));
        assert_eq!(r[1].filter.as_deref(), Some("x > 1"));
        assert_eq!(r[2].filter.as_deref(), Some("y"));
        assert!(parse(&["--filter", "x", "-e", "a:b"]).is_err());
    }

    #[test]
    fn lists_and_terms() {
        let r = parse(&[
            "-e",
            "sched:sched_switch/stack/,cpu/event=1,umask=2/,cpu-clock/nostack/",
        ])
        .unwrap();
        assert_eq!(r[0].spec, "sched:sched_switch");
        assert_eq!(r[0].stack, Some(true));
        assert_eq!(r[1].spec, "cpu/event=1,umask=2/");
        assert_eq!((r[2].spec.as_str(), r[2].stack), ("cpu-clock", Some(false)));
    }
}
