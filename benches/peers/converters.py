#!/usr/bin/env python3
"""kstrace's converters side by side with perf, trace-cmd and babeltrace2, in interleaved rounds.

The files are made by the tools themselves, of the same load: a perf.data by perf record, a
trace.dat by trace-cmd record, a CTF trace of that perf.data by perf data convert. Every round
runs each job's peer and then kstrace on one CPU, and kstrace on all CPUs, in turn, so that a busy
neighbour hits all alike. Text goes to /dev/null; what goes to files goes to new ones.

Before the rounds each pair's lines are counted, which must agree. A ratio is the peer's CPU time
by kstrace's of the same round; a cell is the median with the least and the greatest in brackets.
Needs root, to record; with --keep the files of an earlier run are taken, which anybody can.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time

import tracers
from measure import before_neighbours, remove, warm
from tables import head, row, spread

EVENT = "raw_syscalls:sys_enter"
WORD = b"sys_enter"


class Job:
    """A conversion: the peer's command and ours, both with {input} names and {out} filled in."""

    def __init__(self, name, title, source, target, peer, ours, lines=False, output=None):
        self.name, self.title = name, title
        self.target = target  # times the peer's speed, or events a second where there is no peer
        self.source = source
        self.peer, self.ours = peer, ours
        self.lines = lines  # standard output has a line an event
        self.output = output


def all_jobs():
    convert = ["{kstrace}", "convert", "-q", "{in}"]
    text = [*convert, "-", "--to", "text"]
    return [
        Job("perf-text", "perf.data → text", "perf.data", 12,
            ["perf", "script", "-i", "{in}"], text, lines=True),
        Job("dat-text", "trace.dat → text", "trace.dat", 12,
            ["trace-cmd", "report", "-i", "{in}"], text, lines=True),
        Job("ctf-text", "CTF → text", "ctf", 12,
            ["babeltrace2", "{in}"], text, lines=True),
        Job("ctf-decode", "CTF, decoded only", "ctf", 15,
            ["babeltrace2", "{in}", "-c", "sink.utils.dummy"],
            ["{kstrace}", "info", "-v", "{in}"]),
        Job("perf-ctf", "perf.data → CTF", "perf.data", 60,
            ["perf", "data", "convert", "-i", "{in}", "--to-ctf", "{out}"],
            [*convert, "{out}", "--to", "ctf"], output="out.ctf"),
        Job("perf-json", "perf.data → JSON", "perf.data", None,
            ["perf", "data", "convert", "-i", "{in}", "--to-json", "{out}"],
            [*convert, "{out}", "--to", "jsonl"], output="out.json"),
        Job("perf-dat", "perf.data → trace.dat", "perf.data", 20e6, None,
            [*convert, "{out}", "--to", "trace.dat"], output="out.dat"),
        Job("dat-perf", "trace.dat → perf.data", "trace.dat", 20e6, None,
            [*convert, "{out}", "--to", "perf.data"], output="out.data"),
        Job("perf-kst", "perf.data → kst", "perf.data", None, None,
            [*convert, "{out}", "--to", "kst"], output="out.kst"),
        Job("kst-text", "kst → text", "kst", None, None, text, lines=True),
    ]


def make_inputs(directory, kstrace, load, n):
    """The files that are converted, by the word for their form."""
    paths = {"perf.data": "in.data", "trace.dat": "in.dat", "ctf": "in.ctf", "kst": "in.kst"}
    paths = {form: os.path.join(directory, name) for form, name in paths.items()}
    work = [load, "--n", str(n), "--mode", "syscall", "--cpu", "1"]
    quiet = dict(check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for path in paths.values():
        remove(path)
    # -B, -N: no build ids, which concern no record.
    subprocess.run(["perf", "record", "-q", "-B", "-N", "-m", "64M", "-e", EVENT,
                    "-o", paths["perf.data"], "--", *work], **quiet)
    trace_cmd = tracers.trace_cmd("trace-cmd", "-b", "65536")
    command = trace_cmd.command(EVENT, paths["trace.dat"], False, work)
    subprocess.run(command, **quiet)
    trace_cmd.after()
    subprocess.run(["perf", "data", "convert", "-i", paths["perf.data"], "--to-ctf", paths["ctf"]],
                   **quiet)
    subprocess.run([kstrace, "convert", "-q", paths["perf.data"], paths["kst"]], **quiet)
    return paths


def filled(command, **words):
    return [word if not word.startswith("{") else words[word.strip("{}")] for word in command]


def count_lines(command):
    """Lines of standard output that are of the event."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    counted = subprocess.run(["grep", "-c", WORD.decode()], stdin=process.stdout,
                             stdout=subprocess.PIPE, check=False)
    if process.wait() != 0:
        raise RuntimeError(f"{command[0]}: status {process.returncode}")
    return int(counted.stdout)


def run(command, cpus, output):
    """CPU and elapsed seconds of one run, and the most memory it had."""
    if output:
        remove(output)
        warm(512)
    begin = time.monotonic()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=dict(os.environ, LC_ALL="C"), preexec_fn=lambda: os.sched_setaffinity(0, cpus))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: status {process.returncode}")
    return dict(wall_s=time.monotonic() - begin, cpu_s=usage.ru_utime + usage.ru_stime,
                user_s=usage.ru_utime, rss_mib=usage.ru_maxrss / 1024)


def measure(jobs, paths, options):
    everywhere = os.sched_getaffinity(0)
    runs = []
    for number in range(options.rounds):
        for job in jobs:
            output = job.output and os.path.join(options.out, job.output)
            words = {"in": paths[job.source], "out": output, "kstrace": options.kstrace}
            who = [("kstrace", job.ours, {0}), ("kstrace, all CPUs", job.ours, everywhere)]
            if job.peer:
                who.insert(0, ("peer", job.peer, {0}))
            for name, command, cpus in who:
                figures = run(filled(command, **words), cpus, output)
                figures.update(job=job.name, who=name, round=number)
                runs.append(figures)
                print(f"  round {number} {job.title:<24} {name:<18} CPU {figures['cpu_s']:6.3f} s, "
                      f"elapsed {figures['wall_s']:6.3f} s, {figures['rss_mib']:5.0f} MiB",
                      file=sys.stderr, flush=True)
            if output:
                remove(output)
        with open(os.path.join(options.out, "converters.json"), "w") as f:
            json.dump(runs, f, indent=1)
    return runs


def table(jobs, runs, n):
    lines = [head("conversion", "peer, CPU s", "kstrace, CPU s", "times the peer", "wanted",
                  "elapsed s on all CPUs", "times the peer", "10^6 events/s, one CPU", "all CPUs", "MiB")]
    for job in jobs:
        def of(who, key):
            return [r[key] for r in runs if r["job"] == job.name and r["who"] == who]
        peer, ours = of("peer", "cpu_s"), of("kstrace", "cpu_s")
        one_wall, wall = of("kstrace", "wall_s"), of("kstrace, all CPUs", "wall_s")
        peer_wall = of("peer", "wall_s")
        wanted = "–" if job.target is None else (
            f"{job.target}×" if job.peer else f"{job.target / 1e6:.0f}·10^6/s")
        lines.append(row(
            job.title, spread(peer, 2), spread(ours, 3),
            spread([p / o for p, o in zip(peer, ours)], 1), wanted, spread(wall, 3),
            spread([p / o for p, o in zip(peer_wall, wall)], 1),
            spread([n / s / 1e6 for s in one_wall], 1), spread([n / s / 1e6 for s in wall], 1),
            spread(of("kstrace", "rss_mib") + of("kstrace, all CPUs", "rss_mib"))))
    return "\n".join(lines)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(os.path.dirname(here))
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(root, "target"))
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs = all_jobs()
    parser.add_argument("job", nargs="*", help="of: " + ", ".join(j.name for j in jobs))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n", type=int, default=2_000_000, help="events (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="take the files of an earlier run")
    parser.add_argument("--only-ours", action="store_true", help="without the peers")
    parser.add_argument("--kstrace", default=os.path.join(target, "release", "kstrace"))
    parser.add_argument("--load", default=os.path.join(target, "release", "kstrace-load"))
    parser.add_argument("--out", default=os.path.join(root, "target", "converters"))
    parser.add_argument("--nice", type=int, default=-10)
    options = parser.parse_args()
    unknown = set(options.job) - {j.name for j in jobs}
    if unknown:
        parser.error("no such job: " + ", ".join(sorted(unknown)))
    jobs = [j for j in jobs if not options.job or j.name in options.job]
    os.makedirs(options.out, exist_ok=True)
    inputs = os.path.join(options.out, "inputs.json")
    if options.keep:
        with open(inputs) as f:
            paths, n = json.load(f)
    else:
        if os.geteuid() != 0:
            sys.exit("converters.py: needs root")
        if not os.path.isdir(os.path.join(tracers.TRACING, "events")):
            subprocess.run(["mount", "-t", "tracefs", "nodev", tracers.TRACING], check=True)
        paths = make_inputs(options.out, options.kstrace, options.load, options.n)
        n = count_lines(["perf", "script", "-i", paths["perf.data"], "-F", "event"])
        with open(inputs, "w") as f:
            json.dump([paths, n], f)
    if options.nice:
        before_neighbours(options.nice)
    for job in jobs:
        if options.only_ours:
            job.peer = None
        words = {"in": paths[job.source], "out": None, "kstrace": options.kstrace}
        if job.lines and job.peer:
            theirs = count_lines(filled(job.peer, **words))
            ours = count_lines(filled(job.ours, **words))
            print(f"{job.title}: {theirs} lines of the peer, {ours} of kstrace", file=sys.stderr)
            if theirs != ours:
                sys.exit(f"converters.py: {job.title}: the tools do not agree")
    runs = measure(jobs, paths, options)
    print(f"\n{n} events\n\n{table(jobs, runs, n)}\n", flush=True)
    shutil.rmtree(os.path.join(options.out, "out"), ignore_errors=True)


if __name__ == "__main__":
    main()
