"""GET /metrics: what a Prometheus reads there, over a real daemon and over parts that cannot be had here."""

import asyncio
import math
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families

from daemon.access.tls import ServerTls
from daemon.runs.states import RunState
from daemon.system.gpu import GpuMonitor, GpuReading
from daemon.telemetry.families import GROUPS, TOLD_BY_US
from daemon.telemetry.machine import GpuCache
from daemon.telemetry.requests import RequestMeter
from daemon.telemetry.runs import fill_runs
from daemon.telemetry.server import fill_certificate, fill_requests
from daemon.telemetry.sheet import Fill, Sheet, Telemetry
from tests.e2e.conftest import LONG, write_config
from tests.e2e.daemon import Daemon
from tests.supervisor.conftest import READY, Lab, spec, step, wait_state, wait_until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """What Prometheus' own parser finds, each series once."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type in {"gauge", "counter", "histogram"}, family.name
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is told twice"
            found[key] = sample.value
    return found


def told(*fills: Fill) -> Samples:
    """What *fills* tell, without the facts of our own process."""
    return {key: value for key, value in samples(Telemetry(fills).render().decode()).items() if not key[0].startswith("process_")}


def of(found: Samples, name: str, /, **labels: str) -> float:
    return found[f"onetrainerd_{name}", tuple(sorted(labels.items()))]


@pytest.mark.torch
async def test_a_training_is_told_with_its_steps_its_disks_and_its_clients(daemon: Daemon, folder: Path) -> None:
    async with daemon.listen() as listener:
        await daemon.post("/training/start", {"config_path": write_config(folder, **LONG)})
        await listener.wait_step(20)
        run_id = (await daemon.get("/runs"))["runs"][0]["id"]
        await daemon.get(f"/runs/{run_id}")
        await daemon.get("/no/such/path", status=404)
        async with daemon.client.get("/metrics") as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            found = samples(await answer.text())
        assert of(found, "runs", state="training") == 1
        assert of(found, "places_taken") == 1
        assert of(found, "run_global_step", run_id=run_id) >= 20
        assert of(found, "run_planned_steps", run_id=run_id) == 400_000
        assert of(found, "run_loss", run_id=run_id) > 0
        assert of(found, "run_step_duration_seconds", run_id=run_id) == pytest.approx(1 / of(found, "run_steps_per_second", run_id=run_id))
        assert of(found, "websocket_clients") == 1
        assert of(found, "http_requests_total", method="GET", route="/runs/{run_id}", status="200") == 1
        assert of(found, "http_requests_total", method="GET", route="(none)", status="404") == 1
        assert of(found, "ready") == 1
        assert all(run_id not in str(labels) for (name, labels) in found if "http" in name)
        await daemon.post("/training/stop", {"force": True})
        await listener.wait_status("stopped")
    async with daemon.client.get("/metrics") as answer:
        found = samples(await answer.text())
    assert not any(name.startswith("onetrainerd_run_") for name, _ in found), "only live runs have series of their own"
    assert of(found, "ended_runs", state="stopped", cause="killed") == 1


async def test_what_the_journal_holds_and_nobody_has_taken_in_is_the_lag(lab: Lab) -> None:
    async with lab.daemon() as supervisor:
        run = supervisor.submit(spec(READY, step(1), ["hang"]))
        await wait_state(supervisor, run, RunState.TRAINING)
        await wait_until(supervisor, lambda: run.view.progress is not None)
        found = told(lambda sheet: fill_runs(supervisor, sheet))
        assert of(found, "run_unread_bytes", run_id=run.run_id) == 0
        assert of(found, "run_last_event_timestamp_seconds", run_id=run.run_id) == run.history.last_event_at
        [journal] = run.directory.attempt(1).events.iterdir()
        with journal.open("ab") as file:
            file.write(b'{"half a line')
        assert of(told(lambda sheet: fill_runs(supervisor, sheet)), "run_unread_bytes", run_id=run.run_id) == 13


async def test_a_loss_that_is_no_number_is_told_as_such(lab: Lab) -> None:
    bad = step(1)
    bad[1]["scalars"] = {"loss/train_step": "NaN"}
    async with lab.daemon() as supervisor:
        run = supervisor.submit(spec(READY, bad, ["hang"]))
        await wait_until(supervisor, lambda: run.view.progress is not None)
        assert math.isnan(of(told(lambda sheet: fill_runs(supervisor, sheet)), "run_loss", run_id=run.run_id))


@asynccontextmanager
async def gpu_cache(monitor: GpuMonitor) -> AsyncIterator[GpuCache]:
    cache = GpuCache(monitor)
    async with monitor, cache.running():
        yield cache


async def test_gpus_are_told_and_a_driver_that_hangs_holds_up_no_scrape() -> None:
    hangs, may_go, is_stuck = threading.Event(), threading.Event(), threading.Event()

    def read() -> list[GpuReading]:
        if hangs.is_set():
            is_stuck.set()
            may_go.wait()
        return [GpuReading(0, 'a "GPU"\n', 8, 5, 1, 2, utilization=50.0, temperature=60.0, power_draw=200.5)]

    async with gpu_cache(GpuMonitor(read)) as cache:
        while cache.read_at is None:
            await cache.refresh()
        before = told(cache.fill)
        assert of(before, "gpu_memory_used_bytes", gpu="0") == 5
        assert of(before, "gpu_utilization_ratio", gpu="0") == 0.5
        assert of(before, "gpu_info", gpu="0", name='a "GPU"\n') == 1
        assert ("onetrainerd_gpu_fan_ratio", (("gpu", "0"),)) not in before
        hangs.set()
        await cache.refresh()
        await asyncio.to_thread(is_stuck.wait)
        await cache.refresh()
        assert told(cache.fill) == before
        may_go.set()


def test_a_stranger_makes_no_new_series() -> None:
    meter = RequestMeter()
    for number in range(100):
        meter.observe(f"BREW{number}", "(none)", "404", 0.5)
    meter.observe("GET", "/ws", "101", None)
    found = told(lambda sheet: fill_requests(meter, sheet))
    assert of(found, "http_requests_total", method="other", route="(none)", status="404") == 100
    assert of(found, "http_request_duration_seconds_bucket", method="other", route="(none)", le="0.25") == 0
    assert of(found, "http_request_duration_seconds_bucket", method="other", route="(none)", le="0.5") == 100
    assert of(found, "http_request_duration_seconds_sum", method="other", route="(none)") == 50
    assert ("onetrainerd_http_request_duration_seconds_count", (("method", "GET"), ("route", "/ws"))) not in found


def test_the_end_of_the_certificate_in_force_is_told(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def issue(year: int) -> float:
        end = datetime(year, 1, 2, 3, 4, 5, tzinfo=UTC)
        made = trustme.CA().issue_cert("gpu.example.org", not_after=end)
        key.touch(0o600)
        made.private_key_pem.write_to_path(str(key))
        made.cert_chain_pems[0].write_to_path(str(cert))
        return end.timestamp()

    first = issue(2037)
    tls = ServerTls(cert, key)
    assert of(told(lambda sheet: fill_certificate(tls, sheet)), "tls_certificate_expiry_timestamp_seconds") == first
    renewed = issue(2038)
    tls.prepared()()
    assert of(told(lambda sheet: fill_certificate(tls, sheet)), "tls_certificate_expiry_timestamp_seconds") == renewed


def test_nothing_is_told_that_the_table_does_not_have() -> None:
    sheet = Sheet()
    with pytest.raises(KeyError):
        sheet.tell("surprise", 1)
    with pytest.raises(ValueError, match="has the labels"):
        sheet.tell("runs", 1, path="/x")


def test_the_table_follows_the_conventions() -> None:
    families = [family for _, group in GROUPS for family in group]
    assert len({family.name for family in families}) == len(families)
    units = ("_seconds", "_bytes", "_ratio", "_celsius", "_watts")
    for family in families:
        assert not family.name.endswith("_total"), family
        assert family.name.startswith(("onetrainerd_", "process_")), family
        assert family.help.endswith("."), family
        for word in ("second", "byte"):
            if family.name.endswith(f"_{word}"):
                assert family.name.endswith(f"_per_{word}"), family
        assert family.kind != "histogram" or family.name.endswith(units), family


def test_the_registry_tells_no_more_and_no_less_than_the_table() -> None:
    telemetry = Telemetry(())
    described = {family.name for family in telemetry.describe()}
    assert described == {family.name for family in TOLD_BY_US}
    process = {family.name for family in telemetry.registry.collect()}
    assert process == {family.name for family in dict(GROUPS)["Its process"]}
