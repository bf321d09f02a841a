"""Compares a Perfetto trace with the JSON report of the trace it was made from.

    compare.py TRACE.pftrace REPORT.jsonl

The trace is read with the official protos. Every event of the report must be in it, at
the same time on the same CPU with the same fields, and nothing else; every sample with
the same thread and stack; every process; every loss. Prints what it counted as JSON.
"""

import collections
import json
import sys

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos

BOOTTIME, MONOTONIC = 6, 3
CLEARED, NEEDS = 1, 2
COMMON = ("common_type", "common_flags", "common_preempt_count", "common_pid")
# What the messages have no field for.
NOT_HELD = {
    "block:block_rq_complete": {"ioprio"},
    "block:block_rq_insert": {"ioprio"},
    "block:block_rq_issue": {"ioprio"},
    "block:block_rq_requeue": {"ioprio"},
    "sched:sched_process_exit": {"group_dead"},
    "signal:signal_deliver": {"errno", "sa_handler"},
    "signal:signal_generate": {"errno"},
}
DEVICES = ("dev", "old_dev")
SIDEBAND = ("PERF_RECORD_", "kstrace:")


def fail(message):
    sys.exit(f"compare.py: {message}")


class Sequence:
    """The interned data of one packet sequence."""

    def __init__(self):
        self.event = None
        self.valid = False
        self.clear()

    def clear(self):
        self.functions, self.paths, self.builds = {}, {}, {}
        self.mappings, self.frames, self.stacks = {}, {}, {}

    def add(self, data):
        for into, items in [
            (self.functions, data.function_names),
            (self.paths, data.mapping_paths),
            (self.builds, data.build_ids),
            (self.mappings, data.mappings),
            (self.frames, data.frames),
            (self.stacks, data.callstacks),
        ]:
            for item in items:
                if item.iid in into:
                    fail(f"interned twice: {item}")
                into[item.iid] = item

    def stack(self, iid):
        """Innermost first: path or None, offset in it, function or None."""
        frames = []
        for frame_iid in reversed(self.stacks[iid].frame_ids):
            frame = self.frames[frame_iid]
            path = None
            if frame.HasField("mapping_id"):
                (path_iid,) = self.mappings[frame.mapping_id].path_string_ids
                path = self.paths[path_iid].str.decode()
            name = None
            if frame.HasField("function_name_id"):
                name = self.functions[frame.function_name_id].str.decode()
            frames.append((path, frame.rel_pc, name))
        return frames


def user_device(kernel):
    major, minor = kernel >> 20, kernel & 0xFFFFF
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def expected_fields(name, fields):
    """The report's fields as the trace should have them; lists and structures flattened."""
    if name.startswith("syscalls:sys_enter_"):
        arguments = [v for k, v in fields.items() if k not in COMMON and k != "__syscall_nr"]
        numbers = [a & 0xFFFFFFFFFFFFFFFF for a in arguments if isinstance(a, int)]
        return {"id": fields["__syscall_nr"], "args": numbers}
    if name.startswith("syscalls:sys_exit_"):
        fields = dict(fields)
        return {"id": fields["__syscall_nr"], "ret": fields["ret"]}
    flat = {}
    for key, value in fields.items():
        if key in COMMON or key in NOT_HELD.get(name, ()):
            continue
        if key.startswith("_") and key.endswith("_loc") and isinstance(value, dict):
            continue
        flat[key] = value
    return flat


def same(key, have, want, typed):
    if key in DEVICES and typed:
        want = user_device(want)
    if isinstance(want, list) and not typed:
        return True
    if isinstance(want, int) and isinstance(have, int):
        # A uint32 field holds the bits of a negative number.
        return have == want or have == want & 0xFFFFFFFF or have == want & 0xFFFFFFFFFFFFFFFF
    if isinstance(want, list):
        return have == [w & 0xFFFFFFFFFFFFFFFF for w in want]
    if isinstance(want, bool):
        return have == int(want)
    return have == want


def event_fields(event):
    """Name, fields, whether Perfetto has a message of its own for it."""
    kind = event.WhichOneof("event")
    message = getattr(event, kind)
    if kind != "generic":
        fields = {}
        for field in message.DESCRIPTOR.fields:
            if field.is_repeated:
                fields[field.name] = list(getattr(message, field.name))
            elif message.HasField(field.name):
                fields[field.name] = getattr(message, field.name)
        return kind, fields, True
    fields = {}
    for field in message.field:
        which = field.WhichOneof("value")
        fields[field.name] = getattr(field, which) if which else None
    return message.event_name, fields, False


def main():
    trace = protos.Trace()
    with open(sys.argv[1], "rb") as file:
        trace.ParseFromString(file.read())
    with open(sys.argv[2], encoding="utf-8") as file:
        report = [json.loads(line) for line in file]

    offset = None  # boot time less monotonic
    sequences = collections.defaultdict(Sequence)
    events = collections.defaultdict(list)  # (cpu, time): (name, fields, typed, pid)
    samples = collections.defaultdict(list)  # (event, cpu, time)
    processes, threads = {}, {}
    lost_samples = lost_events = marked_bundles = 0
    stats = {}
    for packet in trace.packet:
        if not packet.trusted_packet_sequence_id:
            fail(f"a packet without sequence: {packet}")
        sequence = sequences[packet.trusted_packet_sequence_id]
        if packet.sequence_flags & CLEARED:
            sequence.clear()
            sequence.valid = True
            timebase = packet.trace_packet_defaults.perf_sample_defaults.timebase
            sequence.event = timebase.name
        if packet.sequence_flags & NEEDS and not sequence.valid:
            fail(f"needs state that was not begun: {packet}")
        sequence.add(packet.interned_data)
        kind = packet.WhichOneof("data")
        if kind == "clock_snapshot":
            clocks = {c.clock_id: c.timestamp for c in packet.clock_snapshot.clocks}
            offset = clocks[BOOTTIME] - clocks[MONOTONIC]
            if packet.clock_snapshot.primary_trace_clock != MONOTONIC:
                fail("the primary clock is another")
        elif kind == "ftrace_events":
            bundle = packet.ftrace_events
            marked_bundles += bundle.lost_events
            last = 0
            for event in bundle.event:
                if event.timestamp < last:
                    fail(f"events of CPU {bundle.cpu} out of order at {event.timestamp}")
                last = event.timestamp
                name, fields, typed = event_fields(event)
                if name == "kstrace:lost":
                    lost_events += fields["count"]
                    continue
                key = (bundle.cpu, event.timestamp - offset)
                events[key].append((name, fields, typed, event.pid))
        elif kind == "perf_sample":
            sample = packet.perf_sample
            if sample.HasField("kernel_records_lost"):
                lost_samples += sample.kernel_records_lost
                continue
            if packet.timestamp_clock_id != MONOTONIC:
                fail("a sample's time is of another clock")
            stack = sequence.stack(sample.callstack_iid) if sample.callstack_iid else []
            samples[(sequence.event, sample.cpu, packet.timestamp)].append((sample, stack))
        elif kind == "process_tree":
            for process in packet.process_tree.processes:
                processes[process.pid] = process
            for thread in packet.process_tree.threads:
                threads[thread.tid] = thread
        elif kind == "ftrace_stats":
            stats[packet.ftrace_stats.phase] = packet.ftrace_stats

    counted = collections.Counter()
    lost = 0
    for record in report:
        if "lost" in record or record.get("event") == "kstrace:lost":
            lost += record.get("lost", record.get("count", 0)) or 0
            continue
        name = record.get("event", "")
        key = (record.get("cpu", 0), record["time_ns"])
        fields = record.get("fields", {})
        if name == "kstrace:process":
            thread = threads.get(fields["tid"])
            if thread is None or thread.tgid != fields["pid"]:
                fail(f"thread {fields['tid']} is not in the process tree as it should be")
            counted["processes"] += 1
            continue
        if name.startswith(SIDEBAND):
            counted["sideband"] += 1
            continue
        is_stack = name in ("ftrace:kernel_stack", "ftrace:user_stack")
        is_tracepoint = ":" in name and not is_stack
        is_sample = "stack" in record or not is_tracepoint
        if is_sample:
            found = samples.get((name, *key), [])
            # -1 for a task that is about to vanish, which an unsigned field has as its bits.
            ids = (record.get("tid"), fields.get("pid", record.get("pid")))
            pids = tuple(i & 0xFFFFFFFF if i is not None else None for i in ids)
            for at, (sample, stack) in enumerate(found):
                if is_stack or (sample.tid, sample.pid) == pids:
                    compare_stack(record, stack)
                    del found[at]
                    break
            else:
                fail(f"no sample for {record}")
            counted["samples"] += 1
        if is_tracepoint:
            compare_event(name, record, events.get(key, []))
            counted["events"] += 1
    left = sum(map(len, events.values())) + sum(map(len, samples.values()))
    if left:
        some = [e for e in events.values() if e][:1] + [s for s in samples.values() if s][:1]
        fail(f"{left} events and samples that the report does not have, such as {some}")
    if not trace.packet or set(stats) != {1, 2}:
        fail("no statistics at start and end")
    counted["lost"] = lost
    counted["lost_events"] = lost_events
    counted["lost_samples"] = lost_samples
    counted["marked_bundles"] = marked_bundles
    counted["read_events"] = sum(c.read_events for c in stats[2].cpu_stats)
    counted["stats_lost"] = sum(
        c.overrun + c.commit_overrun + c.dropped_events for c in stats[2].cpu_stats
    )
    counted["named_frames"] = sum(len(s.functions) for s in sequences.values())
    counted["build_ids"] = sum(len(s.builds) for s in sequences.values())
    print(json.dumps(counted))


def compare_event(name, record, found):
    want = expected_fields(name, record["fields"])
    bare = name.split(":", 1)[1]
    if name.startswith("syscalls:sys_enter_"):
        bare = "sys_enter"
    elif name.startswith("syscalls:sys_exit_"):
        bare = "sys_exit"
    for at, (have_name, have, typed, pid) in enumerate(found):
        if have_name not in (name, bare):
            continue
        if record["source"] == "perf":
            want = {k: v for k, v in want.items() if k in have}
        differences = [k for k, v in want.items() if k not in have or not same(k, have[k], v, typed)]
        if isinstance_lists(want, have, typed):
            differences = [d for d in differences if not isinstance(want[d], list)]
        if not differences and pid == record["fields"]["common_pid"]:
            del found[at]
            return
    fail(f"no event for {record}\namong {found}")


def isinstance_lists(want, have, typed):
    """The elements of a list are fields of their own in a generic event."""
    if typed:
        return False
    for key, value in want.items():
        if isinstance(value, list):
            for index, element in enumerate(value):
                if have.get(f"{key}[{index}]") != element:
                    fail(f"{key}[{index}] is {have.get(f'{key}[{index}]')} and not {element}")
    return True


def compare_stack(record, stack):
    # Without a stack there is one frame, where the sample was taken.
    want = record.get("stack")
    without = want is None
    if without:
        want = [{"address": record["fields"]["ip"]}] if "ip" in record["fields"] else []
    if len(want) != len(stack):
        fail(f"a stack of {len(stack)} frames: {stack} instead of {want}")
    for frame, (path, offset, name) in zip(want, stack):
        address, dso = frame["address"], frame.get("dso")
        kernel = address >> 63 == 1
        if kernel and offset != address:
            fail(f"kernel frame {offset:#x} instead of {address:#x}")
        # Whole pages are mapped: an offset in a file ends as the address does.
        if not kernel and (offset - address) % 4096:
            fail(f"frame at {offset:#x} in {path} instead of {address:#x}")
        if not kernel and not without and path != dso:
            fail(f"frame in {path} instead of {dso}")
        if name is not None and name != frame.get("symbol"):
            fail(f"frame of {name} instead of {frame}")


main()
