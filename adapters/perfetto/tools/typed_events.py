#!/usr/bin/env python3
"""Field numbers of Perfetto's typed ftrace events, from the descriptors of the perfetto wheel.

    typed_events.py src/typed_events.txt           print the table anew
    typed_events.py --check src/typed_events.txt   fail if it is not what the descriptors say

The names in the first column are kept; to add an event, add a line with its system and
name and write the table anew. Needs the wheel of python-requirements.txt.
"""
import sys

from google.protobuf.descriptor import FieldDescriptor as F
from perfetto.protos.perfetto.trace import perfetto_trace_pb2

LETTERS = {
    F.TYPE_STRING: "s",
    F.TYPE_INT32: "i",
    F.TYPE_INT64: "I",
    F.TYPE_UINT32: "u",
    F.TYPE_UINT64: "U",
}


def line(name):
    event = perfetto_trace_pb2.FtraceEvent.DESCRIPTOR.fields_by_name.get(name.split(":")[1])
    if event is None or event.message_type is None:
        sys.exit(f"{name}: Perfetto has no such event")
    words = [name, str(event.number)]
    for field in event.message_type.fields:
        if field.type not in LETTERS:
            sys.exit(f"{name}: the field {field.name} is of a type that the table has no letter for")
        many = "*" if field.is_repeated else ""
        words.append(f"{field.name}={field.number}{LETTERS[field.type]}{many}")
    return " ".join(words)


def main():
    arguments = sys.argv[1:]
    check = arguments[:1] == ["--check"]
    with open(arguments[-1], encoding="utf-8") as file:
        old = file.read()
    new = ""
    for row in old.splitlines():
        comment = not row or row.startswith("#")
        new += (row if comment else line(row.split()[0])) + "\n"
    if not check:
        sys.stdout.write(new)
        return
    for a, b in zip(old.splitlines(), new.splitlines()):
        if a != b:
            sys.exit(f"the table says  {a}\nthe protos say  {b}")
    if old != new:
        sys.exit("the table ends otherwise than the protos say")


main()
