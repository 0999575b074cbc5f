"""JPEG files without an end marker: read where no pixel is missing, refused where one is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lentigo.errors import ImageError
from lentigo.imaging import open_image
from lentigo.jpeg import end_jpeg


def jpeg(*, progressive: bool, quality: int) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((300, 200), Image.Resampling.BICUBIC).save(
        buffer, "JPEG", quality=quality, progressive=progressive
    )
    return buffer.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [50, 95])
def test_only_the_end_marker_may_be_missing(progressive: bool, quality: int) -> None:
    whole = jpeg(progressive=progressive, quality=quality)
    expected = np.asarray(open_image(whole))
    for cut in (1, 2):
        np.testing.assert_array_equal(np.asarray(open_image(whole[:-cut])), expected)
    for cut in (3, 4, 6, 20, 500, len(whole) // 2):
        with pytest.raises(ImageError, match="truncated or damaged JPEG"):
            open_image(whole[:-cut])


def test_a_file_with_its_end_is_left_alone() -> None:
    assert end_jpeg(jpeg(progressive=False, quality=50)) is None
    assert end_jpeg(b"\xff\xd8\xff" + b"\0" * 500) is None
