from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_data import folder, table, write_image

from lentigo.data import Samples, read_samples, split_samples
from lentigo.data import samples as samples_module
from lentigo.errors import DataError, ImageError


def test_prints_counts_of_class_and_split() -> None:
    samples = table({"mel": 2, "nv": 3}, per_group=2)
    samples = samples.with_split(pd.Series(["train"] * 6 + ["val"] * 2 + ["test"] * 2, index=samples.frame["image"]))
    assert repr(samples) == (
        "Samples tiny: 10 images in 5 groups, 2 classes (nowhere)\n"
        "class  train  val  test  total\n"
        "mel        4    0     0      4\n"
        "nv         2    2     2      6\n"
        "total      6    2     2     10"
    )
    assert samples.counts().loc["nv", "val"] == 2


def test_targets_follow_the_label_order() -> None:
    samples = table({"nv": 1, "mel": 2})
    assert samples.labels.codes == ("nv", "mel")
    np.testing.assert_array_equal(samples.targets, [0, 1, 1])
    assert samples.targets.dtype == np.int64


def test_subset_and_without_keep_order_and_renumber() -> None:
    samples = table({"nv": 4})
    images = samples.frame["image"].tolist()
    samples = samples.with_split(pd.Series(["train", "test", "train", "val"], index=images))
    train = samples.subset("train")
    assert train.frame["image"].tolist() == [images[0], images[2]]
    assert train.frame.index.tolist() == [0, 1]
    assert samples.without([images[0]]).frame["image"].tolist() == images[1:]


def test_fingerprint_is_of_ids_labels_and_sizes(tmp_path: Path) -> None:
    samples = read_samples(folder(tmp_path, {"a": 2, "b": 2}))
    again = read_samples(tmp_path)
    assert samples.fingerprint == again.fingerprint
    assert len(samples.fingerprint) == 64
    shuffled = replace(samples, frame=samples.frame.iloc[::-1])
    assert shuffled.fingerprint == samples.fingerprint
    relabelled = replace(samples, frame=samples.frame.assign(label=["a", "b", "b", "b"]))
    assert relabelled.fingerprint != samples.fingerprint
    assert samples.without([samples.frame["image"][0]]).fingerprint != samples.fingerprint
    write_image(tmp_path / "a" / "0.png", 99, size=24)
    assert read_samples(tmp_path).fingerprint != samples.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "same"}, "must be unique; 'same'"),
        ({"label": "nvv"}, "unknown class 'nvv' in label set tiny; did you mean 'nv'"),
        ({"split": "tests"}, "unknown split 'tests'; did you mean 'test'"),
    ],
)
def test_a_bad_table_is_refused(change: dict[str, str], message: str) -> None:
    samples = table({"nv": 2, "mel": 2})
    with pytest.raises(DataError, match=message):
        replace(samples, frame=samples.frame.assign(**change))


def test_a_table_without_a_column_is_refused() -> None:
    samples = table({"nv": 2})
    with pytest.raises(DataError, match="lacks group"):
        replace(samples, frame=samples.frame.drop(columns="group"))


def test_subset_says_what_is_wrong() -> None:
    samples = table({"nv": 2})
    with pytest.raises(DataError, match="did you mean 'train'"):
        samples.subset("trian")
    with pytest.raises(DataError, match="split the samples first"):
        samples.subset("train")
    with pytest.raises(DataError, match="no split given for 1 of 2 images, the first 'nv1_0'"):
        samples.with_split(pd.Series(["train"], index=["nv0_0"]))


def test_reads_images_and_says_which_is_missing(tmp_path: Path) -> None:
    samples = read_samples(folder(tmp_path, {"a": 1, "b": 1}))
    assert samples.read(0).size == (16, 16)
    (tmp_path / "b" / "0.png").unlink()
    with pytest.raises(ImageError, match=r"b.0\.png"):
        samples.read(1)


def test_samples_need_no_torch() -> None:
    code = "import sys, lentigo.data, lentigo.data.samples; assert 'torch' not in sys.modules; lentigo.data.nothing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "module 'lentigo.data' has no attribute 'nothing'" in done.stderr


def test_every_exported_name_is_there() -> None:
    import lentigo.data

    assert lentigo.data.Samples is Samples
    assert set(lentigo.data.__all__) <= set(dir(lentigo.data))
    for name in lentigo.data.__all__:
        assert getattr(lentigo.data, name) is not None


def test_each_file_is_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    stat = samples_module._stat
    monkeypatch.setattr(samples_module, "_stat", lambda root, path: looked.append(path) or stat(root, path))
    samples = read_samples(folder(tmp_path, {"a": 3, "b": 3}))
    split = split_samples(samples, "image")
    assert split.fingerprint == samples.fingerprint
    assert split.modified() == samples.modified()
    assert sorted(looked) == sorted(samples.frame["path"])


def test_a_notebook_shows_counts_and_runs_no_names(tmp_path: Path) -> None:
    page = read_samples(folder(tmp_path / "<b>", {"<script>": 3, "nv": 2}))._repr_html_()
    assert "5 images, 2 classes" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "<b>" not in page
