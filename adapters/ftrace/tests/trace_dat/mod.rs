//! trace.dat: reading, writing, and the judgement of trace-cmd.

mod damage;
mod fixture;
mod kit;
mod live;
mod made;
