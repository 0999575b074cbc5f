#!/usr/bin/env bash
# Make .venv with everything the project needs. Quick when nothing changed since the last time.
set -euo pipefail
cd "$(dirname "$0")/.."

find_python() {
  for name in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
    [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 || continue
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$name"; return; fi
  done
  echo "lentigo needs Python 3.11 or newer; none found (set PYTHON=/path/to/python)" >&2
  exit 1
}

stamp=.venv/.lentigo-setup
wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then exit 0; fi

python=$(find_python)
echo "setting up .venv with $("$python" --version) (a few minutes the first time: PyTorch is large)"
[ -x .venv/bin/python ] || "$python" -m venv .venv
# --no-compile: byte code is made when a module is first used, which saves most of a minute.
.venv/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
echo "$wanted" > "$stamp"
