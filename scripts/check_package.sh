#!/usr/bin/env bash
# Build wheel and source distribution, check their metadata, classify with the wheel in an empty environment, and list what is in it.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=$root/.venv/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --no-isolation --outdir "$work/dist" . > "$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
"$python" -m twine check --strict "$work"/dist/*
"$python" -m venv "$work/empty"
"$work/empty/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt "$work"/dist/*.whl
cd "$work" # so that it is the wheel that is imported
"$work/empty/bin/python" -c "from lentigo.synthetic import render_phantom; render_phantom('nv', 0, 300).save('lesion.jpg')"
"$work/empty/bin/lentigo" predict lesion.jpg --json > answer.json
"$work/empty/bin/python" - << 'END'
import importlib.util, json, lentigo
from pathlib import Path

answer = json.loads(Path("answer.json").read_text())
(row,) = answer["rows"]
assert "empty" in lentigo.__file__, lentigo.__file__
assert row["label"] in row["probabilities"] and not row["error"], row
assert abs(sum(row["probabilities"].values()) - 1) < 1e-6, row
assert "not a medical device" in answer["notice"]
assert importlib.util.find_spec("torch") is None, "the use wing must not bring torch"
print(f"the wheel classifies in an empty environment: {row['label']}")
END
cd "$root"
mkdir -p build
"$root/.venv/bin/cyclonedx-py" environment --pyproject pyproject.toml --output-reproducible --spec-version 1.6 \
  --output-file build/lentigo.cdx.json "$work/empty/bin/python" # checked against the schema of CycloneDX as it is written
"$python" - << 'END'
import json, re, tomllib
from pathlib import Path

listed = {part["name"].lower() for part in json.loads(Path("build/lentigo.cdx.json").read_text())["components"]}
wanted = tomllib.loads(Path("pyproject.toml").read_text())["project"]["dependencies"]
missing = {re.match(r"[\w-]+", one).group().lower() for one in wanted if ";" not in one} - listed
assert not missing, f"the bill of materials lacks {missing}"
print(f"bill of materials, CycloneDX: build/lentigo.cdx.json, {len(listed)} components")
END
