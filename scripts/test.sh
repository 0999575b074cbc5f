#!/usr/bin/env bash
# Every check, in the order that finds mistakes soonest. Called by `make test` after set-up.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
sources="lentigo tests benchmarks scripts"

echo "== style"
$python -m ruff check $sources
$python -m ruff format --check $sources
echo "== types"
$python -m mypy
if [ -f app/package.json ]; then
  bash scripts/setup_browser.sh
  echo "== app: build, unit tests, browser tests"
  bash scripts/build_app.sh
  bash app/test.sh
fi
echo "== Python tests"
# One thread a worker: two workers share two cores. Compiled modules are kept: many tests start processes that import them.
unset PYTHONDONTWRITEBYTECODE
OMP_NUM_THREADS=1 $python -m pytest -n 2 --dist loadfile
echo "== package: build, metadata, an empty environment"
bash scripts/check_package.sh
echo "== audit of the dependencies"
$python scripts/audit.py
