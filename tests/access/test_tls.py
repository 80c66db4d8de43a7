"""Certificates in files: what is refused at the start, what clients meet, and what a reload changes."""

import asyncio
import datetime
import json
import logging
import os
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

from daemon.access.tls import ServerTls, client_context, load_certificate
from daemon.api.server import ApiRunner, ApiSite
from daemon.errors import InvalidError
from tests.cli.test_contract import COMMAND, ENVIRONMENT, run

CA = trustme.CA()
DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.UTC)


def write(folder: Path, name: str = "gpu.example", days: tuple[float, float] = (-1, 365)) -> tuple[Path, Path]:
    """A certificate, valid between these days from now, and its key."""
    made = CA.issue_cert(name, not_before=NOW + days[0] * DAY, not_after=NOW + days[1] * DAY)
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.touch(0o600)
    key.write_bytes(made.private_key_pem.bytes())
    return cert, key


def test_a_pair_that_belongs_together_is_loaded_with_its_times(tmp_path: Path) -> None:
    made = load_certificate(*write(tmp_path))
    assert made.context.minimum_version == ssl.TLSVersion.TLSv1_2
    now = NOW.timestamp()
    assert made.begins < now < made.expires
    assert made.trouble(now) is None


@pytest.mark.parametrize(
    ("days", "level", "told"),
    [((-30, -1), logging.ERROR, "has expired at"), ((1, 30), logging.ERROR, "not yet valid"), ((-30, 5), logging.WARNING, "expires at")],
)
def test_an_expired_certificate_is_served_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, days: tuple[float, float], level: int, told: str
) -> None:
    ServerTls(*write(tmp_path, days=days))
    [record] = caplog.records
    assert record.levelno == level
    assert told in record.getMessage()
    assert str(tmp_path / "cert.pem") in record.getMessage()


def break_pair(what: str, cert: Path, key: Path) -> None:
    match what:
        case "no certificate":
            cert.unlink()
        case "no key":
            key.unlink()
        case "a folder":
            cert.unlink()
            cert.mkdir()
        case "a pipe":
            key.unlink()
            os.mkfifo(key)
        case "no PEM":
            cert.write_bytes(b"\x30\x82\x01\x0a\xff")
        case "a key alone":
            cert.write_bytes(key.read_bytes())
        case "a torn certificate":
            cert.write_text(cert.read_text()[:300] + "\n-----END CERTIFICATE-----\n")
        case "no PEM in the key":
            key.write_text("secret")
        case "another key":
            key.write_bytes(CA.issue_cert("other.example").private_key_pem.bytes())
        case "an encrypted key":
            private = load_pem_private_key(key.read_bytes(), None)
            key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")))


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("no certificate", r"tls\.cert: \S+cert\.pem cannot be read by the daemon's user: No such file"),
        ("no key", r"tls\.key: \S+key\.pem cannot be read by the daemon's user: No such file"),
        ("a folder", r"tls\.cert: \S+cert\.pem cannot be read by the daemon's user: "),
        ("a pipe", r"tls\.key: \S+key\.pem cannot be read by the daemon's user: it is not a regular file"),
        ("no PEM", r"tls\.cert: \S+cert\.pem holds no certificate in PEM form"),
        ("a key alone", r"tls\.cert: \S+cert\.pem holds no certificate in PEM form"),
        ("a torn certificate", r"do not make a server's certificate"),
        ("no PEM in the key", r"do not make a server's certificate"),
        ("another key", r"tls\.key: \S+key\.pem is not the key of the certificate \S+cert\.pem"),
        ("an encrypted key", r"tls\.key: \S+key\.pem is encrypted"),
    ],
)
def test_files_that_do_not_work_are_refused_with_which_and_why(tmp_path: Path, what: str, told: str) -> None:
    cert, key = write(tmp_path)
    break_pair(what, cert, key)
    with pytest.raises(InvalidError, match=told) as caught:
        load_certificate(cert, key)
    assert "\n" not in caught.value.message
    assert "PRIVATE KEY" not in caught.value.message


def test_a_link_as_certbot_makes_it_is_followed_and_a_key_that_all_can_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = write(tmp_path)
    (tmp_path / "live").mkdir()
    for path in (cert, key):
        (tmp_path / "live" / path.name).symlink_to(path)
    load_certificate(tmp_path / "live" / "cert.pem", tmp_path / "live" / "key.pem")
    assert caplog.text == ""
    key.chmod(0o644)
    load_certificate(cert, key)
    assert "everybody on this machine can read the key" in caplog.text


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A daemon with the pair in *folder*, and its port."""
    environment = ENVIRONMENT | {"ONETRAINERD_TLS__CERT": "cert.pem", "ONETRAINERD_TLS__KEY": "key.pem"}
    process = subprocess.Popen(
        [*COMMAND, "serve", "--state-dir", "state", "--port", "0"],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found = re.search(r"listens on https://127\.0\.0\.1:(\d+) ", process.stdout.readline())
        assert found
        yield process, int(found[1])
    finally:
        process.terminate()
        process.communicate(timeout=30)


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    assert any(text in line for line in process.stderr)


def shown(port: int, context: ssl.SSLContext, name: str | None = None) -> bytes:
    """The certificate that the server shows."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
        return tls.getpeercert(binary_form=True) or b""


def trusting_anything() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def test_it_serves_https_and_wss_to_who_trusts_the_authority(tmp_path: Path) -> None:
    write(tmp_path, "127.0.0.1")
    trusting = ssl.create_default_context()
    CA.configure_trust(trusting)
    with serving(tmp_path) as (_, port):
        headers = {"Authorization": f"Bearer {(tmp_path / 'state' / 'token').read_text().strip()}"}
        async with aiohttp.ClientSession(f"https://127.0.0.1:{port}", headers=headers) as session:
            async with session.get("/runs", ssl=trusting) as answer:
                assert answer.status == 200
            async with session.ws_connect("/ws", ssl=trusting, origin=f"https://127.0.0.1:{port}") as ws:
                assert (await ws.receive_json())["type"] == "connected"
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get("/health")
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"http://127.0.0.1:{port}/health")


def test_the_command_line_trusts_the_certificate_itself_and_no_other(tmp_path: Path) -> None:
    write(tmp_path, days=(-30, -1))  # it is not asked whether it has expired, nor for whom it is
    with serving(tmp_path) as (process, port):
        wait_for_line(process, "has expired at")
        assert json.loads((tmp_path / "state" / "endpoint.json").read_text())["certificate"] == str(tmp_path / "cert.pem")
        status = run(tmp_path, "status", "--state-dir", "state")
        assert (status.returncode, status.stdout) == (0, f"https://127.0.0.1:{port}: idle\n")
        write(tmp_path)  # of the same authority, and not yet reloaded
        status = run(tmp_path, "status", "--state-dir", "state")
        assert (status.returncode, "shows another certificate" in status.stdout) == (3, True)
        (tmp_path / "cert.pem").unlink()
        status = run(tmp_path, "status", "--state-dir", "state")
        assert (status.returncode, "cert.pem cannot be read" in status.stdout, status.stderr) == (3, True, "")


def test_a_reload_shows_the_renewed_certificate_and_leaves_the_old_one_when_it_does_not_work(tmp_path: Path) -> None:
    cert, key = write(tmp_path)
    with serving(tmp_path) as (process, port):
        first = shown(port, client_context(cert))
        write(tmp_path)
        process.send_signal(signal.SIGHUP)
        wait_for_line(process, "the settings are reloaded")
        renewed = shown(port, client_context(cert))
        assert renewed != first
        assert shown(port, trusting_anything(), "gpu.example") == renewed  # also for a client that names a server
        key.write_text("torn")
        process.send_signal(signal.SIGHUP)
        wait_for_line(process, "the settings are not reloaded")
        assert shown(port, trusting_anything()) == renewed


async def test_a_stranger_who_begins_no_handshake_is_let_go(tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer)
    runner = ApiRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        bound = socket.create_server(("127.0.0.1", 0))
        await ApiSite(runner, bound, load_certificate(*write(tmp_path)).context, handshake_s=0.05).start()
        reader, writer = await asyncio.open_connection("127.0.0.1", bound.getsockname()[1])
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("given", ["ONETRAINERD_TLS__CERT", "ONETRAINERD_TLS__KEY"])
def test_one_of_the_two_files_alone_is_refused(tmp_path: Path, given: str) -> None:
    result = run(tmp_path, "serve", "--state-dir", "state", "--port", "0", **{given: "x.pem"})
    assert result.returncode == 1
    assert re.fullmatch(rf"onetrainerd: {given}: tls\.\w+ needs tls\.\w+: set both for https, or none for http\n", result.stderr)


def test_a_daemon_whose_certificate_is_missing_says_so_in_one_line(tmp_path: Path) -> None:
    environment = {"ONETRAINERD_TLS__CERT": "none.pem", "ONETRAINERD_TLS__KEY": "none.pem"}
    result = run(tmp_path, "serve", "--state-dir", "state", "--port", "0", **environment)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert "none.pem cannot be read by the daemon's user: No such file or directory" in result.stderr
