//! Recording with the running kernel's ftrace.

mod catalog;
mod hot_buffer;
mod losses;
mod plan;
mod setup;
mod source;
mod stream;
mod target;
mod timeline;
mod trace_time;

pub use plan::{EventChoice, FtracePlan, FunctionTracer, TracerKind};
pub use source::{ClockErrorBound, FtraceSource};

/// An error of the tracefs crate as one that crosses the borders between rooms.
fn border(message: impl Into<String>, error: tracefs::Error) -> kstrace_schema::Error {
    use kstrace_schema::ErrorKind as K;
    use tracefs::Error as E;
    let kind = match &error {
        _ if error.is_permission() => K::PermissionDenied,
        E::NotBuiltIn { .. } | E::NotOffered { .. } => K::Unsupported,
        E::NotMounted { .. } => K::PermissionDenied,
        E::InUse { .. } => K::ResourceExhausted,
        E::UnknownEvent { .. } => K::NotFound,
        E::Filter { .. } => K::InvalidInput,
        E::TooLong { .. } | E::Malformed { .. } | E::NotTracefs { .. } => K::InvalidData,
        _ => match error.io().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::NotFound) => K::Unsupported,
            Some(std::io::ErrorKind::OutOfMemory | std::io::ErrorKind::StorageFull) => {
                K::ResourceExhausted
            }
            Some(std::io::ErrorKind::InvalidInput) => K::InvalidInput,
            _ => K::Io,
        },
    };
    kstrace_schema::Error::with_source(kind, message, error)
}
