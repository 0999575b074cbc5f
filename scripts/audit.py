"""Look for known vulnerabilities in what is installed here and in what the phone app ships. Part of `make test`.

Python packages are looked up on PyPI by pip-audit, the app's packages on npm's registry. Where a register of advisories
cannot be reached, or does not know a package, that is said and is no failure: then nothing was found out.

Exit code 1 only for a vulnerability that has a fixed release, in a package that the service, the container or the app
is made of. Those elsewhere (training, tests) are printed. LENTIGO_AUDIT=off leaves all of it out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "build/audit"
SECONDS = 180


def shipped(package: str = "lentigo") -> set[str]:
    """Every package that lentigo without extras is made of, by its normalised name."""
    found: set[str] = set()
    queue = [package]
    while queue:
        name = normalised(queue.pop())
        if name in found:
            continue
        found.add(name)
        try:
            needs = requires(name) or []
        except PackageNotFoundError:  # for another system
            continue
        queue += [
            match[0] for line in needs if "extra ==" not in line and (match := re.match(r"[A-Za-z0-9._-]+", line))
        ]
    return found


def normalised(name: str) -> str:
    """A package's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def assess(dependencies: list[dict[str, Any]], ours: set[str]) -> tuple[list[str], bool, int]:
    """What pip-audit found, in lines, whether it must be mended, and how many packages it could look up."""
    lines, bad, known = [], False, 0
    for one in dependencies:
        known += "skip_reason" not in one
        for flaw in one.get("vulns", ()):
            mine, fixed = normalised(one["name"]) in ours, ", ".join(flaw["fix_versions"])
            bad |= mine and bool(fixed)
            where = "shipped" if mine else "not shipped"
            lines.append(
                f"{one['name']} {one['version']}: {flaw['id']} ({where};"
                f" {f'fixed in {fixed}' if fixed else 'no fix yet'})"
            )
    return lines, bad, known


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str] | None:
    """A command's output; None where it cannot be run or takes too long."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL, check=False, **options
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def document(done: subprocess.CompletedProcess[str] | None) -> dict[str, Any]:
    """The JSON that a command printed; empty where it printed none."""
    try:
        found = json.loads(done.stdout) if done else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def audit_python() -> bool:
    """Whether the Python packages pass; says what it found."""
    if not (TOOL / "pip_audit").is_dir():  # kept apart from .venv: it brings packages of its own
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--target",
                str(TOOL),
                "pip-audit>=2.7",
            ]
        )
    if not (TOOL / "pip_audit").is_dir():
        print("Python packages: not audited (pip-audit cannot be installed here)")
        return True
    site = next(path for path in sys.path if path.endswith("site-packages"))
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--path",
        site,
        "--skip-editable",
        "--progress-spinner",
        "off",
        "--timeout",
        "10",
        "-f",
        "json",
    ]
    found = document(run(command, env={**os.environ, "PYTHONPATH": str(TOOL)}))
    if "dependencies" not in found:
        print("Python packages: not audited (PyPI's advisories cannot be reached from here)")
        return True
    lines, bad, known = assess(found["dependencies"], shipped())
    if known == 0:
        print(
            f"Python packages: not audited (PyPI's advisories know none of the {len(found['dependencies'])} packages,"
            " as seen from here)"
        )
        return True
    print(
        f"Python packages: {known} of {len(found['dependencies'])} looked up, {len(lines)} known vulnerabilities",
        *lines,
        sep="\n  ",
    )
    return not bad


def audit_app() -> bool:
    """Whether the app's packages pass; says what it found."""
    npm = shutil.which("npm") or str(ROOT / "build/node/bin/npm")
    found = document(run([npm, "audit", "--omit=dev", "--json"], cwd=ROOT / "app"))
    if "vulnerabilities" not in found:
        print("packages of the app: not audited (npm's advisories cannot be reached from here)")
        return True
    flaws = found["vulnerabilities"]
    lines = [
        f"{name}: {flaw['severity']} ({'fixed release' if flaw['fixAvailable'] else 'no fix yet'})"
        for name, flaw in flaws.items()
    ]
    print(f"packages of the app: {len(lines)} known vulnerabilities", *lines, sep="\n  ")
    return not any(flaw["fixAvailable"] for flaw in flaws.values())


def main() -> int:
    """Audit both."""
    if os.environ.get("LENTIGO_AUDIT") == "off":
        print("not audited (LENTIGO_AUDIT=off)")
        return 0
    passed = [audit_python(), audit_app()]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
