//! A program whose functions are known, recorded and drawn.

use super::{FlameForm, FlameOptions, FlameOutput, SvgOptions};
use crate::engine::request::{EventRequest, RecordRequest, Target};
use crate::engine::{Recorder, Session, Workload, plan_for};
use crate::report::Kallsyms;
use kstrace_ctf::TraceReader;
use kstrace_schema::merge::Merger;
use kstrace_schema::{Capture, ErrorKind, Sink, Source};
use std::path::Path;
use std::process::Command;

/// Spends three parts of its time in one function and one in the other.
const PROGRAM: &str = r"
volatile unsigned long sink;
__attribute__((noinline)) static void spin(unsigned long n) { while (n--) sink += n; }
__attribute__((noinline)) void often(void) { spin(1500000); sink++; }
__attribute__((noinline)) void seldom(void) { spin(500000); sink++; }
int main(void) {
    for (int i = 0; i < 60; i++) { often(); seldom(); }
    return 0;
}
";

/// `None` where the kernel does not allow it.
fn record_known_program(dir: &Path) -> Option<()> {
    let (source, program) = (dir.join("known.c"), dir.join("known"));
    std::fs::write(&source, PROGRAM).unwrap();
    let built = Command::new("cc")
        .args(["-O0", "-fno-omit-frame-pointer", "-o"])
        .args([&program, &source])
        .status()
        .expect("cc");
    assert!(built.success());
    let workload = Workload::prepare(&[program.into()]).unwrap();
    let request = RecordRequest {
        events: vec![EventRequest {
            spec: "cpu-clock".to_owned(),
            ..EventRequest::default()
        }],
        target: Target::Command {
            pid: workload.pid(),
        },
        callchain: true,
        ..RecordRequest::default()
    };
    let opened =
        plan_for(&request).and_then(|plan| Session::open(&plan, &request, Capture::default()));
    let session = match opened {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            eprintln!("skipped: {e:?}");
            return None;
        }
        opened => opened.unwrap(),
    };
    let recorder = Recorder::create(&dir.join("t.kst"), session.info()).unwrap();
    let running = session.start(Some(Box::new(recorder))).unwrap();
    assert!(workload.release().unwrap().wait().unwrap().success());
    running.stop().unwrap();
    Some(())
}

fn flame(dir: &Path, form: FlameForm) -> String {
    let mut reader = TraceReader::open(&dir.join("t.kst")).unwrap();
    let kernel = Kallsyms::of_running_kernel();
    let mut output = FlameOutput::new(Vec::new(), form, FlameOptions::default(), kernel);
    output.session(reader.session()).unwrap();
    let mut merger = Merger::new(reader.streams(&mut output).unwrap());
    while !merger.round(&mut output).unwrap().finished() {}
    merger.finish(&mut output).unwrap();
    output.finish().unwrap();
    String::from_utf8(output.into_writer()).unwrap()
}

/// Sum of the counts of the stacks that contain these frames one after the other.
fn counted(folded: &str, frames: &str) -> u64 {
    folded
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(stack, _)| format!("{stack};").contains(frames))
        .map(|(_, count)| count.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn a_known_program_has_its_known_functions() {
    let dir = tempfile::tempdir().unwrap();
    if record_known_program(dir.path()).is_none() {
        return;
    }
    let folded = flame(dir.path(), FlameForm::Folded);
    let (often, seldom) = (
        counted(&folded, ";main;often;"),
        counted(&folded, ";main;seldom;"),
    );
    let all = counted(&folded, "");
    assert!(all > 50, "{folded}");
    assert!(
        (often + seldom) * 10 >= all * 8,
        "{often} and {seldom} of {all}: {folded}"
    );
    assert!(
        (seldom * 2..=seldom * 5).contains(&often),
        "{often} and {seldom}, three to one: {folded}"
    );
    assert!(counted(&folded, "known;") == all, "{folded}");

    let svg = flame(dir.path(), FlameForm::Svg(SvgOptions::default()));
    let title = format!("<title>often ({often} samples, ");
    assert!(svg.contains(&title), "{title}: {svg}");
    if let Some(keep) = std::env::var_os("KSTRACE_KEEP_FLAME") {
        std::fs::write(keep, svg).unwrap();
    }
}
