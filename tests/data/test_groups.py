from __future__ import annotations

from pathlib import Path

import pytest
from tiny_data import folder, write_csv, write_image

from lentigo.data import GroupSource, read_samples, split_samples
from lentigo.errors import DataError


def pictures(root: Path, header: tuple[str, ...], cells: list[tuple[str, ...]]) -> Path:
    """Eight images of two classes with these further cells each."""
    rows = []
    for n, more in enumerate(cells):
        write_image(root / f"{n}.png", n)
        rows.append((f"{n}.png", "ab"[n % 2], *more))
    write_csv(root / "table.csv", ("image", "label", *header), rows)
    return root


@pytest.mark.parametrize("column", ["group", "patient", "patient_id", "lesion", "lesion_id", "case_id", "subject"])
def test_a_column_of_a_known_name_is_the_group(tmp_path: Path, column: str) -> None:
    samples = read_samples(pictures(tmp_path, (column,), [(f"P{n // 2}",) for n in range(8)]))
    assert samples.groups == GroupSource("column", column)
    assert samples.groups.known
    assert samples.frame["group"].nunique() == 4
    assert f"in 4 groups (column {column})" in repr(samples)


def test_patients_go_before_their_lesions(tmp_path: Path) -> None:
    samples = read_samples(pictures(tmp_path, ("lesion_id", "patient_id"), [(f"L{n}", f"P{n // 4}") for n in range(8)]))
    assert (samples.groups.name, samples.groups.unit) == ("patient_id", "patient")
    assert samples.frame["group"].nunique() == 2
    by_lesion = read_samples(tmp_path, group_by="lesion_id")
    assert (by_lesion.groups.name, by_lesion.groups.unit, by_lesion.frame["group"].nunique()) == (
        "lesion_id",
        "lesion",
        8,
    )


def test_blank_cells_leave_the_groups_unknown(tmp_path: Path) -> None:
    samples = read_samples(pictures(tmp_path, ("patient",), [("" if n == 3 else f"P{n // 2}",) for n in range(8)]))
    assert not samples.groups.known
    assert samples.groups.record == {"kind": "column", "name": "patient", "blank": 1}
    assert samples.frame["group"][3] == "3.png"


def test_file_names_give_the_group(tmp_path: Path) -> None:
    for n in range(12):
        write_image(tmp_path / "ab"[n % 2] / f"PAT_{n // 3}_{n}.png", n)
    samples = read_samples(tmp_path)
    assert samples.groups == GroupSource()
    assert not samples.groups.known
    grouped = read_samples(tmp_path, group_by=r"PAT_(\d+)_")
    assert grouped.groups == GroupSource("pattern", r"PAT_(\d+)_")
    assert (grouped.groups.unit, sorted(set(grouped.frame["group"]))) == ("patient", ["0", "1", "2", "3"])
    split = split_samples(grouped, "patient", fractions=(0.5, 0.25, 0.25), seed=1).frame
    assert split.groupby("group")["split"].nunique().max() == 1


@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        (r"PAT_(\d+", "no regular expression"),
        ("", "--group-by is empty"),
        (r"b/(\d+)\.png", "matches 3 of 6 file names, not 'a/0.png'"),
        ("patients", "'patients' is no column of the table"),
    ],
)
def test_groups_that_cannot_be_found(tmp_path: Path, group_by: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_samples(folder(tmp_path, {"a": 3, "b": 3}), group_by=group_by)


def test_a_pattern_of_the_folders_alone_is_told_or_refused(tmp_path: Path) -> None:
    for n in range(8):
        write_image(tmp_path / f"study_{n // 4}" / f"p{n // 2}" / "ab"[n % 2] / f"{n}.png", n)
    by_label = {"label_by": "([^/]+)/[^/]+$"}
    asked = read_samples(tmp_path, group_by=r"p(\d)", **by_label)
    assert asked.frame["group"].nunique() == 4
    assert any("looked for in the folders too: study_0/p0/a/0.png is of '0'" in line for line in asked.remarks())
    for pattern, said in (
        (r"stud(y)", "one value for all images, such as 'y'"),
        (r"/([ab])/", "one value for each class"),
    ):
        with pytest.raises(DataError, match=f"gives {said}.* tells no patients or lesions"):
            read_samples(tmp_path, group_by=pattern, **by_label)


@pytest.mark.parametrize("record", [None, {}, {"kind": "no"}, "column", {"kind": "unknown", "name": ""}])
def test_a_record_that_says_nothing_is_unknown(record: object) -> None:
    assert GroupSource.of(record) == GroupSource()


@pytest.mark.parametrize(
    "groups", [GroupSource(), GroupSource("layout", "lesion_id"), GroupSource("column", "patient", 3)]
)
def test_a_record_is_read_back(groups: GroupSource) -> None:
    assert GroupSource.of(groups.record) == groups


@pytest.mark.parametrize(
    "column", ["PatientID", "patient_number", "Patient No.", "pid", "id_paciente", "SubjectCode", "lesionId"]
)
def test_more_names_of_group_columns(tmp_path: Path, column: str) -> None:
    assert read_samples(pictures(tmp_path, (column,), [(f"P{n // 2}",) for n in range(8)])).groups == GroupSource(
        "column", column
    )


@pytest.mark.parametrize("nobody", ["unknown", "N/A", "-1", "nan", "?"])
@pytest.mark.parametrize("asked", [None, "patient"])
def test_a_patient_called_unknown_is_unknown(tmp_path: Path, nobody: str, asked: str | None) -> None:
    cells = [(nobody if n < 3 else f"P{n // 2}",) for n in range(8)]
    samples = read_samples(pictures(tmp_path, ("patient",), cells), group_by=asked)
    assert samples.groups == GroupSource("column", "patient", 3)
    assert samples.frame["group"].nunique() == 3 + 3


NO_PATIENTS = {
    "one value for all images": ["P1"] * 8,
    "another value for every image": [f"P{n}" for n in range(8)],
    "dates": [
        "2021-03-04",
        "2021-03-05",
        "2021-03-05",
        "4.3.21",
        "04/03/2021",
        "20210304",
        "2021-3-4",
        "2021-03-04 10:22",
    ],
    "file names": [f"{n // 2}.jpg" for n in range(8)],
}


@pytest.mark.parametrize("holds", NO_PATIENTS)
def test_a_column_patient_that_tells_no_patients_is_not_taken_unasked(tmp_path: Path, holds: str) -> None:
    cells = [(cell,) for cell in NO_PATIENTS[holds]]
    samples = read_samples(pictures(tmp_path, ("patient",), cells))
    assert samples.groups == GroupSource()
    assert any(f"WARNING: column patient holds {holds}" in line for line in samples.remarks())
    asked = read_samples(tmp_path, group_by="patient")
    assert asked.groups == GroupSource("column", "patient")
    assert any(f"WARNING: --group-by 'patient' gives {holds}" in line for line in asked.remarks())


def test_where_patients_tell_nothing_lesions_are_taken(tmp_path: Path) -> None:
    cells = [(f"P{n}", f"L{n // 2}") for n in range(8)]
    assert read_samples(pictures(tmp_path, ("patient_id", "lesion_id"), cells)).groups.name == "lesion_id"


@pytest.mark.parametrize("ids", ["201111 201112", "2021-03 2021-04", "12345678 23456789", "P1.2.3 P1.2.4"])
def test_ids_are_no_dates(tmp_path: Path, ids: str) -> None:
    cells = [(ids.split()[n % 2],) for n in range(8)]
    assert read_samples(pictures(tmp_path, ("patient",), cells)).groups.known


def test_each_class_may_have_one_lesion_where_lesions_are_evaluated(tmp_path: Path) -> None:
    for name in ("mel/L1_0", "mel/L1_1", "nv/L2_0", "nv/L2_1"):
        write_image(tmp_path / f"{name}.png", len(name))
    with pytest.raises(DataError, match="one value for each class"):
        read_samples(tmp_path, group_by=r"(L\d)_")
    samples = read_samples(tmp_path, group_by=r"(L\d)_", lone_groups=True)
    assert samples.frame["group"].tolist() == ["L1", "L1", "L2", "L2"]
    with pytest.raises(DataError, match="one value for all images"):
        read_samples(tmp_path, group_by=r"(L)\d_", lone_groups=True)
