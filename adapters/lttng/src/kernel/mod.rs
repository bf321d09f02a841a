//! Recording with LTTng's kernel modules.
//!
//! The modules are driven through their own kernel ABI, on `/proc/lttng`, with a
//! session of our own: LTTng's session daemon need not run, and is not disturbed
//! where it does, since sessions know nothing of each other. Only root can do it.
//!
//! - [`Tracer`] is `/proc/lttng`: versions, and what can be recorded.
//! - [`KernelPlan`] says what to record, [`KernelSource`] records it.

mod abi;
mod context;
mod ioctl;
mod list;
mod mapping;
mod metadata;
mod names;
mod plan;
mod ring;
mod session;
mod source;
mod stream;
mod tracer;

pub use context::{ContextKind, context_names};
pub use names::{Chosen, choose};
pub use plan::KernelPlan;
pub use source::KernelSource;
pub use tracer::{Tracer, Version};
