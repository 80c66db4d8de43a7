"""A daemon process whose log is read line by line, as a service manager reads it."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

COMMAND = [sys.executable, "-m", "daemon.cli.main"]
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(("ONETRAINER", "STATE_DIRECTORY", "JOURNAL_STREAM"))}


class Server:
    """`onetrainerd serve --config settings.toml` in *folder*, on any free port."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.process = process
        assert process.stdout is not None
        found = re.search(r" on (http://\S+)", process.stdout.readline())
        if found is None:
            raise AssertionError(process.communicate(timeout=60)[1])
        self.url = found[1]
        token = folder / "state" / "token"
        self.token = token.read_text().strip() if token.exists() else ""

    def configure(self, toml: str) -> None:
        (self.folder / "settings.toml").write_text(toml)

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def wait_line(self, part: str) -> str:
        """The next line of the log that holds *part*."""
        assert self.process.stderr is not None
        return next(line for line in self.process.stderr if part in line)

    def end(self) -> str:
        """SIGTERM; what it logged since."""
        self.process.terminate()
        return self.process.communicate(timeout=60)[1]

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and body; *headers* with underscores for dashes."""
        return self.call("GET", path, None, **headers)

    def call(self, method: str, path: str, body: object, **headers: str) -> tuple[int, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **named}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@contextmanager
def serving(folder: Path, toml: str = "", stderr: IO[str] | int = subprocess.PIPE, **environment: str) -> Iterator[Server]:
    """A server in *folder*, without a terminal; killed at the end if it still lives."""
    (folder / "settings.toml").write_text(toml)
    with subprocess.Popen(
        ["env", "--default-signal=HUP", *COMMAND, "serve", "--config", "settings.toml", "--state-dir", "state", "--port", "0"],
        cwd=folder, env=_environment(environment), stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield Server(folder, process)
        finally:
            process.kill()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {**ENVIRONMENT, **more}
