"""The structure of an image is checked before a decoder sees it: hostile files are refused, ordinary ones are not."""

from __future__ import annotations

import contextlib
import functools
import threading
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import EXTRA_HOSTILE, HOSTILE, big_tiff, gif, jpeg, png, progressive_scans, segments, tiff, webp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lentigo import image_header, imaging, resampler
from lentigo.errors import ImageCostError, ImageError
from lentigo.extra_formats import extra_format
from lentigo.image_header import check_header
from lentigo.imaging import load, open_image, sniff
from lentigo.resampler import resize


@pytest.mark.parametrize("name", HOSTILE)
def test_what_costs_too_much_is_refused_before_a_decoder_sees_it(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = HOSTILE[name]()
    path = tmp_path / "image"
    path.write_bytes(content)
    monkeypatch.setattr(imaging.Image, "open", lambda *given, **more: pytest.fail("a decoder was opened"))
    for source in (content, path):
        with pytest.raises(ImageError) as told:
            open_image(source)
        assert isinstance(told.value, ImageCostError) or "run-length" in str(told.value)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", EXTRA_HOSTILE)
def test_hostile_heic_and_dicom_are_refused_before_their_libraries_see_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = EXTRA_HOSTILE[name]()
    assert extra_format(content[:512]) == ("HEIC" if "heic" in name else "DICOM")
    monkeypatch.setattr(imaging, "open_extra", lambda *given: pytest.fail("the library was asked"))
    with pytest.raises(ImageError) as told:
        open_image(content, max_pixels=50_000_000)
    assert isinstance(told.value, ImageCostError) or "which is not read" in str(told.value) or "film" in str(told.value)
    assert "\n" not in str(told.value)


def test_an_exif_block_in_a_webp_or_png_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    given_ = Image.new("RGB", (4, 4))
    given_.info["exif"] = HOSTILE["a png with overlapping exif"]()[41:]
    monkeypatch.setattr(Image.Image, "getexif", lambda image: pytest.fail("the block was parsed"))
    given_.info["exif"] = b"Exif\0\0II*\0\x08\0\0\0\xff\xff"
    assert open_image(given_).size == (4, 4)  # damaged or hostile: upright


@functools.cache
def ordinary() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (300, 400, 3), np.uint8))
    frames = [Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)) for _ in range(12)]
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a maker"
    found = {}
    for name, kind, options in [
        ("baseline", "JPEG", {"exif": exif}),
        ("progressive", "JPEG", {"progressive": True, "quality": 95}),
        ("restarts", "JPEG", {"restart_marker_rows": 1}),
        ("icc", "JPEG", {"icc_profile": rng.bytes(500_000)}),
        ("comment", "JPEG", {"comment": b"\xff\xda" * 1000}),
        ("png", "PNG", {"exif": exif}),
        ("webp", "WEBP", {"exif": exif}),
        ("lossless", "WEBP", {"lossless": True}),
        ("bmp", "BMP", {}),
        ("raw", "TIFF", {}),
        ("lzw", "TIFF", {"compression": "tiff_lzw"}),
        ("jpeg in tiff", "TIFF", {"compression": "jpeg"}),
        ("strips", "TIFF", {"compression": "tiff_adobe_deflate", "strip_size": 1200}),
        ("bigtiff", "TIFF", {"big_tiff": True}),
        ("gif", "GIF", {"comment": b"x" * 5000}),
    ]:
        buffer = BytesIO()
        photo.save(buffer, kind, **options)
        found[name] = buffer.getvalue()
    for kind in ("GIF", "WEBP", "PNG", "TIFF", "MPO"):
        buffer = BytesIO()
        frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
        found[f"frames of {kind}"] = buffer.getvalue()
    found["motion photo"] = found["baseline"] + rng.bytes(8_000_000)  # a film behind the picture, with chance markers
    found["progressive motion photo"] = found["progressive"] + rng.bytes(8_000_000)
    found["padded to a block"] = found["baseline"] + b"\xff" * 100_000
    found["progressive, padded to a block"] = found["progressive"] + b"\xff" * 100_000
    found["photoshop data"] = segments(3, 0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\0")
    found["20 scans"] = progressive_scans(10, 600, 450)
    found["segments"] = segments(200, 0xED, bytes(100))
    found["panorama"] = jpeg(6000, 300)
    return found


@pytest.mark.parametrize("name", ordinary())
def test_ordinary_images_are_let_through_and_decoded_as_before(name: str, tmp_path: Path) -> None:
    content = ordinary()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = Image.open(BytesIO(content))
        extent = plain.size
        header = check_header(BytesIO(content), sniff(content[:512]))
        assert sorted((header.width, header.height)) == sorted(extent)
        assert header.work >= extent[0] * extent[1]
        image = open_image(content)
    assert sorted(image.size) == sorted(extent)
    (tmp_path / "image").write_bytes(content)
    assert np.array_equal(np.asarray(open_image(tmp_path / "image")), np.asarray(image))


@given(
    cut=st.integers(0, 2000),
    kind=st.sampled_from(["baseline", "png", "webp", "bmp", "lzw", "gif", "bigtiff"]),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_raises_nothing_but_an_image_error(cut: int, kind: str, seed: int) -> None:
    content = bytearray(ordinary()[kind])
    rng = np.random.default_rng(seed)
    for at in rng.integers(0, min(len(content), 400), 4):
        content[at] = rng.integers(256)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(ImageError):  # anything else fails the test
            open_image(bytes(content[: len(content) - cut]))


def test_exif_in_a_text_chunk_of_a_png_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    block = HOSTILE["a png with overlapping exif"]()[41:65_000]
    text = b"Raw profile type exif\0\nexif\n 1\n" + block.hex().encode()
    monkeypatch.setattr(Image.Image, "getexif", lambda image: pytest.fail("the block was parsed"))
    assert open_image(png(4, 4, (b"tEXt", text))).size == (4, 4)


def test_what_decodes_slowly_or_more_than_once_counts_as_more_work() -> None:
    def work(content: bytes) -> float:
        return check_header(BytesIO(content), "JPEG").work / (64 * 48)

    photo = jpeg()
    frame = photo.index(b"\xff\xc0") + 1
    assert work(photo) == work(photo + b"\xff" * 100) == 1
    for marker in (0xC3, 0xC9):  # lossless, arithmetic
        assert work(photo[:frame] + bytes([marker]) + photo[frame + 1 :]) == 4
    for unfinished in (photo[:-1], photo[:-2], photo[:-20], jpeg(progressive=True)[:-2]):
        assert work(unfinished) >= 4


def test_a_jpeg_with_its_end_is_decoded_no_further_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imaging, "end_jpeg", lambda content: pytest.fail("it was decoded again"))
    photo = jpeg(400, 300)
    frame = photo.index(b"\xff\xc0")
    with pytest.raises(ImageError, match="truncated or damaged"):
        open_image(photo[:frame] + photo[frame : frame + 19] + photo[frame:] + bytes(100))


@pytest.mark.parametrize(("count", "offset"), [(2**61, 8), (2**63 - 1, 8), (2**64 - 1, 2**64 - 1), (4, 2**64 - 1)])
def test_numbers_beyond_all_sizes_are_damage(count: int, offset: int) -> None:
    for content in (big_tiff(count, offset), segments(1, 0xE1, b"Exif\0\0" + big_tiff(count, offset))):
        assert check_header(BytesIO(content), sniff(content)).work >= 0
    with pytest.raises(ImageError, match="damaged TIFF"):
        open_image(big_tiff(count, offset))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_searched_a_window_at_a_time(progressive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(bytes):
        def find(self, needle: Any, start: Any = 0, end: Any = None) -> int:
            assert end is not None
            assert end - start < 2000 + 2 * len(needle), "other threads stand still during a search"
            return super().find(needle, start, end)

    class File(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return Watched(super().read(size))

    monkeypatch.setattr(image_header, "_WINDOW", 1024)
    photo = jpeg(progressive=progressive)[:-2]
    for pad in range(1015, 1035):  # the end marker lies within a window, and across two
        assert check_header(File(photo + b"a" * pad + b"\xff\xd9"), "JPEG").ended
    assert not check_header(File(photo + b"a" * 9999), "JPEG").ended
    with pytest.raises(ImageCostError, match="fill bytes"):
        check_header(File(photo + b"\xff" * 5000 + b"a"), "JPEG")


def test_the_size_is_known_before_the_plug_in_takes_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imaging.Image, "open", lambda *given, **more: pytest.fail("a decoder was opened"))
    for content in (
        webp(16_000, 16_000),
        png(50_000, 50_000, data=b""),
        gif(40_000, 40_000),
        tiff(60_000, 60_000),
        jpeg(1200, 1200),
    ):
        with pytest.raises(ImageCostError, match="the limit is 1,000,000"):
            open_image(content, max_pixels=1_000_000)


def test_a_long_strip_is_resized_where_that_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    extents = []
    one_pass = resampler._resize_side

    def note(image: Image.Image, extent: tuple[int, int]) -> Image.Image:
        extents.append(extent)
        return one_pass(image, extent)

    monkeypatch.setattr(resampler, "_resize_side", note)
    monkeypatch.setattr(resampler, "_local", threading.local())
    monkeypatch.setattr(resampler, "_make_resizer", lambda: None)
    for width, height in ((50, 50_000), (50_000, 50), (400, 300), (300, 400), (40, 30), (3, 800), (224, 224)):
        extents.clear()
        strip = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
        square = resize(strip, 224)
        assert square.shape == (224, 224, 3)
        assert all(w * h <= 4 * max(width * height, 224 * 224) for w, h in extents)
        if height < 1000 and width != 224:
            assert extents[0] == (224, height)  # ordinary pictures: the width first, as ever


def test_a_strip_costs_what_its_pixels_cost() -> None:
    assert load(png(65, 65_000, colour=0), 224).shape == (224, 224, 3)
    with pytest.raises(ImageCostError, match="times as long"):
        load(png(60, 65_000, colour=0), 224)
