"""Degradations and the skin-tone estimate: seeded, graded, and right where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lentigo.errors import DataError
from lentigo.pixels.corruptions import CORRUPTIONS, corrupt
from lentigo.pixels.skin_tone import estimate_angle, lab, typology_angle
from lentigo.synthetic import render_phantom


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.asarray(render_phantom("nv", 3, 112))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_is_seeded_and_grows_with_its_strength(name: str, pixels: np.ndarray) -> None:
    corruption = CORRUPTIONS[name]
    before = pixels.copy()
    assert 4 <= len(corruption.strengths) <= 5
    np.testing.assert_array_equal(corrupt(pixels, name, corruption.neutral), pixels)
    distances = []
    for strength in corruption.strengths:
        found = corrupt(pixels, name, strength, seed=5)
        assert found.shape == pixels.shape
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, corrupt(pixels, name, strength, seed=5))
        distances.append(float(np.abs(found.astype(float) - pixels).mean()))
    np.testing.assert_array_equal(pixels, before)
    assert min(distances) > 0
    if name == "brightness":  # from dark through as it is to light
        assert distances[0] > distances[1] > distances[2]
        assert distances[3] < distances[4]
    elif name != "rotation":
        assert distances == sorted(distances)
    if name in ("noise", "hair"):
        assert (
            corrupt(pixels, name, corruption.strengths[-1], seed=6)
            != corrupt(pixels, name, corruption.strengths[-1], seed=5)
        ).any()


def test_blur_noise_and_brightness_are_what_they_say(pixels: np.ndarray) -> None:
    expected = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.0)))
    np.testing.assert_array_equal(corrupt(pixels, "blur", 2), expected)  # the square is half of 224, so is the blur
    grey = np.full((128, 128, 3), 128, np.uint8)
    assert float((corrupt(grey, "noise", 20) - 128.0).std()) == pytest.approx(20, rel=0.02)
    assert corrupt(grey, "brightness", 0.6)[0, 0, 0] == round(128 * 0.6)
    assert corrupt(np.full((8, 8, 3), 250, np.uint8), "brightness", 1.4).min() == 255


def test_rotation_turns_about_the_centre_and_leaves_no_black_corner(pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(corrupt(pixels, "rotation", 90), np.rot90(pixels))
    even = np.full((64, 64, 3), 200, np.uint8)
    np.testing.assert_array_equal(corrupt(even, "rotation", 30), even)
    spot = np.zeros((65, 65, 3), np.uint8)
    spot[32, 52] = 255
    turned = corrupt(spot, "rotation", 45)[..., 0]
    row, column = np.unravel_index(turned.argmax(), turned.shape)
    assert (row, column) == (32 - 14, 32 + 14)


def test_an_unknown_one_is_answered_with_the_nearest(pixels: np.ndarray) -> None:
    with pytest.raises(DataError, match="unknown corruption 'blurr'; did you mean 'blur'"):
        corrupt(pixels, "blurr", 1)


# Skin tone


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_colours_agree_with_published_values(rgb: tuple[int, int, int], expected: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(lab(np.array(rgb, np.uint8)), expected, atol=0.02)


def test_the_angle_is_its_formula() -> None:
    assert typology_angle(70, 20) == pytest.approx(45)
    assert typology_angle(50, 12) == 0
    assert typology_angle(30, 20) == pytest.approx(-45)
    assert math.isnan(typology_angle(70, -1))


@pytest.mark.parametrize("skin", [(236, 200, 175), (190, 140, 110), (95, 62, 45)])
def test_skin_is_read_beside_lesion_hair_and_black_corners(skin: tuple[int, int, int]) -> None:
    expected = typology_angle(*lab(np.array(skin, np.uint8))[[0, 2]])
    plain = np.full((200, 200, 3), skin, np.uint8)
    assert estimate_angle(plain) == pytest.approx(expected, abs=0.1)
    y, x = np.mgrid[:200, :200]
    drawn = plain.copy()
    drawn[(x - 100) ** 2 + (y - 60) ** 2 < 80**2] = (40, 25, 20)  # a lesion that reaches over the upper edge
    drawn[(x - 100) ** 2 + (y - 100) ** 2 > 125**2] = 0
    drawn[:, 50:53] = (20, 15, 12)
    assert estimate_angle(drawn) == pytest.approx(expected, abs=1)


def test_no_skin_no_angle() -> None:
    assert math.isnan(estimate_angle(np.zeros((64, 64, 3), np.uint8)))
    assert math.isnan(estimate_angle(np.full((64, 64, 3), (120, 130, 220), np.uint8)))
