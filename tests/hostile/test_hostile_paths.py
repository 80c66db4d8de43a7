"""Ten thousand hostile paths over every parameter that takes a name or a path: none gets out, none hangs, none is our fault.

`make test` sends a part of them, `make hostile` all (HOSTILE_PATHS, HOSTILE_SEED).
"""

import asyncio
import itertools
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from tests.e2e.daemon import Daemon
from tests.hostile.ground import CANARY, UNLISTED, Ground
from tests.hostile.paths import hostile_paths
from tests.hostile.standin_daemon import standin_config, standin_daemon
from tests.hostile.targets import Target, targets

COUNT = int(os.environ.get("HOSTILE_PATHS") or 800)
SEED = int(os.environ.get("HOSTILE_SEED") or 1)
HANG_S = 60.0
_AT_ONCE = 12


async def test_no_hostile_path_gets_out_hangs_or_breaks_anything(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    settings = tmp_path / "settings.toml"
    settings.write_text(f"[paths]\nroots = [{json.dumps(str(ground.inside))}]\n")
    async with standin_daemon(tmp_path, "--config", str(settings)) as daemon:
        config = at_home(tmp_path)
        held = await daemon.post("/runs", {"config": {**config, "epochs": 1_000_000}}, status=201)  # what is accepted waits behind it
        async with daemon.listen() as listener:
            await listener.wait_status("training")
        before = ground.picture_of_outside()
        attack = Attack(daemon, ground, config)
        with ground.flipping():
            await attack.run(targets(await daemon.get("/openapi.json")))
        assert attack.findings == []
        assert attack.sent == COUNT
        assert len(attack.answered) >= 6  # 200s and refusals of several kinds: it is no wall that all of them ran into
        assert ground.picture_of_outside() == before
        assert (await daemon.get("/health"))["status"] == "healthy"
        assert "Traceback" not in daemon.log()
        await daemon.post(f"/runs/{held['id']}/stop", {"force": True})
        assert kept_by_the_daemon(daemon.state_dir) == []


def at_home(folder: Path) -> dict[str, Any]:
    """The stand-in's config, with all its paths in the checkout."""
    home = folder / "onetrainer"
    (folder / "images").rename(home / "images")
    (folder / "model").rename(home / "model")
    return standin_config(home)


def kept_by_the_daemon(state_dir: Path) -> list[str]:
    """Files of the state directory that hold a word from outside, or are no files."""
    odd: list[str] = []
    for path in state_dir.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and CANARY.encode() in path.read_bytes():
            odd.append(f"{path} holds what stands outside")
        elif not stat.S_ISREG(mode) and not stat.S_ISDIR(mode) and path.suffix != ".pipe":
            odd.append(f"{path} is no file")
    return odd


class Attack:
    """Sends the paths, some at once, and judges each answer."""

    def __init__(self, daemon: Daemon, ground: Ground, config: dict[str, Any]) -> None:
        self.findings: list[str] = []
        self.answered: Counter[int] = Counter()
        self.sent = 0
        self._daemon = daemon
        self._ground = ground
        self._config = config

    async def run(self, aims: list[Target]) -> None:
        shots = zip(hostile_paths(self._ground, SEED), itertools.cycle(aims), range(COUNT), strict=False)
        timeout = aiohttp.ClientTimeout(total=HANG_S)
        headers = dict(self._daemon.client.headers) | {"Content-Type": "application/json"}
        async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=_AT_ONCE)) as client:
            await asyncio.gather(*(self._work(client, shots) for _ in range(_AT_ONCE)))

    async def _work(self, client: aiohttp.ClientSession, shots: Iterator[tuple[str, Target, int]]) -> None:
        for text, aim, number in shots:
            url, body = aim.request(text, self._config, as_sample=number % 2 == 0)
            what = f"{aim.method} {aim.path} {aim.place} {aim.keys} {text[:120]!r}"
            self.sent += 1
            try:
                async with client.request(aim.method, URL(f"{self._daemon.url}{url}", encoded=True), data=body) as answer:
                    content = await answer.read()
                    self._judge(what, aim, text, answer, content)
            except TimeoutError:
                self.findings.append(f"{what}: no answer within {HANG_S:g} s")

    def _judge(self, what: str, aim: Target, text: str, answer: aiohttp.ClientResponse, content: bytes) -> None:
        self.answered[answer.status] += 1
        if answer.status >= 500 and answer.status != 501:
            self.findings.append(f"{what}: {answer.status} {content[:300]!r}")
        if CANARY.encode() in content or UNLISTED.encode() in content:
            self.findings.append(f"{what}: told what lies outside: {content[:300]!r}")
        if aim.names_a_trainers_path and is_accepted(answer, content) and not self._may_be(aim, text):
            self.findings.append(f"{what}: accepted")

    def _may_be(self, aim: Target, text: str) -> bool:
        """By another way than the daemon's: every reading of *text* ends in a root, at a file, a folder, or nothing."""
        if aim.keys == ("samples", 0, "prompt") or (aim.keys[-1] == "tag_dropout_special_tags" and not text.endswith((".txt", ".csv"))):
            return True
        if "flip" in text or "swap" in text:
            return True  # inside half of the time
        if aim.keys == ("save_filename_prefix",):
            return "/" not in text and "\\" not in text
        text = json.loads(json.dumps(text))  # two halves of a surrogate pair have become one character on the way
        base = self._daemon.folder / "onetrainer"
        roots = (base, self._ground.inside, self._daemon.state_dir)
        for one in {text, text.replace("\\", "/")}:
            for path in {f"{base}/{one}" if one[:1] != "/" else one, os.path.normpath(base / one)}:
                real = os.path.realpath(path)
                if not any(real == str(root) or real.startswith(f"{root}/") for root in roots) or not _is_plain(real):
                    return False
        return True


def _is_plain(path: str) -> bool:
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return True
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def is_accepted(answer: aiohttp.ClientResponse, content: bytes) -> bool:
    if answer.status != 200:
        return answer.status == 201
    return bool(json.loads(content).get("valid", True))
