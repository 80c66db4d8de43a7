"""A reload reaches the rules of access while the application serves."""

from daemon.api.keys import SETTINGS
from daemon.settings.model import Http, Limits
from tests.access.conftest import Begin, Real

DASH = {"Origin": "https://dash.example"}


def bearer(real: Real) -> dict[str, str]:
    return {"Authorization": f"Bearer {real.token}"}


async def test_hosts_origins_and_limits_follow_a_reload(begin: Begin) -> None:
    real = await begin()
    in_force = real.app[SETTINGS]
    assert await real.ask("GET", "/runs", {**bearer(real), **DASH}) == (403, "origin")
    assert await real.ask("GET", "/runs", {**bearer(real), "Host": "gpu.lan"}) == (403, "host")
    http = Http(allowed_hosts=("gpu.lan",), allowed_origins=("https://dash.example",))
    change = in_force.change(in_force.now.model_copy(update={"http": http, "limits": Limits(calls_per_s=0.001, calls_burst=2)}))
    assert set(change.live) >= {"http.allowed_hosts", "http.allowed_origins", "limits.calls_per_s", "limits.calls_burst"}
    async with real.session.get(f"{real.url}/runs", headers={**bearer(real), **DASH, "Host": "gpu.lan"}) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (200, "https://dash.example")
    assert [(await real.ask("GET", "/runs", bearer(real)))[0] for _ in range(2)] == [200, 429]
    in_force.change(in_force.now.model_copy(update={"limits": Limits(), "http": Http()}))
    assert await real.ask("GET", "/runs", bearer(real)) == (200, "")
    assert await real.ask("GET", "/runs", {**bearer(real), **DASH}) == (403, "origin")
