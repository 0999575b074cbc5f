"""Degradations of a training batch against slow versions, and as far as the recipe says."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import correlate1d
from tiny_training import batch_of, given

from lentigo.config.recipe import DegradeRecipe
from lentigo.imaging import IMAGENET_MEAN, IMAGENET_STD
from lentigo.pixels.drawing import Pixels, add_ink, add_ruler, add_vignette, draw_artifacts
from lentigo.synthetic.phantom import add_hair, render_phantom
from lentigo.training.augment import Normalise
from lentigo.training.degrade import Degrade, blur
from lentigo.training.streams import Draws, Stream

NORMALISE = Normalise(IMAGENET_MEAN, IMAGENET_STD)


def batch(count: int = 6, size: int = 48) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(60, 200, (count, size, size, 3), dtype=np.uint8)
    return NORMALISE(torch.from_numpy(pixels))


def degrade(x: torch.Tensor, tables: dict[Stream, torch.Tensor] | None = None, **recipe: Any) -> torch.Tensor:
    """A degraded copy of a batch."""
    return Degrade(DegradeRecipe(**recipe), NORMALISE)(batch_of(x.clone()), given(len(x), tables)).images


def test_blur_equals_a_slow_version() -> None:
    x, sigma = batch(3), torch.tensor([0.0, 0.7, 2.0])
    found = blur(x, sigma)
    assert torch.equal(found[0], x[0])
    radius = 5  # of the widest
    steps = np.arange(-radius, radius + 1)
    for i in (1, 2):
        kernel = np.exp(-0.5 * (steps / float(sigma[i])) ** 2)
        kernel /= kernel.sum()
        expected = correlate1d(correlate1d(x[i].numpy(), kernel, axis=1, mode="mirror"), kernel, axis=2, mode="mirror")
        assert np.allclose(found[i].numpy(), expected, atol=1e-4)


def test_noise_is_as_strong_as_the_recipe_says() -> None:
    x = batch(200)
    changed = degrade(x, probability=1.0, blur=0, noise=0.1, hair=0)
    found = ((changed - x) * NORMALISE.std[:, None, None]).std((1, 2, 3))
    assert torch.allclose(found, 0.1 * given(200).table(Stream.NOISE, 3)[:, 1], rtol=0.1, atol=1e-3)


def test_hair_is_laid_as_on_phantoms() -> None:
    pixels = np.random.default_rng(1).integers(60, 200, (40, 40, 3), dtype=np.uint8)
    last = torch.tensor([[0.0, 0.999, 0.0]])  # the last picture of the bank, not turned
    found = degrade(
        NORMALISE(torch.from_numpy(pixels[None])), {Stream.HAIR: last}, probability=1.0, blur=0, noise=0, hair=30
    )
    expected = NORMALISE(torch.from_numpy(add_hair(pixels, 47, 30)[None]))
    assert (found - expected).abs().max() < 3 / 255 / min(IMAGENET_STD)


@pytest.mark.parametrize("kind", ["blur", "noise", "hair"])
def test_share_of_images_that_change(kind: str) -> None:
    strengths = {"blur": 0.0, "noise": 0.0, "hair": 0} | {kind: {"blur": 14.0, "noise": 0.1, "hair": 20}[kind]}
    x = batch(200, 32)
    changed = degrade(x, probability=0.3, **strengths)
    assert 0.2 < float(((changed - x).abs().amax((1, 2, 3)) > 1e-6).float().mean()) < 0.4
    assert not Degrade(DegradeRecipe(**strengths), NORMALISE).active


@pytest.mark.parametrize(
    ("kind", "paint", "stream"), [("vignette", add_vignette, Stream.VIGNETTE), ("marks", draw_artifacts, Stream.MARKS)]
)
def test_artifacts_are_laid_as_drawn(kind: str, paint: Callable[[Pixels, int], Pixels], stream: Stream) -> None:
    pixels = np.random.default_rng(1).integers(60, 200, (2, 40, 40, 3), dtype=np.uint8)
    table = torch.tensor([[0.0, 0.999, 0.0], [0.0, 0.97, 0.3]])  # the last two pictures of the bank, one of them turned
    found = degrade(NORMALISE(torch.from_numpy(pixels)), {stream: table}, **{kind: 1.0})
    turned = np.rot90(paint(np.rot90(pixels[1], -1), 46))
    expected = NORMALISE(torch.from_numpy(np.stack([paint(pixels[0], 47), turned])))
    assert (found - expected).abs().max() < 4 / 255 / min(IMAGENET_STD)


@pytest.mark.parametrize("kind", ["vignette", "marks"])
def test_share_of_images_with_a_cue(kind: str) -> None:
    assert Degrade(DegradeRecipe(**{kind: 0.3}), NORMALISE).active
    x = batch(200, 32)
    changed = degrade(x, **{kind: 0.3})
    assert 0.2 < float(((changed - x).abs().amax((1, 2, 3)) > 1e-6).float().mean()) < 0.4


def test_artifacts_lie_where_they_belong() -> None:
    skin = np.full((64, 64, 3), (200, 150, 130), np.uint8)
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    for seed in range(20):
        dark = add_vignette(skin, seed).mean(2)
        assert dark[[0, 0, -1, -1], [0, -1, 0, -1]].max() < 0.9 * skin.mean()
        assert dark[np.hypot(x, y) < 0.7].min() > 0.98 * skin.mean()
        for paint in (add_ruler, add_ink):
            marked = np.abs(paint(skin, seed).astype(int) - skin).max(2) > 15
            assert 0.001 < marked.mean() < 0.2
            assert not marked[np.hypot(x, y) < 0.45].any()
            assert np.array_equal(paint(skin, seed), paint(skin, seed))


def test_jpeg_is_pillows() -> None:
    """At the size of the reference, a round through JPEG is what Pillow makes of the same pixels."""
    pixels = render_phantom("mel", 3, 224)
    table = torch.tensor([[0.0, 0.0], [0.0, 0.999]])  # the lowest quality and the highest
    x = NORMALISE(torch.from_numpy(np.stack([np.asarray(pixels)] * 2)))
    found = degrade(x, {Stream.JPEG: table}, jpeg=1.0, quality=(20, 95))
    for i, quality in enumerate((20, 95)):
        buffer = BytesIO()
        pixels.save(buffer, "JPEG", quality=quality)
        expected = NORMALISE(torch.from_numpy(np.asarray(Image.open(buffer)).copy()[None]))
        assert float((found[i] - expected[0]).abs().mean()) < 0.5 / 255 / min(IMAGENET_STD)
    assert float((found[0] - x[0]).abs().mean()) > 1.5 * float((found[1] - x[1]).abs().mean())


def test_jpeg_of_small_images_keeps_what_is_large() -> None:
    x = NORMALISE(torch.from_numpy(np.asarray(render_phantom("mel", 3, 96)).copy()[None]))
    found = degrade(x, {Stream.JPEG: torch.zeros(1, 2)}, jpeg=1.0, quality=(30, 30))
    assert found.shape == x.shape
    error = float(((found - x) * NORMALISE.std[:, None, None]).abs().mean())
    assert 0.5 / 255 < error < 8 / 255


def test_artifacts_leave_the_other_draws_alone() -> None:
    """What two kinds of degradation do together is what each does by itself."""
    x = batch(40, 32)
    blurred = degrade(x, probability=0.5, noise=0, hair=0)
    both = degrade(x, probability=0.5, noise=0, hair=0, vignette=0.2)
    dark = (degrade(x, vignette=0.2) != x).flatten(1).any(1)
    assert 0 < int(dark.sum()) < 40
    assert torch.equal(both[~dark], blurred[~dark])
    assert not torch.equal(Draws(0, 2, 7, 5).table(Stream.MARKS, 3), Draws(0, 2, 8, 5).table(Stream.MARKS, 3))


def test_a_place_in_the_run_decides() -> None:
    changes = {"probability": 0.5, "vignette": 0.5, "marks": 0.5}
    assert torch.equal(degrade(batch(), **changes), degrade(batch(), **changes))
    assert degrade(batch(), **changes).is_contiguous(memory_format=torch.channels_last)
