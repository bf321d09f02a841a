//! trace.dat: the file format of `trace-cmd`.
