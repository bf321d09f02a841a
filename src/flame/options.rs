//! What stacks are counted, and how they are shown.

/// What a stack counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    /// One for each sample.
    #[default]
    Samples,
    /// The events that the sample stands for (`PERF_SAMPLE_PERIOD`), 1 where it does not say.
    Period,
}

/// The root of each stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskLabel {
    /// The task's name: `bash`.
    #[default]
    Comm,
    /// With its process: `bash-123`.
    CommPid,
    /// With its process and thread: `bash-123/124`.
    CommTid,
}

/// How stacks are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlameOptions {
    /// The event whose samples are taken; that of the first sample with a stack if `None`.
    pub event: Option<String>,
    /// What a stack counts for.
    pub weight: Weight,
    /// The root of each stack.
    pub task: TaskLabel,
    /// Whether frames of the kernel get `_[k]` at their end.
    pub mark_kernel: bool,
    /// Whether addresses stay without names.
    pub no_symbols: bool,
}

/// How the flame graph is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct SvgOptions {
    /// The headline; made of the event's name if `None`.
    pub title: Option<String>,
    /// Width of the drawing in pixels.
    pub width_px: u32,
    /// Frames narrower than this are left out: nobody could see them.
    pub min_frame_px: f64,
    /// The outermost frames at the top, as icicles hang.
    pub inverted: bool,
}

impl Default for SvgOptions {
    fn default() -> Self {
        SvgOptions {
            title: None,
            width_px: 1200,
            min_frame_px: 0.1,
            inverted: false,
        }
    }
}

/// The form of the output.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum FlameForm {
    /// A line a stack.
    #[default]
    Folded,
    /// A flame graph: one SVG file that needs nothing else.
    Svg(SvgOptions),
}
