"""Ask the advisories about every pinned dependency (pip-audit), and don't take silence for an all-clear.

pip-audit says "No known vulnerabilities found" also where its source knew none of the packages, as a mirror of PyPI does.
Exit code 1: there are vulnerabilities. 2: nobody could be asked, or not about all.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ANSWERED: dict[str, str] = {}
"""Advisory → why it does not reach us here."""


def main() -> int:
    asked = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--requirement", str(ROOT / "constraints.txt"), "--no-deps", "--disable-pip",
         "--progress-spinner", "off", "--format", "json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        dependencies = json.loads(asked.stdout)["dependencies"]
    except (ValueError, KeyError):
        sys.stderr.write(f"{asked.stderr}\nNOT AUDITED: pip-audit could not reach its source of advisories\n")
        return 2
    silent = [one["name"] for one in dependencies if "skip_reason" in one]
    found = [(one, vulnerability) for one in dependencies for vulnerability in one.get("vulns", ()) if vulnerability["id"] not in ANSWERED]
    for one, vulnerability in found:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        sys.stderr.write(f"{one['name']} {one['version']}: {vulnerability['id']}, fixed in {fixed}\n")
    if found:
        return 1
    if silent:
        sys.stderr.write(f"NOT AUDITED: the source of advisories knows nothing of {len(silent)} of {len(dependencies)} dependencies: "
                         f"{', '.join(silent[:5])}, …; a mirror of PyPI has none\n")  # fmt: skip
        return 2
    sys.stdout.write(f"{len(dependencies)} dependencies, no advisory is open\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
