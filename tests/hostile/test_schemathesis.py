"""schemathesis over the whole /openapi.json of a real daemon: every check, valid and invalid data, no failure.

`make fuzz` runs it deep (FUZZ_EXAMPLES, FUZZ_SEED). New routes are in it by being in the registry.
"""

import asyncio
import json
import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.e2e.daemon import Daemon
from tests.hostile.standin_daemon import standin_config, standin_daemon

ROOT = Path(__file__).parents[2]
SHORT = 2
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or SHORT)
SEED = os.environ.get("FUZZ_SEED") or "1"
PHASES = "examples,coverage,fuzzing" if EXAMPLES == SHORT else "examples,coverage,fuzzing,stateful"
SETTINGS = """
[checks.positive_data_acceptance]
# 400: what is wrong with what a request names, a file or a config; the check in schemathesis_hooks.py holds its form.
# 501: not with this trainer.
expected-statuses = ["2xx", "304", 400, 401, 403, 404, 409, 412, 416, 429, 501]

[checks.not_a_server_error]
# 501 is an answer of this API, not a failure: this trainer, or this kind of file, cannot do that.
expected-statuses = ["2xx", "3xx", "4xx", 501]

[[operations]]
# A run is there long before its model and its backups are, if they ever come.
include-path-regex = "^/runs/[^/]+/(model|backups|saves)"
checks.ensure_resource_availability.enabled = false
"""


async def test_no_check_of_schemathesis_fails_on_any_route(tmp_path: Path) -> None:
    async with standin_daemon(tmp_path, environment={"ONETRAINERD_RUNS__MAX_CONCURRENT": "3"}) as daemon:
        config = standin_config(tmp_path)
        await daemon.call("PUT", "/config/current", {"config": config})
        await daemon.post("/runs", status=201)  # whose id, samples and backups it can ask for
        for number in range(2):  # which can be ordered about, and stopped
            endless = {**config, "epochs": 1_000_000, "workspace_dir": str(tmp_path / f"endless-{number}")}
            await daemon.post("/runs", {"config": endless}, status=201)
        code, output = await fuzzed(daemon, tmp_path)
        assert code == 0, output
        described = await daemon.get("/openapi.json")
        assert (await daemon.get("/health"))["status"] == "healthy"
        answered = statuses(tmp_path / "report.ndjson")
        every = {f"{method.upper()} {path}" for path, item in described["paths"].items() for method in item}
        assert every - set(answered) <= {"GET /openapi.json"}  # which it has asked for to begin with
        orders = [found for label, found in answered.items() if label.startswith(("POST /runs/{run_id}/", "POST /training/"))]
        assert {200, 409} <= set.union(*orders)
        assert "Traceback" not in daemon.log(), daemon.log()
        await end_all(daemon)


async def end_all(daemon: Daemon) -> None:
    """Take the queue away, kill what trains, and see that no process of it is left."""
    for run in (await daemon.get("/runs"))["runs"]:
        if run["ended"] is None:
            async with daemon.client.post(f"/runs/{run['id']}/stop", json={"force": True}) as answer:
                assert answer.status in {200, 409}, await answer.text()
    state = str(daemon.state_dir)
    ours = [process for process in psutil.process_iter(["cmdline"]) if any(state in part for part in process.info["cmdline"] or ())]
    runs = [process for process in ours if process.pid != daemon.process.pid]
    await asyncio.to_thread(psutil.wait_procs, runs, timeout=60)
    assert [process for process in runs if process.is_running()] == []


async def fuzzed(daemon: Daemon, folder: Path) -> tuple[int, str]:
    """schemathesis' exit code, and what it says. One worker: `ast` of Python 3.11 is not safe to use from several threads."""
    (folder / "schemathesis.toml").write_text(SETTINGS)
    token = (daemon.state_dir / "token").read_text().strip()
    environment = {
        **os.environ, "SCHEMATHESIS_HOOKS": "tests.hostile.schemathesis_hooks", "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "120",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(folder / "schemathesis.toml"), "run", f"{daemon.url}/openapi.json",
        "--header", f"Authorization: Bearer {token}", "--checks", "all", "--mode", "all", "--phases", PHASES, "-n", str(EXAMPLES),
        "--seed", SEED, "--workers", "1", "--request-timeout", "60", "--no-shrink", "--generation-database", "none", "--warnings", "off",
        "--continue-on-failure", "--report", "ndjson", "--report-ndjson-path", str(folder / "report.ndjson"),
        cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, "\n".join(line[:600] for line in output.decode(errors="replace").splitlines())


def statuses(report: Path) -> Mapping[str, set[int]]:
    """What each operation has answered, by "METHOD /path"."""
    found: dict[str, set[int]] = defaultdict(set)
    for line in report.read_text().splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        for one in recorder.get("interactions", {}).values():
            if response := one.get("response"):
                found[recorder["label"]].add(response["status_code"])
    return found
