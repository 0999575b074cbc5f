"""The official layouts of the ISIC challenges, the ISIC archive and derm7pt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny_data import write_csv, write_image

from lentigo.data import GroupSource, Samples, read_samples
from lentigo.errors import DataError

ISIC2018 = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
ISIC2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")


def one_hot(
    path: Path, columns: Sequence[str], marks: dict[str, str], *, weights: dict[str, float] | None = None
) -> None:
    rows = [
        [image, *(float(c == mark) for c in columns), *([] if weights is None else [weights.get(image, 1.0)] * 2)]
        for image, mark in marks.items()
    ]
    write_csv(path, ["image", *columns, *([] if weights is None else ["score_weight", "validation_weight"])], rows)


def pictures(folder: Path, names: Sequence[str], suffix: str = ".jpg") -> None:
    for seed, name in enumerate(names):
        write_image(folder / f"{name}{suffix}", seed)


def ignored(samples: Samples) -> dict[str, int]:
    assert samples.reading is not None
    return dict(samples.reading.ignored)


def test_isic2018_task3_test_alone(tmp_path: Path) -> None:
    marks = {"ISIC_0034524": "NV", "ISIC_0034525": "MEL", "ISIC_0035068": "NV", "ISIC_0034526": "AKIEC"}
    folder = tmp_path / "ISIC2018_Task3_Test"
    one_hot(folder / "ISIC2018_Task3_Test_GroundTruth" / "ISIC2018_Task3_Test_GroundTruth.csv", ISIC2018, marks)
    pictures(folder / "ISIC2018_Task3_Test_Input", list(marks))
    samples = read_samples(folder)
    assert samples.name == "isic2018"
    assert samples.frame["label"].tolist() == ["nv", "mel", "akiec"]
    assert set(samples.frame["official_split"]) == {"test"}
    assert samples.groups == GroupSource()
    assert ignored(samples)["no weight in the challenge's score"] == 1


def test_isic2018_task3_with_all_parts_and_lesions(tmp_path: Path) -> None:
    parts = {"Training": {"A1": "NV", "A2": "NV", "A3": "MEL"}, "Validation": {"B1": "DF"}, "Test": {"C1": "VASC"}}
    for part, marks in parts.items():
        one_hot(tmp_path / f"ISIC2018_Task3_{part}_GroundTruth.csv", ISIC2018, marks)
        pictures(tmp_path / f"ISIC2018_Task3_{part}_Input", list(marks))
    rows = [("A1", "HAM_1", "histo"), ("A2", "HAM_1", "histo"), ("A3", "HAM_2", "histo")]
    write_csv(
        tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv", ("image", "lesion_id", "diagnosis_confirm_type"), rows
    )
    samples = read_samples(tmp_path)
    assert samples.frame["split"].tolist() == ["train"] * 3 + ["val", "test"]
    assert samples.frame["group"].tolist() == ["HAM_1", "HAM_1", "HAM_2", "B1", "C1"]
    assert samples.groups == GroupSource("layout", "lesion_id", 2)
    assert not samples.groups.known


def test_isic2019_names_downsampled_images_either_way(tmp_path: Path) -> None:
    marks = {"ISIC_1_downsampled": "NV", "ISIC_2_downsampled": "MEL", "ISIC_3": "SCC", "ISIC_4": "UNK"}
    one_hot(tmp_path / "ISIC_2019_Test_GroundTruth.csv", ISIC2019, marks | {"ISIC_5": "DF"}, weights={"ISIC_5": 0.0})
    pictures(tmp_path / "ISIC_2019_Test_Input", ["ISIC_1_downsampled", "ISIC_2", "ISIC_3", "ISIC_4", "ISIC_5"])
    samples = read_samples(tmp_path)
    assert samples.frame["path"].tolist() == [
        f"ISIC_2019_Test_Input/{n}.jpg" for n in ("ISIC_1_downsampled", "ISIC_2", "ISIC_3")
    ]
    assert samples.frame["label"].tolist() == ["nv", "mel", "scc"]
    assert ignored(samples)["class UNK, which is no diagnosis"] == 1
    assert ignored(samples)["no weight in the challenge's score"] == 1


@pytest.mark.parametrize(
    "table", ["ISIC_2020_Training_GroundTruth.csv", "ISIC_2020_Training_GroundTruth_v2.csv", "train.csv"]
)
def test_isic2020(tmp_path: Path, table: str) -> None:
    header = (
        "image_name",
        "patient_id",
        "sex",
        "age_approx",
        "anatom_site_general_challenge",
        "diagnosis",
        "benign_malignant",
        "target",
    )
    rows = [
        ("I1", "IP_1", "male", "45", "torso", "unknown", "benign", "0"),
        ("I2", "IP_1", "male", "45", "torso", "melanoma", "malignant", "1"),
        ("I3", "IP_2", "", "", "", "nevus", "benign", "0"),
    ]
    write_csv(tmp_path / table, header, rows)
    pictures(tmp_path / "train", ["I1", "I2", "I3"])
    samples = read_samples(tmp_path)
    assert samples.name == "isic2020"
    assert samples.frame["label"].tolist() == ["benign", "mel", "benign"]
    assert samples.groups == GroupSource("layout", "patient_id")
    assert samples.frame["group"].tolist() == ["IP_1", "IP_1", "IP_2"]
    assert samples.frame["diagnosis"].tolist() == ["unknown", "melanoma", "nevus"]
    assert [c.malignant for c in samples.labels] == [False, True]


def archive(root: Path, rows: list[tuple[str, ...]]) -> Path:
    header = (
        "isic_id",
        "attribution",
        "copyright_license",
        "age_approx",
        "diagnosis_1",
        "diagnosis_3",
        "lesion_id",
        "patient_id",
        "sex",
    )
    write_csv(root / "metadata.csv", header, [(row[0], "x", "CC-0", "50", *row[1:], "male") for row in rows])
    pictures(root, [row[0] for row in rows])
    return root


def test_the_archives_metadata(tmp_path: Path) -> None:
    rows = [
        ("ISIC_1", "Benign", "Nevus", "IL_1", "IP_1"),
        ("ISIC_2", "Malignant", "Melanoma, NOS", "IL_2", ""),
        ("ISIC_3", "Benign", "Pigmented benign keratosis", "IL_3", "IP_1"),
        ("ISIC_4", "Malignant", "Melanoma in situ", "IL_2", "IP_2"),
    ]
    samples = read_samples(archive(tmp_path, rows))
    assert samples.frame["label"].tolist() == ["nv", "mel", "bkl", "mel"]
    assert samples.groups == GroupSource("column", "lesion_id")  # full, unlike patient_id
    by_patient = read_samples(tmp_path, group_by="patient_id")
    assert by_patient.groups == GroupSource("column", "patient_id", 1)
    assert by_patient.frame["group"].tolist() == ["IP_1", "ISIC_2", "IP_1", "IP_2"]
    assert set(read_samples(tmp_path, label_by="diagnosis_1").frame["label"]) == {"Benign", "Malignant"}


def test_the_archives_rougher_diagnosis_where_the_finer_has_gaps(tmp_path: Path) -> None:
    rows = [("ISIC_1", "Benign", "", "", ""), ("ISIC_2", "Malignant", "Melanoma, NOS", "", "")]
    samples = read_samples(archive(tmp_path, rows))
    assert samples.frame["label"].tolist() == ["Benign", "Malignant"]
    assert samples.groups == GroupSource()
    assert samples.reading is not None
    assert samples.reading.columns["label"] == "diagnosis_1"


def test_derm7pt(tmp_path: Path) -> None:
    header = (
        "case_num",
        "diagnosis",
        "level_of_diagnostic_difficulty",
        "elevation",
        "location",
        "sex",
        "clinic",
        "derm",
        "case_id",
    )
    said = [
        "clark nevus",
        "melanoma (in situ)",
        "basal cell carcinoma",
        "lentigo",
        "seborrheic keratosis",
        "melanoma metastasis",
    ]
    rows = [(n, name, "low", "flat", "back", "male", f"A/{n}c.jpg", f"A/{n}d.jpg", "") for n, name in enumerate(said)]
    write_csv(tmp_path / "meta" / "meta.csv", header, rows)
    for n in range(len(said)):
        write_image(tmp_path / "images" / "A" / f"{n}d.JPG", n)
        write_image(tmp_path / "images" / "A" / f"{n}c.JPG", 50 + n)
    for name, listed in (("train", [0, 1]), ("valid", [2, 3]), ("test", [4, 5])):
        write_csv(tmp_path / "meta" / f"{name}_indexes.csv", ("indexes",), [(n,) for n in listed])
    samples = read_samples(tmp_path)
    assert samples.name == "derm7pt"
    assert samples.frame["label"].tolist() == ["nv", "mel", "bcc", "bkl", "mel"]
    assert samples.frame["split"].tolist() == ["train", "train", "val", "test", "test"]
    assert samples.frame["path"][0] == "images/A/0d.JPG"
    assert samples.groups == GroupSource("layout", "case")
    assert ignored(samples)["lentigo, none of the classes"] == 1
    samples.read(0)


def test_classes_of_a_published_set_cannot_be_taken_elsewhere(tmp_path: Path) -> None:
    one_hot(tmp_path / "ISIC2018_Task3_Test_GroundTruth.csv", ISIC2018, {"A": "NV", "B": "MEL"})
    pictures(tmp_path, ["A", "B"])
    with pytest.raises(DataError, match="the classes of isic2018 are fixed"):
        read_samples(tmp_path, label_by="NV")
