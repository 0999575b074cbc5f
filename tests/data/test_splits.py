from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_data import table

from lentigo.data import Samples, kfold_samples, load_split, read_samples, save_split, split_samples
from lentigo.errors import DataError, OutputError


def straddling(samples: Samples) -> int:
    return int((samples.frame.groupby("group")["split"].nunique() > 1).sum())


def patients() -> Samples:
    """60 groups of 1 to 5 images, some of several classes."""
    rng = np.random.default_rng(5)
    rows = []
    for group in range(60):
        code = ["a", "b", "c"][group % 3]
        for n in range(int(rng.integers(1, 6))):
            other = rng.random() < 0.1
            rows.append((f"{group}_{n}", "x", "a" if other else code, f"g{group}", "", False))
    samples = table({"a": 1, "b": 1, "c": 1})
    return replace(
        samples, frame=pd.DataFrame(rows, columns=["image", "path", "label", "group", "split", "train_only"])
    )


@pytest.mark.parametrize("protocol", ["image", "lesion", "patient"])
def test_shares_and_class_proportions(protocol: str) -> None:
    samples = split_samples(table({"nv": 200, "mel": 60, "df": 10}, per_group=2), protocol)
    counts = samples.counts()
    assert counts.loc["total", ["train", "val", "test"]].tolist() == [432, 54, 54]
    for code in ("nv", "mel", "df"):
        assert counts.loc[code, "val"] == counts.loc[code, "test"] == counts.loc[code, "total"] / 10


@pytest.mark.parametrize("protocol", ["image", "lesion"])
def test_the_seed_decides_and_nothing_else(protocol: str) -> None:
    samples = patients()
    first = split_samples(samples, protocol, seed=3).frame["split"]
    np.random.default_rng(0).random()
    assert split_samples(samples, protocol, seed=3).frame["split"].equals(first)
    assert split_samples(split_samples(samples, protocol, seed=9), protocol, seed=3).frame["split"].equals(first)
    assert not split_samples(samples, protocol, seed=4).frame["split"].equals(first)


def test_lesion_keeps_groups_whole_and_image_does_not() -> None:
    samples = patients()
    assert straddling(split_samples(samples, "lesion")) == 0
    assert straddling(split_samples(samples, "image")) > 0
    assert split_samples(samples, "patient").frame.equals(split_samples(samples, "lesion").frame)


def test_train_only_groups_stay_in_training_in_the_lesion_protocol() -> None:
    samples = table({"a": 40, "b": 40}, per_group=2)
    only = samples.frame["image"].isin([f"a{n}_1" for n in range(20)])
    samples = replace(samples, frame=samples.frame.assign(train_only=only))
    split = split_samples(samples, "lesion").frame
    bound = split["group"].isin([f"a{n}" for n in range(20)])
    assert set(split.loc[bound, "split"]) == {"train"}
    assert split_samples(samples, "lesion").counts().loc["a"].tolist() == [64, 8, 8, 80]
    assert set(split_samples(samples, "image").frame.loc[only, "split"]) == {"train", "val", "test"}


def test_fractions_may_leave_a_part_out() -> None:
    samples = split_samples(table({"a": 10, "b": 10}), "lesion", fractions=(0.8, 0.2, 0))
    assert set(samples.frame["split"]) == {"train", "val"}
    for bad in [(0.8, 0.1), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0, 0.5, 0.5)]:
        with pytest.raises(DataError, match="three numbers"):
            split_samples(samples, "lesion", fractions=bad)


def test_small_classes_reach_every_part_or_are_refused() -> None:
    for protocol in ("image", "lesion"):
        counts = split_samples(table({"a": 100, "b": 3}), protocol).counts()
        assert counts.loc["b"].tolist() == [1, 1, 1, 3]
    with pytest.raises(DataError, match="class 'b' has 2 groups, too few for 3 parts"):
        split_samples(table({"a": 100, "b": 2}, per_group=9), "lesion")
    with pytest.raises(DataError, match="class 'b' has 2 images, too few for 3 parts; merge it with another class"):
        split_samples(table({"a": 100, "b": 2}), "image")
    only = table({"a": 100, "b": 5})
    only = replace(only, frame=only.frame.assign(train_only=only.frame["group"].isin(["b0", "b1", "b2", "b3"])))
    with pytest.raises(DataError, match=r"class 'b' has 5 groups \(4 of them for training only\)"):
        split_samples(only, "lesion")


def test_unknown_protocol() -> None:
    with pytest.raises(DataError, match="unknown split protocol 'lesions'; did you mean 'lesion'"):
        split_samples(patients(), "lesions")


def official(*splits: str) -> Samples:
    samples = table({"a": 60, "b": 60})
    return replace(samples, frame=samples.frame.assign(official_split=[splits[n % len(splits)] for n in range(120)]))


def test_official_is_kept_as_published() -> None:
    samples = official("train", "train", "val", "test")
    split = split_samples(samples, "official", seed=7).frame
    assert split["split"].tolist() == split["official_split"].tolist()


def test_official_takes_validation_from_training_where_none_was_published() -> None:
    samples = official("train", "train", "train", "train", "test")
    split = split_samples(samples, "official").frame
    test = split["official_split"] == "test"
    assert set(split.loc[test, "split"]) == {"test"}
    taken = split.loc[~test, "split"].value_counts()
    assert taken["val"] in (10, 11, 12)  # 96 training images, 1 of 9
    assert taken["train"] == 96 - taken["val"]


def test_official_needs_a_published_split() -> None:
    with pytest.raises(DataError, match="no published split"):
        split_samples(patients(), "official")
    with pytest.raises(DataError, match="no image is in the published test split"):
        split_samples(official("train"), "official")


@pytest.mark.parametrize("protocol", ["image", "lesion"])
def test_folds_cover_every_image_once(protocol: str) -> None:
    samples = patients()
    folds = [kfold_samples(samples, protocol, folds=4, fold=k).frame["split"] == "val" for k in range(4)]
    assert (sum(f.astype(int) for f in folds) == 1).all()
    if protocol == "lesion":
        assert all(straddling(kfold_samples(samples, protocol, folds=4, fold=k)) == 0 for k in range(4))
    sizes = [int(f.sum()) for f in folds]
    assert max(sizes) - min(sizes) <= 4


def test_folds_leave_the_test_part_alone() -> None:
    samples = split_samples(table({"a": 50, "b": 50}), "lesion")
    test = samples.frame["split"] == "test"
    for fold in range(3):
        folded = kfold_samples(samples, "lesion", folds=3, fold=fold).frame["split"]
        assert (folded[test] == "test").all()
        assert set(folded[~test]) == {"train", "val"}
    published = official("train", "train", "test")
    kept = kfold_samples(published, "official", folds=3, fold=1).frame
    assert (kept["split"][kept["official_split"] == "test"] == "test").all()
    assert (kept["split"] == "val").sum() in range(24, 30)


def test_train_only_images_never_validate_a_fold() -> None:
    samples = table({"a": 30, "b": 30})
    samples = replace(samples, frame=samples.frame.assign(train_only=[n % 3 == 0 for n in range(60)]))
    for fold in range(4):
        split = kfold_samples(samples, "lesion", folds=4, fold=fold).frame
        assert set(split.loc[split["train_only"], "split"]) == {"train"}


def test_bad_folds() -> None:
    for folds, fold in [(1, 0), (3, 3), (3, -1)]:
        with pytest.raises(DataError, match="folds"):
            kfold_samples(patients(), "lesion", folds=folds, fold=fold)
    with pytest.raises(DataError, match="class 'b' has 3 groups, too few for 5 parts"):
        kfold_samples(table({"a": 30, "b": 3}), "lesion", folds=5, fold=0)


def test_save_and_load(tmp_path: Path) -> None:
    samples = split_samples(patients(), "lesion", seed=2)
    save_split(samples, tmp_path / "deep" / "split.csv")
    assert (tmp_path / "deep" / "split.csv").read_text().startswith("image,split\n0_0,")
    assert load_split(patients(), tmp_path / "deep" / "split.csv").frame.equals(samples.frame)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save_split(samples, tmp_path / "file" / "split.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,part\na0_0,train\n", "has no column 'split'.*found: image, part"),
        ("image,split\na0_0,train\na1_0,test\nc,test\n", "1 images that are not in the data, the first 'c'"),
        ("image,split\na0_0,train\n", "1 images of the data left out, the first 'a1_0'"),
        ("image,split\na0_0,train\na1_0,tset\n", "unknown split 'tset'; did you mean 'test'"),
        ("image,split\na0_0,train\na0_0,test\n", "'a0_0' is there more than once"),
    ],
)
def test_a_split_of_other_data_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_split(table({"a": 2}), tmp_path / "split.csv")


def test_no_split_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_split(table({"a": 2}), tmp_path / "none.csv")


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 8), min_size=30, max_size=80), seed=st.integers(0, 10**6))
def test_any_grouping_is_kept_whole_and_near_its_shares(sizes: list[int], seed: int) -> None:
    rows = [(f"{g}_{n}", "x", "ab"[g % 2], f"g{g}", "", False) for g, size in enumerate(sizes) for n in range(size)]
    samples = replace(
        table({"a": 1, "b": 1}),
        frame=pd.DataFrame(rows, columns=["image", "path", "label", "group", "split", "train_only"]),
    )
    split = split_samples(samples, "lesion", seed=seed)
    assert straddling(split) == 0
    counts = split.counts()
    for code in ("a", "b"):
        for part, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
            # Never off by more than a group.
            assert abs(counts.loc[code, part] - share * counts.loc[code, "total"]) <= 8


def test_real_lesion_split(shared_data: Path) -> None:
    samples = read_samples(shared_data / "ham10000-400")
    for seed in range(2):
        split = split_samples(samples, "lesion", seed=seed)
        assert straddling(split) == 0
        held = split.frame[split.frame["split"] != "train"]
        assert not held["train_only"].any()
        counts = split.counts()
        for part in ("val", "test"):
            np.testing.assert_allclose(counts[part] / counts.loc["total", part], counts["total"] / 9138, atol=0.002)


def test_real_image_split_leaks_as_the_papers_does(shared_data: Path) -> None:
    split = split_samples(read_samples(shared_data / "ham10000-400"), "image").frame
    train = set(split.loc[split["split"] == "train", "group"])
    shared = split.loc[split["split"] == "test", "group"].isin(train).mean()
    assert 0.33 < shared < 0.45


def test_real_patients_and_official(shared_data: Path) -> None:
    pad = split_samples(read_samples(shared_data / "pad_ufes_20"), "patient")
    assert straddling(pad) == 0
    isic = split_samples(read_samples(shared_data / "isic2017-384"), "official")
    assert isic.counts().loc["total", "test"] == 597
    assert 180 < isic.counts().loc["total", "val"] < 260
