"""Writes one file of each kind of broken, foreign or hostile image, with what its error message must say."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def write_broken(folder: Path) -> dict[str, str]:
    """Fill ``folder`` with broken images.

    Returns:
        File name -> a piece of text that the error message must hold; over 30 kinds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image = _picture()
    jpeg, png, webp, tiff, gif, bmp = (_encode(image, kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"))
    rng = np.random.default_rng(0)
    kinds: dict[str, tuple[bytes, str]] = {
        "empty.jpg": (b"", "empty"),
        "text.jpg": (b"this is a note about a lesion\n", "not an image"),
        "html.png": (b"<!DOCTYPE html><html><body>404 not found</body></html>", "web page"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "truncated.png": (png[: len(png) // 2], "truncated"),
        "truncated.webp": (webp[: len(webp) // 2], "damaged"),
        "truncated.tif": (tiff[: len(tiff) // 2], "damaged"),
        "truncated.gif": (gif[: len(gif) // 2], "truncated"),
        "truncated.bmp": (bmp[: len(bmp) // 2], "truncated"),
        "magic_only.jpg": (jpeg[:4], "damaged JPEG"),
        "magic_only.png": (png[:8], "damaged PNG"),
        "scan_missing.jpg": (jpeg[: jpeg.index(b"\xff\xda")], "damaged JPEG"),
        "flipped_bytes.png": (_flip(png, len(png) // 2, 64), "damaged PNG"),
        "bad_header_checksum.png": (_flip(png, 29, 2), "damaged PNG"),
        "zeros.jpg": (bytes(2000), "not an image"),
        "noise.jpg": (b"\x01" + rng.bytes(2000), "not an image"),
        "no_magic.jpg": (b"XXXX" + jpeg[4:], "not an image"),
        "bomb.png": (_png_header(60_000, 60_000), "too large"),
        "large_bomb.bmp": (_bmp_header(12_000, 12_000), "too large"),
        "no_width.png": (_png_header(0, 10), "PNG"),
        "photo.heic": (_ftyp(b"heic", b"mif1"), "HEIC"),
        "heic_called.jpg": (_ftyp(b"heix", b"mif1"), "HEIC"),
        "photo.avif": (_ftyp(b"avif", b"mif1"), "AVIF"),
        "video.jpg": (_ftyp(b"isom", b"mp41"), "video"),
        "photo.jxl": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "JPEG XL"),
        "photo.jp2": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50), "JPEG 2000"),
        "scan.dcm": (bytes(128) + b"DICM" + bytes(100), "DICOM"),
        "drawing.svg": (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        "layers.psd": (b"8BPS\0\1" + bytes(100), "Photoshop"),
        "document.jpg": (b"%PDF-1.7\n" + bytes(100), "PDF"),
        "archive.jpg": (b"PK\x03\x04" + bytes(100), "zip archive"),
        "packed.jpg": (b"\x1f\x8b\x08" + bytes(100), "gzip archive"),
        "array.png": (_npy(), "NumPy array"),
        "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        "integers.tif": (_encode(Image.fromarray(np.array([[0, 1_000_000]], np.int32)), "TIFF"), "32-bit samples"),
        "floats.tif": (
            _encode(Image.fromarray(np.array([[-3.0, np.nan]], np.float32)), "TIFF"),
            "floating-point samples",
        ),
    }
    for name, (content, _) in kinds.items():
        (folder / name).write_bytes(content)
    expected = {name: text for name, (_, text) in kinds.items()}
    if hasattr(os, "mkfifo"):
        (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
        os.mkfifo(folder / "pipe.jpg")  # opening it would wait for ever
        expected |= {"dangling.jpg": "no such file", "pipe.jpg": "not a regular file"}
    return expected


def _picture() -> Image.Image:
    rng = np.random.default_rng(7)
    return Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))


def _encode(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def _flip(content: bytes, start: int, count: int) -> bytes:
    return content[:start] + bytes(byte ^ 0xFF for byte in content[start : start + count]) + content[start + count :]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png_header(width: int, height: int) -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(bytes(1000))) + _chunk(b"IEND", b"")


def _bmp_header(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(100)
    )


def _ftyp(*brands: bytes) -> bytes:
    content = brands[0] + bytes(4) + b"".join(brands)
    return struct.pack(">I", 8 + len(content)) + b"ftyp" + content + bytes(200)


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()
