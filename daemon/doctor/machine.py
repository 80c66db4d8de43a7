"""The machine: GPUs, memory, limits, clock."""

import importlib
import os
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

import daemon
from daemon.doctor.findings import Case, Finding, fail, gib, ok, warn
from daemon.system.gpu import read_gpus

_MEMORY_BYTES = 4 << 30
_SHM = "/dev/shm"  # noqa: S108 - its size is looked at, nothing is put there # nosec B108
_SHM_BYTES = 512 << 20
_FILES = 4096
_WATCHES = 8192
_SKEW_S = 300.0


def gpus(_: Case) -> Iterator[Finding]:
    """Every NVIDIA GPU, by its driver."""
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    found = read_gpus()
    if not found and devices:
        what = f"there are {', '.join(devices)}, and the driver tells of no GPU"
        yield fail(
            "gpu", what, "nvidia-smi says why: often the driver was updated and the machine not restarted, or this user lacks a group"
        )
    elif not found:
        yield warn("gpu", "no NVIDIA GPU is seen: trainings run on the CPU", "nothing, where that is meant; else install the NVIDIA driver")
    for gpu in found:
        name = f"GPU {gpu.index} {gpu.name}, {gib(gpu.memory_free)} of {gib(gpu.memory_total)} free, driver {_driver()}"
        if gpu.memory_total and gpu.memory_free < gpu.memory_total / 10:
            yield warn("gpu", f"{name}: its memory is nearly full", "nvidia-smi says whose it is; a training of ours is no trouble")
        elif not _is_persistent(gpu.index):
            yield warn("gpu", f"{name}: persistence mode is off: each start waits for the driver", "nvidia-smi -pm 1, at each boot")
        else:
            yield ok("gpu", name)


def _driver() -> str:
    try:
        return Path("/sys/module/nvidia/version").read_text().strip()
    except OSError:
        return "unknown"


def _is_persistent(index: int) -> bool:
    """True also where the device does not say."""
    nvml: Any = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
        return bool(nvml.nvmlDeviceGetPersistenceMode(nvml.nvmlDeviceGetHandleByIndex(index)))
    except nvml.NVMLError:
        return True


def memory(_: Case) -> Iterator[Finding]:
    there = psutil.virtual_memory()
    text = f"{gib(there.available)} of {gib(there.total)} memory available, {os.cpu_count()} CPUs"
    if there.available < _MEMORY_BYTES:
        yield warn("memory", text, "models are loaded through it: end what needs it, or add swap, before a large training")
    else:
        yield ok("memory", text)


def limits(_: Case) -> Iterator[Finding]:
    """What the kernel gives this user; a service of systemd has limits of its own, which its unit sets."""
    yield from _files()
    yield from _sizes()
    yield from _inotify()
    yield from _shm()


def _files() -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _FILES:
        advice = "ulimit -Hn 65536, or LimitNOFILE=65536 in the unit, or nofile in /etc/security/limits.conf"
        yield warn("files", f"at most {hard} files may be open at once; many clients and a trainer need more", advice)
    else:
        yield ok("files", f"{'any number of' if hard == resource.RLIM_INFINITY else hard} files may be open at once")


def _sizes() -> Iterator[Finding]:
    for name, which, what in (
        ("RLIMIT_FSIZE", resource.RLIMIT_FSIZE, "a larger model or backup cannot be written"),
        ("RLIMIT_AS", resource.RLIMIT_AS, "CUDA reserves far more addresses than that"),
    ):
        soft, _ = resource.getrlimit(which)
        if soft != resource.RLIM_INFINITY:
            yield fail("limits", f"{name} is {gib(soft)}: {what}", "lift it (ulimit -f unlimited, ulimit -v unlimited, or in the unit)")
    core, _ = resource.getrlimit(resource.RLIMIT_CORE)
    if core != 0 and not _pattern().startswith("|"):
        what = (
            f"a trainer that crashes may write a core file of {'any size' if core == resource.RLIM_INFINITY else gib(core)} where it runs"
        )
        yield warn("core", what, "ulimit -c 0, or LimitCORE=0 in the unit, unless you want it")
    else:
        yield ok("core", "core files are off" if core == 0 else f"core files go to {_pattern()[1:].split()[0]}")
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if locked != resource.RLIM_INFINITY and locked < 1 << 20:
        yield warn("memlock", f"only {locked >> 10} KiB of memory may be locked", "ulimit -l unlimited: several GPUs (NCCL) need it")
    else:
        yield ok("memlock", f"{'any amount' if locked == resource.RLIM_INFINITY else gib(locked)} of memory may be locked")


def _pattern() -> str:
    return _read("/proc/sys/kernel/core_pattern") or "core"


def _inotify() -> Iterator[Finding]:
    watches, instances = _number("/proc/sys/fs/inotify/max_user_watches"), _number("/proc/sys/fs/inotify/max_user_instances")
    if watches is None or instances is None:
        yield warn("inotify", "this kernel has no inotify: new samples are found some seconds later", "nothing")
        return
    used = _used_instances()
    if used >= instances - 2:
        what = f"{used} of {instances} inotify instances are in use: new samples are found some seconds later"
        yield warn("inotify", what, "sysctl fs.inotify.max_user_instances=1024, and in /etc/sysctl.d to keep it")
    elif watches < _WATCHES:
        what = f"{watches} folders may be watched by this user in all"
        yield warn("inotify", what, "sysctl fs.inotify.max_user_watches=65536, and in /etc/sysctl.d to keep it")
    else:
        yield ok("inotify", f"{used} of {instances} instances in use, {watches} folders may be watched")


def _used_instances() -> int:
    """By this user's processes, as far as they can be looked into."""
    used = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == os.geteuid():
                used += sum(str(fd.readlink()) == "anon_inode:inotify" for fd in process.glob("fd/*"))
        except OSError:
            continue  # it ended, or is not to be looked into
    return used


def _shm() -> Iterator[Finding]:
    try:
        room = os.statvfs(_SHM)
    except OSError as error:
        yield warn("shm", f"{_SHM} cannot be looked at: {error.strerror}", "mount a tmpfs there: torch shares tensors through it")
        return
    size = room.f_blocks * room.f_frsize
    if size < _SHM_BYTES:
        what = f"{_SHM} has {gib(size)}: loading data in several processes, and several GPUs, need more"
        yield warn("shm", what, "docker run --shm-size 8g, or mount -o remount,size=8G /dev/shm")
    else:
        yield ok("shm", f"{_SHM} has {gib(room.f_bavail * room.f_frsize)} of {gib(size)} free")


def clock(case: Case) -> Iterator[Finding]:
    """Whether the time of day can be right: ids of records, stalls and certificates go by it."""
    now = time.time()
    newest = max((path.stat().st_mtime for path in _dated(case)), default=0.0)
    if newest > now + _SKEW_S:
        what = f"it is {time.strftime('%F %T')} here, and there are files of {time.strftime('%F %T', time.localtime(newest))}"
        yield fail("clock", what, "set the clock (timedatectl set-ntp true), or restart the time service")
    else:
        yield ok("clock", f"it is {time.strftime('%F %T %Z')}")


def _dated(case: Case) -> Iterator[Path]:
    """Files that cannot be newer than now: our own, and what the last daemon has written."""
    names = ("endpoint.json", "next_run", "daemon.lock", "current.json", "audit.jsonl")
    for path in (Path(daemon.__file__), *(case.settings.state_dir / name for name in names)):
        if os.access(path, os.R_OK):
            yield path


def _number(path: str) -> int | None:
    text = _read(path)
    return int(text) if text is not None and re.fullmatch(r"\d+", text) else None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _told(limit: int, form: Any = str) -> str:
    return (
        "any number of"
        if limit == resource.RLIM_INFINITY and form is str
        else "any amount"
        if limit == resource.RLIM_INFINITY
        else form(limit)
    )
