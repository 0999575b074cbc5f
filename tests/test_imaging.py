"""Opening images and the preprocessing contract."""

from __future__ import annotations

import io
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from broken import write_broken
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from lentigo import imaging, resampler
from lentigo.errors import ImageError
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD, find_images, is_first_of_several, load, normalise, open_image
from lentigo.resampler import resize


def gradient(width: int = 40, height: int = 30) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 255 // (width + height - 2)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 98, "subsampling": 0}, 8),
        ("JPEG", {"quality": 98, "subsampling": 0, "progressive": True}, 8),
        ("GIF", {}, 70),
    ],
)
def test_formats(kind: str, options: dict[str, object], tolerance: int, tmp_path: Path) -> None:
    path = tmp_path / "misnamed.xyz"
    path.write_bytes(encode(gradient(), kind, **options))
    opened = open_image(path)
    assert opened.mode == "RGB"
    assert np.abs(array(opened) - array(gradient())).max() <= tolerance


def test_every_source_gives_the_same_pixels(tmp_path: Path) -> None:
    content = encode(gradient(), "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(content)

    class Pipe:
        """A stream that cannot be rewound."""

        def read(self, size: int = -1) -> bytes:
            return content

    with path.open("rb") as file:
        sources = [path, str(path), content, io.BytesIO(content), file, Pipe(), gradient(), np.asarray(gradient())]
        for source in sources:
            assert np.array_equal(array(open_image(source)), array(gradient()))  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_obeyed_once(kind: str, orientation: int) -> None:
    upright = gradient()
    stored = {
        1: lambda i: i,
        2: lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda i: i.transpose(Image.Transpose.ROTATE_180),
        4: lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda i: i.transpose(Image.Transpose.TRANSPOSE),
        6: lambda i: i.transpose(Image.Transpose.ROTATE_90),
        7: lambda i: i.transpose(Image.Transpose.TRANSVERSE),
        8: lambda i: i.transpose(Image.Transpose.ROTATE_270),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    opened = open_image(encode(stored, kind, exif=exif, **options))
    assert opened.size == upright.size
    assert np.abs(array(opened) - array(upright)).max() <= 8
    assert np.array_equal(array(open_image(opened)), array(opened))


def test_a_damaged_exif_block_does_not_spoil_the_image() -> None:
    opened = open_image(encode(gradient(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff\xff\xff"))
    assert opened.size == gradient().size


def test_transparency_is_composited_on_white() -> None:
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[:, 0] = (200, 10, 30, 255)
    rgba[:, 1] = (200, 10, 30, 0)
    rgba[:, 2] = (200, 10, 30, 128)
    seen = array(open_image(encode(Image.fromarray(rgba), "PNG")))[0]
    half = np.array([200, 10, 30]) * 128 / 255 + 255 * 127 / 255
    assert seen[0].tolist() == [200, 10, 30]
    assert seen[1].tolist() == [255, 255, 255]
    assert np.abs(seen[2] - half).max() <= 1
    grey = np.array([[[50, 255], [50, 0]]], np.uint8)
    assert array(open_image(encode(Image.fromarray(grey, "LA"), "PNG")))[0].tolist() == [[50] * 3, [255] * 3]


def test_transparent_palette_and_colour_key() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert array(open_image(encode(palette, "PNG")))[0].tolist() == [[10, 20, 30], [40, 50, 60]]
    assert array(open_image(encode(palette, "PNG", transparency=1)))[0].tolist() == [[10, 20, 30], [255, 255, 255]]
    keyed = Image.new("RGB", (2, 1), (1, 2, 3))
    keyed.putpixel((1, 0), (9, 9, 9))
    assert array(open_image(encode(keyed, "PNG", transparency=(9, 9, 9))))[0].tolist() == [[1, 2, 3], [255, 255, 255]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65407, 65535]], np.uint16)
    seen = array(open_image(encode(Image.fromarray(values), kind)))[0, :, 0]
    assert seen.tolist() == np.floor(values[0] / 257 + 0.5).astype(int).tolist()
    assert seen[-1] == 255


def test_floating_point_grey_in_the_unit_range() -> None:
    values = np.array([[0.0, 0.5, 1.0]], np.float32)
    assert array(open_image(encode(Image.fromarray(values), "TIFF")))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr"])
def test_other_modes_become_rgb(mode: str) -> None:
    kind = "PNG" if mode in "1L" else "JPEG"
    opened = open_image(encode(Image.new(mode, (8, 8), 0), kind))
    assert opened.mode == "RGB"
    assert opened.size == (8, 8)


def test_cmyk_jpeg_keeps_its_colours() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    r, g, b = array(open_image(encode(cyan, "JPEG", quality=95)))[8, 8]
    assert r < 20
    assert g > 235
    assert b > 235


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), (250, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 250))
    options = {"lossless": True} if kind == "WEBP" else {}
    image = open_image(encode(first, kind, save_all=True, append_images=[second], **options))
    r, _, b = array(image)[4, 4]
    assert r > 240
    assert b < 10
    assert is_first_of_several(image)
    assert not is_first_of_several(open_image(encode(first, kind, **options)))


def test_broken_files_say_what_is_wrong_and_where(tmp_path: Path) -> None:
    expected = write_broken(tmp_path)
    assert len(expected) >= 30
    for name, text in expected.items():
        with pytest.raises(ImageError) as caught:
            open_image(tmp_path / name)
        assert text in str(caught.value), name
        assert str(caught.value).startswith(str(tmp_path / name)), name
        assert "\n" not in str(caught.value)


def test_missing_folder_address_and_wrong_types(tmp_path: Path) -> None:
    for source, text in [
        (tmp_path / "none.jpg", "no such file"),
        (tmp_path, "a folder"),
        ("s3://bucket/a.jpg", "address"),
        ("a\0b.jpg", "cannot be opened"),
        (b"", "empty"),
        (io.StringIO("x"), "text stream"),
        (3, "cannot open an image from int"),
        (np.zeros((4, 4), np.uint8), "(H, W, 3) uint8"),
        (np.zeros((4, 4, 3), np.float32), "(H, W, 3) uint8"),
        (np.zeros((0, 4, 3), np.uint8), "expected 1 to"),
    ]:
        with pytest.raises(ImageError, match=text.replace("(", r"\(").replace(")", r"\)")):
            open_image(source)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(gradient(), "PNG"))
    path.chmod(0)
    with pytest.raises(ImageError, match="no permission"):
        open_image(path)


def test_pixels_are_bounded_before_decoding() -> None:
    content = encode(gradient(40, 30), "PNG")
    assert open_image(content, max_pixels=1200).size == (40, 30)
    with pytest.raises(ImageError, match=r"too large \(40 x 30 = 1,200 pixels, the limit is 1,199\)"):
        open_image(content, max_pixels=1199)
    with pytest.raises(ImageError, match="too large"):
        open_image(gradient(), max_pixels=10)


def test_the_given_image_is_left_alone() -> None:
    given_ = Image.new("RGBA", (4, 4), (1, 2, 3, 0))
    assert array(open_image(given_)).min() == 255
    assert given_.mode == "RGBA"


def pillows_own(content: bytes) -> Image.Image:
    """What `open_image` gives without simplejpeg."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "simplejpeg", None)
        return open_image(content)


def used_quickly(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of what simplejpeg decoded, from here on."""
    simplejpeg = pytest.importorskip("simplejpeg")
    lengths: list[int] = []

    def decode(content: bytes, **options: object) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = simplejpeg_decode(content, **options)
        lengths.append(len(content))
        return found

    simplejpeg_decode = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", decode)
    return lengths


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 0},
        {"subsampling": 1},
        {"subsampling": 2},
        {"progressive": True},
        {"restart_marker_rows": 1},
        {"quality": 1},
        {"quality": 100},
    ],
    ids=str,
)
@pytest.mark.parametrize("extent", [(640, 480), (17, 33), (2, 2), (8, 250)])
def test_quick_decoding_is_pillows_to_the_bit(
    mode: str, options: dict[str, Any], extent: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (extent[1], extent[0], 3), np.uint8))
    for image in (noise.convert(mode), gradient(*extent).convert(mode)):
        content = encode(image, "JPEG", **options)
        expected = pillows_own(content)
        used = used_quickly(monkeypatch)
        found = open_image(content)
        assert used == [len(content)]
        assert (found.mode, found.size) == (expected.mode, expected.size)
        assert np.array_equal(np.asarray(found), np.asarray(expected))


def test_quick_decoding_of_photographs_is_pillows_to_the_bit(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted((shared_data / "isic2019-bcn-84").rglob("*.jpg"))[:100]
    if not files:
        pytest.skip("no JPEG files among the real data")
    expected = [np.asarray(pillows_own(path.read_bytes())) for path in files]
    used = used_quickly(monkeypatch)
    assert all(
        np.array_equal(np.asarray(open_image(path)), pixels) for path, pixels in zip(files, expected, strict=True)
    )
    assert len(used) == len(files)


@pytest.mark.parametrize("damage", ["cut off", "flipped", "junk behind", "large"])
def test_what_simplejpeg_refuses_is_left_to_pillow(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = bytearray(encode(gradient(200, 100), "JPEG", exif=exif))
    if damage == "cut off":
        del content[len(content) * 3 // 4 :]
    elif damage == "flipped":
        content[len(content) * 3 // 4] ^= 0x55
    elif damage == "junk behind":
        content += bytes(100)
    else:
        monkeypatch.setattr(imaging, "QUICK_PIXELS", 19_999)
    answers = []
    for opener in (pillows_own, open_image):
        try:
            answers.append(np.asarray(opener(bytes(content))).tolist())
        except ImageError as error:
            answers.append(str(error))
    assert answers[0] == answers[1]


def test_resize_is_antialiased_bilinear_to_a_square() -> None:
    image = gradient(90, 60)
    expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(resize(image, 16) - expected).max() <= 1
    fine = np.zeros((64, 64, 3), np.uint8)
    fine[:, ::2] = 255  # stripes finer than the target: antialiasing must average them away
    assert np.abs(resize(Image.fromarray(fine), 16).astype(int)[2:-2, 2:-2] - 127.5).max() <= 1
    assert load(image, 16).shape == (16, 16, 3)


@given(
    extent=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    size=st.sampled_from([16, 96, 224]),
    seed=st.integers(0, 99),
    hard=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_resize_gives_the_same_bits_with_and_without_vector_instructions(
    extent: tuple[int, int], size: int, seed: int, hard: bool
) -> None:
    pytest.importorskip("cykooz_resizer")
    values = np.random.default_rng(seed).integers(0, 256, (*extent, 3), np.uint8)
    image = Image.fromarray((values > 127).astype(np.uint8) * 255 if hard else values)
    before = np.array(image)
    quick = resize(image, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampler, "_local", threading.local())
        patch.setitem(sys.modules, "cykooz_resizer", None)
        plain = resize(image, size)
    assert quick.shape == plain.shape == (size, size, 3)
    assert quick.dtype == plain.dtype == np.uint8
    assert np.array_equal(quick, plain)
    assert np.array_equal(np.array(image), before)  # the image itself is left alone


@pytest.mark.parametrize("extent", [(301, 200), (600, 450), (1000, 750), (90, 2000), (500, 224)])
def test_resize_is_pillows_filter_within_one_level_a_pass(extent: tuple[int, int]) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (extent[1], extent[0], 3), np.uint8))
    off = np.abs(
        image.resize((96, extent[1]), Image.Resampling.BILINEAR).resize((96, 96), Image.Resampling.BILINEAR)
        - resize(image, 96).astype(int)
    )
    assert off.max() <= 1
    assert (off > 0).mean() < 0.02


def test_resize_serves_several_threads() -> None:
    images = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (300, 400, 3), np.uint8)) for i in range(24)]
    alone = [resize(image, 64) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: resize(image, 64), images))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_resize_does_not_let_the_library_read_a_newer_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
    expected = resize(image, 64)
    monkeypatch.setattr(resampler, "_local", threading.local())
    monkeypatch.setattr(PIL, "__version__", "99.0.0")
    assert np.array_equal(resize(image, 64), expected)
    assert resampler._local.resizer is None


def test_resize_takes_the_width_first() -> None:
    tall = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 60, 3), np.uint8))
    narrowed = tall.resize((16, 300), Image.Resampling.BILINEAR)
    expected = np.asarray(narrowed.resize((16, 16), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(resize(tall, 16) - expected).max() <= 1


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 5), st.just(3))))
def test_normalise_follows_the_formula(pixels: np.ndarray) -> None:
    expected = ((pixels / 255.0 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)).transpose(0, 3, 1, 2)
    seen = normalise(pixels)
    assert seen.dtype == np.float32
    assert seen.flags.c_contiguous
    np.testing.assert_allclose(seen, expected, atol=1e-6)
    out = np.empty_like(seen)
    assert normalise(pixels, out=out) is out
    assert np.array_equal(out, seen)


def test_normalise_refuses_other_arrays() -> None:
    with pytest.raises(ImageError, match="uint8"):
        normalise(np.zeros((1, 4, 4, 3), np.float32))  # type: ignore[arg-type]


def test_several_threads_load_what_one_loads(tmp_path: Path) -> None:
    sources = [np.full((8, 8, 3), value, np.uint8) for value in range(20)]
    small = partial(load, size=4)
    alone = np.stack([small(source) for source in sources])
    with ThreadPoolExecutor(3) as pool:
        together = np.stack(list(pool.map(small, sources)))
        with pytest.raises(ImageError, match="no such file"):
            list(pool.map(small, [*sources, tmp_path / "none.jpg"]))
    assert alone[:, 0, 0, 0].tolist() == list(range(20))
    assert np.array_equal(alone, together)


def test_draft_decoding_is_close_to_the_contract_and_never_too_small() -> None:
    y, x = np.mgrid[0:600, 0:800]
    smooth = np.stack(
        [128 + 90 * np.sin(x / 37), 128 + 90 * np.cos(y / 29), 128 + 60 * np.sin((x + y) / 51)], -1
    ).astype(np.uint8)
    content = encode(Image.fromarray(smooth), "JPEG", quality=95)
    draft = open_image(content, draft_size=128)
    assert draft.size == (200, 150)
    assert np.abs(load(content, 128, fast=True).astype(int) - load(content, 128).astype(int)).mean() < 1.0
    assert open_image(content, draft_size=601).size == (800, 600)


def test_find_images(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "b/1.jpg", "a.webp", "notes.txt", ".hidden.jpg", ".cache/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [p.relative_to(tmp_path).as_posix() for p in find_images(tmp_path)] == ["a.webp", "b/1.jpg", "b/2.PNG"]
    assert find_images(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    with pytest.raises(ImageError, match="no such file or folder"):
        find_images(tmp_path / "none")


def test_real_images(shared_data: Path) -> None:
    paths = find_images(shared_data / "ham10000-400" / "images")[:50]
    batch = np.stack([load(path, 64) for path in paths])
    assert batch.shape == (50, 64, 64, 3)
    assert 30 < batch.mean() < 230
