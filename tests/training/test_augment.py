"""Augmentation on the device, against slow and plain versions."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from tiny_training import batch_of, given
from torch._subclasses.fake_tensor import FakeTensorMode

from lentigo.config.recipe import AugmentRecipe, ColourRecipe
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD, normalise
from lentigo.training.augment import (
    COLOUR_COLUMNS,
    HUE,
    SCALE,
    TURN,
    WARP_COLUMNS,
    Augment,
    Normalise,
    colour_matrices,
    sampling_matrices,
)
from lentigo.training.streams import Draws, Stream

SIZE = 24
TO_INPUT = Normalise(IMAGENET_MEAN, IMAGENET_STD)
STILL = {"flip_horizontal": 0.0, "flip_vertical": 0.0, "quarter_turns": False}
STRONG = AugmentRecipe(
    rotation=180,
    scale=(0.5, 2),
    translation=0.3,
    colour=ColourRecipe(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
)


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-3)


def test_normalise_is_the_contract(pixels: torch.Tensor) -> None:
    ours = TO_INPUT(pixels)
    assert np.allclose(ours.numpy(), normalise(pixels.numpy(), IMAGENET_MEAN, IMAGENET_STD), atol=1e-6)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_nothing_asked_nothing_changed(pixels: torch.Tensor) -> None:
    changed = Augment(AugmentRecipe(**STILL), TO_INPUT)(batch_of(pixels), given(6)).images
    assert close(changed, TO_INPUT(pixels))
    assert changed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("key", "axis"), [("flip_horizontal", 3), ("flip_vertical", 2)])
def test_flips_are_flips(pixels: torch.Tensor, key: str, axis: int) -> None:
    changed = Augment(AugmentRecipe(**(STILL | {key: 1.0})), TO_INPUT)(batch_of(pixels), given(6)).images
    assert close(changed, TO_INPUT(pixels).flip(axis))


def test_flips_have_their_probability(pixels: torch.Tensor) -> None:
    matrices = sampling_matrices(AugmentRecipe(**(STILL | {"flip_horizontal": 0.3})), given(4000, seed=1), SIZE)
    assert float((matrices[:, 0, 0] < 0).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert bool((matrices[:, 1, 1] > 0).all())


def test_quarter_turns_are_exact(pixels: torch.Tensor) -> None:
    table = given(6).table(Stream.WARP, WARP_COLUMNS)
    table[:, TURN] = torch.tensor([0.0, 0.3, 0.6, 0.9, 0.26, 0.74])
    changed = Augment(AugmentRecipe(**(STILL | {"quarter_turns": True})), TO_INPUT)(
        batch_of(pixels), given(6, {Stream.WARP: table})
    ).images
    for image, before, turns in zip(changed, TO_INPUT(pixels), (0, 1, 2, 3, 1, 2), strict=True):
        assert close(image, torch.rot90(before, -turns, (1, 2)))


def test_zoom_enlarges_above_one() -> None:
    square = torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8)
    square[:, 8:16, 8:16] = 255
    table = given(1).table(Stream.WARP, WARP_COLUMNS)
    areas = []
    for place in (0.0, 0.5, 0.999):
        table[:, SCALE] = place
        out = Augment(AugmentRecipe(**STILL, scale=(0.75, 4 / 3)), TO_INPUT)(
            batch_of(square), given(1, {Stream.WARP: table})
        ).images
        areas.append(float((out[0, 0] > 0).float().sum()))
    assert areas == pytest.approx([36, 64, 114], rel=0.2)


def test_aspect_stretches_one_side_as_much_as_it_squeezes_the_other() -> None:
    draws = given(2, {Stream.WARP: torch.full((2, WARP_COLUMNS), 0.5), Stream.ASPECT: torch.tensor([[0.5], [1.0]])})
    still, stretched = sampling_matrices(
        AugmentRecipe(flip_horizontal=0, flip_vertical=0, quarter_turns=False, aspect=1.44), draws, 9
    )
    assert close(still[:, :2], torch.eye(2))
    assert close(stretched[:, :2], torch.diag(torch.tensor([1 / 1.2, 1.2])))


def test_a_share_of_a_batch_is_changed_as_in_the_whole(pixels: torch.Tensor) -> None:
    augment, own = Augment(STRONG, TO_INPUT), torch.arange(1, 6, 2)
    part = augment(batch_of(pixels[own]), Draws(0, 0, 0, 6, rank=1, world=2)).images
    assert torch.allclose(part, augment(batch_of(pixels), given(6)).images[own], atol=1e-5)


def test_everything_happens_on_the_device() -> None:
    """A pretended GPU refuses to mix with tensors of another device."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        pixels = torch.empty(6, SIZE, SIZE, 3, dtype=torch.uint8, device="cuda")
        for images in (Augment(STRONG, TO_INPUT)(batch_of(pixels), given(6)).images, TO_INPUT(pixels)):
            assert images.device.type == "cuda"
            assert images.shape == (6, 3, SIZE, SIZE)


def test_strong_augmentation_stays_in_range(pixels: torch.Tensor) -> None:
    changed = Augment(STRONG, TO_INPUT)(batch_of(pixels), given(6)).images
    back = changed * torch.tensor(IMAGENET_STD).view(3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    assert float(back.min()) >= -1e-5
    assert float(back.max()) <= 1 + 1e-5
    assert not close(changed, TO_INPUT(pixels))


def test_jitter_per_channel_leaves_the_other_draws_alone() -> None:
    draws, other = Draws(1, 2, 3, 400), given(400, {Stream.CHANNELS: torch.zeros(400, 3)})
    recipes = [ColourRecipe(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1, cast=size) for size in (0.0, 0.2)]
    (plain, _), (tinted, _) = (colour_matrices(recipe, draws) for recipe in recipes)
    jitter = draws.table(Stream.CHANNELS, 3)
    assert torch.allclose(tinted, plain * (0.8 + 0.4 * jitter)[:, :, None], atol=1e-6)
    assert float(jitter.min()) < 0.05
    assert float(jitter.max()) > 0.95
    assert not torch.allclose(jitter[:, 0], jitter[:, 1])
    assert torch.equal(other.table(Stream.COLOUR, COLOUR_COLUMNS), given(400).table(Stream.COLOUR, COLOUR_COLUMNS))


def apply(recipe: ColourRecipe, draws: Draws, colour: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    matrix, grey = colour_matrices(recipe, draws)
    return (matrix @ colour[:, :, None]).squeeze(2) + grey * (mean @ torch.tensor([0.299, 0.587, 0.114]))[:, None]


def test_colour_against_the_plain_steps() -> None:
    """Brightness, contrast and saturation one after the other, as torchvision defines them, then the cast."""
    generator = torch.Generator().manual_seed(0)
    recipe = ColourRecipe(brightness=0.3, contrast=0.3, saturation=0.3, cast=0.2)
    draws, colour, mean = given(50), torch.rand(50, 3, generator=generator), torch.rand(50, 3, generator=generator)
    luma = torch.tensor([0.299, 0.587, 0.114])
    brightness, contrast, saturation = (
        0.7 + 0.6 * draws.table(Stream.COLOUR, COLOUR_COLUMNS)[:, i : i + 1] for i in range(3)
    )
    bright = colour * brightness
    contrasted = contrast * bright + (1 - contrast) * (brightness * (mean @ luma)[:, None])
    expected = saturation * contrasted + (1 - saturation) * (contrasted @ luma)[:, None]
    expected = expected * (0.8 + 0.4 * draws.table(Stream.CHANNELS, 3))
    assert torch.allclose(apply(recipe, draws, colour, mean), expected, atol=1e-5)


def test_hue_turns_colours_and_keeps_greys() -> None:
    table = given(2).table(Stream.COLOUR, COLOUR_COLUMNS)
    table[:, HUE] = 1.0  # the largest turn
    draws = given(2, {Stream.COLOUR: table})
    colour = torch.tensor([[0.6, 0.4, 0.4], [0.5, 0.5, 0.5]])
    turned = apply(ColourRecipe(hue=0.05), draws, colour, colour)
    assert torch.allclose(turned[1], colour[1], atol=1e-4)
    luma = torch.tensor([0.299, 0.587, 0.114])
    assert torch.allclose(turned @ luma, colour @ luma, atol=1e-4)
    shift = abs(colorsys.rgb_to_hsv(*turned[0].tolist())[0] - colorsys.rgb_to_hsv(*colour[0].tolist())[0])
    assert min(shift, 1 - shift) == pytest.approx(0.05, abs=0.03)  # an angle in YIQ is nearly one in HSV
