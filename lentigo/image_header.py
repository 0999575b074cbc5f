"""Bound the cost of decoding an image before it is decoded.

Width times height does not bound the cost: an empty scan of a progressive JPEG costs as much as a full one, a TIFF of
16 x 16 pixels may have a tile of 20,000 x 20,000, and decoders join thousands of metadata segments one by one.
`check_header` reads the structure of a file without decoding, and rejects files that cost far more than their pixels.
Photographs are far below these limits.
"""

from __future__ import annotations

import io
import itertools
import re
import struct
import zlib
from collections.abc import Iterator
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
"""EXIF and MPF segments, and Photoshop blocks and quantisation tables, of a JPEG, which Pillow and `check_exif` read in
interpreted loops."""
MAX_PROFILES = 4
"""Colour profiles and EXIF blocks of a PNG or WebP; Pillow unpacks each profile, up to 1 MiB."""
MAX_STRIPS = 32_768
"""Strips or tiles of a TIFF."""
MAX_TAGS = 1_024
"""Entries of a TIFF or EXIF directory."""
MAX_VALUES = 262_144
"""Numbers in one directory: a 16-bit palette has 196,608, the strip offsets and lengths 65,536."""
MAX_BOXES = 5_000
"""Boxes of a HEIC; a photograph of 50 million pixels in tiles has a few hundred."""
MAX_REFERENCES = 16_384
"""Bytes of the references between the items of a HEIC, which list the tiles of an image."""
MAX_ELEMENTS = 20_000
"""Elements of a DICOM, including those in sequences; its library reads them in an interpreted loop."""
MAX_NESTED = 32
"""Nesting depth of DICOM sequences."""
SMALL = 4_194_304
"""Pixels of padding allowed for any image: tiles are rarely larger than 2048 x 2048."""
_MAX_JPEG_BYTES = 512 * 2**20
_MAX_JUNK = 65_536
_WINDOW = 2**20
"""Bytes per search call: a search blocks other threads."""
_SLOW_PASSES = 4
"""Cost of arithmetic and lossless JPEG, relative to Huffman-coded JPEG."""
_END_PASSES = 4
"""Number of decodings of a truncated JPEG to locate the missing part (`lentigo.jpeg`)."""
_MAX_BLOCKS = 20_000
_MAX_INFLATED, _INFLATED_AT_EASE, _INFLATED_RATIO = 512 * 2**20, 64 * 2**20, 50
"""Maximum bytes of an inflated DICOM; bytes that are always allowed; maximum ratio to its deflated bytes."""
_FILL = b"\xff" * 1024
"""A run of fill bytes longer than encoders write; decoders scan it again with each block of input."""

_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_TIFF_TYPES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# Read as unsigned, so negative numbers become too large.
_TIFF_INTEGERS = dict(zip((1, 3, 4, 6, 8, 9, 13, 16, 17, 18), "BHLBHLLQQQ", strict=True))
_WIDTH, _HEIGHT, _STRIPS, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _COMPRESSION = 256, 257, 273, 322, 323, 324, 259
_TIFF_JPEG = 7
_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965
_RATIONAL_COST = 50
"""Pillow's cost of reading a fraction, relative to an integer."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Decoding costs from the structure of a file.

    Attributes:
        width: width of the first image in pixels; 0 if the header is damaged.
        height: height of the first image in pixels; 0 if the header is damaged.
        passes: number of passes of the decoder over the pixels.
        ended: whether a JPEG has an end marker.
    """

    width: int = 0
    height: int = 0
    passes: int = 1
    ended: bool = True

    @property
    def work(self) -> int:
        """Return pixels times passes, a rough estimate of the decoding cost."""
        return self.width * self.height * self.passes


def check_header(file: BinaryIO, kind: str) -> ImageHeader:
    """Read the structure of an image file and reject it if decoding costs too much.

    Damage that costs little is not rejected; the decoder reports it.

    Args:
        file: the encoded image, seekable; its position changes.
        kind: its format, from `lentigo.imaging.sniff` or `lentigo.extra_formats.extra_format`.

    Raises:
        ImageCostError: the structure exceeds the limits of this module.
        ImageError: an unsupported variant of the format, such as run-length encoded BMP (decoded in an interpreted
            loop).
    """
    try:
        file.seek(0)
        header = _CHECKS[kind](file)
    except (struct.error, IndexError, OverflowError):  # truncated: cheap, and reported by the decoder
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
    """Reject an EXIF block whose entries claim more bytes than it has, or too many values.

    Args:
        block: the content of an EXIF or MPF segment, with or without its ``Exif`` prefix.

    Raises:
        ImageCostError: the block exceeds the limits.
    """
    file = io.BytesIO(block.removeprefix(b"Exif\0\0"))
    try:
        _read_directory(file)
    except (struct.error, IndexError, OverflowError):
        return


def _jpeg(file: BinaryIO) -> ImageHeader:
    content = file.read(_MAX_JPEG_BYTES + 1)
    if len(content) > _MAX_JPEG_BYTES:
        raise ImageCostError(f"a JPEG of more than {_MAX_JPEG_BYTES // 2**20} MiB")
    width = height = components = segments = exif = parsed = junk = 0
    progressive, passes = False, 1
    at = 2
    while True:
        found = _JPEG_MARKER.search(content, at, at + _MAX_JUNK + 3)
        junk += (found.start() if found else len(content)) - at
        if junk > _MAX_JUNK:
            raise ImageCostError(f"more than {_MAX_JUNK:,} bytes between the segments")
        if found is None:
            return ImageHeader(width, height)
        marker, at = found[1][0], found.end()
        if marker in (0x01, 0xD8, 0xD9) or 0xD0 <= marker <= 0xD7:  # markers without a length
            junk += 2
            continue
        (length,) = struct.unpack_from(">H", content, at)
        segments += 1
        if segments > MAX_SEGMENTS:
            raise ImageCostError(f"more than {MAX_SEGMENTS:,} segments")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width, components = struct.unpack_from(">HHB", content, at + 3)
            progressive |= marker in (0xC2, 0xC6, 0xCA, 0xCE)
            passes = 1 if marker <= 0xC2 else _SLOW_PASSES
        elif marker == 0xDB or (marker == 0xED and content.startswith(b"Photoshop", at + 2)):
            parsed += 1
        elif marker == 0xE1 and content.startswith(b"Exif\0\0", at + 2):
            exif += 1
            check_exif(content[at + 2 : at + length])
        elif marker == 0xE2 and content.startswith(b"MPF\0", at + 2):
            exif += 1
            check_exif(content[at + 6 : at + length])
        if max(exif, parsed) > MAX_PARSED_SEGMENTS:
            raise ImageCostError(
                f"more than {MAX_PARSED_SEGMENTS} segments of EXIF, MPF, Photoshop data or quantisation tables"
            )
        at += length
        if marker == 0xDA:
            progressive |= content[at - length + 2] < components
            break
    fill = _find(content, _FILL, at)
    if fill >= 0:
        content = content[:fill]
    ended = _find(content, b"\xff\xd9", at) >= 0
    if progressive or fill >= 0:  # otherwise the decoder reads only the first scan, with all components
        scans, ended = _walk_scans(content, at)
        if fill >= 0 and not ended:  # any data may follow the end marker
            raise ImageCostError(f"more than {len(_FILL):,} fill bytes in a row")
        if progressive and (scans > MAX_SCANS or scans * width * height > MAX_SCANNED):
            raise ImageCostError(
                f"{scans if scans <= MAX_SCANS else f'more than {MAX_SCANS}'} scans over {width} x {height} pixels"
            )
        passes *= 1 + scans // 4 if progressive else 1
    return ImageHeader(width, height, passes if ended else passes * _END_PASSES, ended)


def _walk_scans(content: bytes, at: int) -> tuple[int, bool]:
    """Return the number of scans of a JPEG (inexact above `MAX_SCANS`), and whether it has an end marker.

    ``at`` is the position of its first scan.
    """
    scans, segments = 1, 0
    while scans <= MAX_SCANS:
        found = _next_marker(content, at)
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


def _find(content: bytes, needle: bytes, at: int) -> int:
    """Search as ``bytes.find`` does, in windows of limited size."""
    for start in range(at, len(content), _WINDOW):
        found = content.find(needle, start, start + _WINDOW + len(needle) - 1)
        if found >= 0:
            return found
    return -1


def _next_marker(content: bytes, at: int) -> re.Match[bytes] | None:
    """Return the next marker that ends the data of a scan."""
    for start in range(at, len(content), _WINDOW):
        if found := _SCAN_END.search(content, start, start + _WINDOW + 1):
            return found
    return None


def _png(file: BinaryIO) -> ImageHeader:
    head = file.read(33)
    width, height = struct.unpack_from(">II", head, 16)
    chunks = data = others = profiles = 0
    while len(start := file.read(8)) == 8:
        length, kind = int.from_bytes(start[:4], "big"), start[4:]
        if kind == b"IEND":
            break
        if kind == b"IHDR":  # the decoder uses the size in the last one
            raise ImageCostError("more than one header")
        if kind in (b"IDAT", b"fdAT"):
            chunks, data = chunks + 1, data + length
        else:
            others += 1
            profiles += kind in (b"iCCP", b"eXIf")
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
        width, height = max(width, left + wide), max(height, top + high)  # the decoder enlarges the canvas
    return ImageHeader(width, height)


def _webp(file: BinaryIO) -> ImageHeader:
    file.seek(12)
    width = height = chunks = profiles = 0
    while len(start := file.read(8)) == 8:
        kind, length = start[:4], int.from_bytes(start[4:], "little")
        chunks += 1
        profiles += kind == b"EXIF"
        if chunks > MAX_SEGMENTS or profiles > MAX_PROFILES:
            raise ImageCostError("too many chunks or frames")
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
    tags = _read_directory(file, nested=True)
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


def _read_directory(file: BinaryIO, *, nested: bool = False) -> dict[int, tuple[int, ...]]:
    """Read the first directory of a TIFF: the integers of each tag that `_tiff` uses.

    Args:
        file: the TIFF, or an EXIF block.
        nested: also check the directories of EXIF, GPS and interoperability, which Pillow reads in a TIFF.

    Raises:
        ImageCostError: too many entries or values, or entries that claim more bytes than there are.
    """
    file.seek(0)
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None:
        return {}
    big = start[2:4] in (b"+\0", b"\0+")
    (at,) = struct.unpack_from(order + ("Q" if big else "L"), start, 8 if big else 4)
    tags = _read_entries(file, at, order, big=big)
    if nested:
        exif = _read_entries(file, _first(tags, _EXIF), order, big=big)
        for pointer in (_first(tags, _GPS), _first(exif, _INTEROPERABILITY)):
            _read_entries(file, pointer, order, big=big)
    return tags


def _read_entries(file: BinaryIO, at: int, order: str, *, big: bool) -> dict[int, tuple[int, ...]]:
    size = file.seek(0, io.SEEK_END)
    if not 0 < at < size:
        return {}
    file.seek(at)
    (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
    if count > MAX_TAGS:
        raise ImageCostError(f"more than {MAX_TAGS:,} tags")
    entry = struct.Struct(order + ("HHQ8s" if big else "HHL4s"))
    listed = file.read(count * entry.size)
    claimed = numbers = 0
    tags: dict[int, tuple[int, ...]] = {}
    for tag, kind, values, inline in entry.iter_unpack(listed[: len(listed) // entry.size * entry.size]):
        length = values * _TIFF_TYPES.get(kind, 0)
        data, offset = inline, 0
        if length > len(inline):
            (offset,) = struct.unpack(order + ("Q" if big else "L"), inline)
            if offset + length <= size:  # values beyond the end are not read
                claimed += length
                numbers += 0 if kind in (1, 2, 7) else values * (_RATIONAL_COST if kind in (5, 10) else 1)
                if numbers > MAX_VALUES:
                    raise ImageCostError("tags of too many numbers")
                if claimed > 2 * size + _MAX_JUNK:
                    raise ImageCostError("tags that together claim more bytes than there are")
        if tag not in _LOOKED_AT or kind not in _TIFF_INTEGERS:
            continue
        if tag in tags:
            raise ImageCostError(f"tag {tag} appears twice")
        if length > len(inline):
            file.seek(min(offset, size))
            data = file.read(min(length, size))
        whole = min(values, len(data) // _TIFF_TYPES[kind])
        tags[tag] = struct.unpack(f"{order}{whole}{_TIFF_INTEGERS[kind]}", data[: whole * _TIFF_TYPES[kind]])
    return tags


_LOOKED_AT = frozenset(
    {_WIDTH, _HEIGHT, _STRIPS, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _COMPRESSION, _EXIF, _GPS, _INTEROPERABILITY}
)


def _first(tags: dict[int, tuple[int, ...]], tag: int) -> int:
    values = tags.get(tag, ())
    return values[0] if values else 0


def _count(file: BinaryIO, needle: bytes) -> int:
    """Count a two-byte sequence in a file, except across blocks."""
    file.seek(0)
    found = 0
    while block := file.read(2**20):
        found += block.count(needle)
    return found


def _heic(file: BinaryIO) -> ImageHeader:
    end = file.seek(0, io.SEEK_END)
    width = height = 0
    for count, (kind, start, stop) in enumerate(_boxes(file, 0, end)):
        if count >= MAX_BOXES:
            raise ImageCostError(f"more than {MAX_BOXES:,} boxes")
        if kind == b"moov":
            raise ImageError("a film or image sequence; save one picture of it as JPEG or PNG")
        if kind == b"iref" and stop - start > MAX_REFERENCES:
            raise ImageCostError("too many references between its items")
        if kind in (b"iinf", b"ispe"):
            file.seek(start)
            head = file.read(12)
            if kind == b"ispe":
                width, height = max(
                    (width, height), struct.unpack_from(">II", head, 4), key=lambda extent: extent[0] * extent[1]
                )
            elif struct.unpack_from(">H" if head[0] == 0 else ">I", head, 4)[0] > MAX_SEGMENTS:
                raise ImageCostError(f"more than {MAX_SEGMENTS:,} items")
    return ImageHeader(width, height)


_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}
"""Boxes that contain boxes -> number of bytes before the first one."""


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes of an ISO base media file between two positions: kind, start and end of the content."""
    while at + 8 <= end:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        start = at + 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
            start += 8
        stop = min(end, at + size) if size else end
        if stop < start:
            return
        yield kind, start, stop
        if kind in _CONTAINERS:
            yield from _boxes(file, start + _CONTAINERS[kind], stop)
        at = stop


_IMPLICIT, _DEFLATED, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_PACKED = re.compile(r"1\.2\.840\.10008\.1\.2\.(4\.(5[017]|70|8[01]|9[01]|20[123])|5)")
"""Transfer syntaxes of still images: JPEG, JPEG-LS, JPEG 2000 and run-length encoding."""
_LONG_FORMS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SYNTAX, _ROWS, _COLUMNS = 0x00020010, 0x00280010, 0x00280011
_FIRST_SEGMENTED, _LAST_SEGMENTED, _OFFSETS, _PIXEL_DATA = 0x00281221, 0x00281224, 0x7FE00001, 0x7FE00010
_UNDEFINED = 0xFFFFFFFF


def _dicom(file: BinaryIO) -> ImageHeader:
    size = file.seek(0, io.SEEK_END)
    at, syntax = 132, ""
    for tag, _, start, length in _elements(file, at, size, explicit=True, order="<"):
        if tag >> 16 != 2:
            break
        at = start + length
        if tag == _SYNTAX:
            file.seek(start)
            syntax = file.read(min(length, 64)).rstrip(b"\0 ").decode("ascii", "replace")
    packed = not re.fullmatch(r"1\.2\.840\.10008\.1\.2(\.1|\.1\.99|\.2)?", syntax)
    if packed and not _PACKED.fullmatch(syntax):
        raise ImageError(
            f"a DICOM object of the transfer syntax {syntax!r}, which is not read; export it as JPEG or PNG"
        )
    if syntax == _DEFLATED:
        file, at = _inflate(file, at), 0
        size = file.seek(0, io.SEEK_END)
    order = ">" if syntax == _BIG_ENDIAN else "<"
    extent = {_ROWS: 0, _COLUMNS: 0}
    for tag, depth, start, length in _elements(file, at, size, explicit=syntax != _IMPLICIT, order=order):
        if depth:
            continue
        if tag in extent:
            file.seek(start)
            (extent[tag],) = struct.unpack(order + "H", file.read(2))
        elif _FIRST_SEGMENTED <= tag <= _LAST_SEGMENTED:
            raise ImageError("a DICOM image with a segmented palette, which is not read; export it as JPEG or PNG")
        elif tag == _OFFSETS:
            file.seek(start)
            _refuse_offset(file.read(min(length, 8)))
        elif tag == _PIXEL_DATA and packed:
            frame = _first_frame(file, start, size)
            _check_frame(frame, extent[_COLUMNS], extent[_ROWS])
            break
    return ImageHeader(extent[_COLUMNS], extent[_ROWS])


def _elements(file: BinaryIO, at: int, end: int, *, explicit: bool, order: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield the elements of a DICOM data set: tag, nesting depth, position of the value, its length.

    This includes elements in sequences, except in those of a known length in a data set without types, which the
    library reads on demand.

    Raises:
        ImageCostError: too many elements, or nested too deeply.
    """
    typed = [explicit]
    for count in itertools.count():
        file.seek(at)
        head = file.read(12)
        if at >= end or len(head) < 8:
            return
        if count >= MAX_ELEMENTS:
            raise ImageCostError(f"more than {MAX_ELEMENTS:,} elements")
        group, element = struct.unpack_from(order + "HH", head)
        tag, kind = group << 16 | element, b""
        start = at + 8
        if group == 0xFFFE or not typed[-1]:
            (length,) = struct.unpack_from(order + "I", head, 4)
        elif (kind := head[4:6]) in _LONG_FORMS:
            (length,) = struct.unpack_from(order + "I", head, 8)
            start += 4
        else:
            (length,) = struct.unpack_from(order + "H", head, 6)
        if tag == _SEQUENCE_END and len(typed) > 1:
            typed.pop()
        if group == 0xFFFE:
            at = start
            continue
        nested = length == _UNDEFINED and tag != _PIXEL_DATA
        yield tag, len(typed) - 1, start, end - start if length == _UNDEFINED else length
        if nested:
            typed.append(typed[-1] and kind != b"UN")
            if len(typed) > MAX_NESTED:
                raise ImageCostError(f"more than {MAX_NESTED} sequences inside each other")
        at = start if nested or kind == b"SQ" else start + (0 if length == _UNDEFINED else length)


def _inflate(file: BinaryIO, at: int) -> BinaryIO:
    """Inflate the data set of a deflated DICOM.

    Raises:
        ImageCostError: the inflated size exceeds the limits.
    """
    file.seek(at)
    packed = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        given = file.read()
        most = min(_MAX_INFLATED, max(_INFLATED_AT_EASE, _INFLATED_RATIO * len(given)))
        content = packed.decompress(given, most + 1)
    except zlib.error as error:
        raise ImageError(f"a damaged deflated DICOM ({error}); fetch it again") from None
    if len(content) > most:
        raise ImageCostError(f"it unpacks to more than {most // 2**20} MiB")
    return io.BytesIO(content)


def _first_frame(file: BinaryIO, at: int, end: int) -> bytes:
    """Return the joined fragments of encapsulated pixel data, which begin with the first frame."""
    found: list[bytes] = []
    while at + 8 <= end:
        file.seek(at)
        group, element, length = struct.unpack("<HHI", file.read(8))
        if (group << 16 | element) != _ITEM:
            break
        if len(found) > MAX_SEGMENTS:
            raise ImageCostError(f"more than {MAX_SEGMENTS:,} fragments")
        found.append(file.read(min(length, end - at)))
        at += 8 + length
    if found:
        _refuse_offset(found[0][:4])
    return b"".join(found[1:])


def _refuse_offset(first: bytes) -> None:
    """Reject an offset of the first frame that differs from the position checked here."""
    if first.strip(b"\0"):
        raise ImageError(
            "a DICOM image whose first frame does not come first, which is not read; export it as JPEG or PNG"
        )


def _check_frame(frame: bytes, width: int, height: int) -> None:
    """Reject a compressed frame that costs more than its data set declares."""
    if frame.startswith(b"\xff\xd8"):
        header = _jpeg(io.BytesIO(frame))
        extent = header.width, header.height
    elif (at := frame.find(b"\xff\x4f\xff\x51")) >= 0:  # a JPEG 2000 codestream
        right, below, left, top = struct.unpack_from(">IIII", frame, at + 8)
        extent = right - left, below - top
    else:
        return
    if extent != (0, 0) and extent != (width, height):
        raise ImageCostError(f"a frame of {extent[0]} x {extent[1]} pixels in an image of {width} x {height}")


_CHECKS = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "WEBP": _webp,
    "BMP": _bmp,
    "TIFF": _tiff,
    "HEIC": _heic,
    "DICOM": _dicom,
}
