"""Bound the work of decoding an image before a decoder sees it.

Width times height does not bound a decoder: an empty scan of a progressive JPEG costs as much as a full one, a TIFF of
16 x 16 pixels may have a tile of 20,000 x 20,000, and thousands of metadata segments are joined one by one.
`check_header` reads the structure of a file, decodes nothing, and refuses what costs far more than its pixels. No
photograph comes near these limits.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from lentigo.errors import ImageCostError, ImageError

MAX_SIDE = 65_535
"""Longest side in pixels."""
MAX_ASPECT = 1000
"""Longest side as a multiple of the shorter one."""
MAX_SCANS = 100
"""Scans of a JPEG; encoders write 1 to 20."""
MAX_SCANNED = 1_000_000_000
"""Pixels of a JPEG times its scans."""
MAX_SEGMENTS = 2_000
"""Metadata segments, chunks, blocks and frames of a file."""
MAX_PARSED_SEGMENTS = 32
"""EXIF segments, and Photoshop blocks and quantisation tables, of a JPEG: Pillow joins and parses them in interpreted
loops."""
MAX_PROFILES = 4
"""Colour profiles of a PNG; Pillow unpacks each, up to 1 MiB."""
MAX_STRIPS = 32_768
"""Strips or tiles of a TIFF."""
MAX_TAGS = 1_024
"""Entries of a TIFF or EXIF directory."""
MAX_VALUES = 200_000
"""Numbers of one directory entry; a 16-bit palette has 196,608."""
SMALL = 4_194_304
"""Pixels of padding that any image may have: tiles are seldom larger than 2048 x 2048."""
_MAX_JPEG_BYTES = 512 * 2**20
_MAX_JUNK = 65_536
_MAX_BLOCKS = 20_000
_FILL = b"\xff" * 1024
"""Fill bytes in a row that no encoder writes; the decoder goes over all of them again with each block that it is
given."""

_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_TIFF_TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# Negative ones come out huge.
_TIFF_INTEGERS = dict(zip((1, 3, 4, 6, 8, 9, 13, 16, 17, 18), "BHLBHLLQQQ", strict=True))
_WIDTH, _HEIGHT, _STRIPS, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _COMPRESSION = 256, 257, 273, 322, 323, 324, 259
_TIFF_JPEG = 7


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the structure of a file says.

    Attributes:
        width: of the first image, in pixels; 0 where the header is damaged.
        height: likewise.
        passes: how often the decoder goes over the pixels.
    """

    width: int = 0
    height: int = 0
    passes: int = 1

    @property
    def work(self) -> int:
        """Pixels times passes: what decoding costs, to within a factor of a few."""
        return self.width * self.height * self.passes


def check_header(file: BinaryIO, kind: str) -> ImageHeader:
    """Read the structure of an image file and refuse what would cost too much to decode.

    Damage is left to the decoder to report, as long as it is cheap.

    Args:
        file: the encoded image, seekable; its position is not kept.
        kind: its format, as `lentigo.imaging.sniff` names it.

    Raises:
        ImageCostError: a structure beyond the limits of this module.
        ImageError: run-length encoded BMP, which is decoded by an interpreted loop.
    """
    try:
        file.seek(0)
        header = _CHECKS[kind](file)
    except (struct.error, IndexError):  # ends early: the decoder says so, and has little to read
        return ImageHeader()
    short, long = sorted((header.width, header.height))
    if long > MAX_SIDE:
        raise ImageCostError(f"{header.width} x {header.height} pixels; the longest side may have {MAX_SIDE:,}")
    if short and long > MAX_ASPECT * short:
        raise ImageCostError(
            f"{header.width} x {header.height} pixels; one side may be {MAX_ASPECT:,} times as long as the other"
        )
    return header


def check_exif(block: bytes) -> None:
    """Refuse an EXIF block whose entries together claim more bytes than it has, or too many values.

    Args:
        block: the content of an EXIF or MPF segment, with or without its ``Exif`` prefix.

    Raises:
        ImageCostError: beyond the limits.
    """
    file = io.BytesIO(block.removeprefix(b"Exif\0\0"))
    try:
        _read_directory(file)
    except (struct.error, IndexError):
        return


def _jpeg(file: BinaryIO) -> ImageHeader:
    content = file.read(_MAX_JPEG_BYTES + 1)
    if len(content) > _MAX_JPEG_BYTES:
        raise ImageCostError(f"a JPEG of more than {_MAX_JPEG_BYTES // 2**20} MiB")
    width = height = components = segments = exif = parsed = junk = 0
    progressive = False
    at = 2
    while True:
        found = _JPEG_MARKER.search(content, at)
        junk += (found.start() if found else len(content)) - at
        if junk > _MAX_JUNK:
            raise ImageCostError(f"more than {_MAX_JUNK:,} bytes between the segments")
        if found is None:
            return ImageHeader(width, height)
        marker, at = found[1][0], found.end()
        if marker in (0x01, 0xD8, 0xD9) or 0xD0 <= marker <= 0xD7:  # without a length
            junk += 2
            continue
        (length,) = struct.unpack_from(">H", content, at)
        segments += 1
        if segments > MAX_SEGMENTS:
            raise ImageCostError(f"more than {MAX_SEGMENTS:,} segments")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width, components = struct.unpack_from(">HHB", content, at + 3)
            progressive |= marker in (0xC2, 0xC6, 0xCA, 0xCE)
        elif marker == 0xDB or (marker == 0xED and content.startswith(b"Photoshop", at + 2)):
            parsed += 1
        elif marker == 0xE1 and content.startswith(b"Exif\0\0", at + 2):
            exif += 1
            check_exif(content[at + 2 : at + length])
        elif marker == 0xE2 and content.startswith(b"MPF\0", at + 2):
            check_exif(content[at + 6 : at + length])
        if max(exif, parsed) > MAX_PARSED_SEGMENTS:
            raise ImageCostError(
                f"more than {MAX_PARSED_SEGMENTS} segments of EXIF, Photoshop data or quantisation tables"
            )
        at += length
        if marker == 0xDA:
            progressive |= content[at - length + 2] < components
            break
    fill = content.find(_FILL, at)
    if fill >= 0:
        content = content[:fill]
    if fill < 0 and not progressive:  # all components in the first scan: the decoder reads no other
        return ImageHeader(width, height)
    scans, ended = _walk_scans(content, at)
    if fill >= 0 and not ended:  # behind the end marker may stand what will
        raise ImageCostError(f"more than {len(_FILL):,} fill bytes in a row")
    if not progressive:
        return ImageHeader(width, height)
    if scans > MAX_SCANS or scans * width * height > MAX_SCANNED:
        raise ImageCostError(
            f"{scans if scans <= MAX_SCANS else f'more than {MAX_SCANS}'} scans over {width} x {height} pixels"
        )
    return ImageHeader(width, height, 1 + scans // 4)


def _walk_scans(content: bytes, at: int) -> tuple[int, bool]:
    """The scans of a JPEG (inexact above `MAX_SCANS`), and whether its end marker is there.

    ``at`` is where its first scan begins.
    """
    scans, segments = 1, 0
    while scans <= MAX_SCANS:
        found = _SCAN_END.search(content, at)
        if found is None:
            return scans, False
        if found[0] == b"\xff\xd9":
            return scans, True
        scans += found[0] == b"\xff\xda"
        segments += 1
        if segments > MAX_SEGMENTS:
            raise ImageCostError(f"more than {MAX_SEGMENTS:,} segments")
        at = found.end()
        if len(content) < at + 2:
            return scans, False
        at += int.from_bytes(content[at : at + 2], "big")
    return scans, False


def _png(file: BinaryIO) -> ImageHeader:
    head = file.read(33)
    width, height = struct.unpack_from(">II", head, 16)
    chunks = data = others = profiles = 0
    while len(start := file.read(8)) == 8:
        length, kind = int.from_bytes(start[:4], "big"), start[4:]
        if kind == b"IEND":
            break
        if kind in (b"IDAT", b"fdAT"):
            chunks, data = chunks + 1, data + length
        else:
            others += 1
            profiles += kind == b"iCCP"
            if kind == b"eXIf":
                check_exif(file.read(min(length, 2**24)))
                length -= min(length, 2**24)
        if others > MAX_SEGMENTS or chunks > MAX_SEGMENTS + data // 512 or profiles > MAX_PROFILES:
            raise ImageCostError("too many chunks")
        file.seek(length + 4, io.SEEK_CUR)
    return ImageHeader(width, height)


def _gif(file: BinaryIO) -> ImageHeader:
    head = file.read(13)
    width, height, flags = struct.unpack_from("<HHB", head, 6)
    if flags & 128:
        file.seek(3 << ((flags & 7) + 1), io.SEEK_CUR)
    blocks = 0
    while (kind := file.read(1)) not in (b"", b";", b","):
        blocks += 1
        if kind == b"!":
            file.read(1)
            while size := file.read(1)[0]:
                file.seek(size, io.SEEK_CUR)
                blocks += 1
                if blocks > _MAX_BLOCKS:
                    break
        if blocks > _MAX_BLOCKS:
            raise ImageCostError(f"more than {_MAX_BLOCKS:,} blocks before the first image")
    if kind == b",":
        left, top, wide, high = struct.unpack("<HHHH", file.read(8))
        width, height = max(width, left + wide), max(height, top + high)  # the decoder enlarges the screen
    return ImageHeader(width, height)


def _webp(file: BinaryIO) -> ImageHeader:
    file.seek(12)
    width = height = chunks = 0
    while len(start := file.read(8)) == 8:
        kind, length = start[:4], int.from_bytes(start[4:], "little")
        chunks += 1
        if chunks > MAX_SEGMENTS:
            raise ImageCostError(f"more than {MAX_SEGMENTS:,} chunks or frames")
        length += length & 1
        body = b""
        if kind == b"EXIF":
            body = file.read(min(length, 2**24))
            check_exif(body)
        elif kind in (b"VP8X", b"VP8L", b"VP8 "):
            body = file.read(min(length, 10))
            if kind == b"VP8X":
                width = max(width, 1 + int.from_bytes(body[4:7], "little"))
                height = max(height, 1 + int.from_bytes(body[7:10], "little"))
            elif kind == b"VP8L":
                (bits,) = struct.unpack_from("<I", body, 1)
                width, height = max(width, 1 + (bits & 0x3FFF)), max(height, 1 + (bits >> 14 & 0x3FFF))
            else:
                wide, high = struct.unpack_from("<HH", body, 6)
                width, height = max(width, wide & 0x3FFF), max(height, high & 0x3FFF)
        file.seek(length - len(body), io.SEEK_CUR)
    return ImageHeader(width, height)


def _bmp(file: BinaryIO) -> ImageHeader:
    head = file.read(34)
    if struct.unpack_from("<I", head, 14)[0] == 12:
        width, height = struct.unpack_from("<HH", head, 18)
    else:
        width, height, _, _, compression = struct.unpack_from("<iiHHI", head, 18)
        if compression in (1, 2):
            raise ImageError("a run-length encoded BMP, which is not read here; save it as PNG or JPEG first")
    return ImageHeader(abs(width), abs(height))


def _tiff(file: BinaryIO) -> ImageHeader:
    tags = _read_directory(file)
    width, height = _first(tags, _WIDTH), _first(tags, _HEIGHT)
    pixels = width * height
    parts = max(len(tags.get(_STRIPS, ())), len(tags.get(_TILES, ())))
    if parts > MAX_STRIPS:
        raise ImageCostError(f"more than {MAX_STRIPS:,} strips or tiles")
    tile_width, tile_height = _first(tags, _TILE_WIDTH), _first(tags, _TILE_HEIGHT)
    if tile_width and tile_height:
        padded = -(-width // tile_width) * tile_width * -(-height // tile_height) * tile_height
        if padded > 4 * pixels + SMALL:
            raise ImageCostError(f"tiles of {tile_width} x {tile_height} for an image of {width} x {height} pixels")
    passes = 1
    if _first(tags, _COMPRESSION) == _TIFF_JPEG:
        scans = _count(file, b"\xff\xda")
        if scans > 4 * parts + MAX_SCANS:
            raise ImageCostError(f"{scans:,} JPEG scans in {parts:,} strips or tiles")
        passes += scans // max(1, 4 * parts)
    return ImageHeader(width, height, passes)


def _read_directory(file: BinaryIO) -> dict[int, tuple[int, ...]]:
    """The first directory of a TIFF: the integers of each tag that `_tiff` looks at.

    Raises:
        ImageCostError: the entries are too many, or claim more bytes than there are.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None:
        return {}
    big = start[2:4] in (b"+\0", b"\0+")
    (at,) = struct.unpack_from(order + ("Q" if big else "L"), start, 8 if big else 4)
    if at >= size:
        return {}
    file.seek(at)
    (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    if count > MAX_TAGS:
        raise ImageCostError(f"more than {MAX_TAGS:,} tags")
    entry = struct.Struct(order + ("HHQ8s" if big else "HHL4s"))
    listed = file.read(count * entry.size)
    claimed = 0
    tags: dict[int, tuple[int, ...]] = {}
    for tag, kind, values, inline in entry.iter_unpack(listed[: len(listed) // entry.size * entry.size]):
        length = values * _TIFF_TYPES.get(kind, 0)
        data, offset = inline, 0
        if length > len(inline):
            (offset,) = struct.unpack(order + ("Q" if big else "L"), inline)
            if offset + length <= size:  # what lies beyond the end is not read
                claimed += length
                if kind not in (1, 2, 7) and values > MAX_VALUES:
                    raise ImageCostError(f"a tag of {values:,} values")
                if claimed > 2 * size + _MAX_JUNK:
                    raise ImageCostError("tags that together claim more bytes than there are")
        if tag not in _LOOKED_AT or kind not in _TIFF_INTEGERS:
            continue
        if tag in tags:
            raise ImageCostError(f"tag {tag} appears twice")
        if length > len(inline):
            file.seek(min(offset, size))
            data = file.read(length)
        whole = min(values, len(data) // _TIFF_TYPES[kind])
        tags[tag] = struct.unpack(f"{order}{whole}{_TIFF_INTEGERS[kind]}", data[: whole * _TIFF_TYPES[kind]])
    return tags


_LOOKED_AT = frozenset({_WIDTH, _HEIGHT, _STRIPS, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _COMPRESSION})


def _first(tags: dict[int, tuple[int, ...]], tag: int) -> int:
    values = tags.get(tag, ())
    return values[0] if values else 0


def _count(file: BinaryIO, needle: bytes) -> int:
    """How often two bytes appear in a file, but for those that lie across two blocks."""
    file.seek(0)
    found = 0
    while block := file.read(2**20):
        found += block.count(needle)
    return found


_CHECKS = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "WEBP": _webp, "BMP": _bmp, "TIFF": _tiff}
