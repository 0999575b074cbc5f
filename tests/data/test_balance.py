"""Offline balancing: copies of training images only, the same ones each time, and losses that still see the true
counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_training
from PIL import Image
from tiny_data import folder

from lentigo.data import Samples, balance_training, load_split, read_samples, save_split, split_samples
from lentigo.data.samples import VARIANT
from lentigo.errors import DataError
from lentigo.pixels.variant import Variant
from lentigo.training import run as run_module
from lentigo.training.samples import prepare_samples


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    return split_samples(
        read_samples(folder(tmp_path / "data", {"a": 20, "b": 10, "c": 4})), "image", fractions=(0.5, 0.25, 0.25)
    )


def counts(samples: Samples, split: str) -> list[int]:
    return [
        int(((samples.frame["label"] == code) & (samples.frame["split"] == split)).sum())
        for code in samples.labels.codes
    ]


def test_classes_are_filled_up_in_training_alone(samples: Samples) -> None:
    balanced = balance_training(samples)
    assert counts(samples, "train") == [10, 5, 2]
    assert counts(balanced, "train") == [10, 10, 10]
    for split in ("val", "test"):
        assert counts(balanced, split) == counts(samples, split)
    copies = balanced.frame[balanced.copies]
    assert set(copies["split"]) == {"train"}
    kept = balanced.frame[~balanced.copies].drop(columns=VARIANT)
    assert kept.reset_index(drop=True).equals(samples.frame)


def test_no_copy_crosses_to_the_images_for_evaluation(samples: Samples) -> None:
    balanced = balance_training(samples)
    evaluated = set(balanced.frame["group"][balanced.frame["split"] != "train"])
    assert not evaluated & set(balanced.frame["group"][balanced.copies])


def test_copies_of_one_image_differ_and_come_out_the_same_again(samples: Samples) -> None:
    balanced, again, other = balance_training(samples, 3), balance_training(samples, 3), balance_training(samples, 4)
    assert balanced.frame.equals(again.frame)
    assert not balanced.frame.equals(other.frame)
    rare = balanced.frame[(balanced.frame["label"] == "c") & balanced.copies]
    views = rare.assign(view=rare[VARIANT].str[:4])
    assert len(views) == 8
    assert views.groupby("path")["view"].nunique().tolist() == [4, 4]
    pixels = [np.asarray(balanced.read(int(row)).resize((16, 16))) for row in rare.index]
    assert len({p.tobytes() for p in pixels}) == len(pixels)


def test_the_fingerprint_is_that_of_the_data(samples: Samples) -> None:
    assert balance_training(samples).fingerprint == samples.fingerprint


def test_a_saved_split_brings_the_copies_back(samples: Samples, tmp_path: Path) -> None:
    balanced = balance_training(samples)
    save_split(balanced, tmp_path / "split.csv")
    again = load_split(read_samples(samples.root), tmp_path / "split.csv")
    assert again.frame[["image", "path", "split", VARIANT]].equals(balanced.frame[["image", "path", "split", VARIANT]])
    text = (tmp_path / "split.csv").read_text(encoding="utf-8")
    (tmp_path / "split.csv").write_text(text.replace("c/", "d/"), encoding="utf-8")
    with pytest.raises(DataError, match=r"names a copy of 'd/"):
        load_split(read_samples(samples.root), tmp_path / "split.csv")


@pytest.mark.parametrize(("turns", "mirrored"), [(1, False), (2, False), (3, True), (0, True)])
def test_a_variant_is_a_turn_a_flip_and_a_zoom(turns: int, mirrored: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    made = np.asarray(Variant(mirrored, turns, 1.0).apply(Image.fromarray(pixels)))
    assert (made == np.rot90(pixels[:, ::-1] if mirrored else pixels, turns)).all()
    near = np.asarray(Variant(False, 0, 2.0).apply(Image.fromarray(pixels)))
    assert (near == pixels[1:4, 2:6]).all()
    far = np.asarray(Variant(False, 0, 0.5).apply(Image.fromarray(pixels)))
    assert far.shape == (12, 16, 3)
    assert (far[3:9, 4:12] == pixels).all()
    variant = Variant(mirrored, turns, 1.0625)
    assert Variant.of(str(variant)) == variant
    with pytest.raises(DataError, match="describes no copy"):
        Variant.of("upside down")


def test_the_augmented_protocol_leaks_and_says_so_by_its_name(tmp_path: Path) -> None:
    samples = split_samples(read_samples(folder(tmp_path / "data", {"a": 30, "b": 10})), "augmented", seed=1)
    assert counts(samples, "train") == [24, 24]
    train, test = (set(samples.frame["group"][samples.frame["split"] == s]) for s in ("train", "test"))
    assert train & test


def test_a_run_balances_its_training_part_and_its_loss_sees_the_true_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_training.recipe(
        data=tiny_training.RECIPE["data"] | {"balance": "offline"}, epochs=1, sizes=[{"from_epoch": 0, "size": 32}]
    )
    balanced = prepare_samples(recipe, tiny_training.data())
    plain = prepare_samples(tiny_training.recipe(), tiny_training.data())
    assert len(balanced) - len(plain) == int(balanced.copies.sum()) > 0
    seen: list[list[int]] = []
    real = run_module.create_loss
    monkeypatch.setattr(
        run_module,
        "create_loss",
        lambda name, counts, **options: seen.append(list(counts)) or real(name, counts, **options),
    )
    run = tiny_training.run_into(tmp_path / "run", recipe)
    assert (run / "split.csv").read_text(encoding="utf-8").startswith("image,split,variant\n")
    tiny_training.run_into(tmp_path / "plain", tiny_training.recipe(epochs=1, sizes=[{"from_epoch": 0, "size": 32}]))
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 3
