#!/usr/bin/env python3
"""kstrace side by side with perf record and trace-cmd, in interleaved rounds.

Every round runs every tracer once, in turn, so that a busy neighbour hits all
alike. The workload runs on CPU 1, the tracer on CPU 0.

Overhead is the traced program's own CPU time for an event less that of the
untraced program in the same round. Tracer CPU is that of the tracer's process
tree less the workload's, less the tracer's for no events, for each million
events captured. Lost events are counted in the output by their mark, and not
taken from the tool. Needs root and two CPUs.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections import namedtuple

import tables
import tracers
from measure import before_neighbours, run

Scenario = namedtuple("Scenario", "name title event load n_of everybody marked table")

SCENARIOS = [
    Scenario("full", "raw_syscalls:sys_enter at full rate", "raw_syscalls:sys_enter",
             ["--mode", "syscall"], lambda n: n, False, True, tables.events_table),
    Scenario("switch", "sched:sched_switch, ping-pong over pipes, whole system", "sched:sched_switch",
             ["--mode", "switch"], lambda n: n // 5, True, False, tables.events_table),
    Scenario("modest", "raw_syscalls:sys_enter at 100,000 a second: time of one traced call",
             "raw_syscalls:sys_enter", ["--mode", "syscall", "--rate", "100000"],
             lambda n: min(n, 200_000), False, True, tables.latency_table),
    Scenario("idle", "nothing happens for 10 s", "raw_syscalls:sys_enter",
             ["--mode", "idle"], lambda n: 10_000, False, False, tables.idle_table),
]
FIXED_ROUNDS = 3  # the cost of no events varies little


def measure(scenario, chosen, options):
    runs = []
    for number in range(options.rounds):
        for tracer in chosen:
            counts = [(scenario.n_of(options.n), False)]
            if number < FIXED_ROUNDS and tracer.name != "untraced":
                counts.append((0, True))
            for n, is_fixed in counts:
                try:
                    figures = run(tracer, scenario, n, options.load, options.out)
                except RuntimeError as problem:
                    print(f"  {tracer.name}: {problem}", file=sys.stderr)
                    continue
                figures.update(round=number, fixed=is_fixed)
                runs.append(figures)
                if not is_fixed:
                    load = figures["load"]
                    print(f"  round {number} {tracer.name:<40} cpu/event "
                          f"{load.get('cpu_ns_per_event', 0):7.1f} ns, tracer "
                          f"{figures['tracer_cpu_ns'] / 1e6:8.1f} ms, captured "
                          f"{figures.get('captured', '-')} of {load['expected']}, "
                          f"busy before {figures['busy']}", file=sys.stderr, flush=True)
        with open(os.path.join(options.out, scenario.name + ".json"), "w") as f:
            json.dump(runs, f, indent=1)
    return runs


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(os.path.dirname(here))
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(root, "target"))
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", help="of: " + ", ".join(s.name for s in SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n", type=int, default=2_000_000, help="events a run (default: %(default)s)")
    parser.add_argument("--only", help="a regular expression for the tracers' names")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=COMMAND",
                        help="another tracer: a command line with {event}, {out} and {load}")
    parser.add_argument("--kstrace", default=os.path.join(target, "release", "kstrace"))
    parser.add_argument("--load", default=os.path.join(target, "release", "kstrace-load"))
    parser.add_argument("--out", default=os.path.join(root, "target", "peers"),
                        help="where traces and raw figures go")
    parser.add_argument("--nice", type=int, default=-10)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("peers.py: needs root")
    if (os.cpu_count() or 1) < 2:
        sys.exit("peers.py: needs two CPUs")
    for program in (options.kstrace, options.load):
        if not os.access(program, os.X_OK):
            sys.exit(f"peers.py: {program} is not there: cargo build --release --workspace --bins")
    unknown = set(options.scenario) - {s.name for s in SCENARIOS}
    if unknown:
        parser.error("no such scenario: " + ", ".join(sorted(unknown)))
    if not os.path.isdir(os.path.join(tracers.TRACING, "events")):
        subprocess.run(["mount", "-t", "tracefs", "nodev", tracers.TRACING], check=True)
    os.makedirs(options.out, exist_ok=True)
    if options.nice:
        before_neighbours(options.nice)

    chosen = [t for t in tracers.all_tracers(options.kstrace, options.other)
              if not options.only or t.name == "untraced" or re.search(options.only, t.name)]
    for scenario in SCENARIOS:
        if options.scenario and scenario.name not in options.scenario:
            continue
        runs = measure(scenario, chosen, options)
        print(f"\n### {scenario.title}\n\n{scenario.table(runs)}\n", flush=True)


main()
