from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance
from rich.console import Console
from tiny_data import write_csv, write_image

from lentigo.data import Samples, audit_samples, read_samples, split_samples
from lentigo.data.audit import find_near, perceptual_hash


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve different pictures, the first half in training and the rest in test."""
    rows = []
    for n in range(12):
        write_image(tmp_path / f"{n:02}.png", n, size=96)
        rows.append((f"{n:02}.png", "ab"[n % 2], f"g{n}", "train" if n < 6 else "test"))
    write_csv(tmp_path / "t.csv", ("image", "label", "group", "split"), rows)
    return tmp_path


def edit(data: Path, row: int, **changes: str) -> None:
    table = pd.read_csv(data / "t.csv", dtype=str)
    for column, value in changes.items():
        table.loc[row, column] = value
    table.to_csv(data / "t.csv", index=False)


def read(data: Path) -> Samples:
    return read_samples(data / "t.csv", missing="keep")


def test_clean_data_has_no_leak(data: Path) -> None:
    found = audit_samples(read(data))
    assert not found.leaks
    assert found.exact == found.near == found.clashes == ()
    assert found.unreadable == found.straddling == {}
    assert "no leak" in str(found)


def test_a_group_on_both_sides_is_a_leak(data: Path) -> None:
    edit(data, 7, group="g0")
    found = audit_samples(read(data))
    assert found.leaks
    assert found.straddling == {"g0": ("train", "test")}
    assert found.test_share == pytest.approx(1 / 6)
    assert "16.7% of the test images have their group in training" in str(found)


def test_the_same_pixels_on_both_sides_are_a_leak_whatever_the_file(data: Path) -> None:
    Image.open(data / "00.png").save(data / "10.png", compress_level=1)
    found = audit_samples(read(data))
    assert found.exact == (("00.png", "10.png"),)
    assert found.leaking_exact == found.exact
    assert found.near == ()
    assert found.leaks
    assert found.clashes == ()


def test_copies_within_a_split_are_reported_but_do_not_leak(data: Path) -> None:
    shutil.copy(data / "00.png", data / "02.png")
    found = audit_samples(read(data))
    assert found.exact == (("00.png", "02.png"),)
    assert not found.leaks


def test_copies_with_other_labels_clash(data: Path) -> None:
    shutil.copy(data / "00.png", data / "01.png")
    found = audit_samples(read(data))
    assert found.clashes == (("00.png", "01.png"),)
    assert "00.png (a, train) / 01.png (b, train)" in str(found)


@pytest.mark.parametrize("change", ["jpeg", "small", "bright", "warm", "crop"])
def test_the_same_photograph_made_anew_is_a_near_duplicate(data: Path, change: str) -> None:
    image = Image.open(data / "03.png")
    match change:
        case "jpeg":
            image.save(data / "03.jpg", quality=50)
            image = Image.open(data / "03.jpg")
        case "small":
            image = image.resize((48, 48), Image.Resampling.BILINEAR)
        case "bright":
            image = ImageEnhance.Brightness(image).enhance(0.8)
        case "warm":
            image = Image.fromarray((np.asarray(image) * [1, 0.9, 0.85]).astype(np.uint8))
        case "crop":
            image = image.crop((1, 1, 95, 95))
    image.save(data / "09.png")
    found = audit_samples(read(data))
    assert [(p.first, p.second, p.turned) for p in found.near] == [("03.png", "09.png", False)]
    assert found.near[0].correlation >= 0.98
    assert found.leaking_near == found.near
    assert found.leaks


@pytest.mark.parametrize("turn", list(Image.Transpose))
def test_turned_copies_are_found_when_asked_for(data: Path, turn: Image.Transpose) -> None:
    Image.open(data / "04.png").transpose(turn).save(data / "08.png", compress_level=1)
    assert not audit_samples(read(data)).near
    found = audit_samples(read(data), orientations=True)
    assert [(p.first, p.second, p.turned) for p in found.near] == [("04.png", "08.png", True)]


def test_unreadable_images_are_listed(data: Path) -> None:
    (data / "05.png").write_bytes(b"nothing")
    (data / "06.png").unlink()
    found = audit_samples(read(data))
    assert list(found.unreadable) == ["05.png", "06.png"]
    assert not found.leaks
    assert "2  unreadable images" in str(found)


def test_featureless_images_resemble_none() -> None:
    flat = np.full((3, 32, 32), 128, np.float32)
    assert find_near(flat, orientations=True) == []
    assert find_near(flat[:1]) == []


def test_pairs_are_those_of_a_slow_search() -> None:
    rng = np.random.default_rng(0)
    base = np.stack([np.asarray(Image.fromarray(rng.random((5, 5), np.float32)).resize((32, 32))) for _ in range(30)])
    thumbnails = np.concatenate([base, base[:10] + rng.normal(0, 0.02, (10, 32, 32))]).astype(np.float32) * 255
    inner = thumbnails[:, 4:28, 4:28]
    hashes = perceptual_hash(inner)
    expected = {
        (i, j)
        for i in range(40)
        for j in range(i + 1, 40)
        if bin(int(hashes[i]) ^ int(hashes[j])).count("1") <= 16
        and np.corrcoef(inner[i].ravel(), inner[j].ravel())[0, 1] >= 0.98
    }
    assert len(expected) == 10
    assert {(i, j) for i, j, *_ in find_near(thumbnails)} == expected


def test_hash_ignores_light_and_follows_structure() -> None:
    rng = np.random.default_rng(1)
    image = rng.random((1, 24, 24)).astype(np.float32)
    other = rng.random((1, 24, 24)).astype(np.float32)

    def distance(a: np.ndarray, b: np.ndarray) -> int:
        return int(np.bitwise_count(perceptual_hash(a) ^ perceptual_hash(b))[0])

    assert distance(image, 0.5 * image + 3) <= 1
    assert distance(image, other) > 16


def test_serialises_and_prints_tables(data: Path) -> None:
    shutil.copy(data / "00.png", data / "11.png")
    edit(data, 7, group="g0")
    seen: list[int] = []
    found = audit_samples(read(data), progress=lambda done, total: seen.append(done))
    assert seen == list(range(1, 13))
    record = json.loads(json.dumps(found.to_dict()))
    assert record["leaks"] is True
    assert record["straddling_groups"] == {"g0": ["train", "test"]}
    assert record["exact_duplicates_across_splits"] == [["00.png", "11.png"]]
    assert record["label_clashes"] == [["00.png", "11.png"]]
    assert record["counts"]["train"]["a"] == 3
    console = Console(width=120, file=None, record=True, quiet=False)
    with console.capture() as capture:
        console.print(found)
    assert "groups in more than one split" in capture.get()
    assert "LEAK" in capture.get()


def test_without_a_split_there_is_nothing_to_leak(data: Path) -> None:
    table = pd.read_csv(data / "t.csv").drop(columns="split")
    table["group"] = "one"
    table.to_csv(data / "t.csv", index=False)
    found = audit_samples(read(data))
    assert not found.leaks
    assert "no split to check" in str(found)


def test_real_data(shared_data: Path) -> None:
    """PAD-UFES-20 has one photograph under two diagnoses; its image split leaks patients."""
    samples = read_samples(shared_data / "pad_ufes_20")
    found = audit_samples(split_samples(samples, "image"))
    assert found.leaks
    assert len(found.straddling) > 20
    assert ("PAT_759_1433_914", "PAT_759_1538_566") in found.clashes
    assert ("PAT_701_1321_156", "PAT_701_4056_457") in found.exact


def test_real_isic2017_has_near_duplicates_across_its_published_split(shared_data: Path) -> None:
    found = audit_samples(read_samples(shared_data / "isic2017-384"))
    assert len(found.leaking_near) == 2
    assert all(p.correlation >= 0.98 for p in found.near)
