"""Lines of log: for people, for programs, for journald."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from daemon.log_lines import JsonLines, TextLines, one_line
from daemon.logs import Tally, is_journal
from tests.operations.daemon import COMMAND, ENVIRONMENT, serving


def record(message: str, *arguments: object, level: int = logging.INFO, fault: bool = False) -> logging.LogRecord:
    raised = None
    if fault:
        try:
            raise KeyError("the fault")
        except KeyError:
            raised = sys.exc_info()
    return logging.LogRecord("daemon.here", level, __file__, 1, message, arguments, raised)


def test_a_line_for_people_bears_the_request_it_is_about() -> None:
    assert (
        TextLines(lambda: "abc", for_journal=False)
        .format(record("run %s ends", "000001-ab12"))
        .endswith(" INFO daemon.here: run 000001-ab12 ends [request abc]")
    )


def test_a_line_for_programs_bears_run_request_and_traceback() -> None:
    line = JsonLines(lambda: "abc", for_journal=False).format(record("run %s: %d", "000001-ab12", 3, level=logging.ERROR, fault=True))
    found = json.loads(line)
    assert "\n" not in line
    assert (found["level"], found["message"], found["run_id"], found["request_id"]) == ("error", "run 000001-ab12: 3", "000001-ab12", "abc")
    assert "KeyError: 'the fault'" in found["error"]
    bare = json.loads(JsonLines(lambda: None, for_journal=False).format(record("%s", "no run")))
    assert set(bare) == {"time", "level", "logger", "message"}


@pytest.mark.parametrize(("level", "prefix"), [(10, "<7>"), (20, "<6>"), (30, "<4>"), (40, "<3>"), (50, "<2>")])
def test_for_the_journal_every_line_begins_with_its_priority(level: int, prefix: str) -> None:
    text = TextLines(lambda: None, for_journal=True).format(record("it failed", level=level, fault=True))
    assert text.startswith(f"{prefix}{logging.getLevelName(level)} daemon.here: it failed")
    assert len(text.split("\n")) > 2
    assert all(line.startswith(prefix) for line in text.split("\n"))
    assert JsonLines(lambda: None, for_journal=True).format(record("x", level=level)).startswith(prefix + "{")


def test_what_a_stranger_wrote_cannot_forge_a_line() -> None:
    forged = "x\n<0>forged\x1b[2J\u2028"
    assert one_line(forged) == "x\\n<0>forged\\x1b[2J\\x2028"
    assert TextLines(lambda: None, for_journal=True).format(record("%s", forged)).count("\n") == 0


def test_the_journal_is_known_by_its_stream(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        assert is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, stream.fileno())
        assert not is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}, stream.fileno())
        assert not is_journal({}, stream.fileno())


def test_a_refusal_to_start_has_its_priority_too(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        environment = {**ENVIRONMENT, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}", "ONETRAINERD_PORT": "x"}
        subprocess.run([*COMMAND, "serve"], cwd=tmp_path, env=environment, stderr=stream, timeout=60, check=False)
    assert (tmp_path / "journal").read_text().startswith("<3>onetrainerd: ONETRAINERD_PORT: port = 'x' is not allowed")


def test_warnings_and_errors_are_counted() -> None:
    tally = Tally()
    logger = logging.getLogger("tests.counted")
    logger.addHandler(tally)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.ERROR, logging.CRITICAL):
        logger.log(level, "x")
    logger.removeHandler(tally)
    assert tally.counts == {"warning": 1, "error": 2, "critical": 1}


def test_a_server_under_the_journal_writes_priorities_and_the_id_of_each_request(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with path.open("w") as stream:
        status = os.fstat(stream.fileno())
        with serving(
            tmp_path, '[log]\nformat = "json"\nrequests = "info"\n', stderr=stream, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}"
        ) as server:
            assert server.get("/runs/000001-ab12?cursor=x", X_Request_Id="mine-1")[0] == 400
            assert server.get("/health")[0] == 200
            server.end()
    lines = path.read_text().splitlines()
    assert all(line.startswith("<6>{") for line in lines)
    requests = [found for line in lines if (found := json.loads(line[3:]))["logger"] == "daemon.api.observing"]
    first = requests[0]
    assert (first["request_id"], first["run_id"], first["token"]) == ("mine-1", "000001-ab12", "first")
    assert "token" not in requests[1]  # nobody was asked for one
    assert (first["route"], first["status"], first["method"]) == ("/runs/{run_id}", 400, "GET")
    assert "cursor" not in first["message"]
    assert requests[1]["route"] == "/health"
