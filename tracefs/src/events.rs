//! The events that a kernel offers, and finding them by name.

use crate::directory::Directory;
use crate::glob;
use crate::nearest::nearest;
use crate::{Error, Result};
use std::fmt;

/// The name of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventName {
    /// Its system: `sched`.
    pub system: String,
    /// Its name in there: `sched_switch`.
    pub name: String,
}

impl EventName {
    /// From its two parts.
    pub fn new(system: impl Into<String>, name: impl Into<String>) -> Self {
        EventName {
            system: system.into(),
            name: name.into(),
        }
    }

    pub(crate) fn directory(&self) -> String {
        format!("events/{}/{}", self.system, self.name)
    }

    /// Whether it can be the name of one directory in another.
    pub(crate) fn is_sound(&self) -> bool {
        [&self.system, &self.name]
            .iter()
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\0']))
    }
}

impl fmt::Display for EventName {
    /// `system:name`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.system, self.name)
    }
}

/// The events that a kernel offers, at one moment.
#[derive(Clone, Debug)]
pub struct EventCatalog {
    directory: Directory,
    names: Vec<EventName>,
}

/// `available_events` of a kernel with every driver's events is under 1 MiB.
const NAMES_LIMIT_BYTES: usize = 16 << 20;
/// The longest format file that is read.
const FORMAT_LIMIT_BYTES: usize = 1 << 20;
/// How many names an error suggests.
const SUGGESTIONS: usize = 3;

impl EventCatalog {
    pub(crate) fn read(directory: &Directory) -> Result<Self> {
        let text = directory.read_up_to("available_events", NAMES_LIMIT_BYTES)?;
        let mut names: Vec<EventName> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(system, name)| EventName::new(system, name))
            .collect();
        names.sort_unstable();
        Ok(EventCatalog {
            directory: directory.clone(),
            names,
        })
    }

    /// All events that can be enabled, sorted.
    pub fn names(&self) -> &[EventName] {
        &self.names
    }

    /// All systems, sorted.
    pub fn systems(&self) -> Vec<&str> {
        let mut systems: Vec<&str> = self.names.iter().map(|n| n.system.as_str()).collect();
        systems.dedup();
        systems
    }

    /// Whether there is such an event.
    pub fn has(&self, event: &EventName) -> bool {
        self.names.binary_search(event).is_ok()
    }

    /// The events that `pattern` means, sorted: `sched:sched_switch`, `sched:*`,
    /// `*:sys_enter`, a whole system `sched`, or a name `sched_switch` in any system.
    ///
    /// # Errors
    /// [`Error::UnknownEvent`], with the names most like it, if there is none.
    pub fn find(&self, pattern: &str) -> Result<Vec<EventName>> {
        let found: Vec<EventName> = match pattern.split_once(':') {
            Some((system, name)) => {
                self.matching(|e| glob::matches(system, &e.system) && glob::matches(name, &e.name))
            }
            None => {
                let whole_systems = self.matching(|e| glob::matches(pattern, &e.system));
                if whole_systems.is_empty() {
                    self.matching(|e| glob::matches(pattern, &e.name))
                } else {
                    whole_systems
                }
            }
        };
        if found.is_empty() {
            Err(self.unknown(pattern))
        } else {
            Ok(found)
        }
    }

    fn matching(&self, wanted: impl Fn(&EventName) -> bool) -> Vec<EventName> {
        self.names.iter().filter(|e| wanted(e)).cloned().collect()
    }

    fn unknown(&self, wanted: &str) -> Error {
        let qualified: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        let mut names = nearest(wanted, qualified.iter().map(String::as_str), SUGGESTIONS);
        if names.is_empty() {
            // A good name under the wrong system, or a system mistyped.
            let part = wanted.rsplit(':').next().unwrap_or(wanted);
            let near_name = nearest(
                part,
                self.names.iter().map(|n| n.name.as_str()),
                SUGGESTIONS,
            );
            names = qualified
                .iter()
                .filter(|q| near_name.iter().any(|n| q.rsplit(':').next() == Some(n)))
                .take(SUGGESTIONS)
                .cloned()
                .collect();
        }
        if names.is_empty() {
            names = nearest(wanted, self.systems(), SUGGESTIONS);
        }
        Error::UnknownEvent {
            wanted: wanted.to_owned(),
            nearest: names,
        }
    }

    /// The text of an event's `format` file. Also of those of the system
    /// `ftrace`, which are not listed since nobody enables them. At most 1 MiB.
    pub fn format(&self, event: &EventName) -> Result<String> {
        self.event_file(event, "format")
    }

    /// The id by which records in the ring name an event.
    pub fn id(&self, event: &EventName) -> Result<u16> {
        let text = match self.event_file(event, "id") {
            // Only events that perf can use have the file; the format has it too.
            Err(Error::UnknownEvent { .. }) => self.format(event)?,
            other => other?,
        };
        let id = text
            .lines()
            .find_map(|line| line.strip_prefix("ID:"))
            .unwrap_or(&text);
        id.trim().parse().map_err(|_| {
            let path = self.directory.shown(&event.directory());
            Error::malformed(
                &path,
                format!("the id '{}' is not a 16-bit number", id.trim()),
            )
        })
    }

    /// The kernel's own kinds of records (`ftrace:print`, `ftrace:function`,
    /// `ftrace:kernel_stack`, ...), which come without being enabled.
    pub fn internal(&self) -> Result<Vec<EventName>> {
        let names = self.directory.directories("events/ftrace")?;
        Ok(names
            .into_iter()
            .map(|name| EventName::new("ftrace", name))
            .collect())
    }

    /// The event with that id, sought in all of them: slow, for the rare case
    /// that a record names an event nobody asked for.
    pub fn with_id(&self, id: u16) -> Option<EventName> {
        let internal = self.internal().unwrap_or_default();
        internal
            .into_iter()
            .chain(self.names.iter().cloned())
            .find(|e| self.id(e).ok() == Some(id))
    }

    fn event_file(&self, event: &EventName, file: &str) -> Result<String> {
        if !event.is_sound() {
            return Err(self.unknown(&event.to_string()));
        }
        let path = format!("{}/{file}", event.directory());
        self.directory
            .read_up_to(&path, FORMAT_LIMIT_BYTES)
            .map_err(|e| {
                if e.is_not_found() {
                    self.unknown(&event.to_string())
                } else {
                    e
                }
            })
    }
}
