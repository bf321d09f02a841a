//! The grammar of lists, groups and events.

use super::terms::{Meaning, RawTerm, meaning, number, split, unknown, unknown_to_tracepoints};
use super::{Event, EventError, Machine, Term, breakpoint, modifier};
use crate::event::{EventKind, known};
use crate::uapi::*;

/// Parses the value of one `-e`. `nth` tells it from others, `groups` counts groups.
///
/// # Errors
/// Where and why, in perf's words.
pub fn parse(
    list: &str,
    machine: &Machine,
    nth: u32,
    groups: &mut u32,
) -> Result<Vec<Event>, EventError> {
    let mut parser = Parser {
        list,
        at: 0,
        machine,
        nth,
        element: 0,
    };
    let mut events = Vec::new();
    loop {
        parser.skip_blanks();
        if parser.rest().starts_with('{') {
            parser.group(&mut events, groups)?;
        } else {
            events.extend(parser.event()?);
        }
        parser.skip_blanks();
        match parser.next_char() {
            None => return Ok(events),
            Some(',') => parser.at += 1,
            Some('}') => return Err(EventError::parser(0)),
            Some(_) => return Err(EventError::parser(parser.at)),
        }
    }
}

struct Parser<'a> {
    list: &'a str,
    at: usize,
    machine: &'a Machine,
    nth: u32,
    element: u32,
}

/// More events than this are a mistake or an attack.
const MAX_EVENTS: usize = 1 << 16;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.list[self.at..]
    }

    fn next_char(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn group(&mut self, events: &mut Vec<Event>, groups: &mut u32) -> Result<(), EventError> {
        self.at += 1;
        *groups += 1;
        let first = events.len();
        loop {
            self.skip_blanks();
            events.extend(self.event()?);
            self.skip_blanks();
            match self.next_char() {
                Some(',') => self.at += 1,
                Some('}') => {
                    self.at += 1;
                    break;
                }
                // perf takes a group that is not closed for closed.
                None => break,
                Some(_) => return Err(EventError::parser(self.at)),
            }
            if events.len() > MAX_EVENTS {
                return Err(EventError::new(self.at, "too many events"));
            }
        }
        let letters = self.modifiers()?;
        for event in &mut events[first..] {
            event.group = Some(*groups);
            if let Some((letters, at)) = letters {
                modifier::apply(event, letters, at, true)?;
            }
        }
        Ok(())
    }

    /// `:letters` if that is what comes next.
    fn modifiers(&mut self) -> Result<Option<(&'a str, usize)>, EventError> {
        let Some(rest) = self.rest().strip_prefix(':') else {
            return Ok(None);
        };
        let end = rest.find([',', '}', ':', ' ']).unwrap_or(rest.len());
        let letters = &rest[..end];
        if !letters.is_empty() && !modifier::are_letters(letters) {
            return Err(EventError::parser(self.at));
        }
        let at = self.at + 1;
        self.at = at + end;
        if self.next_char() == Some(':') {
            return Err(EventError::parser(at));
        }
        Ok(Some((letters, at)))
    }

    /// One element of the list: one event, or all that a glob means.
    fn event(&mut self) -> Result<Vec<Event>, EventError> {
        self.element += 1;
        let start = self.at;
        let rest = self.rest();
        if rest.starts_with("mem:") {
            let (event, used) = breakpoint::parse(rest, start)?;
            self.at += used;
            return Ok(self.originating(vec![event]));
        }
        let end = rest
            .find([',', ':', '/', '{', '}', ' '])
            .unwrap_or(rest.len());
        let word = &rest[..end];
        if word.is_empty() {
            return Err(EventError::parser(
                start.max(usize::from(start == 0 && rest.is_empty())),
            ));
        }
        if ["duration_time", "user_time", "system_time"].contains(&word) {
            return Err(EventError::real_perf(format!("event '{word}'")));
        }
        if [".c", ".o", ".bpf"].iter().any(|e| word.ends_with(e)) {
            return Err(EventError::real_perf(format!("BPF program '{word}'")));
        }
        self.at += end;
        let mut events = match self.next_char() {
            Some('/') => vec![self.with_terms(word, start)?],
            Some(':') if known(word).is_none() => self.with_colon(word, start)?,
            _ => vec![self.symbol(word, start)?],
        };
        // What a tracepoint or a number took is behind us; these are of every kind.
        if events.iter().all(|e| e.tracepoint.is_none())
            && let Some((letters, at)) = self.modifiers_of_event(start)?
        {
            for event in &mut events {
                modifier::apply(event, letters, at, false)?;
            }
        }
        // The name is what was written, unless a term said another one.
        for event in &mut events {
            if event.name.is_empty() {
                self.list[start..self.at].clone_into(&mut event.name);
            }
        }
        Ok(self.originating(events))
    }

    /// Modifiers follow a colon, or the closing slash at once.
    fn modifiers_of_event(&mut self, start: usize) -> Result<Option<(&'a str, usize)>, EventError> {
        if self.next_char() == Some(':') {
            return self.modifiers();
        }
        let behind_slash = self.list[start..self.at].ends_with('/');
        let rest = self.rest();
        let end = rest.find([',', '}', ' ']).unwrap_or(rest.len());
        if !behind_slash || end == 0 {
            return Ok(None);
        }
        let (letters, at) = (&rest[..end], self.at);
        if !modifier::are_letters(letters) {
            return Err(EventError::parser(at));
        }
        self.at += end;
        Ok(Some((letters, at)))
    }

    fn originating(&self, mut events: Vec<Event>) -> Vec<Event> {
        for event in &mut events {
            event.origin = (self.nth, self.element);
        }
        events
    }

    fn of_kind(kind: &EventKind) -> Option<Event> {
        let (kind, config) = match kind {
            EventKind::Software(c) => (PERF_TYPE_SOFTWARE, *c),
            EventKind::Hardware(c) => (PERF_TYPE_HARDWARE, *c),
            EventKind::HwCache(c) => (PERF_TYPE_HW_CACHE, *c),
            EventKind::Raw(c) => (PERF_TYPE_RAW, *c),
            EventKind::Tracepoint { .. } => return None,
        };
        let mut event = Event::new("", kind, config);
        if (kind, config) == (PERF_TYPE_SOFTWARE, PERF_COUNT_SW_BPF_OUTPUT) {
            event.attr.sample_period = 1;
            event.attr.sample_type =
                PERF_SAMPLE_TIME | PERF_SAMPLE_CPU | PERF_SAMPLE_PERIOD | PERF_SAMPLE_RAW;
        }
        Some(event)
    }

    /// A name alone.
    fn symbol(&self, word: &str, start: usize) -> Result<Event, EventError> {
        if let Some(event) = known(word).as_ref().and_then(Self::of_kind) {
            return Ok(event);
        }
        let Some(pmu) = self.machine.pmus.with_event(word) else {
            return Err(EventError::parser(start));
        };
        let number = self.machine.pmus.number(&pmu);
        let mut event = Event::new("", number.ok_or_else(|| EventError::parser(start))?, 0);
        self.named_event(&pmu, word, start, &mut event, 0)?;
        Ok(event)
    }

    /// `system:event[:modifiers]` or `type:config`.
    fn with_colon(&mut self, word: &str, start: usize) -> Result<Vec<Event>, EventError> {
        let rest = &self.rest()[1..];
        let end = rest.find([',', ':', '/', '}', ' ']).unwrap_or(rest.len());
        let name = &rest[..end];
        if let (Some(kind), Some(config)) = (number(word), number(name)) {
            let kind = u32::try_from(kind).map_err(|_| EventError::parser(start))?;
            self.at += 1 + end;
            return Ok(vec![Event::new("", kind, config)]);
        }
        if name.is_empty() || word.starts_with('*') {
            return Err(EventError::parser(start));
        }
        let found = self.machine.tracepoints.find(word, name, start)?;
        self.at += 1 + end;
        let mut terms = Vec::new();
        if self.next_char() == Some('/') {
            let (text, at) = self.between_slashes()?;
            for term in split(text, at)? {
                match meaning(&term)? {
                    Meaning::Record(Term::Period(_) | Term::Frequency(_) | Term::Time(_)) => {
                        return Err(unknown_to_tracepoints(term.at));
                    }
                    Meaning::Record(term) => terms.push(term),
                    Meaning::RealPerf => {
                        return Err(EventError::real_perf(format!("term '{}'", term.key)));
                    }
                    _ => return Err(unknown_to_tracepoints(term.at)),
                }
            }
        }
        let letters = self.modifiers_of_event(start)?;
        let mut events = Vec::with_capacity(found.len());
        for (system, name) in found {
            // Unlike other events, named without modifiers.
            let mut event = Event::new(&format!("{system}:{name}"), PERF_TYPE_TRACEPOINT, 0);
            event.attr.sample_period = 1;
            event.attr.sample_type =
                PERF_SAMPLE_RAW | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU | PERF_SAMPLE_PERIOD;
            event.tracepoint = Some((system, name));
            event.terms.clone_from(&terms);
            if let Some((letters, at)) = letters {
                modifier::apply(&mut event, letters, at, false)?;
            }
            events.push(event);
        }
        Ok(events)
    }

    /// The text between this slash and the next; goes behind it.
    fn between_slashes(&mut self) -> Result<(&'a str, usize), EventError> {
        let at = self.at + 1;
        let rest = &self.list[at..];
        let end = rest.find('/').ok_or_else(|| EventError::parser(self.at))?;
        self.at = at + end + 1;
        Ok((&rest[..end], at))
    }

    /// `name/terms/`: one of perf's own names, or a PMU.
    fn with_terms(&mut self, word: &str, start: usize) -> Result<Event, EventError> {
        let (text, at) = self.between_slashes()?;
        let pmus = &self.machine.pmus;
        let (mut event, pmu) = match known(word).as_ref().and_then(Self::of_kind) {
            Some(event) => (event, None),
            None => {
                let number = pmus.number(word).ok_or_else(|| {
                    EventError::new(
                        start,
                        "Cannot find PMU `".to_owned() + word + "'. Missing kernel support?",
                    )
                })?;
                (Event::new("", number, 0), Some(word))
            }
        };
        if ["intel_pt", "intel_bts", "cs_etm", "arm_spe_0", "hisi_ptt"].contains(&word) {
            return Err(EventError::real_perf(format!("PMU '{word}'")));
        }
        for term in split(text, at)? {
            self.term(&term, pmu, &mut event)?;
        }
        Ok(event)
    }

    fn term(
        &self,
        term: &RawTerm<'_>,
        pmu: Option<&str>,
        event: &mut Event,
    ) -> Result<(), EventError> {
        match meaning(term)? {
            Meaning::Record(term) => event.terms.push(term),
            Meaning::Name(name) => event.name = name,
            Meaning::Config(0, value) => event.attr.config = value,
            Meaning::Config(1, value) => event.attr.config1 = value,
            Meaning::Config(2, value) => event.attr.config2 = value,
            Meaning::Config(_, value) => event.attr.config3 = value,
            Meaning::RealPerf => {
                return Err(EventError::real_perf(format!("term '{}'", term.key)));
            }
            Meaning::Other => {
                let Some(pmu) = pmu else {
                    return Err(unknown(term.at));
                };
                self.pmu_term(pmu, term, event, 0)?;
            }
        }
        Ok(())
    }

    fn pmu_term(
        &self,
        pmu: &str,
        term: &RawTerm<'_>,
        event: &mut Event,
        depth: u8,
    ) -> Result<(), EventError> {
        if term.value.is_none() && self.machine.pmus.event(pmu, term.key).is_some() {
            return self.named_event(pmu, term.key, term.at, event, depth);
        }
        let value = match term.value {
            None => 1,
            // Terms of an event that want a value from its user.
            Some("?") => return Err(EventError::new(term.at, "Required parameter not specified")),
            Some(text) => number(text).ok_or_else(|| EventError::parser(term.at))?,
        };
        match self.machine.pmus.set(pmu, term.key, value, &mut event.attr) {
            Some(true) => Ok(()),
            Some(false) => Err(EventError::new(term.at, "value too big for format")),
            None => {
                let reason = format!("unknown term '{}' for pmu '{pmu}'", term.key);
                let mut names = self.machine.pmus.terms(pmu);
                names.extend(["config,config1,config2,name,period,percore,metric-id".to_owned()]);
                Err(EventError {
                    help: format!("valid terms: {}", names.join(",")),
                    ..EventError::new(term.at, reason)
                })
            }
        }
    }

    /// A PMU's event with a name: the terms it stands for.
    fn named_event(
        &self,
        pmu: &str,
        name: &str,
        at: usize,
        event: &mut Event,
        depth: u8,
    ) -> Result<(), EventError> {
        let terms = self.machine.pmus.event(pmu, name);
        let terms = terms
            .filter(|_| depth < 4)
            .ok_or_else(|| EventError::parser(at))?;
        for term in split(&terms, 0)? {
            match meaning(&term)? {
                Meaning::Config(..) => self.term(&term, Some(pmu), event)?,
                _ => self.pmu_term(pmu, &RawTerm { at, ..term }, event, depth + 1)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmdline::events::{Pmus, Term, TracepointNames};
    use crate::uapi::flag;

    fn machine() -> Machine {
        Machine {
            tracepoints: TracepointNames::of(&[
                ("sched", "sched_switch"),
                ("sched", "sched_wakeup"),
                ("raw_syscalls", "sys_enter"),
            ]),
            pmus: Pmus::at("/nonexistent"),
        }
    }

    fn events(list: &str) -> Vec<Event> {
        parse(list, &machine(), 0, &mut 0).unwrap()
    }

    fn names(list: &str) -> Vec<String> {
        events(list).into_iter().map(|e| e.name).collect()
    }

    #[test]
    fn lists_groups_and_globs() {
        assert_eq!(names("cycles:u,cs"), ["cycles:u", "cs"]);
        assert_eq!(
            names("sched:*"),
            ["sched:sched_switch", "sched:sched_wakeup"]
        );
        assert_eq!(names("sched:sched_switch:u"), ["sched:sched_switch"]);
        let group = events("{cpu-clock,page-faults:u}:S,cs");
        assert_eq!(
            group.iter().map(|e| e.group).collect::<Vec<_>>(),
            [Some(1), Some(1), None]
        );
        assert!(group[0].sample_read && !group[2].sample_read);
        assert!(
            group[1].attr.has(flag::EXCLUDE_KERNEL) && !group[0].attr.has(flag::EXCLUDE_KERNEL)
        );
        let named = &events("cpu-clock/period=1000,name=foo/u")[0];
        assert_eq!(
            (named.name.as_str(), &named.terms[..]),
            ("foo", &[Term::Period(1000)][..])
        );
        assert!(named.attr.has(flag::EXCLUDE_KERNEL));
    }

    #[test]
    fn breakpoints_and_raw() {
        let e = &events("mem:0x1000/8:x")[0];
        assert_eq!(
            (e.attr.bp_type, e.attr.config1, e.attr.config2),
            (4, 0x1000, 8)
        );
        assert_eq!(e.name, "mem:0x1000");
        let e = &events("mem:0x1000")[0];
        assert_eq!(
            (e.attr.bp_type, e.attr.config2, e.name.as_str()),
            (3, 4, "mem:0x1000")
        );
        let e = &events("r1a8:pp")[0];
        assert_eq!(
            (e.attr.kind, e.attr.config, e.attr.precise_ip()),
            (4, 0x1a8, 2)
        );
        assert_eq!(events("1:2")[0].attr.config, 2);
    }

    #[test]
    fn mistakes_are_marked_where_perf_marks_them() {
        for (list, at, reason) in [
            ("nosuch", 0, "parser error"),
            ("", 1, "parser error"),
            ("cycles:z", 6, "parser error"),
            ("cycles:uuu", 7, "Bad modifier"),
            ("cycles:pppp", 7, "Bad modifier"),
            ("cycles}", 0, "parser error"),
            ("cycles:u:k", 7, "parser error"),
            ("cycles/foo/", 7, "unknown term"),
            ("rZZ", 0, "parser error"),
            ("sched:nosuch", 0, "unknown tracepoint"),
            ("mem:0x1000:z", 11, "parser error"),
        ] {
            let e = parse(list, &machine(), 0, &mut 0).unwrap_err();
            assert_eq!((e.at, e.reason.as_str()), (at, reason), "{list}");
        }
        let e = EventError::parser(18).shown("sched:sched_switch:q");
        assert!(
            e.starts_with("event syntax error: '..ched_switch:q'\n"),
            "{e}"
        );
    }

    #[test]
    fn any_text_is_parsed_or_refused() {
        let pieces = [
            "{", "}", ",", ":", "/", "cycles", "=", "mem:", "0x", "u", "*", " ", "é",
        ];
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    for d in pieces {
                        let _ = parse(&format!("{a}{b}{c}{d}"), &machine(), 0, &mut 0);
                    }
                }
            }
        }
    }
}
