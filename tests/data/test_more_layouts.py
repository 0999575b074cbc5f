"""More data sets as people have them: workbooks of several sheets, joined tables, JSON, and East Asian code pages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_layouts import cross, facts, tree

from lentigo.code_pages import decode
from lentigo.data import GroupSource, Samples, read_samples
from lentigo.errors import DataError
from lentigo.tables import read_cells

TWO = ("nevus", "melanoma")


def workbook(path: Path, sheets: dict[str, list[list[str]]]) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)


def rows_of(first: int, last: int) -> list[list[str]]:
    return [["image", "label"], *([f"{n}.png", TWO[n % 2]] for n in range(first, last))]


def notes(samples: Samples) -> str:
    assert samples.reading is not None
    return "\n".join(samples.reading.lines())


def test_sheets_of_the_same_columns_are_one_table_whose_sheets_may_be_the_split(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(10)))
    workbook(tmp_path / "t.xlsx", {"train": rows_of(0, 6), "test": rows_of(6, 10), "notes": [["author", "x"]]})
    samples = read_samples(tmp_path)
    assert facts(samples) == (set(TWO), {"train": 6, "test": 4})
    assert "the sheets 'test', 'train' have the same columns and are read as one table" in notes(samples)


def test_sheets_of_years_are_one_table_in_any_language(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(9)))
    years = {
        str(2021 + year): [["Bild", "Diagnose"], *([f"{n}.png", TWO[n % 2]] for n in range(3 * year, 3 * year + 3))]
        for year in range(3)
    }
    workbook(tmp_path / "t.xlsx", years)
    (tmp_path / "sample_submission.csv").write_text("image,target\n9.png,0.5\n", encoding="utf-8")
    samples = read_samples(tmp_path)
    assert facts(samples) == (set(TWO), {"": 9})
    assert "sample_submission" not in notes(samples)


def test_sheets_of_other_columns_are_not_joined(tmp_path: Path) -> None:
    workbook(tmp_path / "t.xlsx", {"images": rows_of(0, 6), "old": [["image", "guess"], ["9.png", "nevus"]]})
    assert read_cells(tmp_path / "t.xlsx").columns["image"] == tuple(f"{n}.png" for n in range(6))


def test_a_table_of_cases_tells_the_classes_of_a_table_of_images(tmp_path: Path) -> None:
    """As in SCIN, whose images and labels are in two tables."""
    tree(tmp_path, *(f"img/{n}_{view}.png" for n in range(8) for view in "ab"))
    images = ["Case ID,path", *(f"c{n},img/{n}_{view}.png" for n in range(8) for view in "ab")]
    classes = ["case_id,condition,sure", *(f"c{n},{TWO[n % 2]},5" for n in range(7))]
    (tmp_path / "images.csv").write_text("\n".join(images), encoding="utf-8")
    (tmp_path / "labels.csv").write_text("\n".join(classes), encoding="utf-8")
    samples = read_samples(tmp_path, label_by="condition")
    assert facts(samples) == (set(TWO), {"": 14})
    assert samples.groups == GroupSource("column", "Case ID")
    assert samples.frame["group"].nunique() == 7
    assert "left out: 2 (labels.csv has no row of its Case ID)" in notes(samples)
    assert "images.csv names the images; labels.csv has the other columns, by Case ID" in notes(samples)


@pytest.mark.parametrize(
    ("column", "taken"),
    [
        ("Diagnostic histologique", True),
        ("Final diagnosis", True),
        ("病理诊断", True),
        ("diagnosis_method", False),
        ("Diagnosis date", False),
    ],
)
def test_a_column_may_be_called_after_the_diagnosis(tmp_path: Path, column: str, taken: bool) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(8)))
    lines = [f"image,{column}", *(f"{n}.png,{TWO[n % 2]}" for n in range(8))]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    if taken:
        assert facts(read_samples(tmp_path)) == (set(TWO), {"": 8})
    else:
        with pytest.raises(DataError, match="name it with --label-by COLUMN"):
            read_samples(tmp_path)


def test_json_may_name_images_by_its_keys_and_parts_by_its_lists(tmp_path: Path) -> None:
    tree(tmp_path, *(f"images/{n}.png" for n in range(8)))
    by_key = {f"{n}.png": {"label": TWO[n % 2], "patient": f"p{n // 4}"} for n in range(8)}
    (tmp_path / "labels.json").write_text(json.dumps(by_key), encoding="utf-8")
    samples = read_samples(tmp_path)
    assert facts(samples) == (set(TWO), {"": 8})
    assert samples.groups.unit == "patient"
    rows = [{"image": f"images/{n}.png", "label": TWO[n % 2]} for n in range(8)]
    by_part = {"training": rows[:6], "validation": rows[6:], "name": "lists of parts"}
    (tmp_path / "labels.json").write_text(json.dumps(by_part), encoding="utf-8")
    assert facts(read_samples(tmp_path)) == (set(TWO), {"train": 6, "val": 2})


@pytest.mark.parametrize(
    "names", ["Entrenar|Validar|Probar", "treinar|validar|testar", "訓練|検証|テスト", "훈련|검증|테스트"]
)
def test_split_folders_may_be_verbs_or_asian_words(tmp_path: Path, names: str) -> None:
    assert facts(read_samples(tree(tmp_path, *cross(names, "melanoma|nevus"))))[1] == {"train": 4, "val": 4, "test": 4}


@pytest.mark.parametrize(
    ("column", "unit"), [("PatNr", "patient"), ("患者编号", "patient"), ("case number", "case"), ("record_id", "group")]
)
def test_units_of_groups_by_the_names_of_columns(column: str, unit: str) -> None:
    assert GroupSource("column", column).unit == unit


@pytest.mark.parametrize("words", ["前腕|下肢", "背部|腹部", "男|女", "右前腕|左下腿", "要再診|経過観察", "手術|治療"])
@pytest.mark.parametrize("name", ["", "画像", "写真"])
def test_japanese_is_never_read_as_chinese(words: str, name: str) -> None:
    text = "image,label\n" + "".join(f"{name}{n}.jpg,{words.split('|')[n % 2]}\n" for n in range(20))
    with pytest.raises(ValueError, match="cannot be told in which code page"):
        decode(text.encode("euc_jp"))


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("面部|手臂", "gb18030"),
        ("男|女", "gb18030"),
        ("正常|异常", "gb18030"),
        ("背部|腹部", "cp932"),
        ("臉|手臂", "big5hkscs"),
        ("Nävuszellnävus|Malignes Melanom", "cp1252"),
    ],
)
def test_words_without_the_names_of_diseases(words: str, page: str) -> None:
    text = "image,label\n" + "".join(f"{n}.jpg,{words.split('|')[n % 2]}\n" for n in range(20))
    assert decode(text.encode(page)) == (text, page)
