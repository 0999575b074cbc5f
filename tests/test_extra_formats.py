"""HEIC and DICOM: read where their libraries are, refused in one line where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import HEIC
from PIL import Image
from tiny_data import write_csv

from lentigo import extra_formats
from lentigo.data import GroupSource, read_samples
from lentigo.errors import ImageError
from lentigo.imaging import open_image
from lentigo.inference.sources import Sources

pydicom = pytest.importorskip("pydicom")
RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def dicom(path: Path, pixels: np.ndarray[Any, Any], photometric: str, **tags: Any) -> Path:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    data = pydicom.Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = (
        "1.2.840.10008.5.1.4.1.1.77.1.4"  # VL Photographic Image
    )
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    colour = pixels.shape[-1] == 3
    frames = pixels.shape[0] if pixels.ndim == (4 if colour else 3) else 1
    data.Rows, data.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 3 if colour else 1, photometric
    data.BitsAllocated = pixels.dtype.itemsize * 8
    data.BitsStored, data.HighBit, data.PixelRepresentation = data.BitsAllocated, data.BitsAllocated - 1, 0
    if colour:
        data.PlanarConfiguration = 0
    if frames > 1:
        data.NumberOfFrames = frames
    data.PatientID, data.PatientName = "P7", "Doe^Jane"
    for name, value in tags.items():
        setattr(data, name, value)
    content = pixels.tobytes()
    data.PixelData = content + b"\0" * (len(content) % 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def test_dicom_photograph(tmp_path: Path) -> None:
    image = open_image(dicom(tmp_path / "a.dcm", RGB, "RGB"))
    np.testing.assert_array_equal(np.asarray(image), RGB)
    assert not image.info


def test_dicom_of_several_frames_gives_the_first(tmp_path: Path) -> None:
    stack = np.stack([RGB, 255 - RGB])
    np.testing.assert_array_equal(np.asarray(open_image(dicom(tmp_path / "a.dcm", stack, "RGB"))), RGB)


def test_dicom_ybr_becomes_rgb(tmp_path: Path) -> None:
    ybr = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
    found = np.asarray(open_image(dicom(tmp_path / "a.dcm", ybr, "YBR_FULL"))).astype(int)
    assert np.abs(found - RGB).max() <= 4


@pytest.mark.parametrize(("photometric", "turn"), [("MONOCHROME2", lambda v: v), ("MONOCHROME1", lambda v: 255 - v)])
def test_dicom_grey_of_16_bits(tmp_path: Path, photometric: str, turn: Any) -> None:
    grey = (RGB[..., 0].astype(np.uint16) * 257).astype("<u2")
    found = np.asarray(open_image(dicom(tmp_path / "a.dcm", grey, photometric)))
    np.testing.assert_array_equal(found, np.repeat(turn(RGB[..., :1]), 3, axis=2))


@pytest.mark.parametrize("kind", ["colour", "grey of 16 bits"])
def test_run_lengths_are_unpacked_in_no_interpreted_loop(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydicom.uid import RLELossless

    smooth = np.repeat(RGB, 40, axis=1)  # runs as well as literal bytes
    pixels = smooth if kind == "colour" else smooth[..., 0].astype("<u2") * 256 + smooth[..., 1]
    path = dicom(tmp_path / "a.dcm", pixels, "RGB" if kind == "colour" else "MONOCHROME2")
    expected = np.asarray(open_image(path))
    data = pydicom.dcmread(path)
    data.compress(RLELossless, generate_instance_uid=False)
    data.save_as(path)
    monkeypatch.setattr("pydicom.pixels.decoders.rle._rle_decode_segment", lambda *given: pytest.fail("the loop"))
    np.testing.assert_array_equal(np.asarray(open_image(path)), expected)
    data.PixelData = data.PixelData[:-60] + bytes(60)
    data.save_as(path)
    with pytest.raises(ImageError, match="truncated or unreadable DICOM"):
        open_image(path)


def test_dicom_palette(tmp_path: Path) -> None:
    index = np.arange(30, dtype=np.uint8).reshape(6, 5)
    colours = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    tables = {}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = (colours[:, channel].astype("<u2") * 257).tobytes()
    found = np.asarray(open_image(dicom(tmp_path / "a.dcm", index, "PALETTE COLOR", **tables)))
    np.testing.assert_array_equal(found, colours[index])


def test_dicom_patients_are_groups_where_wanted(tmp_path: Path) -> None:
    for n in range(4):
        dicom(tmp_path / "ab"[n % 2] / f"{n}.dcm", RGB, "RGB", PatientID=f"P{n // 2}")
    assert read_samples(tmp_path).groups == GroupSource()
    samples = read_samples(tmp_path, group_by="PatientID")
    assert samples.groups == GroupSource("column", "PatientID")
    assert sorted(samples.frame["group"]) == ["P0", "P0", "P1", "P1"]
    assert not {c for c in samples.frame.columns if "name" in c.lower()}
    samples.read(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda c: c[:400], "DICOM"),
        (lambda c: c[:-20], "truncated or unreadable DICOM"),
        (lambda c: b"\0" * 128 + b"DICM" + b"\xff" * 300, "DICOM"),
    ],
)
def test_damaged_dicom(tmp_path: Path, content: Any, message: str) -> None:
    path = dicom(tmp_path / "a.dcm", RGB, "RGB")
    path.write_bytes(content(path.read_bytes()))
    with pytest.raises(ImageError, match=message) as caught:
        open_image(path)
    assert "\n" not in str(caught.value)


def test_a_large_dicom_is_refused_from_its_header(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"too large \(60000 x 60000"):
        open_image(dicom(tmp_path / "a.dcm", RGB, "RGB", Rows=60000, Columns=60000))


def test_a_library_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra_formats, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"a\.dcm: a DICOM file; to read it: pip install 'lentigo\[dicom\]'"):
        open_image(dicom(tmp_path / "a.dcm", RGB, "RGB"))


def test_the_service_can_leave_them_off(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="a DICOM file, which is not read here"):
        open_image(dicom(tmp_path / "a.dcm", RGB, "RGB"), extra_formats=())


def test_heic_photograph(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    (tmp_path / "IMG_0001.HEIC").write_bytes(HEIC)
    image = open_image(tmp_path / "IMG_0001.HEIC")
    assert image.size == (64, 48)
    y, x = np.mgrid[0:48, 0:64]
    assert np.abs(np.asarray(image).astype(int) - np.stack([200 - x, 120 + y, 90 + (x + y) // 2], axis=-1)).max() <= 4
    assert [item.path for item in Sources(tmp_path)] == [str(tmp_path / "IMG_0001.HEIC")]
    with pytest.raises(ImageError, match="too large"):
        open_image(tmp_path / "IMG_0001.HEIC", max_pixels=100)


@pytest.mark.parametrize("kept", [40, 200, 500])
def test_damaged_heic(tmp_path: Path, kept: int) -> None:
    pytest.importorskip("pi_heif")
    (tmp_path / "a.heic").write_bytes(HEIC[:kept])
    with pytest.raises(ImageError, match="damaged HEIC") as caught:
        open_image(tmp_path / "a.heic")
    assert "\n" not in str(caught.value)


def test_a_table_may_name_dicom_files(tmp_path: Path) -> None:
    for n in range(2):
        dicom(tmp_path / f"{n}.dcm", RGB, "RGB")
    write_csv(tmp_path / "t.csv", ("image", "label"), [("0", "a"), ("1.DCM", "b")])
    assert read_samples(tmp_path).frame["path"].tolist() == ["0.dcm", "1.dcm"]
