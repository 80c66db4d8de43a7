"""How often the kernel has killed for memory in our control group: the evidence for `host_oom`."""

import os
import re


def oom_kills() -> "int | None":
    """The `oom_kill` counter of the memory cgroup that this process is in, or None where there is none to read.

    cgroup v2: `memory.events` (Documentation/admin-guide/cgroup-v2.rst); v1: `memory.oom_control` (cgroup-v1/memory.rst).
    tests/systemd lets the kernel kill in a v1 group. No machine with the memory controller in v2 was at hand: that way is read off the
    documentation, and untested.
    """
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            memberships = [line.rstrip("\n").split(":", 2) for line in file]
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mounts = [_mount(line) for line in file]
    except OSError:
        return None
    for _, controllers, path in memberships:
        for kind, options, root, point in mounts:
            if controllers == "" and kind == "cgroup2":
                name = "memory.events"
            elif "memory" in controllers.split(",") and kind == "cgroup" and "memory" in options.split(","):
                name = "memory.oom_control"
            else:
                continue
            count = _count(os.path.join(point, os.path.relpath(path, root), name))
            if count is not None:
                return count
    return None


def _mount(line: str) -> "tuple[str, str, str, str]":
    """(type, super options, root, mount point) of a line of mountinfo (proc(5))."""
    left, _, right = line.partition(" - ")
    fields, (kind, _, options) = left.split(), right.split(maxsplit=2)
    return kind, options.strip(), fields[3], fields[4]


def _count(path: str) -> "int | None":
    try:
        with open(path, encoding="ascii") as file:
            found = re.search(r"^oom_kill (\d+)$", file.read(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
