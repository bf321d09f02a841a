//! What the sink writes, read by Perfetto's own protos.

mod judge;
mod live;
mod synthetic;
