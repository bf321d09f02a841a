//! The sink that writes the report.

use super::class_plan::{ClassPlan, Kind};
use super::field_plan::FieldPlan;
use super::formatters::{Format, Formatters, Shared};
use super::json::{self, FieldsJson, Object};
use super::kallsyms::Kallsyms;
use super::known::Known;
use super::options::{Column, OutputFormat, ReportOptions};
use super::symbols::Symbols;
use super::text::{self, TaskColumns};
use super::{loss, stack};
use kstrace_schema::decode::{DecodeError, walk};
use kstrace_schema::{
    Error, ErrorKind, EventRecord, EventRecordClass, Loss, Result, SessionInfo, SessionTime, Sink,
    SourceInfo, StructureClass,
};
use std::io::Write;
use std::sync::Arc;

/// Writes records as text or JSON Lines.
///
/// After the limit on records or time is reached, [`record`](Sink::record) gives
/// an error of kind `ReceiverGone`, as it does when the reader of the output has
/// gone: nothing more is wanted, and that is no failure.
pub struct Report<W: Write> {
    writer: W,
    options: ReportOptions,
    columns: Vec<Column>,
    plans: Vec<Option<Arc<ClassPlan>>>,
    /// Made with the first record, when all that lines are made by is known.
    formatters: Option<Formatters>,
    sources: Vec<SourceInfo>,
    known: Known,
    /// Bounds in ns of the session clock, known once the trace has begun.
    bounds: Option<(u64, u64)>,
    shown: u64,
    lost: u64,
    wants_losses: bool,
}

impl<W: Write> std::fmt::Debug for Report<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report")
            .field("options", &self.options)
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}

impl<W: Write> Report<W> {
    /// A report to `writer`. Kernel addresses are resolved by `kernel`, which
    /// must be that of the boot the trace was made in; empty if there is none.
    pub fn new(writer: W, options: ReportOptions, kernel: Kallsyms) -> Self {
        let events = &options.filter.events;
        Report {
            writer,
            columns: options.columns.clone().unwrap_or_default(),
            plans: Vec::new(),
            formatters: None,
            sources: Vec::new(),
            known: Known::new(kernel, options.symbols),
            bounds: None,
            shown: 0,
            lost: 0,
            wants_losses: events.is_empty()
                || events
                    .iter()
                    .any(|p| tracefs::glob::matches(p, kstrace_schema::builtin::LOST)),
            options,
        }
    }

    /// The writer, with everything written to it that [`finish`](Sink::finish) has flushed.
    pub fn into_writer(self) -> W {
        self.writer
    }

    /// Records shown so far.
    pub fn shown(&self) -> u64 {
        self.shown
    }

    /// Records that the trace says were lost, as far as it has been read.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether some of the trace's events may have stacks.
    pub fn has_stacks(&self) -> bool {
        self.plans.iter().flatten().any(|p| p.callchain.is_some())
    }

    /// Whether there are kernel symbols to resolve addresses by.
    pub fn has_kernel_symbols(&self) -> bool {
        !self.known.symbols.kernel.is_empty()
    }

    /// Hands over what has been written so far: for live output.
    ///
    /// # Errors
    /// Those of the writer; `ReceiverGone` for a broken pipe.
    pub fn flush(&mut self) -> Result<()> {
        self.turn(true)?;
        self.writer.flush().map_err(cannot_write)
    }

    /// Writes the lines that are ready, or waits for all.
    fn turn(&mut self, all: bool) -> Result<()> {
        let Some(formatters) = &mut self.formatters else {
            return Ok(());
        };
        let writer = &mut self.writer;
        formatters
            .turn(all, |lines| writer.write_all(lines))
            .map_err(cannot_write)?;
        if formatters.is_broken() {
            return Err(Error::new(
                ErrorKind::Io,
                "a thread that makes lines has died: lines are missing",
            ));
        }
        Ok(())
    }

    fn formatters(&mut self) -> &mut Formatters {
        let options = &self.options;
        let (plans, kernel) = (&self.plans, &self.known.symbols.kernel);
        self.formatters.get_or_insert_with(|| {
            let others = std::thread::available_parallelism().map_or(0, |n| n.get() - 1);
            Formatters::new(
                Shared {
                    format: format_of(options),
                    plans: Arc::new(plans.clone()),
                    kernel: Arc::clone(kernel),
                },
                others,
            )
        })
    }

    fn written(&mut self) -> Result<()> {
        self.shown += 1;
        self.turn_if_full()
    }

    fn turn_if_full(&mut self) -> Result<()> {
        if self.formatters.as_ref().is_some_and(Formatters::is_full) {
            self.turn(false)?;
        }
        Ok(())
    }

    /// Whether a time lies within the bounds; an error behind the last one.
    #[inline]
    fn in_time(&mut self, time: SessionTime) -> Result<bool> {
        let (since, until) = match self.bounds {
            Some(bounds) => bounds,
            None => {
                let filter = &self.options.filter;
                let start = time.as_ns();
                let bounds = (
                    filter.since.map_or(0, |b| b.resolve_ns(start)),
                    filter.until.map_or(u64::MAX, |b| b.resolve_ns(start)),
                );
                *self.bounds.insert(bounds)
            }
        };
        if time.as_ns() > until {
            return Err(enough());
        }
        Ok(time.as_ns() >= since)
    }

    fn source_word(&self, loss: &Loss) -> &str {
        self.sources
            .iter()
            .find(|s| s.id == loss.source)
            .map_or("kstrace", |s| s.kind.as_str())
    }

    fn show_loss(&mut self, time: SessionTime, lost: &Loss) -> Result<()> {
        self.lost = self.lost.saturating_add(lost.count);
        let cpus = &self.options.filter.cpus;
        let in_time = self
            .bounds
            .is_none_or(|(since, until)| lost.end.as_ns() >= since && lost.begin.as_ns() <= until);
        let cpu_wanted = cpus
            .as_ref()
            .is_none_or(|c| c.contains(lost.cpu) || lost.cpu.known().is_none());
        if !self.wants_losses || !cpu_wanted || !in_time {
            return Ok(());
        }
        let source = self.source_word(lost).to_owned();
        let format = self.options.format;
        self.formatters().lines(|out| match format {
            OutputFormat::Text => loss::write_text(out, lost, &source),
            OutputFormat::JsonLines => loss::write_json(out, time, lost, &source),
        });
        self.turn_if_full()
    }

    fn show(&mut self, plan: &ClassPlan, record: &EventRecord<'_>, task: &TaskColumns) {
        let usual = self.options.columns.is_none();
        let alone = match self.options.format {
            OutputFormat::Text => plan.text_stands_alone,
            OutputFormat::JsonLines => plan.callchain.is_none(),
        };
        if usual && alone {
            return self.formatters().record(plan, record, task);
        }
        self.formatters();
        let (Some(formatters), symbols) = (&mut self.formatters, &mut self.known.symbols) else {
            return;
        };
        let kernel = &Arc::clone(&symbols.kernel);
        let columns = &self.columns;
        formatters.lines(|out| match (self.options.format, usual) {
            (OutputFormat::Text, true) => {
                text::write_usual(out, plan, record, task, kernel, Some(symbols));
            }
            (OutputFormat::Text, false) => {
                text::write_columns(out, columns, plan, record, task, kernel, Some(symbols));
            }
            (OutputFormat::JsonLines, true) => {
                write_json(
                    out,
                    &USUAL_JSON,
                    true,
                    plan,
                    record,
                    task,
                    kernel,
                    Some(symbols),
                );
            }
            (OutputFormat::JsonLines, false) => {
                write_json(
                    out,
                    columns,
                    false,
                    plan,
                    record,
                    task,
                    kernel,
                    Some(symbols),
                );
            }
        });
    }

    fn one_record(&mut self, plan: &ClassPlan, record: &EventRecord<'_>) -> Result<()> {
        let payload = record.payload;
        self.known.follow(plan, payload);
        if plan.kind == Kind::Lost
            && let Some(lost) = plan.lost.as_ref().and_then(|f| f.read(payload))
        {
            return self.show_loss(record.time, &lost);
        }
        let in_time = self.in_time(record.time)?;
        let filter = &self.options.filter;
        if !plan.wanted
            || !in_time
            || filter
                .cpus
                .as_ref()
                .is_some_and(|c| !c.contains(record.cpu))
        {
            return Ok(());
        }
        let tid = plan.tid(payload);
        if !filter.tids.is_empty() && !tid.is_some_and(|t| filter.tids.contains(&t)) {
            return Ok(());
        }
        let known = tid.map(|t| self.known.tasks.get(t)).unwrap_or_default();
        let pid = plan
            .pid(payload)
            .or(if tid == Some(0) { Some(0) } else { known.pid });
        if !filter.pids.is_empty() && !pid.is_some_and(|p| filter.pids.contains(&p)) {
            return Ok(());
        }
        if self.options.limit.is_some_and(|limit| self.shown >= limit) {
            return Err(enough());
        }
        self.show(
            plan,
            record,
            &TaskColumns {
                tid,
                pid,
                comm: known.comm,
            },
        );
        self.written()
    }
}

impl<W: Write> Sink for Report<W> {
    fn session(&mut self, session: &SessionInfo) -> Result<()> {
        self.sources = session.sources.clone();
        self.known.session(session)
    }

    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        let index = usize::from(class.id.0);
        if self.plans.len() <= index {
            self.plans.resize_with(index + 1, || None);
        }
        let plan = ClassPlan::new(class, &self.options.filter, &self.columns);
        self.plans[index] = Some(Arc::new(plan));
        if let Some(formatters) = &mut self.formatters {
            formatters.set_shared(Shared {
                format: format_of(&self.options),
                plans: Arc::new(self.plans.clone()),
                kernel: Arc::clone(&self.known.symbols.kernel),
            });
        }
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let index = usize::from(record.class.0);
        // While all plans are in their places.
        self.formatters();
        // Taken out for the call, so that the rest of the report can be changed meanwhile.
        let Some(plan) = self.plans.get_mut(index).and_then(Option::take) else {
            return Err(Error::new(
                ErrorKind::InvalidData,
                format!(
                    "a record of class {} at {}, which no class has",
                    record.class, record.time
                ),
            ));
        };
        let result = self.one_record(&plan, record);
        self.plans[index] = Some(plan);
        result
    }

    fn loss(&mut self, lost: &Loss) -> Result<()> {
        self.show_loss(lost.end, lost)
    }

    fn flush(&mut self) -> Result<()> {
        Report::flush(self)
    }

    fn finish(&mut self) -> Result<()> {
        Report::flush(self)
    }
}

/// The columns of JSON Lines, all fields behind them.
const USUAL_JSON: [Column; 7] = [
    Column::Time,
    Column::Cpu,
    Column::Tid,
    Column::Pid,
    Column::Comm,
    Column::Event,
    Column::Source,
];

/// How a line is made that depends on its record only.
fn format_of(options: &ReportOptions) -> Format {
    match options.format {
        OutputFormat::Text => |out, plan, record, task, kernel| {
            text::write_usual(out, plan, record, task, kernel, None);
        },
        OutputFormat::JsonLines => |out, plan, record, task, kernel| {
            write_json(out, &USUAL_JSON, true, plan, record, task, kernel, None);
        },
    }
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::io("cannot write the report", error)
}

/// The end that was asked for.
fn enough() -> Error {
    Error::new(
        ErrorKind::ReceiverGone,
        "all that was asked for has been shown",
    )
}

#[expect(clippy::too_many_arguments, reason = "what a line is made of, once")]
fn write_json(
    out: &mut Vec<u8>,
    columns: &[Column],
    everything: bool,
    plan: &ClassPlan,
    record: &EventRecord<'_>,
    task: &TaskColumns,
    kernel: &Kallsyms,
    mut symbols: Option<&mut Symbols>,
) {
    let mut object = Object::begin(out);
    for column in columns {
        match column {
            Column::Time => object.unsigned("time_ns", record.time.as_ns()),
            Column::Cpu => {
                if let Some(cpu) = record.cpu.known() {
                    object.unsigned("cpu", cpu.0.into());
                }
            }
            Column::Tid => task
                .tid
                .into_iter()
                .for_each(|t| object.signed("tid", t.into())),
            Column::Pid => task
                .pid
                .into_iter()
                .for_each(|t| object.signed("pid", t.into())),
            Column::Comm => {
                if task.tid == Some(0) || task.comm.is_some() {
                    object.text("comm", task.name());
                }
            }
            Column::Event => object.text("event", plan.class.name.as_bytes()),
            Column::Source => object.text("source", plan.class.namespace.as_bytes()),
            Column::Text => {
                let mut line = Vec::new();
                let symbols = symbols.as_deref_mut();
                text::write_text(&mut line, plan, record, task, kernel, symbols);
                object.text("text", &line);
            }
            Column::Stack | Column::Field(_) => {}
        }
    }
    if everything {
        object.key("fields");
        if let Some(error) = write_all_fields(object.out, plan, record) {
            object.text("error", error.as_bytes());
        }
    } else if !plan.named.is_empty() {
        object.key("fields");
        write_named_fields(object.out, columns, plan, record);
    }
    if (everything || columns.contains(&Column::Stack))
        && let (Some(callchain), Some(symbols)) = (&plan.callchain, symbols)
    {
        let out = object.key("stack");
        out.push(b'[');
        let mut first = true;
        let pid = task.process();
        stack::for_each_frame(callchain, record.payload, pid, symbols, |address, frame| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            json::frame(out, address, frame);
        });
        out.push(b']');
    }
    object.end();
    out.push(b'\n');
}

/// An object of all fields; gives what is wrong if the payload is damaged.
fn write_all_fields(
    out: &mut Vec<u8>,
    plan: &ClassPlan,
    record: &EventRecord<'_>,
) -> Option<String> {
    out.push(b'{');
    let begin = out.len();
    let entry = plan.entry.as_ref().and_then(|e| e.measured(record.payload));
    let own = (&plan.class.payload, record.payload, record.rest_len_bytes);
    // The plan is for records as they nearly always are.
    let described = plan.entry.as_ref().and_then(|e| e.described());
    let planned = (described.is_some() == entry.is_some())
        .then(|| plan.fields.json(own.0, described.is_some()))
        .flatten();
    let (mut first, error) = write_fields(out, planned, own, true, entry.is_some());
    if error.is_some() {
        // Structures may be open: only what is whole can be shown, and that is nothing.
        out.truncate(begin);
        first = true;
    }
    if let Some(own) = entry {
        let before = out.len();
        let planned = described
            .filter(|regular| std::ptr::eq(*regular, own.0))
            .and_then(|regular| plan.fields.entry_json(regular));
        if write_fields(out, planned, own, first, false).1.is_some() {
            out.truncate(before);
        }
    }
    out.push(b'}');
    error.map(|e| e.to_string())
}

/// Fields as members of an object that is open. Says whether there are none yet, and what is
/// wrong if the payload is damaged.
fn write_fields(
    out: &mut Vec<u8>,
    planned: Option<&FieldPlan>,
    (class, payload, rest_len_bytes): (&StructureClass, &[u8], u16),
    first: bool,
    without_raw: bool,
) -> (bool, Option<DecodeError>) {
    let start = out.len();
    if let Some(planned) = planned {
        if !first && planned.writes_anything() {
            out.push(b',');
        }
        if planned.write(payload, rest_len_bytes, out).is_some() {
            return (first && !planned.writes_anything(), None);
        }
        out.truncate(start);
    }
    let mut visitor = FieldsJson::new(out, first, without_raw);
    let walked = walk(class, payload, rest_len_bytes, &mut visitor);
    (visitor.is_first(), walked.err())
}

fn write_named_fields(
    out: &mut Vec<u8>,
    columns: &[Column],
    plan: &ClassPlan,
    record: &EventRecord<'_>,
) {
    let mut object = Object::begin(out);
    let names = columns.iter().filter_map(|c| match c {
        Column::Field(name) => Some(name),
        _ => None,
    });
    for (name, field) in names.zip(&plan.named) {
        let Some(field) = field else { continue };
        let Some(base) = field.base(plan.entry.as_ref(), record.payload) else {
            continue;
        };
        if let Some(value) = field.access().get(base) {
            json::value(object.key(name), value);
        }
    }
    object.end();
}
