"""A trainer that does what its config's `script` says: it speaks the protocol of PROTOCOL.md and nothing else. Stdlib only.

Instead of `script` there may be `scripts`, one for each attempt; the last one goes for all further attempts.

Actions: ["emit", {event}], ["print", text], ["await_command"], ["answer", "done"|"failed", {more fields}?], ["exit", code],
["signal", number], ["ignore_term"], ["stray"], ["hang"], ["flood", count], ["raw", text], ["close_events"].
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path


def main() -> None:  # noqa: C901 - a table of actions
    parser = argparse.ArgumentParser()
    parser.add_argument("role", nargs="?")
    for name in ("--attempt", "--events-fd", "--commands-fd", "--console-fd"):
        parser.add_argument(name)
    options = parser.parse_args()
    events = int(options.events_fd)
    commands = os.fdopen(int(options.commands_fd), "rb")
    command: dict[str, object] = {}

    def emit(event: dict[str, object]) -> None:
        os.write(events, json.dumps(event).encode() + b"\n")

    attempt = Path(options.attempt)
    config = json.loads((attempt.parent.parent / "config.json").read_text())
    scripts = config.get("scripts", [config.get("script")])
    for action, *arguments in scripts[min(int(attempt.name), len(scripts)) - 1]:
        match action:
            case "emit":
                emit(arguments[0])
            case "print":
                sys.stdout.write(arguments[0])
                sys.stdout.flush()
            case "await_command":
                command = json.loads(commands.readline())
            case "answer":
                about = {"id": command["id"], "command": command["command"]}
                emit({"type": f"command.{arguments[0]}", **about, "result": command["args"], **dict(*arguments[1:])})
            case "exit":
                os._exit(arguments[0])
            case "signal":
                signal.signal(arguments[0], signal.SIG_DFL) if arguments[0] != signal.SIGKILL else None
                os.kill(os.getpid(), arguments[0])
            case "ignore_term":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            case "stray":
                child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
                emit({"type": "log", "level": "info", "message": str(child.pid)})
            case "hang":
                signal.pause()
            case "flood":
                for step in range(arguments[0]):
                    emit({"type": "step", "global_step": step + 1, "scalars": {"loss/train_step": 0.5}})
            case "raw":
                os.write(events, arguments[0].encode())


if __name__ == "__main__":
    main()
