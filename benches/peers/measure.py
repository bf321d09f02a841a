"""One run of one tracer over one load, and what it cost whom."""

import json
import mmap
import os
import shutil
import subprocess
import sys
import time

from tracers import count_marked, size_bytes

WORK_CPU, TRACER_CPU = 1, 0


def busy_share(seconds=0.2):
    """How busy the whole machine is with other things, 0 to 1."""
    def read():
        with open("/proc/stat") as f:
            fields = [int(x) for x in f.readline().split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = read()
    time.sleep(seconds)
    total_after, idle_after = read()
    return round(1 - (idle_after - idle) / max(1, total_after - total), 2)


def warm(megabytes=768):
    """Touches memory and gives it back: a virtual machine's host may have taken the free pages,
    and the first touch of each would be charged to whichever tracer comes first."""
    with mmap.mmap(-1, megabytes << 20) as memory:
        for at in range(0, len(memory), 4096):
            memory[at] = 1


def before_neighbours(nice):
    """Lets this script and all it starts go before compilers and the like."""
    os.nice(nice)
    try:  # nice works within one autogroup; a session of our own has one of its own
        os.setsid()
        with open("/proc/self/autogroup", "w") as f:
            f.write(str(nice))
    except OSError as problem:
        print("autogroup:", problem, file=sys.stderr)


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.unlink(path)


def run(tracer, scenario, n, load_binary, out_dir):
    """A dictionary of figures; raises where the tracer fails."""
    report = os.path.join(out_dir, "load.json")
    output = os.path.join(out_dir, tracer.output)
    remove(report)
    remove(output)
    load = [load_binary, "--n", str(n), "--cpu", str(WORK_CPU), "--json", report, *scenario.load]
    argv = tracer.argv(scenario.event, out_dir, scenario.everybody, load)
    busy = busy_share()
    warm()
    cpu = WORK_CPU if tracer.name == "untraced" else TRACER_CPU
    messages = os.path.join(out_dir, "messages.txt")
    with open(messages, "wb") as log:
        begin = time.monotonic_ns()
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=dict(os.environ, LC_ALL="C", PERF_BUILDID_DIR=os.path.join(out_dir, "buildid")),
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        elapsed_ns = time.monotonic_ns() - begin
    if tracer.after:
        tracer.after()
    if process.returncode != 0:
        with open(messages, errors="replace") as f:
            raise RuntimeError(f"{argv[0]}: status {process.returncode}: {f.read()[-600:]}")
    with open(report) as f:
        load_figures = json.load(f)
    tree_cpu_ns = int((usage.ru_utime + usage.ru_stime) * 1e9)
    figures = dict(
        tracer=tracer.name, scenario=scenario.name, n=n, busy=busy, elapsed_ns=elapsed_ns,
        tracer_cpu_ns=tree_cpu_ns - load_figures["total_cpu_ns"], rss_kib=usage.ru_maxrss,
        wakeups=usage.ru_nvcsw, load=load_figures, out_bytes=size_bytes(output))
    if scenario.marked and figures["out_bytes"]:
        figures["captured"] = count_marked(output)
    remove(output)
    return figures
