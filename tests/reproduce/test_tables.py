"""Tables of the papers: as data, from runs at hand, and from nothing by the real command line."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_tables import table_of
from tiny_run import tiny_data, tiny_graph

from lentigo.cli import main
from lentigo.config import to_yaml
from lentigo.config.recipe import NetworkRecipe, load_recipe, recipe_differences
from lentigo.data import read_samples
from lentigo.errors import NetworkError, RecipeError
from lentigo.evaluation import write_predictions
from lentigo.labels import HAM10000, ISIC2017, PAD_UFES_20
from lentigo.networks import create_network, describe_network
from lentigo.reproduce import check_request, command, cost, load_table, reproduce, table_names, weights
from lentigo.reproduce.cost import measure_cost
from lentigo.reproduce.document import _classes_table
from lentigo.reproduce.tables import load_budget, overrides_of

TINY = "epochs: 2\nbatch: 32\nsizes: [{from_epoch: 0, size: 32}]\ndata.fractions: [0.5, 0.25, 0.25]\n"
KEYS = {
    "name",
    "slug",
    "printed",
    "measured",
    "seeds",
    "start",
    "parameters",
    "per_seed",
    "per_class",
    "curve",
    "wall_seconds",
    "confusion",
}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(reproduce.__kwdefaults__, "resamples", 500)


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err


# The tables as data.


@pytest.mark.parametrize("name", table_names())
@pytest.mark.parametrize("budget", ["small", "medium", "paper"])
def test_every_row_is_a_recipe_and_rows_differ_in_network_and_loss_alone(name: str, budget: str) -> None:
    table = load_table(name)
    scale = load_budget(budget, table.family)
    rest = set()
    for row in table.rows:
        recipe = load_recipe(
            table.recipe, overrides_of(table, row, scale, protocol=table.protocols[0], seed=1, scratch=False)
        )
        assert recipe.name == row.slug
        assert recipe.seed == 1
        assert set(recipe.network.options) <= set(describe_network(recipe.network.name).options)
        if table.compares == "networks":
            rest.add(recipe.model_dump_json(exclude={"name", "network", "loss"}))
        else:
            rest.add(recipe.data.model_dump_json(exclude={"extra"}))
    assert len(rest) == 1
    assert len({(str(row.set), row.start) for row in table.rows}) == len(table.rows)  # nothing is run twice


def test_the_small_budget_of_caco_is_the_one_that_runs_were_made_with() -> None:
    table = load_table("caco-table4")
    recipe = load_recipe(
        table.recipe,
        overrides_of(
            table,
            table.choose(["caco-joint"])[0],
            load_budget("small", "caco"),
            protocol="image",
            seed=2,
            scratch=False,
        ),
    )
    assert (recipe.epochs, recipe.batch, recipe.optimiser.lr, recipe.schedule.name, recipe.schedule.warmup) == (
        6,
        64,
        1e-3,
        "cosine",
        0.5,
    )
    assert [s.model_dump() for s in recipe.sizes] == [{"from_epoch": 0, "size": 96}]
    assert (recipe.data.protocol, recipe.seed, recipe.network.name, recipe.loss.name) == (
        "image",
        2,
        "mobilenetv3_small_caco",
        "joint",
    )


def test_the_full_budget_of_caco_is_the_papers_recipe_at_128_px() -> None:
    table = load_table("caco-table5")
    printed, full = (
        load_recipe(
            table.recipe,
            overrides_of(
                table,
                table.choose(["caco-joint"])[0],
                load_budget(name, "caco"),
                protocol="image",
                seed=0,
                scratch=False,
            ),
        )
        for name in ("paper", "full")
    )
    assert recipe_differences(printed, full) == ["sizes"]
    assert (full.epochs, full.batch, full.optimiser.lr, full.optimiser.weight_decay, full.final_size) == (
        100,
        128,
        5e-4,
        5e-2,
        128,
    )


def test_the_papers_figures_are_as_printed() -> None:
    printed = {row.name: row.printed for row in load_table("caco-table4").rows}
    assert (printed["CaCo + joint"].accuracy, printed["CaCo + joint"].bacc) == (93.39, 86.35)
    counts = {row.name: row.printed.parameters for row in load_table("caco-table5").rows}
    assert list(counts.values()) == [2.18, 2.20, 2.64, 2.08, 2.29, 2.29]
    assert {row.name: row.printed.accuracy for row in load_table("dsresnet50-table3").rows}["DS-ResNet50"] == 90.95
    assert load_table("dsresnet50-table2").rows[0].classes["sk"].sensitivity == 0.88


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["caco-tabel5"], "did you mean 'caco-table5'"),
        (["caco-table5", "--rows", "caco-cross_entrpy"], "did you mean 'caco-cross_entropy'"),
        (["caco-table5", "--protocol", "leson"], "did you mean 'lesion'"),
        (["caco-table5", "--protocol", "official"], "lesion, image"),
        (["caco-table5", "--budget", "smal"], "did you mean 'small'"),
        (["caco-table5", "--weights", "imagnet"], "did you mean 'imagenet'"),
        (["caco-table5", "--budget", "absent.yaml"], "cannot be read"),
    ],
)
def test_what_is_not_known_is_answered_with_the_nearest(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    code, _, errors = call(capsys, "reproduce", *arguments, "--data", tiny_data())
    assert code == 2
    assert len(errors.strip().splitlines()) == 1
    assert says in errors


def test_a_budget_may_not_favour_a_row(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("network.name: resnet18\nepochs: 1\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"may not set network\.name"):
        load_budget(str(tmp_path / "mine.yaml"), "caco")
    (tmp_path / "mine.yaml").write_text("epoch: 1\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="did you mean 'epochs'"):
        check_request("caco-table5", data=tiny_data(), budget=str(tmp_path / "mine.yaml"))


def test_tables_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "reproduce", "--json")
    assert code == 0
    assert [row["table"] for row in json.loads(out)] == table_names()


# A whole table from runs at hand: their files are written here, nothing is trained.

SHARES = {
    "se-cross_entropy": 0.55,
    "caco-cross_entropy": 0.75,
    "caco-focal": 0.76,
    "caco-ldam": 0.75,
    "caco-joint": 0.3,
}


def fake_run(
    folder: Path,
    slug: str,
    seed: int,
    share: float,
    *,
    table: str = "caco-table4",
    scratch: bool = False,
    validation: float | None = None,
    fold: int = 0,
) -> None:
    chosen = load_table(table)
    labels = {"dsresnet50": ISIC2017, "hypo": PAD_UFES_20}.get(chosen.family, HAM10000)
    protocol = chosen.protocols[0]
    overrides = overrides_of(
        *(chosen, chosen.choose([slug])[0], load_budget("small", chosen.family)),
        **{"protocol": protocol, "seed": seed, "scratch": scratch, "fold": fold},
    )
    recipe = load_recipe(chosen.recipe, overrides)
    place = folder / "small" / protocol / f"{recipe.name}-seed{seed}{f'-fold{fold}' if chosen.folds else ''}"
    place.mkdir(parents=True)
    (place / "recipe.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    lines = ["epoch,size,lr,train_loss,val_loss,val_accuracy,val_balanced_accuracy,images_per_second,seconds"]
    lines += [f"{e},96,0.001,{1 / e},{1.1 / e},{share * e / 6:.4f},{share * e / 7:.4f},100,10" for e in range(1, 7)]
    (place / "log.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for part, right in {"test": None if chosen.folds else share, "val": share if chosen.folds else validation}.items():
        if right is None:
            continue
        predictions = table_of(right, seed, images=420, codes=labels.codes)
        if chosen.folds:
            predictions = predictions.subset(np.arange(fold, 420, chosen.folds))
        write_predictions(place / "predictions" / f"{part}.csv", predictions)
    record = {
        "name": place.name, "fingerprint": "f" * 64, "data": labels.name, "finished": True, "split_seed": 0,
        "protocol": "lesion",
        "hardware": "a machine", "wall_seconds": 60.0, "created": "2026-01-01T00:00:00+00:00", "parameters": 1,
        "pretrained": None if scratch else {"source": "/somewhere/weights.pt", "fraction": 1.0, "loaded": 1,
        "expected": 1, "new": 1},
        "counts": {"train": {"total": 80}, "val": {"total": 84}, "test": {"total": 420}},
        "labels": [{"code": c.code, "en": c.en, "zh": c.zh, "malignant": c.malignant} for c in labels],
    }  # fmt: skip
    (place / "run.json").write_text(json.dumps(record), encoding="utf-8")


@pytest.fixture(scope="module")
def at_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of every row of table 4."""
    place = tmp_path_factory.mktemp("runs")
    for slug, share in SHARES.items():
        for seed in range(3):
            fake_run(place, slug, seed, share)
    return place


def collect(
    capsys: pytest.CaptureFixture[str], runs: Path, out: Path, *more: object, table: str = "caco-table4"
) -> tuple[int, str]:
    code, _, errors = call(capsys, "reproduce", table, "--collect", "--runs", runs, "--out", out, "--no-cost", *more)
    return code, errors


def test_a_table_from_runs_at_hand(capsys: pytest.CaptureFixture[str], at_hand: Path, tmp_path: Path) -> None:
    assert collect(capsys, at_hand, tmp_path) == (0, "")
    result = json.loads((tmp_path / "caco-table4-lesion.json").read_text(encoding="utf-8"))
    assert result["complete"]
    assert not result["mixed_start"]
    assert [row["slug"] for row in result["rows"]] == list(SHARES)
    for row in result["rows"]:
        assert set(row) >= KEYS
        assert row["seeds"] == [0, 1, 2]
        assert row["start"] == "imagenet"
        for metric in ("accuracy", "balanced_accuracy", "bacc_ovr"):
            value = row["measured"][metric]
            assert value["low"] < value["value"] < value["high"]
        assert row["measured"]["accuracy"]["value"] == pytest.approx(
            np.mean([v["accuracy"] for v in row["per_seed"].values()])
        )
        assert [point["epoch"] for point in row["curve"]] == [1, 2, 3, 4, 5, 6]
        assert np.sum(row["confusion"]) == 3 * 420
        assert row["weights"]["source"] == "weights.pt"
    order = result["order"]["accuracy"]
    assert ["caco-cross_entropy", "se-cross_entropy"] in order["hold"]
    assert ["caco-joint", "caco-cross_entropy"] in order["reversed"]
    assert order["pairs"] == len(order["hold"]) + len(order["reversed"]) + len(order["not_significant"]) == 9
    assert {one["class"] for one in result["recall_of_rare_classes"]} == {"akiec", "df", "vasc"}
    assert result["provenance"].keys() >= {"command", "fingerprint", "split", "hardware", "wall_seconds"}

    page = (tmp_path / "caco-table4-lesion.md").read_text(encoding="utf-8")
    assert "| CaCo + joint | ImageNet | 0, 1, 2 | 93.39 |" in page
    assert "balanced accuracy | BACC, one against the rest" in page
    assert "CaCo + joint above CaCo + CE" in page
    assert str(at_hand.parent) not in page.split("## Provenance")[0]
    for kind in ("curves", "confusion"):
        picture = tmp_path / f"caco-table4-lesion-{kind}.svg"
        assert picture.stat().st_size < 150_000
        assert "CaCo + focal" in "".join(ET.parse(picture).getroot().itertext())


def test_ideas_are_evaluated_on_validation(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    table, base = "dermoscopy-7-ideas", load_table("dermoscopy-7-ideas").reference
    for seed in range(2):
        fake_run(tmp_path / "runs", base, seed, 0.9, table=table, validation=0.4)
        fake_run(tmp_path / "runs", "d7-cutmix", seed, 0.1, table=table, validation=0.8)
    chosen = ("--seeds", 2, "--rows", base, "--rows", "d7-cutmix")
    code, said = collect(capsys, tmp_path / "runs", tmp_path, *chosen, table=table)
    assert (code, said.count("no such folder; the table goes without it")) == (0, 2)  # the other collections
    result = json.loads((tmp_path / f"{table}-lesion.json").read_text(encoding="utf-8"))
    assert result["part"] == "validation"
    rows = {row["slug"]: row for row in result["rows"]}
    assert rows[base]["measured"]["accuracy"]["value"] == pytest.approx(0.4, abs=0.08)
    assert rows["d7-cutmix"]["measured"]["accuracy"]["value"] == pytest.approx(0.8, abs=0.08)
    assert result["pairs"][0]["differences"]["balanced_accuracy"]["real"]
    page = (tmp_path / f"{table}-lesion.md").read_text(encoding="utf-8")
    assert "Test images are not used" in page
    assert "420 validation images" in page
    assert load_table(table).choose(["d7-cutmix"])[0].notes in page
    assert not list(tmp_path.glob("*.svg"))
    (tmp_path / "runs" / "small" / "lesion" / "d7-cutmix-seed0" / "predictions" / "val.csv").unlink()
    code, errors = collect(capsys, tmp_path / "runs", tmp_path, *chosen, table=table)
    assert code == 2
    assert "no predictions of its validation images" in errors


def test_folds_evaluate_each_image_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shares = {"hypo-none": 0.8, "hypo-all": 0.4}
    for slug, share in shares.items():
        for seed, fold in itertools.product(range(2), range(5)):
            fake_run(tmp_path / "runs", slug, seed, share, table="hypo-ablation", fold=fold)
    chosen = ("--seeds", 2, "--rows", "hypo-none", "--rows", "hypo-all")
    assert collect(capsys, tmp_path / "runs", tmp_path, *chosen, table="hypo-ablation") == (0, "")
    result = json.loads((tmp_path / "hypo-ablation-patient.json").read_text(encoding="utf-8"))
    assert (result["part"], result["folds"], result["test"]["images"]) == ("out-of-fold", 5, 420)
    assert result["provenance"]["split"]["counts"] == {"out of fold": {"total": 420}}
    for row in result["rows"]:
        whole = [table_of(shares[row["slug"]], seed, images=420, codes=PAD_UFES_20.codes) for seed in range(2)]
        right = np.mean([np.mean(one.probabilities.argmax(axis=1) == one.targets) for one in whole])
        assert row["measured"]["accuracy"]["value"] == pytest.approx(right)
        assert (np.sum(row["confusion"]), row["wall_seconds"]) == (2 * 420, 2 * 5 * 60)
        assert [point["seeds"] for point in row["curve"]] == [2] * 6
    page = (tmp_path / "hypo-ablation-patient.md").read_text(encoding="utf-8")
    assert "Cross-validation in 5 folds" in page
    assert "420 out-of-fold images" in page
    assert "temperature fitted" not in page
    assert "accuracy, printed" not in page  # columns without a value are left out

    shutil.rmtree(tmp_path / "runs" / "small" / "patient" / "hypo-all-seed1-fold3")
    collect(capsys, tmp_path / "runs", tmp_path, *chosen, table="hypo-ablation")
    row = json.loads((tmp_path / "hypo-ablation-patient.json").read_text(encoding="utf-8"))["rows"][1]
    assert (row["seeds"], row["missing"]) == ([0], ["seed 1 not run yet"])


def test_cost_counts_parameters_with_the_papers_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timm network too, which looks at its own answers when it is built; its export and its timing are tested
    elsewhere."""
    monkeypatch.setattr(cost, "export_graph", lambda model, size: b"")
    monkeypatch.setattr(cost, "_latency", lambda content, size: (1.0, 1))
    found = measure_cost(
        NetworkRecipe(name="timm/mobilenetv3_small_050"), classes=7, paper_classes=1000, size=32, folder=tmp_path
    )
    assert found.paper_parameters is not None
    assert found.paper_parameters - found.parameters == 993 * 1025


def test_a_row_that_starts_from_scratch_is_marked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fake_run(tmp_path / "runs", "se-cross_entropy", 0, 0.6)
    fake_run(tmp_path / "runs", "caco-cross_entropy", 0, 0.7, scratch=True)
    assert collect(capsys, tmp_path / "runs", tmp_path, "--seeds", 1) == (0, "")
    result = json.loads((tmp_path / "caco-table4-lesion.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in result["rows"]}
    assert result["mixed_start"]
    assert not result["complete"]
    assert (rows["CaCo + CE"]["slug"], rows["CaCo + CE"]["start"]) == ("caco-cross_entropy-scratch", "scratch")
    assert rows["CaCo + joint"]["measured"] is None
    assert result["order"]["accuracy"]["pairs"] == 0
    assert result["order"]["accuracy"]["pairs_of_mixed_start"] == 1
    assert all(pair["mixed_start"] for pair in result["pairs"])
    page = (tmp_path / "caco-table4-lesion.md").read_text(encoding="utf-8")
    assert "**Mixed starts**: CaCo + CE" in page
    assert "**CaCo + joint**: seed 0 not run yet" in page


def cut_within_a_row(table: Path) -> None:
    os.truncate(table, table.read_bytes().rindex(b",", 0, 3000))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda run: (run / "run.json").write_text('{"finished": tr', encoding="utf-8"), "run.json"),
        (lambda run: (run / "run.json").write_text("{}", encoding="utf-8"), "is no record of a run"),
        (lambda run: (run / "recipe.yaml").write_text("epochs: [", encoding="utf-8"), "recipe.yaml"),
        (lambda run: (run / "predictions" / "test.csv").unlink(), "no predictions/test.csv"),
        (lambda run: cut_within_a_row(run / "predictions" / "test.csv"), "test.csv"),
        (
            lambda run: (run / "recipe.yaml").write_text(
                (run / "recipe.yaml").read_text().replace("epochs: 6", "epochs: 7")
            ),
            "epochs differ",
        ),
    ],
    ids=["record cut off", "record empty", "recipe", "no predictions", "predictions cut off", "another recipe"],
)
def test_a_run_that_cannot_be_used_is_named_and_the_others_make_the_table(
    capsys: pytest.CaptureFixture[str], at_hand: Path, tmp_path: Path, damage: Any, says: str
) -> None:
    shutil.copytree(at_hand, tmp_path / "runs")
    victim = tmp_path / "runs" / "small" / "lesion" / "caco-focal-seed1"
    damage(victim)
    before = {p: p.read_bytes() for p in sorted(victim.rglob("*")) if p.is_file()}
    rows = [word for slug in ("caco-cross_entropy", "caco-focal", "caco-joint") for word in ("--rows", slug)]
    code, errors = collect(capsys, tmp_path / "runs", tmp_path, *rows)
    assert code == 2
    last = errors.strip().splitlines()[-1]
    assert last.startswith("lentigo: error: 1 run could not be used")
    assert "caco-focal-seed1" in last
    assert says in last
    assert "Traceback" not in errors
    assert {p: p.read_bytes() for p in sorted(victim.rglob("*")) if p.is_file()} == before
    found = {
        row["slug"]: row
        for row in json.loads((tmp_path / "caco-table4-lesion.json").read_text(encoding="utf-8"))["rows"]
    }
    assert found["caco-focal"]["seeds"] == [0, 2]
    assert found["caco-joint"]["seeds"] == [0, 1, 2]


def test_runs_on_other_data_are_refused(capsys: pytest.CaptureFixture[str], at_hand: Path, tmp_path: Path) -> None:
    code, errors = collect(capsys, at_hand, tmp_path, "--data", tiny_data())
    assert code == 2
    assert "trained on other data" in errors
    assert not list(tmp_path.glob("*.json"))


def test_nothing_at_hand(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, errors = collect(capsys, tmp_path / "none", tmp_path)
    assert code == 2
    assert "no run to make caco-table4 of" in errors
    code, _, errors = call(capsys, "reproduce", "caco-table4")
    assert code == 2
    assert "--data" in errors


def test_a_table_printed_class_by_class(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    fake_run(tmp_path / "runs", "ds_resnet50-focal", 0, 0.8, table="dsresnet50-table2")
    assert collect(capsys, tmp_path / "runs", tmp_path, "--seeds", 1, table="dsresnet50-table2") == (0, "")
    result = json.loads((tmp_path / "dsresnet50-table2-official.json").read_text(encoding="utf-8"))
    classes = {row["name"]: row for row in result["rows"] if "class" in row}
    assert list(classes) == ["MEL", "MN", "SK"]
    assert classes["SK"]["printed"] == {"precision": 0.96, "sensitivity": 0.88, "f1": 0.92}
    network = next(row for row in result["rows"] if "class" not in row)
    assert classes["MN"]["measured"]["sensitivity"] == network["per_class"]["nv"]["sensitivity"]
    page = (tmp_path / "dsresnet50-table2-official.md").read_text(encoding="utf-8")
    assert "| SK (`sk`) | 0.96 |" in page
    assert "| MEL (`mel`) | 0.88 |" in page


def test_figures_class_by_class() -> None:
    table = load_table("dsresnet50-table2")
    result = {
        "rows": [
            {
                "class": "mel",
                "name": "MEL",
                "printed": {"precision": 0.88, "sensitivity": 0.7, "f1": 0.78},
                "measured": {
                    key: {"value": 0.5, "low": 0.4, "high": 0.6} for key in ("precision", "sensitivity", "f1")
                },
            }
        ]
    }
    here = "0.50 (0.40 to 0.60)"
    assert f"| MEL (`mel`) | 0.88 | {here} | 0.70 | {here} | 0.78 | {here} |" in _classes_table(result)
    assert [c.name for c in table.rows[0].classes.values()] == ["MEL", "MN", "SK"]


# Which start a row gets.


def test_weights_of_another_network_are_not_taken_for_these(
    shared_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENTIGO_WEIGHTS", str(shared_weights / "mobilenet_v3_small_imagenet_features.pt"))
    table = load_table("caco-table3")

    def recipe(slug: str) -> Any:
        return load_recipe(
            table.recipe,
            overrides_of(
                table, table.choose([slug])[0], load_budget("small", "caco"), protocol="lesion", seed=0, scratch=False
            ),
        )

    def offline(*_: object, **__: object) -> None:
        raise NetworkError("the ImageNet weights cannot be downloaded")

    monkeypatch.setattr("lentigo.networks.pretrained.torchvision_state_dict", offline)
    assert weights.find_weights(recipe("se-cross_entropy"))[:2] == ("imagenet", {})
    start, _, reason = weights.find_weights(recipe("resnet18-cross_entropy"))
    assert start == "scratch"
    assert "cannot be downloaded" in reason
    with pytest.raises(NetworkError, match="another architecture"):
        create_network("resnet18", classes=7, pretrained=shared_weights / "mobilenet_v3_small_imagenet_features.pt")


def test_rows_without_weights_start_from_scratch_or_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(weights, "find_weights", lambda recipe: ("scratch", {}, "no network here"))
    found = reproduce(check_request("caco-table2", data=tiny_data(), runs=tmp_path, seeds=1), dry_run=True)
    assert isinstance(found, command.Plan)
    rows = {row.row.name: row for row in found.rows}
    assert rows["ResNet18, scratch"].slug == "resnet18-cross_entropy-scratch"
    assert "no network here" in rows["ResNet18, pretrained"].refused
    assert not rows["ResNet18, pretrained"].jobs
    found = reproduce(
        check_request("caco-table5", data=tiny_data(), runs=tmp_path, seeds=2, rows=["caco-cross_entropy"]),
        dry_run=True,
    )
    assert isinstance(found, command.Plan)
    assert found.rows[0].slug == "caco-cross_entropy-scratch"
    assert len(found.notes) == 1
    assert "starts from scratch" in found.notes[0]
    assert found.rows[0].jobs[0, 0][0].recipe.network.pretrained == "none"
    samples = read_samples(tiny_data())
    assert f"{2 * 6 * found.request.images:,} images in all" in found.describe()
    assert 0 < found.request.images < len(samples)
    monkeypatch.setattr(weights, "find_weights", lambda recipe: ("imagenet", {"LENTIGO_WEIGHTS": None}, ""))
    found = reproduce(check_request("caco-table5", data=tiny_data(), runs=tmp_path, seeds=1), dry_run=True)
    assert isinstance(found, command.Plan)
    assert all(job.environment == {"LENTIGO_WEIGHTS": None} for job, _ in found.jobs())


# From nothing, by the real command line.


def words(place: Path, *more: str) -> list[str]:
    return [
        "reproduce", "caco-table4", "--data", str(tiny_data()), "--budget", str(place / "tiny.yaml"), "--seeds", "1",
        "--weights", "scratch", "--runs", str(place / "runs"), "--out", str(place / "results"),
        "--rows", "caco-focal", "--rows", "CaCo + joint", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A table stopped after the first epoch of its first run."""
    place = tmp_path_factory.mktemp("table")
    (place / "tiny.yaml").write_text(TINY.replace("epochs: 2", "epochs: 3"), encoding="utf-8")
    log = place / "runs" / "tiny" / "lesion" / "caco-focal-scratch-seed0" / "log.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENTIGO_CACHE", str(place / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        child = subprocess.Popen([sys.executable, "-m", "lentigo", *words(place)], stderr=subprocess.PIPE, text=True)
        try:
            while child.poll() is None and not log.exists():
                time.sleep(0.05)
            child.send_signal(signal.SIGTERM)  # taken as an interrupt
            _, errors = child.communicate(timeout=300)
        finally:
            child.kill()
        assert child.returncode == 130, errors
        assert "the same command goes on" in errors
        yield place


@pytest.mark.slow
def test_from_nothing_interrupted_and_resumed_and_then_reused(
    interrupted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, runs = interrupted, interrupted / "runs" / "tiny" / "lesion"
    first = (runs / "caco-focal-scratch-seed0" / "log.csv").read_text(encoding="utf-8").splitlines()
    assert len(first) in (2, 3)  # an epoch or two, not all three
    assert not (place / "results").exists()
    assert not (runs / ".lock").exists()

    code, _, errors = call(capsys, *words(place, "--no-cost"))
    assert code == 0, errors
    assert "caco-focal-scratch seed 0 goes on" in errors
    assert "caco-joint-scratch seed 0 starts" in errors
    assert "[2/2]" in errors
    resumed = (runs / "caco-focal-scratch-seed0" / "log.csv").read_text(encoding="utf-8").splitlines()
    assert resumed[: len(first)] == first
    assert len(resumed) == 4
    stem = place / "results" / "caco-table4-lesion"
    result = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
    rows = {row["slug"]: row for row in result["rows"]}
    assert set(rows) == {"caco-focal-scratch", "caco-joint-scratch"}
    assert all(set(row) >= KEYS and row["start"] == "scratch" for row in rows.values())
    assert result["budget"]["values"]["epochs"] == 3
    assert result["provenance"]["fingerprint"] == read_samples(tiny_data()).fingerprint
    record = json.loads((runs / "caco-joint-scratch-seed0" / "run.json").read_text(encoding="utf-8"))
    assert record["command"].startswith("lentigo train caco-ham10000 --data ")
    assert Path(f"{stem}-curves.svg").is_file()
    assert Path(f"{stem}-confusion.svg").is_file()

    written = {p: p.stat().st_mtime_ns for p in runs.rglob("*") if p.is_file()}
    # The graph of this network at 64 px: tracing takes 20 s, and is tested elsewhere.
    latency = cost._latency
    monkeypatch.setattr(cost, "export_graph", lambda model, size: tiny_graph())
    monkeypatch.setattr(cost, "_latency", lambda content, size: latency(content, 64))
    code, _, errors = call(capsys, *words(place, "--jobs", "2"))
    assert code == 0
    assert not re.search(r"starts|goes on", errors)
    assert {p: p.stat().st_mtime_ns for p in runs.rglob("*") if p.is_file()} == written
    costed = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))["rows"][0]
    assert costed["parameters"] == 1_271_958
    assert costed["macs"] > 5e7
    assert 4e6 < costed["file_bytes"] < 7e6
    assert costed["latency_ms"] > 0
    assert costed["measured"] == rows["caco-focal-scratch"]["measured"]


@pytest.mark.slow
def test_one_failing_row_does_not_lose_the_others(
    interrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(interrupted / "tiny.yaml", tmp_path)
    broken = tmp_path / "runs" / "tiny" / "lesion" / "caco-focal-scratch-seed0"
    whole = interrupted / "runs" / "tiny" / "lesion"
    assert (whole / "caco-joint-scratch-seed0" / "predictions" / "test.csv").is_file()
    shutil.copytree(whole / "caco-joint-scratch-seed0", broken.with_name("caco-joint-scratch-seed0"))
    shutil.copytree(whole / "caco-focal-scratch-seed0", broken)
    record = json.loads((broken / "run.json").read_text(encoding="utf-8"))
    (broken / "run.json").write_text(json.dumps(record | {"finished": False}), encoding="utf-8")
    os.truncate(broken / "checkpoints" / "last.ckpt", 1000)
    code, _, errors = call(capsys, *words(tmp_path, "--no-cost"))
    assert code == 2
    assert "last.ckpt: damaged" in errors.strip().splitlines()[-1]
    result = json.loads((tmp_path / "results" / "caco-table4-lesion.json").read_text(encoding="utf-8"))
    measured = {row["slug"]: row["measured"] for row in result["rows"]}
    assert measured["caco-focal-scratch"] is None
    assert measured["caco-joint-scratch"]["accuracy"]["value"] is not None


@pytest.mark.slow
def test_two_commands_do_not_work_in_one_folder(
    interrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(interrupted / "tiny.yaml", tmp_path)
    folder = tmp_path / "runs" / "tiny" / "lesion"
    folder.mkdir(parents=True)
    (folder / ".lock").write_text(str(os.getpid()), encoding="utf-8")
    code, _, errors = call(capsys, *words(tmp_path))
    assert code == 2
    assert "another lentigo trains runs there" in errors
