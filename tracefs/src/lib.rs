//! Typed access to the Linux tracefs.
//!
//! [`Tracefs::discover`] finds it, also where it is not mounted;
//! [`Tracefs::create_instance`] makes a private [`Instance`] that goes when it
//! is dropped; its [`TraceArray`] operations choose events, filters, pids,
//! clocks, tracers and buffer sizes; [`RawPipe`] gives the ring's pages, which
//! [`PageLayout::page`] decodes without any input or output of its own.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tracefs = tracefs::Tracefs::discover()?;
//! let layout = tracefs.page_layout()?;
//! let instance = tracefs.create_instance("example")?;
//! for event in tracefs.events()?.find("sched:sched_sw*")? {
//!     instance.enable_event(&event)?;
//! }
//! instance.set_tracing_on(true)?;
//! std::thread::sleep(std::time::Duration::from_millis(10));
//! let pipe = instance.open_raw_pipe(0)?;
//! let mut room = vec![0; instance.sub_buffer_size_bytes()?];
//! while let Some(length) = pipe.read_sub_buffer(&mut room)? {
//!     let page = layout.page(&room[..length]).ok_or("cut")?;
//!     for event in page.events() {
//!         println!("{} {} bytes", event.time_raw, event.data.len());
//!     }
//! }
//! # Ok(()) }
//! ```

mod detached;
pub mod digits;
mod directory;
mod error;
mod event_control;
mod events;
pub mod format;
pub mod glob;
mod instance;
mod mounts;
mod nearest;
mod owner;
mod page;
mod page_format;
mod page_layout;
mod page_writer;
mod pids;
pub mod print_fmt;
mod raw_pipe;
mod root;
mod stats;
mod top_level;
mod trace_array;
mod tracers;

pub use error::{Error, Result};
pub use events::{EventCatalog, EventName};
pub use instance::Instance;
pub use nearest::nearest;
pub use page::{Events, Missed, Page, PageFault, PageFaultKind, Position, RawEvent};
pub use page_layout::{Endian, PageLayout, PageLayoutError};
pub use page_writer::PageWriter;
pub use raw_pipe::RawPipe;
pub use root::{Origin, Tracefs};
pub use stats::{CpuStats, StatsFile, StatsTime};
pub use top_level::TopLevel;
pub use trace_array::{TraceArray, TraceClocks};
