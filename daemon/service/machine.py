"""Whether the machine, or the user's session, is going down: what tells a stop of the daemon from the end of everything."""

import asyncio
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

_LOG = logging.getLogger(__name__)
_ANSWER_S = 10.0


async def is_going_down(environ: Mapping[str, str] | None = None) -> bool:
    """Whether systemd says `stopping` of the machine, or of the user's manager that started us; False where nobody can be asked."""
    environ = os.environ if environ is None else environ
    systemctl = shutil.which("systemctl")
    if systemctl is None or not Path("/run/systemd/system").is_dir():  # sd_booted(3)
        return False
    managers = [(), ("--user",)] if environ.get("MANAGERPID") else [()]  # set by a user's manager alone (systemd.exec(5))
    answers = await asyncio.gather(*(_ask(systemctl, *manager) for manager in managers))
    return "stopping" in answers


async def _ask(systemctl: str, *manager: str) -> str:
    try:
        asked = await asyncio.create_subprocess_exec(
            systemctl, *manager, "is-system-running",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError as error:
        _LOG.warning("whether the machine goes down is not known: %s", error)
        return ""
    try:
        async with asyncio.timeout(_ANSWER_S):
            out, err = await asked.communicate()
    except TimeoutError:
        asked.kill()
        await asked.wait()
        _LOG.warning("whether the machine goes down is not known: systemctl did not answer within %g s", _ANSWER_S)
        return ""
    answer = out.decode(errors="replace").strip()
    if not answer:
        _LOG.warning("whether the machine goes down is not known: %s", err.decode(errors="replace").strip())
    return answer
