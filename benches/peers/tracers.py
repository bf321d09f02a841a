"""The tracers compared, each as a function from a workload to a command line.

perf and trace-cmd are called in the way that is best for them on the job at hand:
large buffers, no compression, and for trace-cmd only options that work where
the files of the function tracer refuse even root.
"""

import glob
import os

MARK = (0x7274736B).to_bytes(8, "little")  # first argument of kstrace-load's system calls
TRACING = "/sys/kernel/tracing"


class Tracer:
    """A tracer: how to call it, and what it leaves behind."""

    def __init__(self, name, command, output="t.out", after=None):
        self.name = name
        self.command = command  # (event, output path, whole system?, workload) -> argv
        self.output = output
        self.after = after

    def argv(self, event, out_dir, everybody, load):
        return self.command(event, os.path.join(out_dir, self.output), everybody, load)


def files_below(path):
    """The regular files of a trace, whether it is a file or a directory."""
    if os.path.isdir(path):
        return [os.path.join(d, f) for d, _, names in os.walk(path) for f in names]
    return [p for p in glob.glob(path) if os.path.isfile(p)]


def size_bytes(path):
    return sum(os.path.getsize(f) for f in files_below(path))


def count_marked(path):
    """How many of the generated system calls a trace without compression holds."""
    count = 0
    for name in files_below(path):
        tail = b""
        with open(name, "rb") as f:
            while chunk := f.read(1 << 24):
                chunk = tail + chunk
                count += chunk.count(MARK)
                # A mark cut in two by the chunk's end is found with the next one.
                tail = chunk[-(len(MARK) - 1):]
    return count


def put(file, value):
    with open(os.path.join(TRACING, file), "w") as f:
        f.write(value)


def get(file):
    with open(os.path.join(TRACING, file)) as f:
        return f.read().strip()


def top_level_state():
    """What trace-cmd leaves changed in the top-level ftrace instance."""
    clock = get("trace_clock").split("[")[1].split("]")[0]
    return {"buffer_size_kb": get("buffer_size_kb").split()[0], "trace_clock": clock}


def restore(state):
    put("events/enable", "0")
    put("tracing_on", "0")
    for file, value in state.items():
        put(file, value)
    put("trace", "")
    put("tracing_on", "1")


def untraced():
    return Tracer("untraced", lambda event, out, everybody, load: load)


def perf(name, *options):
    def command(event, out, everybody, load):
        scope = ["-a"] if everybody else []
        return ["perf", "record", "-q", "-e", event, "-o", out, *scope, *options, "--", *load]

    return Tracer(name, command, "t.perf.data")


def trace_cmd(name, *options):
    state = top_level_state()

    def command(event, out, everybody, load):
        # -d, --no-filter, -k: leave ftrace_enabled, set_ftrace_pid and set_ftrace_filter alone.
        return ["trace-cmd", "record", "-q", "-d", "--no-filter", "-k", "--compression", "none",
                "-e", event, "-o", out, *options, *load]

    return Tracer(name, command, "t.trace.dat", after=lambda: restore(state))


def kstrace(name, binary, *options):
    def command(event, out, everybody, load):
        scope = ["-a"] if everybody else []
        return [binary, "record", "-q", "-e", event, "-o", out, *scope, *options, "--", *load]

    return Tracer(name, command, "t.kst")


def other(text):
    """NAME=COMMAND LINE with {event}, {out} and {load} in it."""
    name, _, line = text.partition("=")

    def command(event, out, everybody, load):
        words = []
        for word in line.split():
            words += load if word == "{load}" else [word.format(event=event, out=out)]
        return words

    return Tracer(name, command)


def all_tracers(kstrace_binary, others):
    return [
        untraced(),
        perf("perf record", ),
        perf("perf record -m 64M", "-m", "64M"),
        trace_cmd("trace-cmd, uncompressed, 64M", "-b", "65536"),
        trace_cmd("trace-cmd, uncompressed, 64M, mono", "-b", "65536", "-C", "mono"),
        kstrace("kstrace -m 64M", kstrace_binary, "-m", "64M"),
        kstrace("kstrace -m 64M --clock tsc", kstrace_binary, "-m", "64M", "--clock", "tsc"),
        kstrace("kstrace -m 64M --source perf", kstrace_binary, "-m", "64M", "--source", "perf"),
    ] + [other(text) for text in others]
