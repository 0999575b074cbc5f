"""Robustness of a model, into results/: one command to do again whenever the model changes.

    .venv/bin/python scripts/robustness.py dermoscopy-7 ../shared/data/ham10000

Runs `lentigo evaluate MODEL --data DATA --stress` and keeps its figures as results/robustness-MODEL.json and .md.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from lentigo.evaluation import read_run
from lentigo.evaluation.robustness import read_robustness, robustness_markdown
from lentigo.files import write_text

FACTS = ("title", "notice", "split", "data", "fingerprint", "protocol", "split_seed", "seed", "network", "lentigo", "versions")
SKIN = "skin tone (estimated from the image)"


def main(model: str, data: str) -> None:
    """Judge a model (a packaged name or a folder) on a data set, degraded too, and write its results."""
    name = Path(model).name
    out = Path("runs") / f"robustness-{name}"
    subprocess.run([sys.executable, "-m", "lentigo", "evaluate", model, "--data", data, "--stress", "--out", str(out)], check=True)
    metrics = json.loads((out / "report" / "metrics.json").read_text(encoding="utf-8"))
    record = metrics["stress"]["record"]
    skin = [row for row in metrics["subgroups"] if row["attribute"] == SKIN]
    clean = {key: metrics["metrics"]["overall"][key] for key in ("accuracy", "balanced_accuracy")}
    kept = {key: metrics[key] for key in FACTS} | {"clean": clean, "stress": metrics["stress"], "skin_tone": skin}
    target = Path("results") / f"robustness-{name}"
    write_text(target.with_name(target.name + ".json"), json.dumps(kept, indent=2, ensure_ascii=False) + "\n")
    run = read_run(out)
    stress = read_robustness(run.test, run.labels)
    lines = [
        f"# Robustness of {name}",
        "",
        f"{metrics['title']}. Split seed {metrics['split_seed']}, data fingerprint `{metrics['fingerprint'][:16]}`, model "
        f"`{record['bundle']['model_sha256'][:16]}` ({record['bundle']['weights']}). {record['hardware']}, {record['wall_seconds']:.0f} s.",
        "",
        f"    {record['command']}",
        "",
        "95 % intervals: bootstrap by lesion; changes are against the same images as taken, from the same resamples. Degradations act on "
        "the square of 224 pixels that the network sees; hair is drawn. Research use only, not a medical device.",
        "",
        robustness_markdown(stress),
        "## By estimated skin tone",
        "",
        "Individual typology angle of the border skin: an estimate, which lamp and white balance shift. Below 30 images a row says little.",
        "",
        "| band | images | accuracy, % | accuracy against the rest, points |",
        "|---|---:|---:|---:|",
        *(f"| {row['value']} | {row['images']} | {_text(row['accuracy'], row)} | {_text(row['gap'], row)} |" for row in skin),
        "",
    ]
    write_text(target.with_name(target.name + ".md"), "\n".join(lines))
    print(f"written to {target}.json and .md")


def _text(value: dict[str, float | None], row: dict[str, object]) -> str:
    digits = 0 if row["small"] else 1  # no false precision
    if value["value"] is None:
        return "–"
    shown = f"{100 * value['value']:.{digits}f}"
    if value["low"] is None or value["high"] is None:
        return shown
    return f"{shown} ({100 * value['low']:.{digits}f} to {100 * value['high']:.{digits}f})"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
