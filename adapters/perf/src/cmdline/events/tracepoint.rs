//! Names of tracepoints, globs among them.

use super::EventError;
use std::sync::OnceLock;
use tracefs::{EventName, Tracefs, glob};

/// The tracepoints of a machine, asked for when the first is named.
#[derive(Debug, Default)]
pub struct TracepointNames {
    known: OnceLock<Result<Known, String>>,
}

#[derive(Debug)]
struct Known {
    names: Vec<EventName>,
    root: String,
}

impl TracepointNames {
    /// These and no others, for tests.
    pub fn of(names: &[(&str, &str)]) -> Self {
        let names = names.iter().map(|(s, n)| EventName::new(*s, *n)).collect();
        let known = OnceLock::new();
        // Empty till now.
        let _ = known.set(Ok(Known {
            names,
            root: "/sys/kernel/tracing".into(),
        }));
        TracepointNames { known }
    }

    fn known(&self) -> Result<&Known, &String> {
        self.known
            .get_or_init(|| {
                let tracefs = Tracefs::discover().map_err(|e| e.to_string())?;
                let catalog = tracefs.events().map_err(|e| e.to_string())?;
                let mut names = catalog.names().to_vec();
                names.extend(catalog.internal().unwrap_or_default());
                Ok(Known {
                    names,
                    root: "/sys/kernel/tracing".into(),
                })
            })
            .as_ref()
    }

    /// All that `system:name` means, in the order of their names.
    pub(super) fn find(
        &self,
        system: &str,
        name: &str,
        at: usize,
    ) -> Result<Vec<(String, String)>, EventError> {
        let system = system.strip_prefix('%').unwrap_or(system);
        let unknown = |help: String| EventError {
            help,
            ..EventError::new(at, "unknown tracepoint")
        };
        let known = match self.known() {
            Ok(known) => known,
            Err(why) => {
                return Err(unknown(format!(
                    "Error:\tcannot look up tracepoints: {why}\n"
                )));
            }
        };
        let found: Vec<_> = known
            .names
            .iter()
            .filter(|t| glob::matches(system, &t.system) && glob::matches(name, &t.name))
            .map(|t| (t.system.clone(), t.name.clone()))
            .collect();
        if found.is_empty() {
            let hint = match system.starts_with("sdt_") {
                true => format!(
                    "SDT event cannot be directly recorded on.\n\tPlease first use \
                     'perf probe {system}:{name}' before recording it.\n"
                ),
                false => "Perhaps this kernel misses some CONFIG_ setting to enable this \
                          feature?.\n"
                    .to_owned(),
            };
            return Err(unknown(format!(
                "Error:\tFile {}/events/{system}/{name} not found.\nHint:\t{hint}",
                known.root
            )));
        }
        Ok(found)
    }
}
