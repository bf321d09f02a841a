#!/usr/bin/env python3
"""Makes a long perf.data of a short one: its samples again and again, each time later.

    enlarge.py IN OUT GIB

For measuring memory: `/usr/bin/time -v kstrace convert OUT ...`. IN must be a file (no stream, not
compressed) with one event, on a little-endian machine. Records other than samples are in OUT once.
"""

import struct
import sys

SAMPLE, FINISHED_ROUND = 9, 68
IDENTIFIER, IP, TID, TIME = 1 << 16, 1 << 0, 1 << 1, 1 << 2
PIECE = 32 << 20


def time_offset(sample_type):
    """Where a sample has its time: behind its header and what comes before."""
    if not sample_type & TIME:
        sys.exit("enlarge.py: the samples have no time")
    return 8 + 8 * sum(bool(sample_type & bit) for bit in (IDENTIFIER, IP, TID))


def pieces(data, at_time):
    """Runs of samples and rounds: their bytes, and a number with a 1 where each time begins."""
    runs, times = [], []
    start = at = 0
    piece_times = []

    def close(end):
        nonlocal piece_times
        if end > start:
            ones = bytearray(end - start)
            for place in piece_times:
                ones[place - start] = 1
            runs.append((int.from_bytes(data[start:end], "little"),
                         int.from_bytes(ones, "little"), end - start))
        piece_times = []

    while at < len(data):
        kind, _, size = struct.unpack_from("<IHH", data, at)
        if kind == SAMPLE:
            piece_times.append(at + at_time)
            times.append(struct.unpack_from("<Q", data, at + at_time)[0])
        elif kind != FINISHED_ROUND:
            close(at)
            start = at + size
        at += size
        if at - start >= PIECE:
            close(at)
            start = at
    close(at)
    return runs, min(times), max(times)


def main():
    source, target, gib = sys.argv[1], sys.argv[2], float(sys.argv[3])
    with open(source, "rb") as f:
        whole = f.read()
    magic, header_size, attr_size, attrs_at, attrs_size, data_at, data_size = \
        struct.unpack_from("<8s6Q", whole)
    if magic != b"PERFILE2" or attrs_size != attr_size:
        sys.exit("enlarge.py: not a perf.data with one event")
    flags = struct.unpack_from("<4Q", whole, 72)
    (sample_type,) = struct.unpack_from("<Q", whole, attrs_at + 24)
    data = whole[data_at:data_at + data_size]
    runs, first, last = pieces(data, time_offset(sample_type))
    period = last - first + 1000
    written = 0
    with open(target, "wb") as f:
        f.write(whole[:data_at])
        f.write(data)
        written += len(data)
        copies = 1
        while written < gib * (1 << 30):
            for number, ones, size in runs:
                f.write((number + ones * (period * copies)).to_bytes(size, "little"))
                written += size
            copies += 1
        # The sections of features come behind the data, where a table says where they are.
        table_at = data_at + data_size
        tail = bytearray(whole[table_at:])
        for index in range(sum(bin(word).count("1") for word in flags)):
            (offset,) = struct.unpack_from("<Q", tail, 16 * index)
            struct.pack_into("<Q", tail, 16 * index, offset - data_size + written)
        f.write(tail)
        f.seek(48)
        f.write(struct.pack("<Q", written))
    print(f"{target}: {copies} times {source}, {written >> 20} MiB of records")


if __name__ == "__main__":
    main()
