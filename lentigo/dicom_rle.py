"""Run-length encoded frames of a DICOM, unpacked by Pillow: the decoder that comes with pydicom is an interpreted loop.

A plug-in for `pydicom.pixels.decoders.base.RLELosslessDecoder`. The encoding is PackBits, a segment for each byte of a
sample, the highest first (DICOM PS3.5, annex G).
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from PIL import Image

_HEADER = struct.Struct("<16L")
"""The number of segments, and where each begins."""


def is_available(uid: str) -> bool:
    """Whether frames of this transfer syntax are unpacked, as pydicom asks."""
    return uid == "1.2.840.10008.1.2.5"


def decode_frame(source: bytes, runner: Any) -> bytearray:
    """Unpack one frame.

    Args:
        source: the encoded frame.
        runner: pydicom's `DecodeRunner`; set to samples in planes.

    Returns:
        rows x columns little-endian samples, plane by plane.

    Raises:
        ValueError: the segments do not fit the image, or are damaged.
    """
    count, *starts = _HEADER.unpack_from(source)
    planes, pixels, width = runner.samples_per_pixel, runner.rows * runner.columns, runner.bits_allocated // 8
    if runner.bits_allocated % 8 or count != planes * width or count > len(starts):
        raise ValueError(f"{count} segments for {planes} samples of {runner.bits_allocated} bits")
    samples = np.empty((planes, pixels, width), np.uint8)
    for i, (start, end) in enumerate(zip(starts, [*starts[1:count], len(source)], strict=False)):
        segment = Image.frombytes("L", (pixels, 1), source[start:end], "packbits", "L")
        samples[i // width, :, width - 1 - i % width] = np.asarray(segment)[0]
    runner.set_option("planar_configuration", 1)
    return bytearray(samples)
