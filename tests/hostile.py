"""Small files that make a decoder work: one generator a shape, seeded where it draws, each far below a megabyte or a
few."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from io import BytesIO

from PIL import Image


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 8, colour: int = 2, data: bytes | None = None
) -> bytes:
    """A PNG of zeros, with further chunks before its data."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if data is None:
        row = 1 + (width * samples * depth + 7) // 8
        packer = zlib.compressobj(9)
        block = bytes(row * max(1, 2**20 // row))
        left, parts = row * height, []
        while left > 0:
            parts.append(packer.compress(block[:left]))
            left -= len(block)
        data = b"".join(parts) + packer.flush()
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(_chunk(*c) for c in chunks)
        + _chunk(b"IDAT", data)
        + _chunk(b"IEND", b"")
    )


def jpeg(width: int = 64, height: int = 48, **options: object) -> bytes:
    """An ordinary JPEG."""
    buffer = BytesIO()
    Image.new("RGB", (width, height), (180, 120, 100)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def progressive_scans(scans: int, width: int = 4000, height: int = 4000) -> bytes:
    """A progressive JPEG that goes over its coefficients again and again, with a scan of hardly any bytes each time."""
    content = jpeg(width, height, progressive=True)
    at = content.rindex(b"\xff\xda")
    length = int.from_bytes(content[at + 2 : at + 4], "big")
    head = content[at : at + 2 + length]
    refine = head[:4] + head[4:-3] + bytes([1, 63, 0x00])  # the last scan's components, first and last coefficient
    return content[:-2] + (refine + b"\x7f") * scans + b"\xff\xd9"


def resized(content: bytes, width: int, height: int) -> bytes:
    """A progressive JPEG whose header says another size."""
    at = content.index(b"\xff\xc2") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def segments(count: int, marker: int = 0xE1, content: bytes = b"Exif\0\0") -> bytes:
    """A JPEG with many small metadata segments."""
    photo = jpeg()
    return photo[:2] + (bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content) * count + photo[2:]


def exif_of_overlapping_tags(tags: int = 1000, size: int = 50_000) -> bytes:
    """An EXIF block whose every tag claims the same bytes."""
    entries = b"".join(struct.pack("<HHLL", 40_000 + i, 7, size, 8) for i in range(tags))
    block = b"II*\0" + struct.pack("<L", 8 + size) + bytes(size) + struct.pack("<H", tags) + entries + bytes(4)
    return b"Exif\0\0" + block[:65_000]


def tiff(width: int, height: int, *entries: tuple[int, int, int, int], tail: bytes = b"", strip: bool = True) -> bytes:
    """An uncompressed grey TIFF; an entry is (tag, type, count, value or offset); the tail begins at 1024."""
    listed = {
        t[0]: t
        for t in [
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 1, 8),
            (259, 3, 1, 1),
            (262, 3, 1, 1),
            (277, 3, 1, 1),
        ]
    }
    if strip:
        listed |= {273: (273, 4, 1, 1024), 278: (278, 4, 1, height), 279: (279, 4, 1, width * height)}
    listed |= {t[0]: t for t in entries}
    body = b"".join(struct.pack("<HHLL", *listed[tag]) for tag in sorted(listed))
    return (b"II*\0" + struct.pack("<LH", 8, len(listed)) + body + bytes(4)).ljust(1024, b"\0") + tail


def huge_tile(side: int = 20_000) -> bytes:
    """A TIFF of 16 x 16 pixels with one tile that is far larger."""
    packed = zlib.compress(bytes(1000), 9)
    entries = [(259, 3, 1, 8), (322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 1024), (325, 4, 1, len(packed))]
    return tiff(16, 16, *entries, tail=packed, strip=False)


def big_tiff(count: int = 2**61, offset: int = 8) -> bytes:
    """A BigTIFF whose width has so many values at a place."""
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1) + struct.pack("<HHQQ", 256, 4, count, offset) + bytes(8)


def nested_directory(pointer: int, *entries: tuple[int, int, int]) -> bytes:
    """A TIFF with a further directory, whose entries (tag, type, count) share what lies behind it."""
    behind = 1280 + 2 + 12 * len(entries) + 4
    listed = b"".join(struct.pack("<HHLL", *entry, behind) for entry in entries)
    tail = bytes(256) + struct.pack("<H", len(entries)) + listed + bytes(4)
    return tiff(16, 16, (pointer, 4, 1, 1280), tail=tail + bytes(80_000))


def many_strips(count: int = 80_000) -> bytes:
    """A TIFF that lists its few bytes as a strip again and again."""
    offsets = struct.pack("<L", 1024) * count
    return tiff(16, 16, (273, 4, count, 1024), (278, 4, 1, 1), (279, 4, count, 1024), tail=offsets)


def run_length_bmp(width: int = 7000, height: int = 7000) -> bytes:
    """A BMP whose pixels are made by an interpreted loop."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, 256, 0)
    return (
        b"BM"
        + struct.pack("<IHHI", 1084, 0, 0, 1078)
        + head
        + bytes(range(256)) * 4
        + b"\0\2\xff\xff" * (1 + width * height // (255 * width))
    )


def gif(width: int, height: int, blocks: bytes = b"") -> bytes:
    """A GIF with further blocks before its image."""
    buffer = BytesIO()
    Image.new("L", (1, 1)).save(buffer, "GIF")
    whole = buffer.getvalue()
    image = whole.index(b",")
    screen = whole[:6] + struct.pack("<HH", width, height) + whole[10:image]
    return screen + blocks + whole[image:]


def webp(width: int, height: int, frames: int = 0) -> bytes:
    """A WebP with a canvas that its image does not need, and empty frames."""
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "WEBP", lossless=True)
    body = buffer.getvalue()[12:]
    canvas = (
        b"VP8X"
        + struct.pack("<I", 10)
        + b"\x02\0\0\0"
        + struct.pack("<I", width - 1)[:3]
        + struct.pack("<I", height - 1)[:3]
    )
    frame = bytes(6) + b"\x07\0\0\x07\0\0" + b"\x01\0\0\0" + body
    parts = canvas + b"ANIM\x06\0\0\0" + bytes(6) + (b"ANMF" + struct.pack("<I", len(frame)) + frame) * max(1, frames)
    return b"RIFF" + struct.pack("<I", len(parts) + 4) + b"WEBP" + parts


def photoshop_blocks(count: int = 40) -> bytes:
    """A JPEG with thousands of tiny Photoshop blocks, each read by an interpreted loop."""
    return segments(count, 0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0\0\0\0\0" * 5000)


def quantisation_tables(count: int = 40) -> bytes:
    """A JPEG that defines its table again and again."""
    return segments(count, 0xDB, (b"\0" + bytes([1] * 64)) * 1000)


def fill_bytes(count: int = 2_000_000, behind: bytes = b"", **options: object) -> bytes:
    """A JPEG with fill bytes before its end marker, and perhaps something before them."""
    return jpeg(**options)[:-2] + behind + b"\xff" * count + b"\xff\xd9"


JPEG_SYNTAX, DEFLATED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.1.99"


def element(group: int, number: int, kind: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element of a DICOM, explicit and little endian."""
    value += b"\0" * (len(value) % 2)
    length = len(value) if length is None else length
    long = kind in (b"OB", b"OW", b"SQ", b"UN", b"OV")
    return (
        struct.pack("<HH2s", group, number, kind)
        + (struct.pack("<HL", 0, length) if long else struct.pack("<H", length))
        + value
    )


def dicom(
    width: int = 8,
    height: int = 8,
    *more: bytes,
    syntax: str = "1.2.840.10008.1.2.1",
    pixels: bytes | None = None,
    frames: int = 1,
) -> bytes:
    """A DICOM photograph in RGB, with further elements before its pixels; packed where the transfer syntax says so."""
    meta = element(2, 0x10, b"UI", syntax.encode())
    data = (
        element(0x28, 2, b"US", struct.pack("<H", 3))
        + element(0x28, 4, b"CS", b"RGB")
        + element(0x28, 6, b"US", bytes(2))
    )
    data += element(0x28, 8, b"IS", str(frames).encode())
    data += element(0x28, 0x10, b"US", struct.pack("<H", height)) + element(0x28, 0x11, b"US", struct.pack("<H", width))
    for number, value in ((0x100, 8), (0x101, 8), (0x102, 7), (0x103, 0)):
        data += element(0x28, number, b"US", struct.pack("<H", value))
    data += b"".join(more)
    if pixels is None:
        data += element(0x7FE0, 0x10, b"OW", bytes(3 * 64))
    else:
        data += element(0x7FE0, 0x10, b"OB", pixels, 0xFFFFFFFF)
    if syntax == DEFLATED:
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        data = packer.compress(data) + packer.flush()
    return bytes(128) + b"DICM" + element(2, 0, b"UL", struct.pack("<L", len(meta))) + meta + data


def fragments(*parts: bytes, offsets: bytes = b"") -> bytes:
    """Encapsulated pixel data."""
    items = b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(part)) + part for part in (offsets, *parts))
    return items + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def nested(depth: int) -> bytes:
    """Sequences of no stated length inside each other."""
    return (element(0x40, 0xA730, b"SQ", b"", 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)) * depth


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content) + 8) + kind + content


def heic(
    width: int = 8, height: int = 8, *, items: int = 1, references: int = 0, boxes: int = 0, film: bool = False
) -> bytes:
    """The outline of a HEIC, without a picture in it."""
    shown = box(b"ispe", bytes(4) + struct.pack(">LL", width, height))
    parts = box(b"iinf", bytes(4) + struct.pack(">H", items))
    parts += box(b"iprp", box(b"ipco", shown + box(b"free", b"") * boxes))
    parts += box(b"iref", bytes(4) + box(b"dimg", bytes(2 * references)))
    return (
        box(b"ftyp", b"heic\0\0\0\0mif1heic")
        + box(b"meta", bytes(4) + parts)
        + (box(b"moov", bytes(8)) if film else b"")
    )


HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAAAERAAAEA"
    "AQAAAAABoQABAAAAAAAAAHoAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmND"
    "AQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAA"
    "AAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAA"
    "Av////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAIJtZGF0AAAAdigBrwngPgTBk5N9aRR9ZoRm3NLvUChV8FOzEtU6"
    "oBE+FebHP19RAWJ6PVGtXl2XS4Qpto1d6Tx/L4GpFkw/5e3pff/Tlg3GxI8HfxRaG0w8plnO8xd2KeZcQJU9la2uNiueWBgUpPlZcSBYaOIHnj0fX8KkGHw="
)
"""64 x 48 pixels of (200 - x, 120 + y, 90 + (x + y) // 2), written with pillow-heif at quality 60."""

HOSTILE: dict[str, Callable[[], bytes]] = {
    "a png of one column": lambda: png(1, 2_000_000, colour=0),
    "a png of one row": lambda: png(2_000_000, 1, colour=0),
    "a png of 70,000 x 700": lambda: png(70_000, 700, data=b""),
    "a run-length bmp": run_length_bmp,
    "a jpeg of 2,000 scans": lambda: progressive_scans(2000),
    "a small jpeg of 200 scans": lambda: progressive_scans(200, 64, 48),
    "a jpeg of 60 scans over 25 million pixels": lambda: resized(progressive_scans(60, 64, 48), 5000, 5000),
    "a jpeg of 100,000 exif segments": lambda: segments(100_000),
    "a jpeg of 100,000 comments": lambda: segments(100_000, 0xFE, b""),
    "a jpeg with junk between its segments": lambda: segments(1, 0xFE, b"")[:6] + b"\x01" * 1_000_000 + jpeg()[2:],
    "a jpeg of fill bytes": lambda: jpeg()[:2] + b"\xff" * 1_000_000 + jpeg()[2:],
    "a jpeg of fill bytes at its end": fill_bytes,
    "a progressive jpeg of fill bytes at its end": lambda: fill_bytes(progressive=True),
    "a jpeg of fill bytes behind an end marker in a table": lambda: fill_bytes(behind=b"\xff\xc4\0\4\xff\xd9"),
    "a jpeg of photoshop blocks": photoshop_blocks,
    "a jpeg of quantisation tables": quantisation_tables,
    "a jpeg with overlapping exif": lambda: segments(1, 0xE1, exif_of_overlapping_tags()),
    "a jpeg with overlapping mpf": lambda: segments(1, 0xE2, b"MPF\0" + exif_of_overlapping_tags()[6:]),
    "a jpeg of mpf segments": lambda: segments(40, 0xE2, b"MPF\0II*\0"),
    "a png of exif blocks": lambda: png(8, 8, *[(b"eXIf", b"II*\0")] * 40),
    "a webp of exif blocks": lambda: webp(8, 8) + b"EXIF\4\0\0\0II*\0" * 40,
    "a png with overlapping exif": lambda: png(8, 8, (b"eXIf", exif_of_overlapping_tags()[6:])),
    "a png of colour profiles": lambda: png(8, 8, *[(b"iCCP", b"p\0\0" + zlib.compress(bytes(1_000_000), 9))] * 500),
    "a png of two headers": lambda: png(8, 8, (b"IHDR", struct.pack(">IIBBBBB", 7000, 7000, 8, 6, 0, 0, 0))),
    "a png of 100,000 chunks": lambda: png(8, 8, *[(b"tIME", b"")] * 100_000),
    "a png of empty data chunks": lambda: png(8, 8, *[(b"IDAT", b"")] * 100_000),
    "a tiff with a huge tile": huge_tile,
    "a tiff of 80,000 strips": many_strips,
    "a tiff with a tag of 300,000 numbers": lambda: tiff(16, 16, (50_000, 3, 300_000, 1024), tail=bytes(600_000)),
    "a tiff with exif of 10,000 fractions": lambda: nested_directory(34665, (1, 5, 10_000)),
    "a tiff with gps of 2,000 tags": lambda: nested_directory(34853, *[(tag, 3, 8) for tag in range(2000)]),
    "a tiff of one column": lambda: tiff(1, 2_000_000, tail=bytes(1000)),
    "a tiff of overlapping tags": lambda: tiff(
        16, 16, *[(50_000 + i, 7, 900_000, 1024) for i in range(70)], tail=bytes(900_000)
    ),
    "a gif of 100,000 blocks": lambda: gif(8, 8, b"!\xfe\x01a" * 1 + b"\x01a" * 100_000 + b"\0"),
    "a webp of 10,000 frames": lambda: webp(8, 8, 10_000),
}
"""Each must be refused before a decoder sees it."""

EXTRA_HOSTILE: dict[str, Callable[[], bytes]] = {
    "a dicom of 60,000 x 60,000": lambda: dicom(60_000, 60_000),
    "a dicom of one column": lambda: dicom(1, 60_000),
    "a dicom of 100,000 fragments": lambda: dicom(syntax=JPEG_SYNTAX, pixels=fragments(*[b"\xff\xd8"] * 100_000)),
    "a dicom of 100,000 elements": lambda: dicom(8, 8, *[element(0x31, 0x10, b"US", b"ab")] * 100_000),
    "a dicom of deep sequences": lambda: dicom(8, 8, nested(5000)),
    "a dicom of 100,000 items": lambda: dicom(
        8, 8, element(0x40, 0xA730, b"SQ", struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 100_000)
    ),
    "a deflated dicom of zeros": lambda: dicom(8, 8, element(0x31, 0x10, b"OB", bytes(70 * 2**20)), syntax=DEFLATED),
    "a dicom with a larger jpeg in it": lambda: dicom(syntax=JPEG_SYNTAX, pixels=fragments(jpeg(2000, 1500))),
    "a dicom with a jpeg of 2,000 scans": lambda: dicom(
        4000, 4000, syntax=JPEG_SYNTAX, pixels=fragments(progressive_scans(2000))
    ),
    "a dicom with such a jpeg in pieces": lambda: dicom(
        4000, 4000, syntax=JPEG_SYNTAX, pixels=fragments((whole := progressive_scans(2000))[:1000], whole[1000:])
    ),
    "a dicom with a larger jpeg 2000 in it": lambda: dicom(
        syntax="1.2.840.10008.1.2.4.90",
        pixels=fragments(b"\xff\x4f\xff\x51\0\x2f\0\0" + struct.pack(">LLLL", 50_000, 50_000, 0, 0)),
    ),
    "a dicom that shows another frame": lambda: dicom(
        syntax=JPEG_SYNTAX, frames=2, pixels=fragments(jpeg(8, 8), jpeg(2000, 1500), offsets=struct.pack("<LL", 800, 0))
    ),
    "a dicom of films": lambda: dicom(syntax="1.2.840.10008.1.2.4.102", pixels=fragments(bytes(100))),
    "a dicom with a segmented palette": lambda: dicom(8, 8, element(0x28, 0x1221, b"OW", bytes(100))),
    "a heic of 60,000 x 60,000": lambda: heic(60_000, 60_000),
    "a heic of one column": lambda: heic(1, 60_000),
    "a heic of 60,000 items": lambda: heic(items=60_000),
    "a heic of 100,000 boxes": lambda: heic(boxes=100_000),
    "a heic of 60,000 tiles": lambda: heic(references=60_000),
    "a heic film": lambda: heic(film=True),
}
"""The same of the formats that the service takes only where it is told to."""
