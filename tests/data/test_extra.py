"""Images of other data sets: for training only, under the run's classes, and never those that evaluate it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_run
from tiny_data import folder
from tiny_training import data, recipe, run_into

from lentigo.bundle import Bundle
from lentigo.config import load_recipe, parse_recipe
from lentigo.data import read_samples
from lentigo.data.extra import Pool, read_extra
from lentigo.errors import DataError, TrainingError
from lentigo.evaluation import read_predictions
from lentigo.export import export_run
from lentigo.export.provenance import DATA, model_licence
from lentigo.reproduce import external
from lentigo.training import describe, load_run, teachers, train
from lentigo.training.batches import Batches
from lentigo.training.samples import prepare_extras, prepare_samples
from lentigo.workflow import evaluate

SPLIT: dict[str, Any] = {"protocol": "image", "fractions": [0.6, 0.2, 0.2]}
CLASSES = {"mole": "naevus", "cancer": "melanoma"}
KINDS = {"mole": 6, "cancer": 5, "ruler": 4}
# The quickest to export.
RECIPE = tiny_run.RECIPE | {"network": {"name": "mobilenetv3_small_stem", "pretrained": "none"}}


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return folder(tmp_path / "other", KINDS, size=40)


def divide(other: Path, table: Path) -> pd.DataFrame:
    """A published split: every second image is for testing."""
    frame = read_samples(other).frame
    frame["path"] = [str(other / path) for path in frame["path"]]
    frame["split"] = ["test" if number % 2 else "train" for number in range(len(frame))]
    frame[["image", "path", "label", "split"]].to_csv(table, index=False)
    return frame


def with_extra(place: Path, **changes: Any) -> Any:
    return recipe(data=SPLIT | {"extra": [{"folder": str(place), "classes": CLASSES}]}, **changes)


def test_pool_gathers_through_its_parts() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8) for n in (5, 3, 4)]
    rows = rng.integers(0, 12, 40)
    assert (Pool(parts).gather(rows) == np.concatenate(parts)[rows]).all()
    assert (Pool(parts[:1]).gather(rows % 5) == parts[0][rows % 5]).all()


def test_classes_are_renamed_others_and_the_published_test_left_out(other: Path, tmp_path: Path) -> None:
    labels = read_samples(data()).labels
    extra = read_extra(other, CLASSES, labels)
    assert extra.samples.frame["label"].value_counts().to_dict() == {"naevus": 6, "melanoma": 5}
    assert set(extra.samples.frame["split"]) == {"train"}
    assert extra.fingerprint == read_samples(other).fingerprint

    frame = divide(other, tmp_path / "divided.csv")
    kept = read_extra(tmp_path / "divided.csv", CLASSES, labels).samples.frame
    assert set(kept["image"]) == set(frame["image"][(frame["split"] == "train") & (frame["label"] != "ruler")])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"moel": "naevus"}, "has no class 'moel'; did you mean 'mole'"),
        ({"mole": "nevus"}, "stand for 'nevus'.*did you mean 'naevus'"),
    ],
)
def test_unknown_classes_are_refused(other: Path, classes: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_extra(other, classes, read_samples(data()).labels)


def test_an_epoch_sees_each_once_and_validation_none_of_them(other: Path, tmp_path: Path) -> None:
    chosen = with_extra(other, sampling=0.0)
    samples = prepare_samples(chosen, data())
    extras = prepare_extras(chosen, data(), samples)
    module = Batches(samples, chosen, extras, cache=tmp_path / "cache", progress=False)
    train = samples.subset("train")
    assert len(module.training_rows) == len(train) + 11
    both = np.concatenate([module.pixels(32)[module.rows["train"]], module._pool(32).parts[1]])
    assert (module._pool(32).gather(module.training_rows) == both).all()
    counts = np.bincount(module.training_targets, minlength=3)
    assert (
        counts.tolist()
        == (np.bincount(train.targets, minlength=3) + np.bincount(extras[0].samples.targets, minlength=3)).tolist()
    )
    assert module.rows["val"].max() < len(samples)


def test_images_with_an_end_serve_the_epochs_before_it(other: Path, tmp_path: Path) -> None:
    extra = {"folder": str(other), "classes": CLASSES, "until_epoch": 2}
    sizes = [{"from_epoch": 0, "size": 16}, {"from_epoch": 2, "size": 32}]
    chosen = recipe(data=SPLIT | {"extra": [extra]}, sampling=0.0, sizes=sizes, epochs=3, batch=4)
    samples = prepare_samples(chosen, data())
    extras = prepare_extras(chosen, data(), samples)
    module = Batches(samples, chosen, extras, cache=tmp_path / "cache", progress=False)
    train = len(module.rows["train"])
    assert [module.steps(epoch) for epoch in range(3)] == [round((train + len(extras[0].samples)) / 4)] * 2 + [
        round(train / 4)
    ]
    assert module._pool(16).parts[1].any()
    assert not module._pool(32).parts[1].any()  # never shown at this size, so not decoded


def test_a_run_outlives_the_end_of_its_extra_images(other: Path, tmp_path: Path) -> None:
    extra = {"folder": str(other), "classes": CLASSES, "until_epoch": 1}
    run = run_into(tmp_path / "run", recipe(data=SPLIT | {"extra": [extra]}, epochs=2))
    assert len(pd.read_csv(run / "log.csv")) == 2


def test_run_says_what_it_learnt_from_and_can_go_on(other: Path, tmp_path: Path) -> None:
    chosen = with_extra(other)
    assert "11 images" in describe(chosen, data())
    run = run_into(tmp_path / "run", chosen)
    assert load_run(run).record["extra"] == [
        {"data": other.name, "fingerprint": read_samples(other).fingerprint, "images": 11}
    ]
    listed = pd.read_csv(run / "extra.csv")
    assert list(listed.columns) == ["data", "image", "label"]
    assert len(listed) == 11
    assert not set(listed["image"]) & set(pd.read_csv(run / "split.csv")["image"])
    (other / "mole").rename(other / "wart")
    (run / "run.json").write_text((run / "run.json").read_text().replace('"finished": true', '"finished": false'))
    with pytest.raises(DataError, match="has no class 'mole'"):
        run_into(run, chosen, resume=True)
    (other / "wart").rename(other / "mole")
    shutil.copy(next((other / "mole").iterdir()), other / "mole" / "another.png")
    with pytest.raises(TrainingError, match="not the data that the run in"):
        run_into(run, chosen, resume=True)


def bundle_of(place: Path, out: Path) -> Bundle:
    """A bundle of a run that was trained on the images there as well."""
    extra = [{"folder": str(place), "classes": {"mole": "nv", "cancer": "mel"}}]
    chosen = parse_recipe(RECIPE | {"data": tiny_run.RECIPE["data"] | {"extra": extra}})
    source = {"data": tiny_run.tiny_data(), "cache": tiny_run.tiny_cache()}
    run = train(chosen, **source, out=out / "run", progress=False, accelerator="cpu")
    return export_run(run, out / "bundle", resamples=0, **source)


@pytest.fixture(scope="module")
def with_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Path]:
    """A bundle, and the folder of images that it was trained on as well."""
    place = tmp_path_factory.mktemp("extra")
    other = folder(place / "other", KINDS, size=40)
    return bundle_of(other, place), other


@pytest.mark.slow
def test_card_names_what_was_learnt_from_as_well(with_folder: tuple[Bundle, Path]) -> None:
    bundle, _ = with_folder
    assert "also saw 11 images of `other`: `mole` as `nv`, `cancer` as `mel`" in bundle.card
    assert bundle.spec.title.endswith("and own images")
    assert bundle.spec.data_licence.endswith(" | not stated: a data set of the user's own")


@pytest.mark.slow
@pytest.mark.parametrize("published", [True, False])
def test_a_bundle_is_evaluated_on_what_it_has_not_learnt_from(
    published: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    classes = {"mole": "nv", "cancer": "mel"}
    if published:
        place = tmp_path / "divided.csv"
        frame = divide(folder(tmp_path / "other", KINDS, size=40), place)
        bundle = bundle_of(place, tmp_path)
    else:
        bundle, place = request.getfixturevalue("with_folder")
        frame = divide(place, tmp_path / "divided.csv")
    fitting = set(frame["image"][frame["label"] != "ruler"])
    new = set(frame["image"][frame["split"] == "test"]) & fitting if published else set()
    seen = bundle.spec.provenance.extra
    assert [(one.data, one.images) for one in seen] == [
        (tmp_path.name if published else place.name, len(fitting - new))
    ]

    every = evaluate(bundle.path, data=place, classes=classes, split="all", out=tmp_path / "all", progress=False)
    assert f"{len(fitting - new)} of them it was trained on" in every.title
    if not published:
        with pytest.raises(DataError, match="trained on all of these images"):
            evaluate(bundle.path, data=place, classes=classes, out=tmp_path / "new", progress=False)
        return
    evaluated = evaluate(bundle.path, data=place, classes=classes, out=tmp_path / "new", progress=False)
    assert f"all {len(new)} images (that training has not seen); 4 of other classes left out" in evaluated.title
    table = read_predictions(tmp_path / "new" / "predictions" / "test.csv", codes=bundle.spec.codes)
    assert set(table.images) == new
    assert set(table.frame["target"]) == {"nv", "mel"}
    record = json.loads((tmp_path / "new" / "run.json").read_text())
    assert record["trained_on"] == 0
    assert record["classes"] == classes
    assert record["fingerprint"] == seen[0].fingerprint


def test_data_cannot_be_its_own_extra(tmp_path: Path) -> None:
    own = {"folder": str(data()), "classes": {"naevus": "naevus"}}
    with pytest.raises(DataError, match="cannot be its own"):
        run_into(tmp_path / "run", recipe(data=SPLIT | {"extra": [own]}))
    gone = {"folder": "../nowhere", "classes": {"naevus": "naevus"}}
    with pytest.raises(DataError, match=r"nowhere: no such folder.*data\.extra\.0\.folder=FOLDER"):
        run_into(tmp_path / "run", recipe(data=SPLIT | {"extra": [gone]}))


def test_teacher_that_saw_the_test_images_as_extra_is_refused(tmp_path: Path) -> None:
    teacher = run_into(tmp_path / "teacher", recipe(epochs=3))
    (teacher / "split.csv").write_text("image,split\nnot-here,train\n")
    evaluated = prepare_samples(recipe(), data()).subset("test").frame["image"].iloc[0]
    (teacher / "extra.csv").write_text(f"data,image,label\nother,{evaluated},naevus\n")
    with pytest.raises(TrainingError, match="trained on 1 of the images"):
        run_into(tmp_path / "student", recipe(distil={"teachers": [str(teacher)]}))


def test_teacher_named_by_its_recipe_learns_from_the_students_extra(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tutor = recipe(name="tutor", epochs=1)
    monkeypatch.setattr(teachers, "recipe_names", lambda: ["tutor"])
    monkeypatch.setattr(teachers, "load_recipe", lambda name: tutor if name == "tutor" else load_recipe(name))
    pupil = with_extra(other, epochs=1, distil={"teachers": ["tutor"]})
    run_into(tmp_path / "student", pupil)
    assert load_run(tmp_path / "tutor").record["extra"] == load_run(tmp_path / "student").record["extra"]
    without = recipe(data=SPLIT, epochs=1, distil={"teachers": ["tutor"]})
    with pytest.raises(
        TrainingError, match=r"trained with other data sets \(data\.extra: .*other\) than this run has \(none\)"
    ):
        run_into(tmp_path / "another", without)
    run = run_into(tmp_path / "another", recipe(data=SPLIT, epochs=1, distil={"teachers": [str(tmp_path / "tutor")]}))
    (extra,) = load_run(tmp_path / "tutor").record["extra"]
    assert load_run(run).record["extra"] == []
    assert load_run(run).record["taught"] == [{"teacher": "tutor", **extra}]
    assert load_run(tmp_path / "student").record["taught"] == []


def test_teacher_named_by_its_recipe_keeps_its_own_last_epoch_of_the_extra(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"folder": str(other), "classes": CLASSES}
    tutor = recipe(name="tutor", epochs=2, data={"extra": [extra | {"until_epoch": 1}]})
    monkeypatch.setattr(teachers, "recipe_names", lambda: ["tutor"])
    monkeypatch.setattr(teachers, "load_recipe", lambda name: tutor if name == "tutor" else load_recipe(name))
    pupil = recipe(
        data=SPLIT | {"extra": [extra | {"until_epoch": 2}]}, epochs=3, distil={"teachers": ["tutor"], "weight": 0.7}
    )
    run_into(tmp_path / "student", pupil)
    assert load_run(tmp_path / "tutor").recipe.data == pupil.data.model_copy(
        update={"extra": tutor.data.extra}
    )  # the student's split, its own epochs


@pytest.mark.slow
def test_what_only_a_teacher_has_learnt_from_is_told(other: Path, tmp_path: Path) -> None:
    classes = {"mole": "nv", "cancer": "mel"}
    source = {"data": tiny_run.tiny_data(), "cache": tiny_run.tiny_cache()}
    split = tiny_run.RECIPE["data"]
    more = parse_recipe(RECIPE | {"epochs": 1, "data": split | {"extra": [{"folder": str(other), "classes": classes}]}})
    train(more, **source, out=tmp_path / "tutor", progress=False, accelerator="cpu")
    for name, teacher in (("student", "tutor"), ("grandchild", "student")):
        pupil = parse_recipe(RECIPE | {"epochs": 1, "distil": {"teachers": [str(tmp_path / teacher)]}})
        train(pupil, **source, out=tmp_path / name, progress=False, accelerator="cpu")
        assert [(one["teacher"], one["images"]) for one in load_run(tmp_path / name).record["taught"]] == [
            ("tutor", 11)
        ]
    bundle = export_run(tmp_path / "grandchild", tmp_path / "bundle", resamples=0, **source)
    assert "The teacher `tutor`, or a teacher of it, was trained on 11 images of `other`" in bundle.card
    assert bundle.spec.data_licence.endswith(" | not stated: a data set of the user's own")
    assert "own images" not in bundle.spec.title
    evaluated = evaluate(bundle.path, data=other, classes=classes, out=tmp_path / "judged", progress=False)
    assert "all 11 images (not the files of its training, but its teacher tutor was trained on it)" in evaluated.title
    assert "Its teacher tutor was trained on this data set." in evaluated.index.read_text(encoding="utf-8")
    student = load_run(tmp_path / "student")
    assert external._trained_on(student.record, read_extra(other, classes, student.labels))


def test_the_strictest_licence_binds_wherever_the_data_stands() -> None:
    free, bound = DATA["pad_ufes_20"], DATA["ham10000"]
    assert model_licence([free, None, bound]) == model_licence([bound, free]) == "CC BY-NC-SA 4.0 (as the data)"
    assert model_licence([free, None]) == "Apache-2.0"
