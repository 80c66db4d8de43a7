"""The probe, on real interpreters: this one, and small programs that stand in for broken ones."""

import asyncio
import json
import os
import platform
import select
import signal
import sys
from pathlib import Path

import pytest

from daemon.system.probe import NOT_INSTALLED, TrainerFacts, TrainerProbe, find_fingerprint, probe


def interpreter(folder: Path, body: str) -> Path:
    """A program where an interpreter should be; it leaves a line in `runs` for each start."""
    path = folder / "venv" / "bin" / "python"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho run >> {folder}/runs\n{body}\n")
    path.chmod(0o755)
    return path


def runs(folder: Path) -> int:
    try:
        return len((folder / "runs").read_text().splitlines())
    except FileNotFoundError:
        return 0


def saying(torch: str) -> str:
    return "echo '" + json.dumps(TrainerFacts("3.12.1", torch, True, "12.8").to_json()) + "'"


async def test_a_real_interpreter_tells_its_python_and_whether_it_has_torch(tmp_path: Path) -> None:
    bare = tmp_path / "bin" / "python"
    bare.parent.mkdir()
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without site-packages there is no torch
    bare.chmod(0o755)
    assert await probe(bare) == TrainerFacts(platform.python_version(), NOT_INSTALLED)


async def test_a_torch_that_cannot_be_imported_is_told_with_its_version(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "torch-9.9.dist-info").mkdir(parents=True)
    (site / "torch-9.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9\n")
    (site / "torch.py").write_text("print('noise on stdout')\nraise OSError('libcudart.so.13: cannot open shared object file')\n")
    path = interpreter(tmp_path, f'shift\nexec {sys.executable} -S -c "import sys; sys.path.insert(0, \'{site}\'); exec(sys.argv[1])" "$@"')
    facts = await probe(path)
    assert (facts.python_version, facts.torch_version, facts.cuda_available) == (platform.python_version(), "9.9", False)
    assert facts.error is not None
    assert "libcudart" in facts.error


async def test_an_interpreter_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    path = interpreter(tmp_path, f"echo $$ > {tmp_path}/pid\nsleep 1000 &\necho $! > {tmp_path}/child\n{saying('2.8')}\nwait")
    facts = await probe(path, deadline_s=0.5)
    assert (facts.python_version, facts.torch_version, facts.cuda_available) == ("3.12.1", "2.8", False)
    assert "within 0.5 s" in str(facts.error)
    for name in ("pid", "child"):
        assert has_ended(int((tmp_path / name).read_text()))


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or goes within 20 s: a pidfd is readable then (pidfd_open(2))."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], 20)[0])
    finally:
        os.close(pidfd)


@pytest.mark.parametrize(
    ("body", "said"),
    [("echo no such venv >&2\nexit 3", "no such venv"), ("echo garbage", "code 0"), (f"kill -{signal.SIGSEGV.value} $$", "code -11")],
)
async def test_a_broken_interpreter_is_told_with_its_own_words(tmp_path: Path, body: str, said: str) -> None:
    facts = await probe(interpreter(tmp_path, body))
    assert facts.python_version == "unknown"
    assert said in str(facts.error)


async def test_a_missing_interpreter_says_which_setting_names_it(tmp_path: Path) -> None:
    facts = await probe(tmp_path / "python")
    assert "ONETRAINER_PYTHON" in str(facts.error)
    assert os.fspath(tmp_path / "python") in str(facts.error)


async def test_callers_at_the_same_time_share_one_probe(tmp_path: Path) -> None:
    async with TrainerProbe(interpreter(tmp_path, saying("2.8")), tmp_path / "cache.json") as trainer:
        answers = await asyncio.gather(*(trainer.get() for _ in range(10)))
        assert await trainer.get() == answers[0]
    assert {answer.torch_version for answer in answers} == {"2.8"}
    assert runs(tmp_path) == 1


async def test_the_next_daemon_answers_from_the_file_and_asks_again_behind(tmp_path: Path) -> None:
    body = f"if [ -e {tmp_path}/hold ]; then sleep 1000; fi\n{saying('2.8')}"
    path = interpreter(tmp_path, body)
    async with TrainerProbe(path, tmp_path / "cache.json") as trainer:
        await trainer.get()
    (tmp_path / "hold").touch()
    async with TrainerProbe(path, tmp_path / "cache.json") as trainer, asyncio.timeout(20):
        assert (await trainer.get()).torch_version == "2.8"
        assert (await trainer.get(wait=False)).torch_version == "2.8"


async def test_another_torch_is_asked_for_at_once(tmp_path: Path) -> None:
    path = interpreter(tmp_path, saying("2.8"))
    async with TrainerProbe(path, tmp_path / "cache.json") as trainer:
        assert (await trainer.get()).torch_version == "2.8"
        interpreter(tmp_path, saying("2.9"))
        os.utime(path, (1, 1))
        assert (await trainer.get()).torch_version == "2.9"
    assert runs(tmp_path) == 2


async def test_who_does_not_wait_gets_an_answer_while_the_interpreter_hangs(tmp_path: Path) -> None:
    async with TrainerProbe(interpreter(tmp_path, "sleep 1000"), tmp_path / "cache.json") as trainer, asyncio.timeout(20):
        facts = await trainer.get(wait=False)
        assert facts.torch_version == NOT_INSTALLED
        assert "ask again" in str(facts.error)


async def test_a_caller_that_gives_up_does_not_end_the_probe_of_the_others(tmp_path: Path) -> None:
    body = f"read line < {tmp_path}/gate\n{saying('2.8')}"
    os.mkfifo(tmp_path / "gate")
    async with TrainerProbe(interpreter(tmp_path, body), tmp_path / "cache.json") as trainer, asyncio.timeout(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await trainer.get()
        other = asyncio.create_task(trainer.get())
        await asyncio.to_thread((tmp_path / "gate").write_text, "go\n")
        assert (await other).torch_version == "2.8"
    assert runs(tmp_path) == 1


async def test_a_failure_is_not_written_to_the_file(tmp_path: Path) -> None:
    async with TrainerProbe(interpreter(tmp_path, "exit 1"), tmp_path / "cache.json") as trainer:
        assert (await trainer.get()).error is not None
        assert (await trainer.get()).error is not None
    assert not (tmp_path / "cache.json").exists()
    assert runs(tmp_path) == 1


@pytest.mark.parametrize(
    "content", ["", "[]", '{"v": 1}', '{"v": 99, "fingerprint": [], "facts": {}}', '{"v": 1, "fingerprint": 3, "facts": 4}']
)
async def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "cache.json").write_text(content)
    async with TrainerProbe(interpreter(tmp_path, saying("2.8")), tmp_path / "cache.json") as trainer:
        assert (await trainer.get()).torch_version == "2.8"


def test_the_fingerprint_changes_with_torch(tmp_path: Path) -> None:
    path = interpreter(tmp_path, "")
    before = find_fingerprint(path)
    assert json.loads(json.dumps(before)) == before == find_fingerprint(path)
    (tmp_path / "venv/lib/python3.12/site-packages/torch-2.8.dist-info").mkdir(parents=True)
    assert find_fingerprint(path) != before
