"""The runs kept in results/runs give the figures of the committed tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lentigo.reproduce.command import Reproduction, reproduce
from lentigo.reproduce.request import check_request

RESULTS = Path(__file__).resolve().parents[2] / "results"


@pytest.mark.parametrize(
    ("table", "budget", "protocol", "committed"),
    [
        ("hypo-ablation", "small", "patient", "hypo-ablation-patient.json"),
        ("caco-table5", "full", "lesion", "full/caco-table5-lesion.json"),
    ],
)
def test_the_kept_runs_give_the_committed_figures(
    tmp_path: Path, table: str, budget: str, protocol: str, committed: str
) -> None:
    wanted = json.loads((RESULTS / committed).read_text(encoding="utf-8"))
    request = check_request(
        table,
        protocol=protocol,
        budget=budget,
        seeds=1,
        rows=[row["slug"] for row in wanted["rows"]],
        runs=RESULTS / "runs",
        collect=True,
    )
    made = reproduce(request, out=tmp_path, cost=False, resamples=100, say=lambda _: None)
    assert isinstance(made, Reproduction)
    found = json.loads(made.json.read_text(encoding="utf-8"))
    assert found["provenance"]["fingerprint"] == wanted["provenance"]["fingerprint"]
    for row, kept in zip(wanted["rows"], found["rows"], strict=True):
        assert kept["slug"] == row["slug"]
        assert kept["confusion"] == row["confusion"]
        for kind in ("measured", "probability"):
            values = {name: figure["value"] for name, figure in row[kind].items()}
            assert {name: figure["value"] for name, figure in kept[kind].items()} == pytest.approx(values, abs=1e-4)
