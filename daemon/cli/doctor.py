"""`onetrainerd doctor`: the findings, a line each, and what to do."""

import json
from collections.abc import Mapping
from pathlib import Path

from daemon.doctor.examining import examine
from daemon.doctor.findings import Level, exit_code
from daemon.stdout import tell


def show(flags: Mapping[str, object], environ: Mapping[str, str], cwd: Path, *, as_json: bool) -> int:
    """Print the findings; 0, or 1 when something fails."""
    findings = examine(flags, environ, cwd)
    code = exit_code(findings)
    if as_json:
        tell(json.dumps({"ok": code == 0, "findings": [finding.to_json() for finding in findings]}, indent=2))
        return code
    for finding in findings:
        tell(f"{finding.level:<4}  {finding.check:<8}  {finding.message}")
        if finding.advice:
            tell(f"{'':16}→ {finding.advice}")
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    tell(f"{counts[Level.OK]} ok, {counts[Level.WARN]} to look at, {counts[Level.FAIL]} failed")
    return code
