"""GET /docs: Swagger UI, whole, from this server alone."""

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urljoin

import pytest

from daemon.api import docs, openapi
from daemon.app import ROUTES
from tests.api_frame.conftest import Serve, Server, serve
from tests.operations.daemon import serving

__all__ = ["serve"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--virtual-time-budget=30000",
]  # fmt: skip
STRANGER = {"Authorization": ""}


@pytest.fixture
async def server(serve: Serve) -> Server:
    return await serve(routes=docs.ROUTES)


async def test_every_file_that_the_page_names_is_there_for_everybody(server: Server) -> None:
    async with server.call("GET", "/docs", headers=STRANGER) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        html = await response.text()
    named = re.findall(r'(?:src|href)="([^"]+)"', html)
    files = [name for name in named if name not in {"data:,", "openapi.json"}]
    assert {Path(name).name for name in files} == {"swagger-ui.css", "page.css", "swagger-ui-bundle.js", "page.js"}
    for name in files:
        path = urljoin("/docs", name)
        async with server.call("GET", path, headers=STRANGER) as response:
            assert response.status == 200, path
            assert response.headers["Content-Type"].startswith(("text/javascript", "text/css"))
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert len(await response.read()) > 100


async def test_the_page_can_run_nothing_but_what_this_server_sends(server: Server) -> None:
    async with server.call("GET", "/docs") as response:
        html, policy = await response.text(), response.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy.split("; "))
    assert not re.search(r"<style|\son\w+=|\sstyle=|<script[^>]*>[^<]|https?:|//", html)
    ours = (Path(docs.__file__).parent / "docs_page" / "page.js").read_text()
    assert not re.search(r"localStorage|sessionStorage|document\.cookie|innerHTML|https?:", ours)


async def test_a_browser_that_has_a_file_is_not_sent_it_again(server: Server) -> None:
    async with server.call("GET", "/docs/swagger-ui-bundle.js") as response:
        etag, size = response.headers["ETag"], int(response.headers["Content-Length"])
        assert response.headers["Content-Encoding"] == "gzip"
        assert len(await response.read()) > 2 * size
    async with server.call("GET", "/docs/swagger-ui-bundle.js", headers={"If-None-Match": etag}) as response:
        assert (response.status, await response.read()) == (304, b"")


@pytest.mark.parametrize("name", ["docs.py", "..%2fdocs.py", "LICENSE", "swagger-ui.css.map", "index.html%00"])
async def test_no_other_file_is_served(server: Server, name: str) -> None:
    async with server.call("GET", f"/docs/{name}") as response:
        assert response.status == 404


def test_the_swagger_ui_is_one_that_knows_openapi_3_1() -> None:
    text = docs._of_swagger_ui("swagger-ui-bundle.js").read_text()
    assert re.search(r'"?version"?:"5\.\d+\.\d+"|5\.\d{2}\.\d+', text)
    assert "openapi: 3.1" in text or "3.1." in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to draw the page with")
def test_a_browser_draws_every_operation_of_this_api(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    with serving(tmp_path, 'auth = "none"\n') as server:
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", f"{server.url}/docs"]
        drawn = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    shown = set(re.findall(r'data-path="([^"]+)"', drawn))
    assert shown == {route.path for route in (*ROUTES, *openapi.ROUTES)}
