//! The sink that counts stacks.

use super::options::{FlameForm, FlameOptions, TaskLabel, Weight};
use super::tree::{FrameKind, StackTree};
use super::{folded, svg};
use crate::report::{Kallsyms, StackFrame, StackReader, StackTask};
use kstrace_schema::decode::FieldAccess;
use kstrace_schema::{
    ConversionReport, Error, ErrorKind, EventRecord, EventRecordClass, FileOutput, Loss, Result,
    Role, SessionInfo, Sink,
};
use std::io::Write;
use std::sync::Arc;

#[derive(Debug)]
struct ClassAccount {
    name: String,
    event: String,
    has_stack: bool,
    /// Tells of tasks, mappings, clocks or loss; no event of its own.
    bookkeeping: bool,
    period: Option<FieldAccess>,
    counted: u64,
    not_held: u64,
}

/// Writes the stacks of one event as folded stacks or as a flame graph, when all are counted.
pub struct FlameOutput<W: Write> {
    writer: W,
    form: FlameForm,
    options: FlameOptions,
    reader: StackReader,
    classes: Vec<Option<ClassAccount>>,
    /// The event whose stacks are counted.
    event: Option<String>,
    tree: StackTree,
    /// Names of one stack's frames at a time, innermost first.
    frames: Vec<(String, FrameKind)>,
    used_frames: usize,
    lost: u64,
}

impl<W: Write> std::fmt::Debug for FlameOutput<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlameOutput")
            .field("form", &self.form)
            .field("options", &self.options)
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

impl<W: Write> FlameOutput<W> {
    /// An output to `writer`, which is given all at the end. Kernel addresses are resolved by
    /// `kernel`, which must be that of the boot the trace was made in; empty if there is none.
    pub fn new(writer: W, form: FlameForm, options: FlameOptions, kernel: Kallsyms) -> Self {
        FlameOutput {
            writer,
            form,
            reader: StackReader::new(kernel, !options.no_symbols),
            classes: Vec::new(),
            event: options.event.clone(),
            options,
            tree: StackTree::new(),
            frames: Vec::new(),
            used_frames: 0,
            lost: 0,
        }
    }

    /// The writer, with everything that [`finish`](Sink::finish) has written.
    pub fn into_writer(self) -> W {
        self.writer
    }

    fn take_stack(&mut self, record: &EventRecord<'_>, weight: u64) {
        let task = self.reader.task(record);
        let (frames, used) = (&mut self.frames, &mut self.used_frames);
        let mark_kernel = self.options.mark_kernel;
        *used = 0;
        self.reader.frames(record, &task, |frame| {
            if frames.len() == *used {
                frames.push((String::new(), FrameKind::Unknown));
            }
            let (name, kind) = &mut frames[*used];
            name.clear();
            *kind = name_frame(name, &frame, mark_kernel);
            *used += 1;
        });
        let label = task_label(&task, self.options.task);
        let mut node = self.tree.child(StackTree::ROOT, &label, FrameKind::Task);
        let mut deepest = node;
        for (name, kind) in self.frames[..self.used_frames].iter().rev() {
            let Some(parent) = node else { break };
            node = self.tree.child(parent, name, *kind);
            deepest = node.or(deepest);
        }
        self.tree.count(deepest.unwrap_or(StackTree::ROOT), weight);
    }
}

/// Appends what a frame is called; says of what kind it is.
fn name_frame(name: &mut String, frame: &StackFrame<'_>, mark_kernel: bool) -> FrameKind {
    let kind = match (frame.symbol, frame.in_kernel) {
        (None, _) => FrameKind::Unknown,
        (_, true) => FrameKind::Kernel,
        _ => FrameKind::User,
    };
    match (frame.symbol, frame.dso) {
        (Some(symbol), _) => push_clean(name, symbol),
        (None, Some(dso)) => {
            let file = dso.rsplit('/').next().unwrap_or(dso);
            name.push('[');
            push_clean(name, file.trim_matches(['[', ']']));
            name.push(']');
        }
        (None, None) => name.push_str("[unknown]"),
    }
    if mark_kernel && frame.in_kernel {
        name.push_str("_[k]");
    }
    kind
}

/// Appends text without what has a meaning in the form.
fn push_clean(name: &mut String, text: &str) {
    name.extend(text.chars().map(|c| match c {
        ';' => ':',
        c if c.is_control() => '?',
        c => c,
    }));
}

fn task_label(task: &StackTask, label: TaskLabel) -> String {
    let mut name = String::new();
    let comm = String::from_utf8_lossy(task.comm().unwrap_or(b"[unknown]"));
    push_clean(&mut name, &comm.replace(' ', "_"));
    let number = |id: Option<i32>| id.map_or("?".to_owned(), |id| id.to_string());
    match label {
        TaskLabel::Comm => {}
        TaskLabel::CommPid => name.push_str(&format!("-{}", number(task.pid))),
        TaskLabel::CommTid => {
            name.push_str(&format!("-{}/{}", number(task.pid), number(task.tid)));
        }
    }
    name
}

impl<W: Write> FileOutput for FlameOutput<W> {
    fn report(&self) -> ConversionReport {
        let mut report = ConversionReport {
            lost: self.lost,
            ..ConversionReport::default()
        };
        for class in self.classes.iter().flatten() {
            report.kept += class.counted;
            if class.not_held > 0 {
                *report.not_held.entry(class.name.clone()).or_default() += class.not_held;
            }
        }
        let facts = &mut report.facts_not_held;
        facts.push("all of a sample but its stack and its task's name".to_owned());
        if self.tree.cut > 0 {
            facts.push(format!("the innermost frames of {} stacks", self.tree.cut));
        }
        if self.lost > 0 && self.form == FlameForm::Folded {
            facts.push(format!("that {} records were lost", self.lost));
        }
        report
    }
}

impl<W: Write> Sink for FlameOutput<W> {
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        self.reader.session(session)
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        let index = usize::from(class.id.0);
        if self.classes.len() <= index {
            self.classes.resize_with(index + 1, || None);
        }
        let (has_stack, bookkeeping) = self.reader.class(class);
        self.classes[index] = Some(ClassAccount {
            name: class.qualified_name(),
            event: class.name.clone(),
            has_stack,
            bookkeeping,
            period: FieldAccess::by_role(&class.payload, Role::Period),
            counted: 0,
            not_held: 0,
        });
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let class = self.classes.get_mut(usize::from(record.class.0));
        let Some(class) = class.and_then(Option::as_mut) else {
            return Err(Error::new(
                ErrorKind::InvalidData,
                format!(
                    "a record of class {} at {}, which no class has",
                    record.class, record.time
                ),
            ));
        };
        self.reader.follow(record);
        let wanted = class.has_stack
            && match &self.event {
                Some(event) => *event == class.event || *event == class.name,
                None => true,
            };
        if !wanted {
            class.not_held += u64::from(!class.bookkeeping);
            return Ok(());
        }
        if self.event.is_none() {
            self.event = Some(class.event.clone());
        }
        class.counted += 1;
        let weight = match (self.options.weight, &class.period) {
            (Weight::Period, Some(period)) => period.get_u64(record.payload).unwrap_or(1),
            _ => 1,
        };
        self.take_stack(record, weight);
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.lost = self.lost.saturating_add(loss.count);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let result = match &self.form {
            FlameForm::Folded => folded::write(&self.tree, &mut self.writer),
            FlameForm::Svg(options) => {
                let about = svg::About {
                    event: self.event.as_deref(),
                    weight: self.options.weight,
                    lost: self.lost,
                };
                svg::write(&self.tree, &about, options, &mut self.writer)
            }
        };
        result
            .and_then(|()| self.writer.flush())
            .map_err(|e| Error::io("cannot write the stacks", e))
    }
}
