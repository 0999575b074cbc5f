"""Annotations that are no tables: a file an image, CVAT's XML and lists of text; masks and several images a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tiny_data import write_csv, write_image

from lentigo.cli import main
from lentigo.data import Samples, read_samples
from lentigo.errors import DataError

CLASSES = ("mel", "nv", "nv", "mel", "nv", "nv")


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def voc(*classes: str) -> str:
    objects = "".join(f"<object><name>{name}</name><bndbox/></object>" for name in classes)
    return f"<annotation><filename>elsewhere.jpg</filename>{objects}</annotation>"


def yolo(*classes: int) -> str:
    return "".join(f"{number} 0.5 0.5 0.25 0.25\n" for number in classes)


def cvat(tag: str, extra: str = "") -> str:
    images = "".join(f'<image name="{n}.png"{extra}><{tag} label="{c}"/></image>' for n, c in enumerate(CLASSES))
    return f'<?xml version="1.0"?><annotations><version>1.1</version>{images}</annotations>'


def described(name: str, diagnosis: str) -> str:
    clinical = {"diagnosis": diagnosis, "patient_id": f"P{int(name) // 2}", "age_approx": 50}
    return json.dumps({"_id": name, "meta": {"acquisition": {"pixelsX": 9}, "clinical": clinical}, "name": name})


def labelme(name: str) -> str:
    return json.dumps({"flags": {}, "shapes": [{"label": name, "points": [[0, 1]]}], "imageData": None})


def lines(form: str) -> str:
    numbers = {"mel": 1, "nv": 2}
    return "".join(form.format(n=n, c=c, k=numbers[c], t=int(n < 4)) + "\n" for n, c in enumerate(CLASSES))


def each(form: str, text: Callable[[str, str], str]) -> dict[str, str]:
    return {form.format(n): text(str(n), c) for n, c in enumerate(CLASSES)}


def number(name: str) -> int:
    return 0 if name == "mel" else 1


LAYOUTS: dict[str, tuple[str, dict[str, str]]] = {
    "Pascal VOC": ("JPEGImages/", each("Annotations/{}.xml", lambda n, c: voc(c, c))),
    "YOLO": ("images/", {**each("labels/{}.txt", lambda n, c: yolo(number(c))), "data.yaml": "names: [mel, nv]\n"}),
    "YOLO beside": ("", {**each("{}.txt", lambda n, c: yolo(number(c))), "classes.txt": "mel\nnv\n"}),
    "CVAT boxes": ("", {"annotations.xml": cvat("box")}),
    "CVAT tags": ("", {"annotations.xml": cvat("tag")}),
    "LabelMe": ("", each("{}.json", lambda n, c: labelme(c))),
    "ISIC descriptions": ("Images/", each("Descriptions/{}", described)),
    "JSON": ("Images/", each("Descriptions/{}.json", described)),
    "FGVC": ("", {"images.txt": lines("{n}.png"), "labels.txt": lines("{c}")}),
    "CUB": (
        "images/",
        {
            "images.txt": lines("{n} {n}.png"),
            "image_class_labels.txt": lines("{n} {k}"),
            "classes.txt": "1 mel\n2 nv\n",
        },
    ),
    "a list": ("images/", {"list.txt": lines("images/{n}.png {c}")}),
    "a table called .txt": ("images/", {"labels.txt": "image\tlabel\n" + lines("{n}.png\t{c}")}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_annotations_that_are_no_tables_give_each_image_its_class(tmp_path: Path, layout: str) -> None:
    folder, files = LAYOUTS[layout]
    for n in range(len(CLASSES)):
        write_image(tmp_path / f"{folder}{n}.png", n)
    write(tmp_path, files)
    samples = read_samples(tmp_path)
    stems = samples.frame["path"].str.extract(r"(\d)\.png$")[0].astype(int)
    assert [CLASSES[stem] for stem in stems] == samples.frame["label"].tolist()
    assert len(samples) == len(CLASSES)
    assert samples.groups.name == ("patient_id" if "patient_id" in "".join(files.values()) else "")
    assert not any("is not used" in line or "neither an image" in line for line in told(samples))


def told(samples: Samples) -> list[str]:
    assert samples.reading is not None
    return samples.reading.lines()


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (each("{}.xml", lambda n, c: voc(*(("mel", "nv") if n == "0" else (c,)))), "0.xml: as Pascal VOC, 1 of 6"),
        (each("{}.txt", lambda n, c: yolo(*((0, 1) if n == "3" else (number(c),)))), "3.txt: as YOLO, 1 of 6"),
        ({"annotations.xml": cvat("box").replace("/></image>", '/><box label="nv"/></image>')}, "2 of 6 images"),
    ],
    ids=["Pascal VOC", "YOLO", "CVAT"],
)
def test_images_of_several_classes_are_refused_by_name(tmp_path: Path, files: dict[str, str], why: str) -> None:
    for n in range(len(CLASSES)):
        write_image(tmp_path / f"{n}.png", n)
    write(tmp_path, files)
    with pytest.raises(DataError, match=r"several classes.*each must have one; take") as error:
        read_samples(tmp_path)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_annotations_without_a_class_leave_their_images_out(tmp_path: Path) -> None:
    for n in range(len(CLASSES)):
        write_image(tmp_path / f"{n}.png", n)
    write(tmp_path, each("{}.xml", lambda n, c: voc(*((c,) * (n != "5")))))
    samples = read_samples(tmp_path)
    assert samples.frame["image"].tolist() == [f"{n}.png" for n in range(5)]
    assert any("an annotation without a class), such as 5.xml" in line for line in told(samples))


@pytest.mark.parametrize(
    ("folder", "files"),
    [
        ("JPEGImages/{}.png", {"ImageSets/Main/train.txt": "0\n1\n2\n3\n", "ImageSets/Main/test.txt": "4\n5\n"}),
        ("{}.png", {"annotations.xml": cvat("tag", ' subset="test"').replace('"test"', '"train"', 4)}),
        (
            "{}.png",
            {
                "images.txt": lines("{n} {n}.png"),
                "labels.txt": lines("{n} {c}"),
                "train_test_split.txt": lines("{n} {t}"),
            },
        ),
    ],
    ids=["Pascal VOC", "CVAT", "CUB"],
)
def test_the_part_that_lists_say_is_kept(tmp_path: Path, folder: str, files: dict[str, str]) -> None:
    for n in range(len(CLASSES)):
        write_image(tmp_path / folder.format(n), n)
    write(tmp_path, files if len(files) != 2 else files | each("Annotations/{}.xml", lambda n, c: voc(c)))
    samples = read_samples(tmp_path)
    stems = samples.frame["path"].str.extract(r"(\d)\.png$")[0].astype(int)
    assert samples.frame["official_split"].tolist() == ["train" if stem < 4 else "test" for stem in stems]


@pytest.mark.parametrize("columns", [("left", "right"), ("image1", "image2"), ("images",)])
@pytest.mark.parametrize("group", ["patient", None])
def test_several_images_a_row_are_read_and_kept_together(
    tmp_path: Path, columns: tuple[str, ...], group: str | None
) -> None:
    rows = []
    for n, name in enumerate(CLASSES):
        images = [f"{n}a.png", f"{n}b.png"]
        for k, image in enumerate(images):
            write_image(tmp_path / image, 2 * n + k)
        cells = images if len(columns) == 2 else [";".join(images)]
        rows.append([n, *cells, name, *([f"P{n // 2}"] if group else [])])
    write_csv(tmp_path / "visits.csv", ["id", *columns, "label", *([group] if group else [])], rows)
    samples = read_samples(tmp_path)
    assert len(samples) == 2 * len(CLASSES)
    assert samples.frame["group"].nunique() == (3 if group else 6)
    assert (samples.frame.groupby("group").size() == (4 if group else 2)).all()
    assert any("names several images a row" in line for line in told(samples))
    assert any("whether rows share patients is not known" in line for line in told(samples)) == (group is None)


MASKS = (
    "{}_mask.png", "{}_segmentation.png", "{}_superpixels.png", "{}_heatmap.png", "{}-gradcam.png", "{}_overlay.png",
    "{}_contour.png", "mask_{}.png", "{} annotated.png", "{}_attribute_streaks.png", "../heatmaps/{}.png",
    "../HAM10000_segmentations_lesion_tschandl/{}.png", "../SegmentationClass/{}.png",
)  # fmt: skip


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("table", [False, True], ids=["folders", "table"])
def test_masks_and_heat_maps_are_no_pictures(tmp_path: Path, mask: str, table: bool) -> None:
    for n, name in enumerate(CLASSES):
        folder = tmp_path / ("pictures" if table else name)
        write_image(folder / f"ISIC_{n}.png", n)
        write_image((folder / mask.format(f"ISIC_{n}")).resolve(), 10 + n)
    if table:
        write_csv(tmp_path / "t.csv", ["image", "label"], [(f"ISIC_{n}", c) for n, c in enumerate(CLASSES)])
    samples = read_samples(tmp_path)
    assert sorted(Path(path).name for path in samples.frame["path"]) == [f"ISIC_{n}.png" for n in range(len(CLASSES))]
    assert set(samples.labels.codes) == {"mel", "nv"}
    assert any("left out: 6 (" in line for line in told(samples))


def ph2(root: Path) -> None:
    for n in range(3, 15):
        for kind in ("Dermoscopic_Image", "lesion", "roi"):
            suffix = {"Dermoscopic_Image": "", "lesion": "_lesion", "roi": "_R1_Label3"}[kind]
            write_image(root / f"PH2 Dataset images/IMD{n:03}/IMD{n:03}_{kind}/IMD{n:03}{suffix}.bmp", n)


def test_ph2_is_read_with_its_text_and_its_masks_are_left_out(tmp_path: Path) -> None:
    ph2(tmp_path)
    with pytest.raises(DataError, match="every image has a class of its own"):
        read_samples(tmp_path)
    rows = "".join(f"|| IMD{n:03} ||            ||     {n % 3}     ||   0   ||  T  ||\n" for n in range(3, 15))
    write(tmp_path, {"PH2_dataset.txt": f"|| Name || Histological Diagnosis || Clinical Diagnosis ||\n{rows}"})
    samples = read_samples(tmp_path)
    assert samples.frame["label"].tolist() == ["common nevus", "atypical nevus", "melanoma"] * 4
    assert len(samples) == 12


def test_isic2016_is_read_from_its_tables_without_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, first, says in (("Training", 0, ("benign", "malignant")), ("Test", 6, ("0.0", "1.0"))):
        for n in range(first, first + 6):
            write_image(tmp_path / f"ISBI2016_ISIC_Part3B_{part}_Data/ISIC_{n:07}.jpg", n)
        rows = [(f"ISIC_{n:07}", says[n % 3 == 0]) for n in range(first, first + 6)]
        write_csv(tmp_path / f"ISBI2016_ISIC_Part3B_{part}_GroundTruth.csv", rows[0], rows[1:])
    samples = read_samples(tmp_path)
    assert samples.name == "isic2016"
    assert samples.frame["label"].tolist() == ["mel", "benign", "benign"] * 4
    assert samples.frame["split"].tolist() == ["train"] * 6 + ["test"] * 6
    for protocol, says in (("lesion", True), ("official", False)):
        with suppress(SystemExit):
            main(["data", "split", str(tmp_path), "--protocol", protocol, "--out", str(tmp_path / "out.csv")])
        assert ("the data's own split is not kept" in capsys.readouterr().out) == says


def test_isic2024_calls_its_targets_and_names_an_archive(tmp_path: Path) -> None:
    header = ["isic_id", "target", "patient_id", "iddx_full", "iddx_1"]
    rows = [(f"ISIC_{n}", n % 2, f"IP_{n // 2}", "", "") for n in range(6)]
    write_csv(tmp_path / "train-metadata.csv", header, rows)
    (tmp_path / "train-image.hdf5").write_bytes(b"\x89HDF")
    with pytest.raises(DataError, match=r"unpack the images of train-image\.hdf5"):
        read_samples(tmp_path)
    for n in range(6):
        write_image(tmp_path / f"train-image/image/ISIC_{n}.png", n)
    samples = read_samples(tmp_path)
    assert samples.frame["label"].tolist() == ["benign", "malignant"] * 3
    assert samples.groups.name == "patient_id"
