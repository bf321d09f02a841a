//! The blocks of a metadata text.

use super::attributes::Value;
use super::lexer::Token;
use super::{DraftEvent, Parser, Result};
use crate::ir::{ClockClass, EnvValue, EventType, Type};
use crate::packet::uuid_bytes;
use std::sync::Arc;

/// Streams, events and clocks that one trace may have.
const BLOCKS_MAX: usize = 1 << 17;

impl Parser<'_> {
    pub(super) fn top_level(&mut self) -> Result<()> {
        if self.take_mark(";") || self.type_declaration()? {
            return Ok(());
        }
        let start = self.at;
        let block = match self.peek() {
            Some(Token::Word(word)) => word.clone(),
            Some(other) => {
                let found = other.shown();
                return self.fail(format!("expected a block, found {found}"));
            }
            None => return Ok(()),
        };
        if matches!(block.as_str(), "struct" | "variant" | "enum") {
            self.type_specifier()?;
            return self.expect(";");
        }
        self.at += 1;
        if self.trace.events.len() + self.trace.clocks.len() + self.trace.streams.len() > BLOCKS_MAX
        {
            return self.fail(format!("more than {BLOCKS_MAX} blocks"));
        }
        match block.as_str() {
            "trace" => self.braces(Self::trace_block)?,
            "env" => self.braces(Self::env_block)?,
            "clock" => self.braces(Self::clock_block)?,
            "stream" => self.braces(Self::stream_block)?,
            "event" => {
                let line = self.line();
                let mut event = self.braces(|p| p.event_block(line))?;
                let from = self.tokens.get(start).map_or(0, |t| t.start);
                let to = self
                    .tokens
                    .get(self.at.saturating_sub(1))
                    .map_or(from, |t| t.end);
                event.event.text = format!("{};", self.text.get(from..to).unwrap_or_default());
                self.trace.events.push(event);
            }
            // Where the tracepoints stand in the source: nothing to decode.
            "callsite" => self.braces(|p| {
                while !p.is_mark("}") {
                    p.dotted()?;
                    p.assigned()?;
                }
                Ok(())
            })?,
            other => {
                self.at -= 1;
                return self.fail(format!(
                    "unknown block '{other}', allowed are trace, env, clock, stream, event, callsite, typealias, typedef, struct, variant, enum"
                ));
            }
        }
        self.expect(";")
    }

    /// One line of a block: a type that is declared, `key := type;` or `key = value;`.
    fn line_of(
        &mut self,
        mut assign: impl FnMut(&mut Self, &str, Value) -> Result<()>,
        mut set_type: impl FnMut(&mut Self, &str, Arc<Type>) -> Result<()>,
    ) -> Result<()> {
        if self.take_mark(";") || self.type_declaration()? {
            return Ok(());
        }
        if self.is_word("struct") || self.is_word("variant") || self.is_word("enum") {
            self.type_specifier()?;
            return self.expect(";");
        }
        let key = self.dotted()?.join(".");
        if self.take_mark(":=") {
            let class = self.type_specifier()?;
            self.expect(";")?;
            return set_type(self, &key, class);
        }
        let value = self.assigned()?;
        assign(self, &key, value)
    }

    fn root(&self, key: &str, class: Arc<Type>) -> Result<Option<Arc<Type>>> {
        if class.as_struct().is_none() {
            return self.fail(format!("{key} must be a struct"));
        }
        Ok(Some(class))
    }

    fn trace_block(&mut self) -> Result<()> {
        while !self.is_mark("}") {
            self.line_of(
                |p, key, value| {
                    match key {
                        "major" => {
                            let major = p.number::<u64>(key, &value)?;
                            if major != 1 {
                                return p.fail(format!("CTF version is {major}, allowed is 1"));
                            }
                            p.trace.major = Some(major);
                        }
                        "uuid" => {
                            let uuid = value.as_text().and_then(uuid_bytes);
                            if uuid.is_none() {
                                return p.fail(format!("uuid is {}: not a UUID", value.shown()));
                            }
                            p.trace.uuid = uuid;
                        }
                        _ => {}
                    }
                    Ok(())
                },
                |p, key, class| {
                    if key == "packet.header" {
                        p.trace.packet_header = p.root(key, class)?;
                    }
                    Ok(())
                },
            )?;
        }
        Ok(())
    }

    fn env_block(&mut self) -> Result<()> {
        while !self.is_mark("}") {
            let key = self.dotted()?.join(".");
            let value = match self.assigned()? {
                Value::Number(number) => EnvValue::Integer(number),
                Value::Text(text) => EnvValue::Text(text),
                Value::Words(words) => EnvValue::Text(words.join(".")),
            };
            self.trace.env.retain(|(k, _)| *k != key);
            self.trace.env.push((key, value));
        }
        Ok(())
    }

    fn clock_block(&mut self) -> Result<()> {
        let mut clock = ClockClass::named("");
        while !self.is_mark("}") {
            self.line_of(
                |p, key, value| {
                    let text = || value.as_text().map(str::to_owned);
                    match key {
                        "name" => clock.name = text().unwrap_or_default(),
                        "uuid" => clock.uuid = text(),
                        "description" => clock.description = text(),
                        "freq" => clock.frequency_hz = p.number(key, &value)?,
                        "precision" => clock.precision = Some(p.number(key, &value)?),
                        "offset_s" => clock.offset_s = p.number(key, &value)?,
                        "offset" => clock.offset_cycles = p.number(key, &value)?,
                        "absolute" => clock.absolute = value.as_bool().unwrap_or(false),
                        _ => {}
                    }
                    Ok(())
                },
                |_, _, _| Ok(()),
            )?;
        }
        if clock.name.is_empty() {
            return self.fail("a clock needs a name");
        }
        if clock.frequency_hz == 0 {
            return self.fail("freq is 0");
        }
        if self.trace.clocks.iter().any(|c| c.name == clock.name) {
            return self.fail(format!("a second clock '{}'", clock.name));
        }
        self.trace.clocks.push(clock);
        Ok(())
    }

    fn stream_block(&mut self) -> Result<()> {
        let mut stream = crate::ir::StreamType::default();
        while !self.is_mark("}") {
            self.line_of(
                |p, key, value| {
                    if key == "id" {
                        stream.id = p.number(key, &value)?;
                    }
                    Ok(())
                },
                |p, key, class| {
                    match key {
                        "packet.context" => stream.packet_context = p.root(key, class)?,
                        "event.header" => stream.event_header = p.root(key, class)?,
                        "event.context" => stream.event_context = p.root(key, class)?,
                        _ => {}
                    }
                    Ok(())
                },
            )?;
        }
        if self.trace.streams.contains_key(&stream.id) {
            return self.fail(format!("a second stream with id {}", stream.id));
        }
        self.trace.streams.insert(stream.id, stream);
        Ok(())
    }

    fn event_block(&mut self, line: u32) -> Result<DraftEvent> {
        let mut draft = DraftEvent {
            event: EventType {
                id: 0,
                name: String::new(),
                context: None,
                fields: None,
                log_level: None,
                emf_uri: None,
                text: String::new(),
                attributes: None,
            },
            id: None,
            stream: None,
            line,
        };
        let mut context = None;
        let mut fields = None;
        while !self.is_mark("}") {
            self.line_of(
                |p, key, value| {
                    match key {
                        "name" => {
                            draft.event.name = match &value {
                                Value::Words(words) => words.join("."),
                                other => other.as_text().unwrap_or_default().to_owned(),
                            }
                        }
                        "id" => draft.id = Some(p.number(key, &value)?),
                        "stream_id" => draft.stream = Some(p.number(key, &value)?),
                        "loglevel" => draft.event.log_level = Some(p.number(key, &value)?),
                        "model.emf.uri" => {
                            draft.event.emf_uri = value.as_text().map(str::to_owned);
                        }
                        _ => {}
                    }
                    Ok(())
                },
                |p, key, class| {
                    match key {
                        "context" => context = p.root(key, class)?,
                        "fields" => fields = p.root(key, class)?,
                        _ => {}
                    }
                    Ok(())
                },
            )?;
        }
        draft.event.context = context;
        draft.event.fields = fields;
        Ok(draft)
    }
}
