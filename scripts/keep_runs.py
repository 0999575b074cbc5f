"""Copy what a table of `lentigo reproduce` needs of finished runs, without weights, so that later rows pair with them.

Kept: recipe, record, log, and the predictions without metadata columns. Paths are written relative to the project.
`lentigo reproduce ... --collect --runs results/runs` reads the copies.

Usage: python scripts/keep_runs.py RUNS results/runs    (RUNS holds <budget>/<protocol>/<row>-seed<k>)
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from lentigo.data.tables import write_table
from lentigo.evaluation.predictions import REQUIRED, STATE, read_predictions
from lentigo.files import write_json
from lentigo.training.rundir import load_run

KEPT = ("recipe.yaml", "log.csv")


def main(runs: str, out: str) -> None:
    """Copy every finished run."""
    for record in sorted(Path(runs).glob("*/*/*/run.json")):
        folder = record.parent
        run, target = load_run(folder), Path(out) / folder.relative_to(runs)
        if not run.record["finished"]:
            continue
        target.mkdir(parents=True, exist_ok=True)
        data = Path(run.record["data_root"])
        facts = run.record | {
            "data_root": f"../shared/data/{data.name}",
            "command": run.record["command"].replace(str(data), f"../shared/data/{data.name}").replace(runs, out),
        }
        if weights := facts.get("pretrained"):
            facts["pretrained"] = weights | {"source": Path(weights["source"]).name}
        write_json(target / "run.json", facts)
        for name in KEPT:
            shutil.copyfile(folder / name, target / name)
        for table in sorted((folder / "predictions").glob("*.csv")):
            read = read_predictions(table, codes=run.labels.codes)
            frame = read.frame[[*REQUIRED, *run.labels.codes]].assign(**{STATE: read.state})
            (target / "predictions").mkdir(exist_ok=True)
            write_table(target / "predictions" / table.name, frame, float_format="%.6g")


if __name__ == "__main__":
    main(*sys.argv[1:])
