//! Switching events on and off, filters and triggers.

use crate::events::EventName;
use crate::trace_array::TraceArray;
use crate::{Error, Result};

impl TraceArray {
    /// Begins to record an event, as soon as tracing is on.
    pub fn enable_event(&self, event: &EventName) -> Result<()> {
        self.directory.write(&event_file(event, "enable")?, "1")
    }

    /// Records an event no more.
    pub fn disable_event(&self, event: &EventName) -> Result<()> {
        self.directory.write(&event_file(event, "enable")?, "0")
    }

    /// Begins to record all events of a system, as soon as tracing is on.
    pub fn enable_system(&self, system: &str) -> Result<()> {
        let any = EventName::new(system, "enable");
        if any.is_sound() {
            self.directory.write(&any.directory(), "1")
        } else {
            Err(Error::UnknownEvent {
                wanted: system.to_owned(),
                nearest: Vec::new(),
            })
        }
    }

    /// Records no event any more.
    pub fn disable_all_events(&self) -> Result<()> {
        self.directory.write("events/enable", "0")
    }

    /// The events that are switched on (`set_event`).
    pub fn enabled_events(&self) -> Result<Vec<EventName>> {
        let text = self.directory.read("set_event")?;
        let names = text.lines().filter_map(|line| line.split_once(':'));
        // A line may go on with a tab and a module's name.
        let first_word = |s: &str| {
            s.split_ascii_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        Ok(names
            .map(|(system, name)| EventName::new(system, first_word(name)))
            .collect())
    }

    /// Records only what passes `filter`, in the kernel's language
    /// (`prev_pid > 5 && next_comm ~ "cc*"`).
    ///
    /// # Errors
    /// [`Error::Filter`] with the kernel's own words if it refuses it.
    pub fn set_filter(&self, event: &EventName, filter: &str) -> Result<()> {
        let file = event_file(event, "filter")?;
        let outcome = self.directory.write(&file, filter);
        match outcome {
            Err(Error::Write { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
                // The file then holds the filter, a caret under the place, and the message.
                let said = self.directory.read(&file).unwrap_or_default();
                // Else the kernel would go on showing the refused one.
                let _ = self.directory.write(&file, "0");
                let explanation = match said.trim_end() {
                    "" | "none" => "no explanation given".to_owned(),
                    text => text.to_owned(),
                };
                Err(Error::Filter {
                    event: event.to_string(),
                    filter: filter.to_owned(),
                    explanation,
                })
            }
            other => other,
        }
    }

    /// Takes an event's filter away.
    pub fn clear_filter(&self, event: &EventName) -> Result<()> {
        self.directory.write(&event_file(event, "filter")?, "0")
    }

    /// The filter in force, `None` for none.
    pub fn filter(&self, event: &EventName) -> Result<Option<String>> {
        let text = self.directory.read(&event_file(event, "filter")?)?;
        Ok(Some(text.trim_end())
            .filter(|t| *t != "none")
            .map(str::to_owned))
    }

    /// Adds a trigger (`stacktrace`, `traceoff if ...`, `hist:...`).
    ///
    /// # Errors
    /// [`Error::Filter`] with the error log's words if the kernel refuses it.
    pub fn add_trigger(&self, event: &EventName, trigger: &str) -> Result<()> {
        let file = event_file(event, "trigger")?;
        // What the log holds already is about something else.
        let _ = self.clear_error_log();
        match self.directory.append(&file, trigger) {
            Err(Error::Write { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
                let said = self.error_log().unwrap_or_default();
                Err(Error::Filter {
                    event: event.to_string(),
                    filter: trigger.to_owned(),
                    explanation: if said.trim().is_empty() {
                        "no explanation given".to_owned()
                    } else {
                        said.trim_end().to_owned()
                    },
                })
            }
            other => other,
        }
    }

    /// Takes a trigger away; `trigger` as it was added.
    pub fn remove_trigger(&self, event: &EventName, trigger: &str) -> Result<()> {
        self.directory
            .append(&event_file(event, "trigger")?, &format!("!{trigger}"))
    }

    /// The triggers of an event, as the kernel shows them.
    pub fn triggers(&self, event: &EventName) -> Result<Vec<String>> {
        let text = self.directory.read(&event_file(event, "trigger")?)?;
        Ok(text
            .lines()
            .filter(|l| !l.starts_with('#') && !l.is_empty())
            .map(str::to_owned)
            .collect())
    }
}

fn event_file(event: &EventName, file: &str) -> Result<String> {
    if event.is_sound() {
        Ok(format!("{}/{file}", event.directory()))
    } else {
        Err(Error::UnknownEvent {
            wanted: event.to_string(),
            nearest: Vec::new(),
        })
    }
}
