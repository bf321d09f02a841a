//! Print formats: compiled, rendered, and compared with the kernel's own text.

mod compile;
mod live;
mod mutation;
mod render;
