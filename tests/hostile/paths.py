"""Hostile paths and names, as many as asked for, the same for the same seed."""

import random
from collections.abc import Callable, Iterator
from urllib.parse import quote

from tests.hostile.ground import Ground

FILES = ("canary.json", "canary.png", "canary", "sub/canary.json", "")
ODD = (
    "\0", "a\0b", "/", "//", "///etc/passwd", ".", "..", "...", "....//....//", "~", "~root", "~nobody-at-all/x",
    " ", "\t", "\n", "\r\nX: y",
    "\x7f", "\x1b[31m", "con", "nul", "*", "?", "%", "%00", "%2e%2e%2f", "%252e%252e%252f", "%c0%ae%c0%ae/", "\u2025/\u2025/etc",
    "\uff0e\uff0e/\uff0e\uff0e", "..\u2215..\u2215etc", "..\u29f5..", "\ufeff..", "\u202e..", "a\u0301", "\ud800", "\udcff", "x\udfffy",
    "\U0010ffff", "C:\\Windows\\win.ini", "\\\\host\\share", "file:///etc/passwd", "http://127.0.0.1:1/x", "$HOME", "`id`", "$(id)",
    "; id", "| id", "-rf", "--help", "@/etc/passwd", "{{7*7}}", "%s%n", "../" * 40, "a/" * 2100, "x" * 255, "x" * 256, "x" * 4095,
    "x" * 20_000, "é" * 128, "\U0001f600" * 64, ".ssh/id_rsa", ".env", "token", "tokens.json", "audit.jsonl", "current.secrets.json",
)  # fmt: skip
DEVICES = (
    "/proc/self/environ", "/proc/self/cmdline", "/proc/self/mem", "/proc/self/fd/0", "/proc/self/root/etc/passwd", "/proc/self/cwd/x",
    "/proc/kmsg", "/proc/1/maps", "/proc/sysrq-trigger", "/dev/zero", "/dev/random", "/dev/null", "/dev/stdin", "/dev/fd/0", "/dev/tty",
    "/dev/ptmx", "/sys/kernel/notes", "/etc/passwd", "/etc/shadow", "/root/.ssh/id_rsa", "/tmp", "/", "/var/run/docker.sock",
)  # fmt: skip


def hostile_paths(ground: Ground, seed: int) -> Iterator[str]:
    """Without an end. Each is inside the root, out of it, or nothing at all; none may get out."""
    chance = random.Random(seed)
    kinds: list[Callable[[], str]] = [
        lambda: _out_of(ground, chance), lambda: _out_of(ground, chance), lambda: _trap(ground, chance), lambda: _trap(ground, chance),
        lambda: chance.choice(ODD), lambda: chance.choice(DEVICES), lambda: _noise(chance),
    ]  # fmt: skip
    while True:
        yield _dressed(chance.choice(kinds)(), chance)


def _out_of(ground: Ground, chance: random.Random) -> str:
    """To a file outside: absolute, or up by some dots too few or too many."""
    file = chance.choice(FILES)
    if chance.random() < 0.3:
        return f"{ground.outside}/{file}"
    start = chance.choice(("", f"{ground.inside}/", "sub/", "training_presets/", "./", f"{ground.inside}/sub/"))
    dots = chance.choice(("../", "..\\", ".././", "..//", "../sub/../", "....//", "..;/", "%2e%2e/", "..%2f")) * chance.randint(1, 12)
    return f"{start}{dots}{chance.choice(('outside/', 'inside/../outside/', str(ground.outside).lstrip('/') + '/'))}{file}"


def _trap(ground: Ground, chance: random.Random) -> str:
    """Through a link, a loop, or to a pipe or a device inside the root."""
    trap = chance.choice((
        "link", "link.json", "link.png", "up/outside", "up/up", "loop", "loop/x", "ping", "root/etc/passwd", "proc/environ", "proc/fd/0",
        "null.json", "zero.png", "deep/..", "deep", "dangling", "flip", "flip", "swap", "swap", "pipe", "pipe.json", "pipe.png", "socket",
        "sub/../link", "proc/cwd", "root/proc/kmsg", "canary.json/x",
    ))  # fmt: skip
    file = chance.choice(FILES)
    return f"{ground.inside}/{trap}" + (f"/{file}" if file and chance.random() < 0.7 else "")


def _noise(chance: random.Random) -> str:
    alphabet = "./\\~%\0:;*?\"'<>|&$ \t\n\u00e9\u202e\ud83d\udc80ab"
    return "".join(chance.choice(alphabet) for _ in range(chance.randint(1, 60)))


def _dressed(path: str, chance: random.Random) -> str:
    """The same in other clothes, mostly none."""
    match chance.randint(0, 15):
        case 0:
            return path.replace("/", "\\")
        case 1:
            return quote(path.encode("utf-8", "surrogatepass"), safe="")
        case 2:
            return quote(quote(path.encode("utf-8", "surrogatepass"), safe=""), safe="")
        case 3:
            return path + chance.choice((" ", ".", "/", "\0.png", "\0", "%00.json", "/.", "//", "\n", ".json", "?x", "#x"))
        case 4:
            return chance.choice((" ", "./", "//", "\ufeff", "file://", "~/../..", "\\\\?\\")) + path
        case 5:
            return path.upper()
        case _:
            return path
