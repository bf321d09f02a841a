//! Tracers: function, function_graph and the others.

use crate::trace_array::TraceArray;
use crate::{Error, Result};

impl TraceArray {
    /// The tracers that this trace array can use (`available_tracers`).
    pub fn available_tracers(&self) -> Result<Vec<String>> {
        let text = self.directory.read("available_tracers")?;
        Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
    }

    /// The tracer in use, `nop` for none.
    pub fn current_tracer(&self) -> Result<String> {
        Ok(self.directory.read("current_tracer")?.trim().to_owned())
    }

    /// Chooses the tracer; `nop` for none.
    ///
    /// Instances have `function` since Linux 3.15, `function_graph` since 6.11.
    pub fn set_current_tracer(&self, name: &str) -> Result<()> {
        self.directory
            .write("current_tracer", name)
            .map_err(|e| match self.available_tracers() {
                Ok(offered) if !offered.iter().any(|t| t == name) => Error::NotOffered {
                    what: "tracer",
                    wanted: name.to_owned(),
                    offered,
                },
                _ => e.or_hint("this kernel may not allow the tracer in an instance"),
            })
    }

    /// Traces only functions that match one of the patterns (`set_ftrace_filter`);
    /// none for all functions.
    pub fn set_function_filters(&self, patterns: &[String]) -> Result<()> {
        self.set_function_list("set_ftrace_filter", patterns)
    }

    /// Never traces functions that match one of the patterns (`set_ftrace_notrace`).
    pub fn set_function_notrace(&self, patterns: &[String]) -> Result<()> {
        self.set_function_list("set_ftrace_notrace", patterns)
    }

    /// Graphs only functions that match one of the patterns, and what they call
    /// (`set_graph_function`). The file is there for the top level only.
    pub fn set_graph_functions(&self, patterns: &[String]) -> Result<()> {
        self.set_function_list("set_graph_function", patterns)
    }

    fn set_function_list(&self, file: &str, patterns: &[String]) -> Result<()> {
        self.directory.write(file, "\n")?;
        for pattern in patterns {
            // One at a time: the error then names the pattern that nothing matches.
            self.directory
                .append(file, &format!("{pattern}\n"))
                .map_err(|e| {
                    e.or_hint("no traceable function matches; see available_filter_functions")
                })?;
        }
        Ok(())
    }
}
