from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_tables import table, write_table

from lentigo.errors import DataError, OutputError
from lentigo.evaluation import make_predictions, maps_path, read_maps, read_predictions, write_maps, write_predictions


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = table(60)
    read = read_predictions(write_table(tmp_path / "deep" / "test.csv", made))
    assert read.codes == made.codes
    np.testing.assert_allclose(read.probabilities, made.probabilities, rtol=1e-8)
    np.testing.assert_array_equal(read.targets, made.targets)
    np.testing.assert_array_equal(read.groups, made.groups)
    np.testing.assert_array_equal(read.images, made.images)
    pd.testing.assert_frame_equal(read.metadata, made.metadata, check_dtype=False)
    assert read.grouped
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["test.csv"]  # nothing temporary stays


def test_the_file_has_the_columns_of_the_contract(tmp_path: Path) -> None:
    path = write_table(tmp_path / "test.csv", table(5))
    header = path.read_text(encoding="utf-8").splitlines()[0]
    assert header == "image,path,group,target,akiec,bcc,bkl,df,mel,nv,vasc,age,sex,site,probabilities"
    assert path.read_text(encoding="utf-8").splitlines()[1].endswith(",before temperature")
    assert "probabilities" not in read_predictions(path).metadata.columns


def test_logits_come_back_up_to_a_constant(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(scale=20, size=(40, 3))
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    ids = [f"i{k}" for k in range(40)]
    made = make_predictions(
        images=ids,
        paths=ids,
        groups=ids,
        targets=["b"] * 40,
        probabilities=raised / raised.sum(axis=1, keepdims=True),
        codes=["a", "b", "c"],
    )
    back = np.log(read_predictions(write_predictions(tmp_path / "p.csv", made)).probabilities)
    expected = logits - logits.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(back - back.mean(axis=1, keepdims=True), expected, atol=1e-6)


def test_subset_and_with_probabilities_keep_rows_together() -> None:
    made = table(50)
    mask = made.targets == 5
    part = made.subset(mask)
    assert set(part.frame["target"]) == {"nv"}
    np.testing.assert_array_equal(part.frame[list(part.codes)].to_numpy(), part.probabilities)
    even = made.with_probabilities(np.full((50, 7), 1 / 7))
    assert even.frame["nv"].eq(1 / 7).all()
    assert not made.frame["nv"].eq(1 / 7).any()


HEAD = "image,path,group,target,a,b,age\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (HEAD, "no rows"),
        ("image,path,target,a,b\ni,p,a,.5,.5\n", "no column group"),
        ("images,path,group,target,a,b\ni,p,g,a,.5,.5\n", "no column image; did you mean 'images'"),
        (HEAD + "i,p,g,a,.5,.3,40\n", "sum to 0.8"),
        (HEAD + "i,p,g,a,1.5,-.5,40\n", "must lie in 0 to 1"),
        (HEAD + "i,p,g,c,.5,.5,40\n", "target 'c' is no class"),
        (HEAD + "i,p,g,,.5,.5,40\n", "target '' is no class"),
        (HEAD + "i,p,g,a,.5,.5,40\nj,p,g,a,.5,high,40\n", "row 3, column b: 'high' is not a number"),
        (HEAD + "i,p,g,a,nan,.5,40\n", "'nan' is not a number"),
        (HEAD + "i,p,g,a,.5,.5,40\ni,p,g,a,.5,.5,40\n", "'i' appears more than once"),
        ("image,path,group,target,a,a\ni,p,g,a,.5,.5\n", "column a appears more than once"),
        ("image,path,group,target\ni,p,g,a\n", "no probability columns"),
        (HEAD + "i,p,g,a,.5,.5,40,9,9\n", "row 2 has 9 fields, the header has 7"),
        (HEAD + "i,p,g,a,.5,.5,40\nj,p,g\n", "row 3 has 3 fields"),
    ],
)
def test_bad_tables_get_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "test.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_folders_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_predictions(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_predictions(tmp_path)
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00")
    with pytest.raises(DataError, match="text file"):
        read_predictions(tmp_path / "image.csv")


def test_classes_are_told_from_numeric_metadata(tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    # No image of class c, whose probabilities are all zero; the age is no class although it is a number.
    path.write_text("image,path,group,target,a,b,c,age\ni,p,g,a,.5,.5,0,40\nj,p,g,b,.25,.75,0,\n", encoding="utf-8")
    assert read_predictions(path).codes == ("a", "b", "c")
    with pytest.raises(DataError, match="no probability column for class d"):
        read_predictions(path, codes=["a", "b", "d"])
    assert read_predictions(path, codes=["a", "b"]).metadata.columns.tolist() == ["c", "age"]


def test_odd_names_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    path.write_text(
        "image,path,group,target,nan,None\n007,p,1e5,nan,1,0\n008,p,NA,None,0.001,0.9985\n", encoding="utf-8-sig"
    )
    read = read_predictions(path)
    assert read.images.tolist() == ["007", "008"]
    assert read.groups.tolist() == ["1e5", "NA"]
    assert read.codes == ("nan", "None")
    np.testing.assert_allclose(read.probabilities.sum(axis=1), 1, atol=1e-15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": ["a", "a"]}, "unique"),
        ({"codes": ["a", "group"]}, "none of image, path, group, target"),
        ({"probabilities": np.ones((2, 3)) / 3}, "shape"),
        ({"paths": ["p"]}, "1 paths for 2 images"),
        ({"targets": ["a", "x"]}, "target 'x' is no class"),
        ({"images": ["i", "i"]}, "more than once"),
        ({"probabilities": np.array([[0.5, 0.5], [np.nan, 1]])}, "must lie in 0 to 1"),
        ({"metadata": pd.DataFrame({"a": [1, 2]})}, "name of another column: a"),
        ({"metadata": pd.DataFrame({"age": [1]})}, "1 rows of metadata"),
    ],
)
def test_nothing_is_written_from_bad_arguments(tmp_path: Path, change: dict[str, object], message: str) -> None:
    good = {
        "images": ["i", "j"],
        "paths": ["p", "q"],
        "groups": ["g", "g"],
        "targets": ["a", "b"],
        "probabilities": np.array([[0.5, 0.5], [0.1, 0.9]]),
        "codes": ["a", "b"],
    }
    make_predictions(**good)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        write_predictions(tmp_path / "test.csv", make_predictions(**(good | change)))  # type: ignore[arg-type]
    assert not (tmp_path / "test.csv").exists()


def test_no_rows_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows"):
        make_predictions(images=[], paths=[], groups=[], targets=[], probabilities=np.empty((0, 2)), codes=["a", "b"])
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_table(tmp_path / "file" / "test.csv", table(5))


def test_maps_come_back_and_damage_is_named(tmp_path: Path) -> None:
    path = maps_path(tmp_path / "test.csv")
    assert path.name == "test_maps.npz"
    maps = np.random.default_rng(0).random((3, 4, 5))
    write_maps(path, images=["a", "b", "c"], predicted=maps, target=maps * 2)
    read = read_maps(path)
    assert read.images.tolist() == ["a", "b", "c"]
    assert read.predicted.dtype == np.float16
    np.testing.assert_allclose(read.target, maps * 2, rtol=1e-3)
    with pytest.raises(DataError, match="shapes"):
        write_maps(path, images=["a"], predicted=maps, target=maps)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read as maps"):
        read_maps(path)
    for at in range(60, 160):  # within the packed bytes: zlib has an error of its own
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with contextlib.suppress(DataError):
            read_maps(path)
    np.savez(path, image=np.array(["a"]), predicted=maps)
    with pytest.raises(DataError, match="lacks an array"):
        read_maps(path)
    np.savez(path, image=np.array([{"a": 1}], dtype=object), predicted=maps, target=maps)  # would need unpickling
    with pytest.raises(DataError, match="cannot be read as maps"):
        read_maps(path)
    with pytest.raises(DataError, match="no such file"):
        read_maps(tmp_path / "none.npz")
