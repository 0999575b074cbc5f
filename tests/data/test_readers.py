from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_data import folder, write_csv, write_image

from lentigo.data import read_samples, split_samples
from lentigo.errors import DataError, ImageError
from lentigo.labels import HAM10000

HAM_HEADER = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")


def ham(root: Path, rows: list[tuple[object, ...]], places: str = "HAM10000_images_part_1/{}.jpg") -> Path:
    write_csv(root / "HAM10000_metadata.csv", HAM_HEADER, rows)
    for seed, row in enumerate(rows):
        write_image(root / places.format(row[1]), seed)
    return root


HAM_ROWS: list[tuple[object, ...]] = [
    ("H2", "I3", "nv", "histo", "", "unknown", "back"),
    ("H1", "I1", "mel", "histo", "45.0", "male", "scalp"),
    ("H1", "I2", "mel", "histo", "45.0", "male", "scalp"),
]


@pytest.mark.parametrize("places", ["HAM10000_images_part_1/{}.jpg", "images/{}.webp", "{}.png"])
def test_ham10000_in_every_layout(tmp_path: Path, places: str) -> None:
    samples = read_samples(ham(tmp_path, HAM_ROWS, places))
    frame = samples.frame
    assert samples.name == "ham10000"
    assert samples.labels is HAM10000
    assert frame["image"].tolist() == ["I1", "I2", "I3"]
    assert frame["path"].tolist() == [places.format(i) for i in ("I1", "I2", "I3")]
    assert frame["group"].tolist() == ["H1", "H1", "H2"]
    assert frame["label"].tolist() == ["mel", "mel", "nv"]
    assert frame["site"].tolist() == ["scalp", "scalp", "back"]
    assert frame["age"][0] == 45
    assert np.isnan(frame["age"][2])
    assert not frame["train_only"].any()
    samples.read(0)


def test_ham10000_metadata_as_the_archive_names_it_and_with_tabs(tmp_path: Path) -> None:
    ham(tmp_path, HAM_ROWS)
    text = (tmp_path / "HAM10000_metadata.csv").read_text()
    (tmp_path / "HAM10000_metadata.csv").unlink()
    (tmp_path / "HAM10000_metadata.tab").write_text("\ufeff" + text.replace(",", "\t"), encoding="utf-8")
    assert len(read_samples(tmp_path)) == 3


def test_ham10000_low_resolution_images_are_for_training(tmp_path: Path) -> None:
    ham(tmp_path, HAM_ROWS)
    write_csv(tmp_path / "low_resolution.csv", ["image_id"], [["I2"]])
    samples = read_samples(tmp_path)
    assert samples.frame["train_only"].tolist() == [False, True, False]
    assert "1 for training only" in repr(samples)


def test_ham10000_joins_the_two_ids_of_one_photograph(tmp_path: Path) -> None:
    rows: list[tuple[object, ...]] = [
        (lesion, image, "nv", "histo", "", "", "")
        for lesion, image in [("A", "ISIC_0025226"), ("B", "ISIC_0030074"), ("B", "I1"), ("C", "I2")]
    ]
    frame = read_samples(ham(tmp_path, rows)).frame
    assert frame.set_index("image")["group"].to_dict() == {
        "ISIC_0025226": "A",
        "ISIC_0030074": "A",
        "I1": "A",
        "I2": "C",
    }


def isic_official(root: Path, parts: tuple[str, ...] = ("Training", "Validation", "Test_v2")) -> Path:
    for number, part in enumerate(parts):
        rows = [(f"I{number}{n}", m, s) for n, (m, s) in enumerate([("1.0", "0.0"), ("0.0", "1.0"), ("0.0", "0.0")])]
        write_csv(
            root / f"ISIC-2017_{part}_Part3_GroundTruth.csv", ("image_id", "melanoma", "seborrheic_keratosis"), rows
        )
        write_csv(
            root / f"ISIC-2017_{part}_Data" / f"ISIC-2017_{part}_Data_metadata.csv",
            ("image_id", "age_approximate", "sex"),
            [(row[0], "unknown" if n else "60", "male") for n, row in enumerate(rows)],
        )
        for seed, row in enumerate(rows):
            write_image(root / f"ISIC-2017_{part}_Data" / f"{row[0]}.jpg", seed)
            write_image(root / f"ISIC-2017_{part}_Data" / f"{row[0]}_superpixels.png", 7)
    return root


def test_isic2017_as_published(tmp_path: Path) -> None:
    samples = read_samples(isic_official(tmp_path))
    assert samples.name == "isic2017"
    assert samples.labels.codes == ("mel", "nv", "sk")
    assert samples.frame["label"].tolist() == ["mel", "sk", "nv"] * 3
    assert samples.frame["official_split"].tolist() == ["train"] * 3 + ["val"] * 3 + ["test"] * 3
    assert samples.frame["path"][0] == "ISIC-2017_Training_Data/I00.jpg"
    assert samples.frame["age"][0] == 60
    assert np.isnan(samples.frame["age"][1])


def test_isic2017_without_validation(tmp_path: Path) -> None:
    samples = read_samples(isic_official(tmp_path, ("Training", "Test_v2")))
    assert set(samples.frame["split"]) == {"train", "test"}


def test_isic2017_from_one_table(tmp_path: Path) -> None:
    rows = [("I1", "train", "nevus"), ("I2", "test", "seborrheic_keratosis"), ("I3", "train", "melanoma")]
    write_csv(tmp_path / "labels.csv", ("image_id", "split", "label"), rows)
    for seed, row in enumerate(rows):
        write_image(tmp_path / "images" / f"{row[0]}.webp", seed)
    samples = read_samples(tmp_path)
    assert samples.name == "isic2017"
    assert samples.frame["label"].tolist() == ["nv", "sk", "mel"]
    assert samples.frame["split"].tolist() == ["train", "test", "train"]


@pytest.mark.parametrize("places", ["images/imgs_part_1/{}.png", "images/{}.webp"])
def test_pad_ufes_20(tmp_path: Path, places: str) -> None:
    rows = [
        ("PAT_1", "7", "50", "FEMALE", "NECK", "3.0", "BCC", "PAT_1_7_1.png"),
        ("PAT_1", "8", "50", "FEMALE", "ARM", "", "NEV", "PAT_1_8_2.png"),
    ]
    header = ("patient_id", "lesion_id", "age", "gender", "region", "fitspatrick", "diagnostic", "img_id")
    write_csv(tmp_path / "metadata.csv", header, rows)
    for seed, row in enumerate(rows):
        write_image(tmp_path / places.format(Path(row[-1]).stem), seed)
    samples = read_samples(tmp_path)
    frame = samples.frame
    assert samples.name == "pad_ufes_20"
    assert frame["label"].tolist() == ["bcc", "nev"]
    assert frame["group"].tolist() == ["PAT_1", "PAT_1"]
    assert frame["sex"].tolist() == ["female", "female"]
    assert frame["site"].tolist() == ["neck", "arm"]
    assert frame["lesion"].tolist() == ["7", "8"]
    assert frame["fitzpatrick"].tolist() == ["3.0", ""]


def derma(path: Path, **changes: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 8), ("val", 3), ("test", 4)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 28, 28, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8).reshape(-1, 1) % 7
    np.savez_compressed(path, **{**arrays, **changes})
    return path


@pytest.mark.parametrize("direct", [True, False])
def test_dermamnist(tmp_path: Path, direct: bool) -> None:
    file = derma(tmp_path / "dermamnist.npz")
    samples = read_samples(file if direct else tmp_path)
    assert samples.name == "dermamnist"
    assert len(samples) == 15
    assert samples.frame.set_index("image")["label"][["train_00004", "train_00005", "test_00003"]].tolist() == [
        "mel",
        "nv",
        "df",
    ]
    assert (samples.frame["split"] == samples.frame["official_split"]).all()
    row = samples.frame.index[samples.frame["image"] == "val_00002"][0]
    with np.load(file) as arrays:
        np.testing.assert_array_equal(np.asarray(samples.read(row)), arrays["val_images"][2])
    assert split_samples(samples, "official").counts().loc["total"].tolist() == [8, 3, 4, 15]


def test_dermamnist_never_unpickles(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, ("raise SystemExit('unpickled')",)

    file = derma(tmp_path / "d.npz", train_images=np.array([Evil()], dtype=object))
    with pytest.raises(DataError, match="cannot be read"):
        read_samples(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": np.full((8, 1), 9)}, "holds class 9; DermaMNIST has 0 to 6"),
        ({"train_labels": np.zeros((2, 1))}, "one label each"),
        ({"val_images": np.zeros((3, 28, 28, 3), np.float32)}, "uint8"),
    ],
)
def test_dermamnist_with_wrong_arrays(tmp_path: Path, changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_samples(derma(tmp_path / "d.npz", **changes))


def test_damaged_or_foreign_npz(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04 no")
    with pytest.raises(DataError, match=r"cannot be read as an \.npz"):
        read_samples(tmp_path / "d.npz")
    np.savez(tmp_path / "e.npz", train_image=np.zeros(3))
    with pytest.raises(DataError, match="has no array 'train_images'; did you mean 'train_image'"):
        read_samples(tmp_path / "e.npz")


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    samples = read_samples(folder(tmp_path, {"vitiligo": 2, "halo_naevus": 3}))
    assert samples.name == "folder"
    assert samples.labels.codes == ("halo_naevus", "vitiligo")
    assert samples.labels.classes[0].zh == "晕痣"
    assert samples.frame["image"][0] == "halo_naevus/0.png"
    assert samples.frame["group"].nunique() == 5


def test_folders_for_the_splits_keep_them(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        folder(tmp_path / part, {"a": 2, "b": 1})
    samples = read_samples(tmp_path)
    assert samples.labels.codes == ("a", "b")
    assert samples.counts().loc["a"].tolist() == [2, 2, 2, 6]
    assert samples.frame["official_split"].tolist() == samples.frame["split"].tolist()


def test_given_labels_fix_the_order(tmp_path: Path) -> None:
    folder(tmp_path, {"nv": 1, "mel": 1})
    assert read_samples(tmp_path, labels=HAM10000).targets.tolist() == [4, 5]
    (tmp_path / "nv").rename(tmp_path / "nvv")
    with pytest.raises(DataError, match="unknown class 'nvv'; did you mean 'nv'"):
        read_samples(tmp_path, labels=HAM10000)


def test_csv_with_everything(tmp_path: Path) -> None:
    rows = [("p1", "pics/x.png", "a", "g1", "train", "7", "no"), ("p2", "pics/y.png", "b", "", "test", "x", "yes")]
    write_csv(tmp_path / "table.csv", ("image", "path", "label", "group", "split", "age", "train_only"), rows)
    write_image(tmp_path / "pics" / "x.png", 1)
    write_image(tmp_path / "pics" / "y.png", 2)
    for place in (tmp_path, tmp_path / "table.csv"):
        frame = read_samples(place).frame
        assert frame["image"].tolist() == ["p1", "p2"]
        assert frame["path"].tolist() == ["pics/x.png", "pics/y.png"]
        assert frame["group"].tolist() == ["g1", "p2"]
        assert frame["official_split"].tolist() == ["train", "test"]
        assert frame["train_only"].tolist() == [False, True]
        assert frame["age"][0] == 7
        assert np.isnan(frame["age"][1])


@pytest.mark.parametrize("image", ["deep/x.png", "x"])
def test_csv_names_files_or_stems(tmp_path: Path, image: str) -> None:
    write_image(tmp_path / "deep" / "x.png", 1)
    write_image(tmp_path / "deep" / "y.png", 2)
    write_csv(tmp_path / "t.csv", ("image", "label"), [(image, "a"), (image.replace("x", "y"), "b")])
    samples = read_samples(tmp_path / "t.csv")
    assert samples.frame["path"].tolist() == ["deep/x.png", "deep/y.png"]
    samples.read(1)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        (("picture", "label"), [("z.png", "a")], "has no column 'image' or 'path' .found: picture, label"),
        (("image", "labelt"), [("x.png", "a")], "has no column 'label'; did you mean 'labelt'.* .found: image, labelt"),
        (("image", "label"), [], "no rows"),
        (("image", "label"), [("x.png", "a"), ("y.png", "")], "1 rows have no label, the first in line 3"),
        (("image", "label"), [("x.png", "a"), ("y.png", "a")], "only one class there .'a'"),
        (
            ("image", "label"),
            [("x.png", "a"), ("z.png", "b"), ("x2.png", "b")],
            "2 of 3 images in the table are missing, the first 'x2.png'",
        ),
        (("image", "label"), [("p.png", "a"), ("q.png", "b")], "none of the 2 images in the table is there"),
        (("image", "label"), [("x.png", "a"), ("x.png", "b")], "must be unique; 'x.png'"),
        (
            ("image", "label", "split"),
            [("x.png", "a", "train"), ("y.png", "b", "tets")],
            "unknown split 'tets'; did you mean 'test'",
        ),
    ],
)
def test_csv_that_cannot_be_used(
    tmp_path: Path, header: tuple[str, ...], rows: list[tuple[str, ...]], message: str
) -> None:
    write_image(tmp_path / "x.png", 1)
    write_image(tmp_path / "y.png", 2)
    write_csv(tmp_path / "t.csv", header, rows)
    with pytest.raises(DataError, match=message):
        read_samples(tmp_path / "t.csv")


def test_csv_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00\x01binary")
    with pytest.raises(DataError, match="cannot be read as a CSV"):
        read_samples(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read as a CSV"):
        read_samples(tmp_path / "t.csv")


def test_missing_images_can_be_kept_or_skipped(tmp_path: Path) -> None:
    ham(tmp_path, HAM_ROWS)
    (tmp_path / "HAM10000_images_part_1" / "I1.jpg").unlink()
    with pytest.raises(
        DataError, match="1 of 3 images in the table are missing, the first 'I1'; complete the download"
    ):
        read_samples(tmp_path)
    assert read_samples(tmp_path, missing="skip").frame["image"].tolist() == ["I2", "I3"]
    kept = read_samples(tmp_path, missing="keep")
    assert len(kept) == 3
    with pytest.raises(ImageError):
        kept.read(0)


def test_unknown_class_names_the_nearest(tmp_path: Path) -> None:
    ham(tmp_path, [*HAM_ROWS, ("H9", "I9", "bcl", "histo", "", "", "")])
    with pytest.raises(DataError, match="unknown class 'bcl' in 1 rows; did you mean 'b"):
        read_samples(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    write_csv(tmp_path / "HAM10000_metadata.csv", ("lesion_id", "image", "dx"), [("H", "I", "nv")])
    with pytest.raises(DataError, match=r"has no column 'image_id'.*found: lesion_id, image, dx"):
        read_samples(tmp_path)


def test_missing_folder_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "ham10000").mkdir()
    with pytest.raises(DataError, match="ham1000: no such file or folder; did you mean 'ham10000'"):
        read_samples(tmp_path / "ham1000")


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no known data set here; lentigo reads HAM10000"):
        read_samples(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"a folder, a \.csv or an \.npz"):
        read_samples(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="unknown data set layout 'isic17'; did you mean 'isic2017'"):
        read_samples(tmp_path, "isic17")
    with pytest.raises(DataError, match="classes of ham10000 are fixed"):
        read_samples(tmp_path, "ham10000", labels=HAM10000)


def test_empty_class_and_single_image(tmp_path: Path) -> None:
    folder(tmp_path / "one", {"a": 1})
    with pytest.raises(DataError, match="only one class"):
        read_samples(tmp_path / "one")
    (tmp_path / "one" / "b").mkdir()
    with pytest.raises(DataError, match="class 'b' is empty"):
        read_samples(tmp_path / "one")
    ham(tmp_path / "ham", HAM_ROWS[:1])
    with pytest.raises(DataError, match="only one image"):
        read_samples(tmp_path / "ham")


def test_real_ham10000(shared_data: Path) -> None:
    samples = read_samples(shared_data / "ham10000-400")
    assert len(samples) == 9138
    counts = {"nv": 6132, "mel": 1007, "bkl": 1001, "bcc": 468, "akiec": 301, "vasc": 128, "df": 101}
    assert samples.frame["label"].value_counts().to_dict() == counts
    assert int(samples.frame["train_only"].sum()) == 1860
    assert samples.read(0).size == (400, 300)


def test_real_isic2017(shared_data: Path) -> None:
    samples = read_samples(shared_data / "isic2017-384")
    counts = samples.counts()
    assert counts.loc[["nv", "mel", "sk"], "train"].tolist() == [1365, 371, 254]
    assert counts.loc[["nv", "mel", "sk"], "test"].tolist() == [390, 117, 90]


def test_real_pad_ufes_20(shared_data: Path) -> None:
    samples = read_samples(shared_data / "pad_ufes_20")
    assert len(samples) == 600
    assert samples.frame["group"].nunique() == 467
    samples.read(0)


def test_isic2019_reads_one_hot_rows_lesions_and_leaves_unknown_out(tmp_path: Path) -> None:
    header = ["image", "MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    marks = {"a": "MEL", "b": "SCC", "c": "UNK", "d": "NV"}
    rows = [[image, *(f"{float(column == mark)}" for column in header[1:])] for image, mark in marks.items()]
    write_csv(tmp_path / "ISIC_2019_Training_GroundTruth.csv", header, rows)
    metadata = [("a", "55", "head/neck", "L1", "male"), ("b", "", "", "", ""), ("d", "40", "", "L1", "female")]
    write_csv(
        tmp_path / "ISIC_2019_Training_Metadata.csv",
        ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"],
        metadata,
    )
    for seed, image in enumerate(marks):
        write_image(tmp_path / "ISIC_2019_Training_Input" / f"{image}.jpg", seed)
    frame = read_samples(tmp_path).frame
    assert frame["image"].tolist() == ["a", "b", "d"]
    assert frame["label"].tolist() == ["mel", "scc", "nv"]
    assert frame["group"].tolist() == ["L1", "b", "L1"]
    assert frame["age"].iloc[0] == 55
    rows[0][2] = "1.0"
    write_csv(tmp_path / "ISIC_2019_Training_GroundTruth.csv", header, rows)
    with pytest.raises(DataError, match=r"1 of 4 rows have none or several .* the first in line 2 \(2\)"):
        read_samples(tmp_path)
