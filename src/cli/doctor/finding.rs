//! One thing that was looked at.

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Usable.
    Ok,
    /// Usable in part.
    Limited,
    /// There, but not for this user.
    Denied,
    /// Not there.
    Absent,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Limited => "limited",
            State::Denied => "denied",
            State::Absent => "absent",
        }
    }
}

/// What was found out about one thing.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) area: &'static str,
    pub(super) what: &'static str,
    pub(super) state: State,
    pub(super) detail: String,
    /// What would help, the least first.
    pub(super) fixes: Vec<String>,
}

impl Finding {
    pub(super) fn new(
        area: &'static str,
        what: &'static str,
        state: State,
        detail: impl Into<String>,
    ) -> Self {
        Finding {
            area,
            what,
            state,
            detail: detail.into(),
            fixes: Vec::new(),
        }
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fixes.push(fix.into());
        self
    }
}

/// A small file under /proc or /sys, without its last newline; `None` if it cannot be read.
pub(super) fn file_text(path: &str) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .map(|t| t.trim_end().to_owned())
}

/// A number in such a file.
pub(super) fn file_number(path: &str) -> Option<i64> {
    file_text(path)?.trim().parse().ok()
}
