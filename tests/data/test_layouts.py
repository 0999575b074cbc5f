"""Data sets as people have them: each is read right, or refused in one line that names the mend."""

from __future__ import annotations

import json
import os
import shlex
import warnings
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from tiny_data import write_csv, write_image

from lentigo.data import GroupSource, Samples, read_samples, split_samples
from lentigo.data.readers.split_words import split_word
from lentigo.data.tables import read_table
from lentigo.errors import DataError


def tree(root: Path, *images: str) -> Path:
    """Pictures at these places."""
    for seed, image in enumerate(images):
        write_image(root / image, seed)
    return root


def cross(*levels: str, count: int = 2, suffix: str = "png") -> list[str]:
    """All paths of ``a|b`` levels, with so many pictures in each."""
    paths = [""]
    for level in levels:
        paths = [f"{path}{name}/" for path in paths for name in level.split("|")]
    return [f"{path}{n}.{suffix}" for path in paths for n in range(count)]


def facts(samples: Samples) -> tuple[set[str], dict[str, int]]:
    split = samples.frame["split"].value_counts().to_dict()
    return set(samples.frame["label"]), {str(name): int(n) for name, n in split.items()}


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ("train|val", {"train": 4, "val": 4}),
        ("training_set|test_set", {"train": 4, "test": 4}),
        ("Training|Validation|Testing", {"train": 4, "val": 4, "test": 4}),
        ("train_images|test_images", {"train": 4, "test": 4}),
        ("TrainSet|ValidSet", {"train": 4, "val": 4}),
        ("ISIC_Training_Data|ISIC_Test_Data", {"train": 4, "test": 4}),
        ("1_train|2_hold-out", {"train": 4, "test": 4}),
        ("train|test|unlabeled", {"train": 4, "test": 4}),
    ],
)
@pytest.mark.parametrize("order", ["split first", "class first", "wrapped", "patients inside"])
def test_split_folders_are_splits_wherever_they_are(
    tmp_path: Path, names: str, parts: dict[str, int], order: str
) -> None:
    levels = {
        "split first": (names, "melanoma|nevus"),
        "class first": ("melanoma|nevus", names),
        "wrapped": ("archive", "data", names, "melanoma|nevus"),
        "patients inside": (names, "melanoma|nevus", "PAT_1|PAT_2"),
    }[order]
    samples = read_samples(tree(tmp_path, *cross(*levels, count=1 if order == "patients inside" else 2)))
    assert facts(samples) == ({"melanoma", "nevus"}, parts)
    assert samples.frame["official_split"].tolist() == samples.frame["split"].tolist()
    assert samples.reading is not None
    if "unlabeled" in names:
        assert any("unlabeled" in line for line in samples.reading.lines())


@pytest.mark.parametrize(
    "levels", [("P01|P02|P03|P04", "mel|nv"), ("mel|nv", "P01|P02|P03|P04"), ("study", "mel|nv", "patient 7|patient 8")]
)
def test_folders_of_patients_are_groups(tmp_path: Path, levels: tuple[str, ...]) -> None:
    samples = read_samples(tree(tmp_path, *cross(*levels)))
    assert set(samples.frame["label"]) == {"mel", "nv"}
    assert samples.groups == GroupSource("folder", "patient")
    patients = {part for part in levels[0].split("|") + levels[-1].split("|") if part[0].lower() == "p"}
    assert set(samples.frame["group"]) == patients


def test_patients_stay_on_one_side(tmp_path: Path) -> None:
    patients = "|".join(f"PAT_{n}" for n in range(12))
    samples = split_samples(read_samples(tree(tmp_path, *cross(patients, "mel|nv", count=1))), "patient")
    assert samples.frame.groupby("group")["split"].nunique().max() == 1


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (cross("siteA|siteB", "rosy|pale"), r"may be the folders siteA, siteB or the folders pale, rosy .*--label-by"),
        (cross("PAT_1|PAT_2"), "look like patients or lesions, not like classes"),
        (cross("train|test"), "no folders of classes; put each class into a folder"),
        (cross("train|test|melanoma", "a|b"), "look like splits, but melanoma lie beside them"),
        (cross("mel_train|nv_train|mel_test|nv_test"), "name a class and a split at once"),
        (["0.png", "1.png"], "nothing tells their classes; put each class into a folder"),
        (cross("train", "mel"), "only one class there"),
    ],
)
def test_folders_that_can_mean_two_things_are_refused_with_the_mend(
    tmp_path: Path, images: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_samples(tree(tmp_path, *images))


def test_a_pattern_tells_the_class_where_folders_do_not(tmp_path: Path) -> None:
    samples = read_samples(tree(tmp_path, *cross("siteA|siteB", "rosy|pale")), label_by=r"([^/]+)/[^/]+$")
    assert facts(samples) == ({"rosy", "pale"}, {"": 8})


def test_levels_without_a_meaning_are_told(tmp_path: Path) -> None:
    samples = read_samples(tree(tmp_path, "cover.png", *cross("mel|nv", "left|right")))
    assert facts(samples) == ({"mel", "nv"}, {"": 8})
    assert samples.reading is not None
    assert samples.reading.notes == [
        "folders left, right below the classes are read as one; if they are patients, say so: --group-by"
        " '([^/]+)/[^/]+$'"
    ]
    assert read_samples(tmp_path, group_by="([^/]+)/[^/]+$").frame["group"].nunique() == 2
    assert samples.reading.examples["lies in no class folder"] == "cover.png"


def test_numbered_pieces_are_read_as_one(tmp_path: Path) -> None:
    assert facts(read_samples(tree(tmp_path, *cross("fold_1|fold_2|fold_3", "mel|nv")))) == ({"mel", "nv"}, {"": 12})


RUBBISH = [
    ".ipynb_checkpoints",
    "@eaDir",
    "__MACOSX",
    "$RECYCLE.BIN",
    "System Volume Information",
    "#recycle",
    "@Recycle",
    ".Trashes",
    ".git",
]


@pytest.mark.parametrize("name", RUBBISH)
@pytest.mark.parametrize("inside", [False, True])
def test_what_systems_leave_is_no_data_for_any_command(tmp_path: Path, name: str, inside: bool) -> None:
    from lentigo.imaging import find_images
    from lentigo.inference.sources import Sources

    tree(
        tmp_path,
        *cross("mel|nv"),
        f"mel/{name}/mel/9.png" if inside else f"{name}/mel/9.png",
        "nv/._0.png",
        "nv/~$0.png",
    )
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    assert facts(read_samples(tmp_path)) == ({"mel", "nv"}, {"": 4})
    assert len(find_images(tmp_path)) == 4
    assert len(list(Sources(tmp_path))) == 4


def test_links_to_folders_are_told(tmp_path: Path) -> None:
    tree(tmp_path / "data", *cross("mel|nv"))
    tree(tmp_path, *cross("bcc"))
    (tmp_path / "data" / "bcc").symlink_to(tmp_path / "bcc", target_is_directory=True)
    samples = read_samples(tmp_path / "data")
    assert samples.reading is not None
    assert any("a link to a folder" in line and "bcc" in line for line in samples.reading.lines())


def test_a_hash_is_part_of_a_name(tmp_path: Path) -> None:
    samples = read_samples(tree(tmp_path, "mel #1/case #1.png", "mel #1/case #2.png", "nv/#3.png", "nv/4#x/1.png"))
    assert len(samples) == 4
    assert [samples.read(row).size for row in range(4)] == [(16, 16)] * 4
    write_csv(tmp_path / "t.csv", ("path", "label"), [("mel #1/case #1.png", "a"), ("nv/#3.png", "b")])
    assert read_samples(tmp_path / "t.csv").read(1).size == (16, 16)


NAMES = {
    "plain": "img/{}.jpg",
    "back-slash": "img\\{}.jpg",
    "dot": "./img/{}.jpg",
    "bare": "{}.jpg",
    "stem": "{}",
    "stem with folder": "img/{}",
    "other suffix": "img/{}.png",
    "upper case": "IMG/{}.JPG",
    "Windows": "C:\\Users\\me\\img\\{}.jpg",
    "another machine": "/home/somebody/study/img/{}.jpg",
    "folder above": "study/img/{}.jpg",
}


@pytest.mark.parametrize("style", NAMES)
@pytest.mark.parametrize("lies", ["img/{}.jpg", "img/{}.JPG"])
def test_a_table_may_name_images_as_people_do(tmp_path: Path, style: str, lies: str) -> None:
    tree(tmp_path, *(lies.format(f"x.{n}") for n in range(4)))
    write_csv(
        tmp_path / "study.csv", ("image", "label"), [(NAMES[style].format(f"x.{n}"), "ab"[n % 2]) for n in range(4)]
    )
    if style == "folder above":
        with pytest.raises(
            DataError,
            match=r"none of the 4 images in the table is there .*images lie there under other names, such as 'img/x.0",
        ):
            read_samples(tmp_path)
        return
    samples = read_samples(tmp_path)
    assert samples.frame["path"].tolist() == [lies.format(f"x.{n}") for n in range(4)]
    samples.read(3)


def test_a_name_that_fits_two_images_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "a/0.png", "b/0.png", "a/1.png")
    write_csv(tmp_path / "t.csv", ("image", "label"), [("0.png", "x"), ("1.png", "y")])
    with pytest.raises(DataError, match=r"line 2: '0.png' may be a/0.png, b/0.png; write the folder into the table"):
        read_samples(tmp_path)


@pytest.mark.parametrize("absolute", [False, True])
def test_a_table_cannot_reach_outside_its_folder(tmp_path: Path, absolute: bool) -> None:
    tree(tmp_path, "secret/0.png", "data/1.png")
    name = str(tmp_path / "secret" / "0.png") if absolute else "../secret/0.png"
    write_csv(tmp_path / "data" / "t.csv", ("path", "label"), [(name, "x"), ("1.png", "y")])
    with pytest.raises(DataError, match=r"line 2: .* lies outside the data set's folder"):
        read_samples(tmp_path / "data")


def test_an_absolute_path_inside_is_taken(tmp_path: Path) -> None:
    tree(tmp_path, "0.png", "1.png")
    write_csv(tmp_path / "t.csv", ("path", "label"), [(str(tmp_path.resolve() / "0.png"), "x"), ("1.png", "y")])
    assert read_samples(tmp_path).frame["path"].tolist() == ["0.png", "1.png"]


ROWS = "image,label,age\n0.png,Nävus,51\n1.png,Melanom,47\n2.png,Nävus,\n3.png,Melanom,30\n"
TABLES = {
    "utf-8": ROWS.encode(),
    "bom": ROWS.encode("utf-8-sig"),
    "utf-16": ROWS.encode("utf-16"),
    "utf-16 without bom": ROWS.encode("utf-16-le"),
    "cp1252": ROWS.encode("cp1252"),
    "JSON lines": "".join(
        json.dumps(dict(zip(("image", "label", "age"), line.split(","), strict=True))) + "\n"
        for line in ROWS.splitlines()[1:]
    ).encode(),
    "semicolons": ROWS.replace(",", ";").encode("cp1252"),
    "tabs": ROWS.replace(",", "\t").encode(),
    "bars": ROWS.replace(",", "|").encode(),
    "sep": ("sep=;\r\n" + ROWS.replace(",", ";").replace("\n", "\r\n")).encode("utf-16"),
    "old mac": ROWS.replace("\n", "\r").encode(),
    "trailing commas": ROWS.replace("\n", ",\n").encode(),
    "trailing commas below": ROWS.replace("\n", ",,\n").replace("age,,", "age").encode(),
    "blank lines": ("\n\n" + ROWS.replace("\n", "\n\n") + ",,\n").encode(),
    "repeated header": (ROWS + "image,label,age\n").encode(),
    "doubled column": (
        ROWS.replace("Nävus", "Nävus,Nävus")
        .replace("Melanom", "Melanom,Melanom")
        .replace("label", "label, label ")
        .encode()
    ),
    "capitals": ROWS.replace("image,label,age", "IMAGE, Label ,Age").encode(),
    "quotes": "".join('"' + line.replace(",", '","') + '"\n' for line in ROWS.splitlines()).encode(),
    "index": "".join(f"{'' if n == 0 else n},{line}\n" for n, line in enumerate(ROWS.splitlines())).encode(),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, kind: str) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(4)))
    (tmp_path / f"table.{'jsonl' if kind == 'JSON lines' else 'csv'}").write_bytes(TABLES[kind])
    frame = read_samples(tmp_path).frame
    assert frame["image"].tolist() == [f"{n}.png" for n in range(4)]
    assert frame["label"].tolist() == ["Nävus", "Melanom", "Nävus", "Melanom"]
    age = next(c for c in frame.columns if c.lower() == "age")
    assert [int(a) for a in frame[age][[0, 1, 3]]] == [51, 47, 30]


def test_ascii_that_stands_for_other_letters_is_refused(tmp_path: Path) -> None:
    for page in ("iso2022_jp", "hz"):
        (tmp_path / "t.csv").write_bytes("image,label\n0.jpg,色素\n1.jpg,母\n".encode(page))
        with pytest.raises(DataError, match=r"ISO-2022 or HZ; save it as UTF-8"):
            read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("czerniak złośliwy|znamię", "cp1250"),
        ("меланома|невус", "cp1251"),
        ("mélanome|nævus", "cp1252"),
        ("lesão não maligna|lesão maligna", "cp1252"),
        ("Muttermal 37 °C|Melanom 4 µm", "cp1252"),
        ("μελάνωμα|σπίλος", "cp1253"),
        ("iyi huylu ağrısız|kötü huylu ışık", "cp1254"),
        ("siğil|şüpheli ben", "cp1254"),
        ("nævus|épithélioma", "cp1252"),
        ("húð|útbrot", "cp1252"),
        ("rogowacenie słoneczne|łagodne", "cp1250"),
        ("melanóma|bőr", "cp1250"),
        ("מלנומה|שומה", "cp1255"),
        ("שפיר|ממאיר", "cp1255"),
        ("เมลาโนมา|ไฝ", "cp874"),
        ("มะเร็ง|ไม่ใช่มะเร็ง", "cp874"),
        ("ورم ميلانيني|شامة", "cp1256"),
        ("خبيث|حميد", "cp1256"),
        ("普通照片|热力图", "gb18030"),
        ("양성|사마귀", "cp949"),
        ("黑色素瘤|色素痣", "gb18030"),
        ("黑色素瘤|痣", "gb18030"),
        ("黑色素瘤|色素痣", "big5"),
        ("悪性黒色腫|色素性母斑", "cp932"),
        ("メラノーマ|ほくろ", "cp932"),
        ("흑색종|모반", "cp949"),
        # Too short, or in no code page of Windows: refused.
        ("痣|瘤", "gb18030"),
        ("痣|瘤", "big5"),
        ("yanlış|iyi", "cp1254"),  # yanlýþ in Icelandic
        ("да|нет", "koi8-r"),
        ("Nävus|Melanom", "mac_roman"),
        ("mélanome|nævus", "mac_roman"),
        ("меланома|невус", "koi8-r"),
        ("メラノーマ|ほくろ", "euc_jp"),
        ("黒色腫の疑い|基底細胞癌", "euc_jp"),
        ("悪性黒色腫|色素性母斑", "euc_jp"),
        ("nežinoma liga|šašas", "iso8859_13"),
        ("dzimumzīme|bazālo šūnu vēzis", "iso8859_13"),
        ("zmiana złośliwa|gąbczasta", "iso8859_2"),
        ("žilna promjena|čir kože", "iso8859_2"),
        ("меланома|базалиома", "koi8-r"),
        ("doğum lekesi|ışık", "mac_turkish"),
        ("lesión vascular|células", "mac_roman"),
        ("μελάνωμα|σπίλος", "mac_greek"),
    ],
)
@pytest.mark.parametrize("rows", [2, 40])
def test_a_code_page_is_recognised_and_told_or_refused(tmp_path: Path, words: str, page: str, rows: int) -> None:
    from lentigo.tables import read_cells

    labels = [words.split("|")[n % 2] for n in range(rows)]
    table = tmp_path / "t.csv"
    table.write_bytes(("image,label\n" + "".join(f"{n}.jpg,{word}\n" for n, word in enumerate(labels))).encode(page))
    if words.startswith(("痣", "yanlış")) or not page.startswith(("cp", "gb", "big5")):
        with pytest.raises(DataError, match=r"t\.csv: .*no Unicode, and it cannot be told .*; save it as UTF-8"):
            read_cells(table)
        return
    cells = read_cells(table)
    assert list(cells.columns["label"]) == labels
    assert f"is read as {page}" in cells.note


def test_a_code_page_is_told_by_the_whole_file(tmp_path: Path) -> None:
    from lentigo.tables import read_cells

    table = tmp_path / "t.csv"
    labels = ["nevus"] * 9_000 + ["меланома", "родинка"]
    table.write_bytes(
        ("image,label\n" + "".join(f"{n}.jpg,{word}\n" for n, word in enumerate(labels))).encode("cp1251")
    )
    assert read_cells(table).columns["label"][-2:] == ("меланома", "родинка")


def test_excel(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(4)))
    (tmp_path / "x.csv").write_text(ROWS, encoding="utf-8")
    read_table(tmp_path / "x.csv").to_excel(tmp_path / "table.xlsx", index=False)
    (tmp_path / "x.csv").unlink()
    assert read_samples(tmp_path).frame["label"].tolist() == ["Nävus", "Melanom", "Nävus", "Melanom"]
    (tmp_path / "table.xlsx").write_bytes(b"no workbook")
    with pytest.raises(DataError, match="cannot be read as an Excel workbook"):
        read_samples(tmp_path / "table.xlsx")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,label,label\n0.png,a,b\n1.png,b,a\n",
            "column 'label' stands there twice and differs .columns 2 and 3.; rename one",
        ),
        ("image,label\n0.png,a,c\n1.png,b\n", "line 2 has 3 cells, the header 2"),
        ("foto,befund\nx.png,a\ny.png,b\n", "has no column 'image' or 'path' .found: foto, befund; looked for: path, "),
        (
            "image,befund\n0.png,a\n1.png,b\n",
            "has no column 'label', nor a column a class .*found: image, befund.*--label-by",
        ),
        ("image,label\n,a\n1.png,b\n", "1 rows name no image .column 'image'., the first in line 2"),
        ("\n\nimage,label\n0.png,a\n\n1.png,\n", "1 rows have no label, the first in line 6"),
        ("image,label\n\x00\x01,b\n", "cannot be read as a CSV table"),
        ("image,label\n0\x00.png,a\n1.png,b\n", "it holds control characters, so it is no text"),
        (
            "image,mel,nv\n0.png,1,0\n1.png,1,1\n2.png,0,1\n",
            "1 of 3 rows have none or several .* the first in line 3 .2., .*take these rows out",
        ),
    ],
)
def test_tables_that_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(3)))
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_samples(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_understood_is_named(tmp_path: Path) -> None:
    tree(tmp_path, *cross("mel|nv"))
    write_csv(tmp_path / "notes.csv", ("foto", "befund"), [("0.png", "x"), ("1.png", "y")])
    samples = read_samples(tmp_path)
    assert samples.name == "folder"
    assert samples.reading is not None
    assert (
        "notes.csv is not used: no column for the image (found: foto, befund; looked for: path, image,"
        in samples.reading.notes[0]
    )


def test_a_column_for_each_class(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(3)))
    write_csv(
        tmp_path / "t.csv",
        ("filename", "age", "naevus", "wart"),
        [("0.png", 7, 1, 0), ("1.png", 8, 0, 1), ("2.png", 9, 1, 0)],
    )
    samples = read_samples(tmp_path)
    assert samples.frame["label"].tolist() == ["naevus", "wart", "naevus"]
    assert samples.frame["age"].tolist() == [7, 8, 9]


def test_a_table_for_each_split(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(6)))
    for n, part in enumerate(("train", "valid", "test")):
        write_csv(tmp_path / f"{part}.csv", ("image", "label"), [(f"{2 * n}.png", "a"), (f"{2 * n + 1}.png", "b")])
    assert facts(read_samples(tmp_path)) == ({"a", "b"}, {"train": 2, "val": 2, "test": 2})


def test_split_columns_in_any_usual_words(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(3)))
    write_csv(
        tmp_path / "t.csv",
        ("image", "label", "Set"),
        [("0.png", "a", "Training"), ("1.png", "b", "TEST"), ("2.png", "a", "Validation")],
    )
    assert read_samples(tmp_path).frame["split"].tolist() == ["train", "test", "val"]


def test_five_thousand_columns_are_put_in_at_once(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(40)))
    header = ["image", "label", *(f"c{n}" for n in range(5000))]
    write_csv(tmp_path / "t.csv", header, [(f"{n}.png", "ab"[n % 2], *([n] * 5000)) for n in range(40)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.PerformanceWarning)  # pandas warns of columns put in one by one
        assert read_samples(tmp_path).frame.shape == (40, 5000 + 6)


def test_spellings_of_a_known_class_are_one(tmp_path: Path) -> None:
    samples = read_samples(
        tree(tmp_path, "Melanoma/0.png", "melanoma/1.png", "basal cell carcinoma/2.png", "Basal_Cell-Carcinoma/3.png")
    )
    assert samples.labels.codes == ("basal cell carcinoma", "melanoma")
    assert samples.labels.classes[1].malignant is True
    assert samples.reading is not None
    assert len(samples.reading.notes) == 2


def test_spellings_of_an_unknown_class_are_warned_of(tmp_path: Path) -> None:
    samples = read_samples(tree(tmp_path, "Foo bar/0.png", "foo_bar/1.png"))
    assert len(samples.labels) == 2
    assert samples.reading is not None
    assert samples.reading.notes[0].startswith("WARNING: 'Foo bar', 'foo_bar' differ in case or blanks only")


def test_classes_csv_names_classes(tmp_path: Path) -> None:
    tree(tmp_path, *cross("AA|bb"))
    write_csv(
        tmp_path / "classes.csv",
        ("code", "en", "zh", "malignant"),
        [("bb", "bad lesion", "坏", "malignant"), ("aa", "good", "", "benign")],
    )
    samples = read_samples(tmp_path)
    assert [(c.code, c.en, c.zh, c.malignant) for c in samples.labels] == [
        ("bb", "bad lesion", "坏", True),
        ("aa", "good", "good", False),
    ]
    assert set(samples.frame["label"]) == {"aa", "bb"}
    header = ("code", "name", "name_es", "Français", "pt_BR_name", "names_zh", "colour")
    write_csv(
        tmp_path / "classes.csv",
        header,
        [("aa", "good", "bueno", "bon", "bom", "好", "red"), ("bb", "bad", "", "", "", "", "")],
    )
    first, second = (samples := read_samples(tmp_path)).labels.classes
    assert (first.en, first.zh, first.names) == ("good", "好", {"es": "bueno", "fr": "bon", "pt-br": "bom"})
    assert (second.zh, second.names, second.name("es")) == ("bad", {}, "bad")
    assert samples.reading is not None
    assert any("column colour is not used" in note for note in samples.reading.notes)
    write_csv(tmp_path / "classes.csv", ("code", "malignant"), [("aa", "perhaps")])
    with pytest.raises(DataError, match="line 2: 'perhaps' is neither malignant nor benign"):
        read_samples(tmp_path)


@pytest.mark.parametrize(("name", "told"), [("0.avif", r"\.avif"), ("1.CR2", r"\.cr2")])
def test_a_class_of_unread_pictures_is_no_empty_folder(tmp_path: Path, name: str, told: str) -> None:
    tree(tmp_path, *cross("mel|nv"))
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=rf"class 'bcc' holds {told} only, which is not read; save as JPEG or PNG"):
        read_samples(tmp_path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Train", "train"),
        ("validation-set", "val"),
        ("testData", "test"),
        ("hold out", "test"),
        ("melanoma", ""),
        ("contest", ""),
        ("trained", ""),
    ],
)
def test_words_for_splits(name: str, told: str) -> None:
    assert split_word(name)[0] == told


@pytest.mark.parametrize("case", ["1-*/*", "3-*/*", "4-*", "6-*/*.csv", "7-*/*"])
def test_the_cases_at_hand(shared_data: Path, case: str) -> None:
    places = [p for p in sorted((shared_data.parent / "cases").glob(case)) if p.name not in ("README", "img")]
    if not places:
        pytest.skip("the cases are not there")
    for place in places:
        if place.name == "twice-after-strip.csv":
            with pytest.raises(DataError, match="rename one"):
                read_samples(place)
            continue
        samples = read_samples(place)
        assert {"melanoma", "nevus"} <= set(samples.frame["label"]) <= {"melanoma", "nevus", "bkl"}
        assert len(samples) == len(set(samples.frame["path"])) <= 18
        samples.read(0)


def test_rows_that_lead_to_one_image_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, "a/0.png", "a/1.png")
    write_csv(
        tmp_path / "t.csv",
        ("path", "label"),
        [("/elsewhere/a/0.png", "x"), ("/elsewhere/b/0.png", "y"), ("a/1.png", "y")],
    )
    with pytest.raises(
        DataError, match=r"lead to the same image, a/0.png; keep one row of each image, or write the folders"
    ):
        read_samples(tmp_path)


def test_a_folder_named_like_the_data_set_may_stand_before(tmp_path: Path) -> None:
    tree(tmp_path / "study", "img/0.png", "img/1.png")
    write_csv(tmp_path / "study" / "t.csv", ("path", "label"), [("study/img/0.png", "x"), ("study/img/1.png", "y")])
    assert read_samples(tmp_path / "study").frame["path"].tolist() == ["img/0.png", "img/1.png"]


def test_unreadable_images_are_named_and_left_out_where_wanted(tmp_path: Path) -> None:
    tree(tmp_path, *cross("mel|nv", count=3))
    (tmp_path / "mel" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    assert len(read_samples(tmp_path)) == 6
    samples = read_samples(tmp_path, skip_unreadable=True)
    assert "mel/1.png" not in set(samples.frame["image"])
    assert len(samples) == 5
    assert samples.reading is not None
    assert any(note.startswith("left out: ") and "1.png" in note for note in samples.reading.notes)


def test_empty_image_files_are_told_before_a_run(tmp_path: Path) -> None:
    tree(tmp_path, *cross("mel|nv"))
    for name in ("mel/1.png", "nv/1.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"2 image files of no bytes, such as .*mel/1\.png; .*--skip-unreadable"):
        read_samples(tmp_path)
    assert len(read_samples(tmp_path, missing="keep")) == 4  # an audit lists them
    assert len(read_samples(tmp_path, skip_unreadable=True)) == 2


def test_image_files_without_permission_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, *cross("mel|nv"))
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "1.png")  # root may read all
    with pytest.raises(DataError, match=r"2 image files without permission to read, such as .*mel/1\.png; change"):
        read_samples(tmp_path)


def test_rows_without_an_image_are_left_out_where_wanted(tmp_path: Path) -> None:
    tree(tmp_path, "0.png", "1.png")
    write_csv(tmp_path / "t.csv", ("path", "label"), [("0.png", "x"), ("1.png", "y"), ("2.png", "y")])
    with pytest.raises(DataError, match=r"1 of 3 images in the table are missing, the first '2.png'; .*--missing skip"):
        read_samples(tmp_path)
    samples = read_samples(tmp_path, missing="skip")
    assert samples.reading is not None
    assert samples.reading.examples["in the table, but the file is missing"] == "2.png"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_predict_reads_lists_of_any_delimiter(tmp_path: Path, delimiter: str, encoding: str) -> None:
    from lentigo.inference.sources import Sources

    lines = ["age,image", "7,a 0.png", "8,ä.png"]
    (tmp_path / "list.csv").write_text("\n".join(lines).replace(",", delimiter) + "\n", encoding=encoding)
    assert [item.path for item in Sources(tmp_path / "list.csv")] == ["a 0.png", "ä.png"]


def test_years_are_no_classes(tmp_path: Path) -> None:
    samples = read_samples(tree(tmp_path, *cross("2021|2022", "rosy|pale")))
    assert facts(samples) == ({"rosy", "pale"}, {"": 8})


def test_a_table_in_each_split_folder(tmp_path: Path) -> None:
    for part in ("train", "val"):
        tree(tmp_path / part, "img/0.png", "img/1.png")
        write_csv(tmp_path / part / "labels.csv", ("filename", "label"), [("img/0.png", "a"), ("img/1.png", "b")])
    samples = read_samples(tmp_path)
    assert facts(samples) == ({"a", "b"}, {"train": 2, "val": 2})
    assert samples.frame["image"].tolist() == ["train/img/0.png", "train/img/1.png", "val/img/0.png", "val/img/1.png"]


def test_masks_beside_pictures_are_no_pictures(tmp_path: Path) -> None:
    files = tree(tmp_path / "files", *cross("mel|nv"), "mel/0_mask.png", "nv/1_Segmentation.png", "nv/gum_mask.png")
    assert sorted(read_samples(files).frame["path"]) == sorted([*cross("mel|nv"), "nv/gum_mask.png"])
    folders = read_samples(tree(tmp_path / "folders", *cross("images|Ground_Truth", "mel|nv")))
    assert set(folders.frame["path"]) == set(cross("images", "mel|nv"))
    assert folders.reading is not None
    assert folders.reading.ignored == {"lies in 'Ground_Truth': masks or thumbnails, no pictures": 4}
    # Nothing beside them: a name like any other.
    only = read_samples(tree(tmp_path / "only", *cross("masks", "mel|nv")))
    assert len(only) == 4


def test_one_split_folder_beside_others_of_the_same_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="train looks like a split, and inference beside it holds the same folders; name each"
    ):
        read_samples(tree(tmp_path, *cross("train|inference", "mel|nv")))


@pytest.mark.parametrize("names", ["entrenamiento|prueba", "entraînement|test", "treino|teste", "训练集|测试集"])
def test_split_folders_in_other_languages(tmp_path: Path, names: str) -> None:
    assert facts(read_samples(tree(tmp_path, *cross(names, "mel|nv"))))[1] == {"train": 4, "test": 4}


def test_patients_in_more_than_one_part_are_told(tmp_path: Path) -> None:
    tree(tmp_path, *cross("train|test", "mel|nv", "PAT_1|PAT_2", count=1), "train/nv/PAT_3/0.png")
    samples = read_samples(tmp_path)
    assert samples.shared_groups == 2
    assert samples.reading is not None
    assert any(
        note.startswith("WARNING: 2 patients have images in more than one part") for note in samples.reading.notes
    )
    assert split_samples(samples, "patient", fractions=(0.5, 0, 0.5)).shared_groups == 0


def test_accents_in_other_bytes_and_names_of_one_disease(tmp_path: Path) -> None:
    assert read_samples(tree(tmp_path / "a", "nævus a\u0303/0.png", "nævus ã/1.png", "x/2.png")).labels.codes == (
        "nævus ã",
        "x",
    )
    samples = read_samples(tree(tmp_path / "b", *cross("mel|melanoma|nv")))
    assert samples.reading is not None
    assert samples.reading.notes[-1].startswith("WARNING: 'mel', 'melanoma' name one disease and are read as 2 classes")


def test_a_table_beside_class_folders_tells_the_patients(tmp_path: Path) -> None:
    tree(tmp_path, *cross("mel|nv"))
    write_csv(
        tmp_path / "who.csv",
        ("file", "Patient No", "age"),
        [("mel/0.png", "7", 30), ("nv/1.png", "7", 30), ("nv/0.png", "n/a", 40)],
    )
    samples = read_samples(tmp_path)
    assert samples.groups == GroupSource("column", "Patient No", 2)
    assert samples.frame.set_index("image")["group"].to_dict() == {
        "mel/0.png": "7", "mel/1.png": "mel/1.png", "nv/0.png": "nv/0.png", "nv/1.png": "7",
    }  # fmt: skip
    assert read_samples(tmp_path, group_by="age").groups == GroupSource("column", "age", 1)
    assert samples.reading is not None
    assert (
        samples.reading.notes[-2]
        == "the folders tell the classes, who.csv what else is known; 1 of 4 images have no row in it"
    )


def test_file_names_alone_may_tell_the_class(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{code}_{n}.png" for code in ("mel", "nv") for n in range(2)))
    with pytest.raises(DataError, match=r"where the file names tell it, say how: --label-by '\^\(\[a-z\]\+\)_'"):
        read_samples(tmp_path)
    assert read_samples(tmp_path, label_by="^([a-z]+)_").labels.codes == ("mel", "nv")


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("image,benign_malignant\n0,benign\n1,malignant\n", ("benign", "malignant")),
        ("image,malignant\n0,0\n1,1\n", ("benign", "malignant")),
        ("image,target\n0,0.0\n1,1.0\n", ("0", "1")),
        ("ImageName,DiagnosisName\n0,mel\n1,nv\n", ("mel", "nv")),
        ("fname,dx\n0.png,mel\n1.png,nv\n", ("mel", "nv")),
        ("image,Wart,Cyst\n0,x,\n1,,X\n", ("Cyst", "Wart")),
        ("image,mel,nv\n0,True,False\n1,False,True\n", ("mel", "nv")),
        ("image,male,mel,nv\n0,1,1,0\n1,1,0,1\n", ("mel", "nv")),
        ("# written by hand\n\nimage;dx\n0;mel\n1;nv\n", ("mel", "nv")),
        ("Our table;\n;\nimage;dx\n0;mel\n1;nv\n", ("mel", "nv")),
        ("Who;;What\nimage;patient;dx\n0;7;mel\n1;8;nv\n", ("mel", "nv")),
        ("md5hash,nine,label\n0,4,mel\n1,5,nv\n", ("mel", "nv")),
        ("id,Bild,Diagnose\n71,0.png,Melanom\n72,1.png,Nävus\n", ("Melanom", "Nävus")),
        ("image,choice\n/data/local-files/?d=x/0.png,mel\n/data/upload/1/1.png,nv\n", ("mel", "nv")),
        ("image,label,label_name\n0,0,mel\n1,1,nv\n", ("mel", "nv")),
        ("image,label,category\n0,0,lesion\n1,1,lesion\n", ("0", "1")),
    ],
)
def test_more_tables_as_people_write_them(tmp_path: Path, text: str, codes: tuple[str, ...]) -> None:
    tree(tmp_path, "0.png", "1.png")
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    samples = read_samples(tmp_path)
    assert samples.labels.codes == codes
    if "malignant" in codes:
        assert [c.malignant for c in samples.labels] == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\n0,mel\n1,n/a\n", "1 rows have no label, the first in line 3; fill in column 'label'"),
        ("image,label\n0,mel\n1,nv\n0,nv\n", "image ids must be unique; '0' is there as 'mel', 'nv'; keep one row"),
        ("0.png,mel\n1.png,nv\n", "its first line is no header: put one above it, such as path,label"),
        ("bild,dx\nx.png,mel\ny.png,nv\n", "rename the column that names the images"),
        ("image,label,split\n0,mel,0\n1,nv,1\n", "unknown split '0'; .* or rename column 'split'"),
        ("image,label\n0,mel\n1,?\n", "1 rows have no label, the first in line 3"),
        ("image,malignant\n0,1\n1,unknown\n", "t.csv: column 'malignant': 'unknown' in line 3 is neither yes nor no"),
        ("image,label\n0,0.7\n1,0.2\n", "t.csv: column 'label' holds decimal numbers, such as '0.7' in line 2"),
        ("image,mel,nv\n0,1,1\n1,1,0\n2,1,1\n", "columns mel, nv hold marks, but most rows have none or several"),
    ],
)
def test_more_tables_that_are_refused_with_the_mend(tmp_path: Path, text: str, message: str) -> None:
    tree(tmp_path, "0.png", "1.png")
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_samples(tmp_path)


def test_what_lies_there_is_named_where_nothing_is_understood(tmp_path: Path) -> None:
    tree(tmp_path, "0.png", "1.png")
    (tmp_path / "labels.txt").write_text("x mel\ny nv\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"labels\.txt: neither images nor tables by their names"):
        read_samples(tmp_path)
    tree(tmp_path, "img/2.png")
    (tmp_path / "t.csv").write_text("bild,dx\n9.png,mel\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"only one class there .*; t\.csv is not used: no column for the image"):
        read_samples(tmp_path)


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    tree(tmp_path, *cross("mel|nv"))
    (tmp_path / "nv" / "x.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"nv/x\.png: a link that leads nowhere"):
        read_samples(tmp_path)
    assert len(read_samples(tmp_path, missing="skip")) == 4


def test_an_isic2020_table_without_diagnoses(tmp_path: Path) -> None:
    tree(tmp_path, "0.png", "1.png")
    write_csv(
        tmp_path / "train.csv",
        ("image_name", "patient_id", "benign_malignant", "target"),
        [(0, "a", "benign", 0), (1, "b", "malignant", 1)],
    )
    assert read_samples(tmp_path).labels.codes == ("benign", "mel")


@pytest.mark.parametrize("column", ["patient", "who"])
def test_one_patient_written_in_several_ways_is_one_group(tmp_path: Path, column: str) -> None:
    ids = ["1", "1.0", "P2", "p02", "caf\u00e9", "cafe\u0301", "12", "1-2", ""]
    tree(tmp_path, *(f"{n}.png" for n in range(9)))
    write_csv(
        tmp_path / "t.csv", ("image", "label", column), [(f"{n}.png", "ab"[n % 2], one) for n, one in enumerate(ids)]
    )
    samples = read_samples(tmp_path, group_by=None if column == "patient" else column)
    groups = samples.frame.set_index("image")["group"]
    assert [sorted(rows) for _, rows in sorted(groups.groupby(groups).groups.items())] == [
        ["0.png", "1.png"], ["7.png"], ["6.png"], ["8.png"], ["2.png", "3.png"], ["4.png", "5.png"]
    ]  # fmt: skip
    assert samples.groups == GroupSource("column", column, 1)
    assert samples.reading is not None
    assert f"3 {samples.groups.units} are written in several ways" in "\n".join(samples.reading.notes)


@pytest.mark.parametrize(
    ("cells", "codes"),
    [
        (("1", "0.0", "1.0", "0"), ("0", "1")),
        (("TRUE", "false", "True", "False"), ("TRUE", "false")),
        ((" mel", "nv", "Mel ", "NV "), ("mel", "nv")),
    ],
)
def test_one_class_written_in_several_ways_is_one(
    tmp_path: Path, cells: tuple[str, ...], codes: tuple[str, ...]
) -> None:
    for seed, cell in enumerate(cells):
        write_image(tmp_path / "folders" / cell / f"{seed}.png", seed)
        write_image(tmp_path / "table" / f"{seed}.png", seed)
    write_csv(
        tmp_path / "table" / "t.csv", ("image", "label"), [(f"{n}.png", f"{cell}") for n, cell in enumerate(cells)]
    )
    assert read_samples(tmp_path / "table").labels.codes == codes
    if "." not in "".join(cells):
        assert read_samples(tmp_path / "folders").labels.codes == codes


def test_classes_joined_in_one_cell_are_warned_of(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(3)))
    write_csv(tmp_path / "t.csv", ("image", "label"), [("0.png", "mel"), ("1.png", "nv"), ("2.png", "mel | nv")])
    reading = read_samples(tmp_path).reading
    assert reading is not None
    assert reading.notes == [
        "WARNING: 'mel | nv' join classes that stand there too, and are read as classes of their own"
    ]


@pytest.mark.parametrize(
    ("listed", "lies"),
    [("a%20b%C3%A9", "a b\u00e9"), ("e\u0301", "\u00e9"), ("\u00e9", "e\u0301"), ("50%25", "50%"), ("50%25", "50%25")],
)
def test_a_table_may_write_names_as_addresses_and_accents_in_other_bytes(
    tmp_path: Path, listed: str, lies: str
) -> None:
    tree(tmp_path, *(f"pictures/{lies}{n}.png" for n in range(2)))
    write_csv(tmp_path / "t.csv", ("path", "is_malignant"), [(f"pictures/{listed}{n}.png", n) for n in range(2)])
    samples = read_samples(tmp_path)
    assert samples.labels.codes == ("benign", "malignant")
    samples.read(1)


def test_the_same_file_stored_several_times_is_told(tmp_path: Path) -> None:
    tree(tmp_path, *cross("train|test", "mel|nv"))

    def told(root: Path, *copies: str, group_by: str | None = None) -> list[str]:
        for copy in copies:
            write_image(root / copy, 0)  # the picture of train/mel/0.png
        reading = read_samples(root, group_by=group_by).reading
        assert reading is not None
        return [note for note in reading.notes if note.startswith("WARNING: the same file")]

    assert told(tmp_path) == []
    assert told(tmp_path / "train", "mel/copy.png") == [
        "WARNING: the same file is stored more than once, 1 such (mel/0.png = mel/copy.png); "
        "keep one, since its copies may fall into several parts of a split"
    ]
    assert told(tmp_path / "train", group_by=r"mel|nv/\d") == []
    assert told(tmp_path) == []  # both in training
    assert told(tmp_path, "test/mel/copy.png") == [
        "WARNING: the same file is stored in several parts of the split, 1 such (test/mel/copy.png = train/mel/0.png); "
        "keep one, since figures on its copies are too good"
    ]
    assert told(tmp_path, "test/nv/copy.png") == [
        "WARNING: the same file is stored under different classes, 1 such (test/mel/copy.png = test/nv/copy.png); "
        "keep the right one"
    ]


def test_a_pattern_that_is_proposed_works_as_it_is_written(tmp_path: Path) -> None:
    tree(tmp_path, *cross("it's (v1) [x]", "clinic|ward", "mel|nv"))
    reading = read_samples(tmp_path).reading
    assert reading is not None
    pattern = shlex.split(reading.notes[0].partition("--group-by ")[2])[0]
    assert set(read_samples(tmp_path, group_by=pattern).frame["group"]) == {"clinic", "ward"}


def test_of_several_sheets_the_largest_is_read_and_told(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    tree(tmp_path, *(f"{n}.png" for n in range(3)))
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        pd.DataFrame({"about": ["made by", "on"], "value": ["me", "Monday"]}).to_excel(
            book, sheet_name="Notes", index=False
        )
        frame = pd.DataFrame({"image": [f"{n}.png" for n in range(3)], "label": list("aba"), "patient": [1, 2, None]})
        frame.to_excel(book, sheet_name="Images", index=False)
    samples = read_samples(tmp_path)
    assert samples.groups == GroupSource("column", "patient", 1)
    assert samples.reading is not None
    assert "t.xlsx: the sheet 'Images' of 2 is read, the largest that names images" in samples.reading.notes


def test_a_link_to_itself_stops_nothing(tmp_path: Path) -> None:
    tree(tmp_path, *cross("mel|nv"))
    (tmp_path / "mel" / "self").symlink_to("self")
    assert len(read_samples(tmp_path)) == 4


@pytest.mark.parametrize(
    ("column", "yes", "no"),
    [("Melanoma", "1", "0"), ("mel", "True", "False"), ("bcc", "x", ""), ("benign", "yes", "no")],
)
def test_a_column_of_one_disease_tells_two_classes(tmp_path: Path, column: str, yes: str, no: str) -> None:
    tree(tmp_path, *(f"img/{n}.png" for n in range(4)))
    rows = [(f"{n}.png", yes if n == 1 else no, n % 2, n // 2) for n in range(4)]
    write_csv(tmp_path / "t.csv", ("image", column, "biopsied", "sex"), rows)
    samples = read_samples(tmp_path)
    assert sorted(samples.frame["label"]) == [column] + [f"not {column}"] * 3
    assert any(f"{column!r} or 'not {column}'" in line for line in samples.remarks())


@pytest.mark.parametrize(
    ("columns", "cells"),
    [(("biopsied",), "01"), (("train",), "01"), (("sex",), "01"), (("other",), "01"), (("melanoma",), "012"),
     (("melanoma",), ("0", "1", "")), (("melanoma", "scc"), "01")],
)  # fmt: skip
def test_a_flag_is_no_class(tmp_path: Path, columns: tuple[str, ...], cells: str) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(6)))
    rows = [(f"{n}.png", *[cells[n % len(cells)]] * len(columns)) for n in range(6)]
    write_csv(tmp_path / "t.csv", ("image", *columns), rows)
    with pytest.raises(DataError, match="--label-by"):
        read_samples(tmp_path)


def test_class_folders_go_before_a_column_of_one_disease(tmp_path: Path) -> None:
    tree(tmp_path, *cross("mel|nv|bcc"))
    write_csv(
        tmp_path / "t.csv",
        ("image", "melanoma"),
        [(f"{c}/{n}.png", c == "mel") for c in ("mel", "nv", "bcc") for n in range(2)],
    )
    assert set(read_samples(tmp_path).frame["label"]) == {"mel", "nv", "bcc"}


def test_a_long_text_among_the_names_of_images_is_a_missing_image(tmp_path: Path) -> None:
    tree(tmp_path, "img/0.png")
    write_csv(tmp_path / "t.csv", ("image", "label"), [("0.png", "mel"), ("a lesion of the back " * 40, "nv")])
    with pytest.raises(DataError, match="1 of 2 images in the table are missing"):
        read_samples(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,label,label\n0.png,a,b\n1.png,b,a\n", "t.csv: column 'label' stands there twice and differs"),
        ("\n", "t.csv: cannot be read as a CSV table .it is empty"),
        ('image,label\n0.png,"a\n1.png,b\n', "the class of the row that ends in line 3 goes over several lines"),
    ],
)
def test_a_broken_table_beside_images_is_named(tmp_path: Path, text: str, said: str) -> None:
    tree(tmp_path, "img/0.png", "img/1.png")
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_samples(tmp_path)


def test_addresses_may_have_a_query(tmp_path: Path) -> None:
    tree(tmp_path, "img/0.png", "img/1.png")
    rows = [(f"https://shots.example.org/img/{n}.png?raw=1#top", "ab"[n]) for n in range(2)]
    write_csv(tmp_path / "t.csv", ("image", "label"), rows)
    assert read_samples(tmp_path).frame["path"].tolist() == ["img/0.png", "img/1.png"]


@pytest.mark.parametrize(
    ("column", "cells", "parts"),
    [
        ("fold", ("train", "train", "val"), {"train": 2, "val": 1}),
        ("Usage", ("Training", "PublicTest", "PrivateTest"), {"train": 1, "test": 2}),
        ("mode", ("train", "test", "train"), {"train": 2, "test": 1}),
        ("is_train", ("1", "0", "1"), {"train": 2, "test": 1}),
        ("is_test", ("False", "True", "False"), {"train": 2, "test": 1}),
        ("test", ("0", "1", "0"), {"": 3}),
        ("remark", ("", "test", ""), {"": 3}),
        ("fold", ("0", "1", "2"), {"": 3}),
    ],
)
def test_columns_that_tell_the_split(
    tmp_path: Path, column: str, cells: tuple[str, ...], parts: dict[str, int]
) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(3)))
    write_csv(tmp_path / "t.csv", ("image", "label", column), [(f"{n}.png", "aba"[n], cells[n]) for n in range(3)])
    samples = read_samples(tmp_path)
    assert facts(samples) == ({"a", "b"}, parts)
    if cells[0] == "0" and column == "fold":
        assert any("column fold is not used for the split, since 0, 1, 2 name no part" in r for r in samples.remarks())


def test_a_table_of_patients_beside_the_table_of_classes(tmp_path: Path) -> None:
    tree(tmp_path, *(f"img/{n}.png" for n in range(4)), "img/more.png")
    write_csv(tmp_path / "a.csv", ("image", "label", "site"), [(f"{n}.png", "ab"[n % 2], n // 2) for n in range(4)])
    write_csv(tmp_path / "b.csv", ("filename", "patient_id"), [(f"{n}.png", f"P{n // 2}") for n in range(4)])
    write_csv(tmp_path / "c.csv", ("x", "y"), [(1, 2)])
    (tmp_path / "more.zip").write_bytes(b"PK")
    samples = read_samples(tmp_path)
    assert samples.groups == GroupSource("column", "patient_id")
    assert samples.frame["group"].tolist() == ["P0", "P0", "P1", "P1"]
    assert read_samples(tmp_path, group_by="site").frame["group"].nunique() == 2
    remarks = "\n".join(samples.remarks())
    assert "a.csv tells the classes, b.csv what else is known" in remarks
    assert "an archive, which is not looked into; unpack it), such as more.zip" in remarks
    assert "c.csv is not used" in remarks


def test_each_tables_names_are_looked_for_in_the_folder_of_its_part(tmp_path: Path) -> None:
    for part in ("train", "test"):
        tree(tmp_path, f"{part}/0.png", f"{part}/1.png")
        write_csv(tmp_path / f"{part}.csv", ("image", "label"), [("0.png", "a"), ("1.png", "b")])
    samples = read_samples(tmp_path)
    assert facts(samples) == ({"a", "b"}, {"train": 2, "test": 2})
    assert all(path.startswith(part) for path, part in zip(samples.frame["path"], samples.frame["split"], strict=True))


def test_cells_merged_downwards_hold_the_value_in_every_row(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    tree(tmp_path, *(f"{n}.png" for n in range(4)))
    book = openpyxl.Workbook()
    for row in (("Patient", "Image", "Diagnosis"), *(("P" * (n + 1), f"{n}.png", "ab"[n % 2]) for n in range(4))):
        book.active.append(row)
    for first in (2, 4):
        book.active.merge_cells(f"A{first}:A{first + 1}")
    book.save(tmp_path / "t.xlsx")
    samples = read_samples(tmp_path)
    assert samples.groups == GroupSource("column", "Patient")
    assert samples.frame["group"].tolist() == ["P", "P", "PPP", "PPP"]


def test_classes_that_say_that_nothing_is_known_are_warned_of(tmp_path: Path) -> None:
    remarks = read_samples(tree(tmp_path, *cross("mel|nv|Unknown"))).remarks()
    assert any("WARNING: 'Unknown' are read as classes of their own" in line for line in remarks)


def remarks(samples: Samples) -> str:
    return "\n".join(samples.remarks())


def test_thumbnails_and_masks_within_class_folders_are_no_pictures(tmp_path: Path) -> None:
    tree(tmp_path, *cross("mel|nv"), *cross("mel|nv", "Thumbnails"), *cross("mel", "masks"))
    tree(tmp_path, "nv/0_thumb.png", "nv/preview.png")
    samples = read_samples(tmp_path)
    assert sorted(samples.frame["image"]) == [*sorted(cross("mel|nv")), "nv/preview.png"]
    assert "lies in 'Thumbnails': masks or thumbnails, no pictures" in remarks(samples)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ("wart|wart - Copy", "WARNING: 'wart - Copy' looks like a copy of 'wart'"),
        ("wart|cyst (1)|cyst", "WARNING: 'cyst (1)' looks like a copy of 'cyst'"),
    ],
)
def test_copies_of_class_folders_are_warned_of(tmp_path: Path, classes: str, said: str) -> None:
    tree(tmp_path, *cross(classes))
    assert said in remarks(read_samples(tmp_path))


def test_folders_that_are_read_as_one_are_told_with_what_they_may_be(tmp_path: Path) -> None:
    tree(tmp_path / "a", *cross("original|augmented", "mel|nv"))
    assert "WARNING: where augmented hold images made from the others" in remarks(read_samples(tmp_path / "a"))
    tree(tmp_path / "b", "benign/nv/1.png", "benign/bkl/1.png", "malignant/mel/1.png", "malignant/bcc/1.png")
    said = "to take the class from them, say so: --label-by '([^/]+)/[^/]+$'"
    assert said in remarks(read_samples(tmp_path / "b"))
    assert len(read_samples(tmp_path / "b", label_by="([^/]+)/[^/]+$").labels) == 4


def test_classes_that_look_alike_are_one(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{n}.png" for n in range(4)))
    cells = ("Foo Bar", "Foo\u00a0 Bar", "Foo Bar\u200b", "Baz")
    write_csv(tmp_path / "t.csv", ("image", "label"), [(f"{n}.png", cell) for n, cell in enumerate(cells)])
    assert read_samples(tmp_path).frame["label"].tolist() == ["Foo Bar"] * 3 + ["Baz"]


@pytest.mark.parametrize("number", ["{}", "{}.0"])
def test_names_that_a_spreadsheet_took_for_numbers_are_found(tmp_path: Path, number: str) -> None:
    tree(tmp_path, *(f"{n:04d}.png" for n in range(1, 5)))
    write_csv(tmp_path / "t.csv", ("id", "label"), [(number.format(n), "ab"[n % 2]) for n in range(1, 5)])
    assert read_samples(tmp_path).frame["path"].tolist() == [f"{n:04d}.png" for n in range(1, 5)]
    tree(tmp_path, "00001.png")  # now two may be meant
    with pytest.raises(DataError, match="1 of 4 images in the table are missing, the first '1"):
        read_samples(tmp_path)


def test_an_export_of_redcap(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{n}_photo.png" for n in range(4)))
    rows = [("1", "base", "", ""), ("1", "visit", "0_photo.png", "mel"), ("1", "visit", "1_photo.png", "nv")]
    rows += [("2", "base", "", ""), ("2", "visit", "2_photo.png", "mel"), ("2", "visit", "3_photo.png", "nv")]
    write_csv(tmp_path / "t.csv", ("record_id", "redcap_event_name", "photo", "diagnosis"), rows)
    samples = read_samples(tmp_path)
    assert (len(samples), samples.groups.name, samples.frame["group"].nunique()) == (4, "record_id", 2)
    assert "left out: 2 (a row that names neither an image nor a class), such as t.csv, line 2" in remarks(samples)


def test_hidden_sheets_are_not_read_and_headings_complete_names(tmp_path: Path) -> None:
    from openpyxl import Workbook

    tree(tmp_path, *(f"{n}.png" for n in range(4)))
    book = Workbook()
    sheet, old = book.active, book.create_sheet("old")
    sheet.append(["Patient", None, "Lesion", None])
    sheet.append(["ID", "Age", "Image", "Diagnosis"])
    old.append(["image", "label", "more"])
    for n in range(4):
        sheet.append([n // 2, "40,5", f"{n}.png", "ab"[n % 2]])
        old.append([f"{n}.png", "ba"[n % 2], "much longer than the other"])
    old.sheet_state = "hidden"
    sheet.row_dimensions[4].hidden = True
    book.save(tmp_path / "t.xlsx")
    samples = read_samples(tmp_path)
    assert samples.frame["label"].tolist() == ["a", "b", "a", "b"]
    assert (samples.groups.name, samples.groups.unit) == ("Patient ID", "patient")
    assert set(samples.frame["age"]) == {40.5}
    assert "left out: 1 hidden sheet; 1 hidden row read like the others" in remarks(samples)


def test_splits_of_folders_and_columns_are_compared(tmp_path: Path) -> None:
    names = cross("train|test", count=4)
    tree(tmp_path, *names)
    write_csv(tmp_path / "t.csv", ("image", "label"), [(name, "ab"[n % 2]) for n, name in enumerate(names)])
    samples = read_samples(tmp_path)
    assert facts(samples)[1] == {"train": 4, "test": 4}
    assert samples.reading is not None
    assert samples.reading.columns["split"] == "folders of the images"
    rows = [(name, "ab"[n % 2], "train" if n < 5 else "test") for n, name in enumerate(names)]
    write_csv(tmp_path / "t.csv", ("image", "label", "split"), rows)
    samples = read_samples(tmp_path)
    assert facts(samples)[1] == {"train": 5, "test": 3}
    assert "of 1 images the column of the split says otherwise than the folder, such as test/0.png (train)" in remarks(
        samples
    )


def test_a_class_that_training_lacks_and_a_lone_flag_are_told(tmp_path: Path) -> None:
    tree(tmp_path / "a", *cross("train|test", "mel|nv"), *cross("test", "wart"))
    assert "WARNING: the part train has no image of 'wart'" in remarks(read_samples(tmp_path / "a"))
    tree(tmp_path / "b", *(f"{n}.png" for n in range(4)))
    rows = [(f"{n}.png", "ab"[n % 2], n // 2) for n in range(4)]
    write_csv(tmp_path / "b" / "t.csv", ("image", "label", "test"), rows)
    assert "column test is not used for the split" in remarks(read_samples(tmp_path / "b"))


LABELS = [("0.png", "mel"), ("1.png", "nv"), ("2.png", "mel"), ("3.png", "nv")]


def coco(images: list[tuple[str, str]], names: tuple[str, ...] = ("mel", "nv")) -> str:
    return json.dumps(
        {
            "images": [{"id": n, "file_name": image} for n, (image, _) in enumerate(images)],
            "annotations": [
                {"image_id": n, "category_id": names.index(one)}
                for n, (_, label) in enumerate(images)
                for one in label.split("+")
            ],
            "categories": [{"id": n, "name": name} for n, name in enumerate(names)],
        }
    )


def test_annotation_files_tell_class_and_split(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        tree(tmp_path / part, *(image for image, _ in LABELS))
        (tmp_path / part / "_annotations.coco.json").write_text(coco(LABELS))
    samples = read_samples(tmp_path)
    assert facts(samples) == ({"mel", "nv"}, {"train": 4, "val": 4})
    assert dict(zip(samples.frame["image"], samples.frame["label"], strict=True))["valid/3.png"] == "nv"


def test_an_export_of_via_as_csv_is_read(tmp_path: Path) -> None:
    rows = [f'{i},9,"{{}}",1,0,"{{}}","{{""lesion"":""{label}""}}"' for i, label in LABELS]
    header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    tree(tmp_path, *(image for image, _ in LABELS))
    (tmp_path / "via.csv").write_text("\n".join([header, *rows]))
    assert read_samples(tmp_path).frame["label"].tolist() == ["mel", "nv", "mel", "nv"]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.json", coco([*LABELS[:3], ("3.png", "mel+nv")]), r"a\.json: 1 images have several classes.*\(mel, nv\)"),
        ("a.csv", "image,labels\n0.png,\"['mel', 'nv']\"\n1.png,['nv']\n", "several classes, the first in line 2"),
        ("a.json", "[" * 100_000, "a.json: cannot be read as JSON"),
        ("a.json", '{"a": ', "a.json: cannot be read as JSON"),
        ("a.json", '{"lr": 1}', "a.json: .* none of COCO, VIA, Label Studio or Labelbox"),
    ],
)
def test_annotations_that_do_not_tell_one_class_are_refused(tmp_path: Path, name: str, text: str, why: str) -> None:
    tree(tmp_path, *(image for image, _ in LABELS))
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=why):
        read_samples(tmp_path)


def test_json_of_one_class_or_of_other_kinds_leaves_the_folders_their_say(tmp_path: Path) -> None:
    paths = cross("mel|nv")
    tree(tmp_path, *paths)
    (tmp_path / "boxes.json").write_text(coco([(path, "lesion") for path in paths], ("lesion",)))
    (tmp_path / "settings.json").write_text('{"lr": 1}')
    samples = read_samples(tmp_path)
    assert facts(samples)[0] == {"mel", "nv"}
    assert "such as settings.json" in remarks(samples)


def test_objects_may_name_their_image_differently(tmp_path: Path) -> None:
    tree(tmp_path, *(image for image, _ in LABELS))
    lines = [{("file", "image")[n % 2]: image, "label": label} for n, (image, label) in enumerate(LABELS)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert read_samples(tmp_path).frame["label"].tolist() == ["mel", "nv", "mel", "nv"]


def test_names_of_label_studio_are_found(tmp_path: Path) -> None:
    tree(tmp_path, "0.png", "deep/1.png")
    (tmp_path / "t.csv").write_text(
        "image,choice\n/data/upload/3/0a1b2c3d-0.png,mel\n/data/local-files/?d=deep/1.png,nv\n"
    )
    assert set(read_samples(tmp_path).frame["path"]) == {"0.png", "deep/1.png"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "melanoma\nnevus\n"),
        ("labels.txt", "0 melanoma\n1 nevus\n"),
        ("data.yaml", "nc: 2\nnames: [melanoma, nevus]\n"),
        ("data.yaml", "names:\n  0: melanoma\n  1: nevus\n"),
        ("class_to_idx.json", '{"melanoma": 0, "nevus": 1}'),
        ("id2label.json", '{"0": "melanoma", "1": "nevus"}'),
        ("legend.csv", "meaning;value\nmelanoma;0\nnevus;1\nother;2\n"),
        ("book.xlsx", ""),
    ],
)
def test_a_legend_names_classes_that_are_numbers(tmp_path: Path, name: str, text: str) -> None:
    if name != "legend.csv":
        tree(tmp_path, *cross("train|val", "0|1"))
    if name == "book.xlsx":
        pytest.importorskip("openpyxl")
        with pd.ExcelWriter(tmp_path / name) as book:
            pd.DataFrame({"image": cross("train|val", "0|1"), "label": [0, 0, 1, 1] * 2}).to_excel(book, index=False)
            pd.DataFrame({"code": [0, 1], "meaning": ["melanoma", "nevus"]}).to_excel(book, sheet_name="legend")
    elif name == "legend.csv":
        tree(tmp_path, *(image for image, _ in LABELS))
        (tmp_path / "t.csv").write_text("image,label\n0.png,0\n1.png,1\n2.png,0\n3.png,1\n")
    if text:
        (tmp_path / name).write_text(text)
    samples = read_samples(tmp_path)
    assert set(samples.frame["label"]) == {"melanoma", "nevus"}
    assert "names the classes: 0 is 'melanoma', 1 is 'nevus'" in remarks(samples)


@pytest.mark.parametrize(
    "files",
    [
        {"classes.txt": "melanoma\nnevus\n", "labels.txt": "nevus\nmelanoma\n"},
        {"classes.txt": "melanoma\n"},
        {"data.yaml": "names: [melanoma, nevus\n", "id2label.json": "[" * 9999},
        {"classes.txt": "melanoma\nmelanoma\n"},
        {"classes.csv": "code,en\n0,Melanoma\n1,Nevus\n", "labels.txt": "nevus\nmelanoma\n"},
    ],
)
def test_a_legend_that_may_be_wrong_is_not_used(tmp_path: Path, files: dict[str, str]) -> None:
    tree(tmp_path, *cross("0|1"))
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert set(read_samples(tmp_path).frame["label"]) == {"0", "1"}


def test_columns_of_the_sex_are_no_classes(tmp_path: Path) -> None:
    paths = cross("mel|nv")
    tree(tmp_path, *paths)
    rows = "".join(f"{path},{n % 2},{1 - n % 2}\n" for n, path in enumerate(paths))
    (tmp_path / "meta.csv").write_text(f"image,a,b\n{rows}")
    assert facts(read_samples(tmp_path))[0] == {"mel", "nv"}
    (tmp_path / "meta.csv").write_text(f"image,male,female\n{rows}")
    assert facts(read_samples(tmp_path))[0] == {"mel", "nv"}


def test_a_table_that_calls_images_otherwise_than_their_folder_is_warned_of(tmp_path: Path) -> None:
    paths = cross("mel|nv")
    tree(tmp_path, *paths)
    (tmp_path / "t.csv").write_text(
        "image,label\n" + "".join(f"{path},nv\n" for path in paths[1:]) + f"{paths[0]},mel\n"
    )
    assert "WARNING: the table calls 1 images otherwise than the folders" in remarks(read_samples(tmp_path))


@pytest.mark.parametrize("suffix", ["tif", "gif"])
def test_files_of_several_pages_are_named(tmp_path: Path, suffix: str) -> None:
    tree(tmp_path, *cross("mel|nv", suffix=suffix))
    with Image.open(tmp_path / f"nv/1.{suffix}") as image:
        image.save(tmp_path / f"nv/1.{suffix}", save_all=True, append_images=[Image.new("RGB", image.size)])
    said = f"1 of 4 TIFF and GIF files looked into have several pages or frames, such as nv/1.{suffix}"
    assert said in remarks(read_samples(tmp_path))


def test_a_table_of_patients_counts_for_the_images_in_their_folders(tmp_path: Path) -> None:
    tree(tmp_path, *cross("photos", "P0|P1|P2", "left|right", count=1))
    (tmp_path / "patients.csv").write_text("Patient ID;Diagnosis;Age\nP0;mel;40\nP1;nv;50\nP2;mel;60\n")
    samples = read_samples(tmp_path)
    assert samples.groups == GroupSource("column", "Patient ID")
    assert samples.frame["group"].tolist() == ["P0", "P0", "P1", "P1", "P2", "P2"]
    assert samples.frame["label"].tolist() == ["mel", "mel", "nv", "nv", "mel", "mel"]
    assert samples.frame["age"].tolist() == [40, 40, 50, 50, 60, 60]
    (tmp_path / "patients.csv").write_text("Patient ID;Diagnosis\nP0;mel\nP1;nv\nP9;mel\n")
    with pytest.raises(DataError, match="1 of 5 images in the table are missing, the first 'P9'"):
        read_samples(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_pipes_are_no_files(tmp_path: Path) -> None:
    tree(tmp_path, *cross("mel|nv"))
    for name in ("mel/z.png", "labels.csv", "classes.txt"):
        os.mkfifo(tmp_path / name)
    samples = read_samples(tmp_path)
    assert len(samples) == 4
    assert "left out: 3 (a pipe, socket or device, no file), such as classes.txt" in remarks(samples)


def test_minus_one_is_warned_of_as_no_class(tmp_path: Path) -> None:
    tree(tmp_path, *cross("-1|0|1"))
    assert "WARNING: '-1' are read as classes of their own; where they say that the class is not known" in remarks(
        read_samples(tmp_path)
    )
