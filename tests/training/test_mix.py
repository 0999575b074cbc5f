"""Mixup, cutmix and random erasing against slow versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_training import batch_of, given

from lentigo.config.recipe import AugmentRecipe
from lentigo.training.erase import Erase
from lentigo.training.mix import Mix, cutmix, draw_mix, mixup_ratio
from lentigo.training.streams import Draws, Stream, generator

SIZE = 20


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) + 10  # nothing near zero


def test_mixup_ratios_follow_their_distribution() -> None:
    def share(alpha: float, step: int) -> float:
        return mixup_ratio(alpha, generator(0, Stream.MIXUP, step=step))

    assert share(0, 1) == 1
    shares = np.array([share(1.0, step) for step in range(2000)])  # Beta(1, 1) is uniform
    assert shares.min() >= 0.5
    assert shares.mean() == pytest.approx(0.75, abs=0.01)
    assert share(1.0, 3) == share(1.0, 3)


def test_mixup_blends() -> None:
    x = images()
    mixed = Mix(0.7).images(x)
    for i in range(4):
        assert torch.allclose(mixed[i], 0.7 * x[i] + 0.3 * x[3 - i], atol=1e-5)


def test_cutmix_pastes_a_box_and_its_share_is_that_of_the_pixels() -> None:
    x, random = images(), np.random.default_rng(0)
    shares = []
    for _ in range(300):
        mix = cutmix(1.0, random, SIZE)
        mixed = mix.images(x)
        for i in range(4):
            own = (mixed[i] == x[i]).all(0)
            assert torch.equal(mixed[i][:, ~own], x[3 - i][:, ~own])
            assert float(own.float().mean()) == pytest.approx(mix.ratio, abs=1e-6)
        rows, columns = torch.nonzero(~own, as_tuple=True)
        if len(rows):
            # One box, and whole.
            assert (~own).sum() == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        shares.append(mix.ratio)
    assert min(shares) < 0.2
    assert max(shares) > 0.95
    assert np.mean(shares) > 0.55  # uniform, but for what is cut off at the edges


def test_what_a_recipe_asks_for() -> None:
    def kinds(**recipe: float) -> list[str]:
        found = [draw_mix(AugmentRecipe(**recipe), Draws(0, 1, step, 4), SIZE) for step in range(200)]
        return ["none" if mix is None else "mixup" if mix.box is None else "cutmix" for mix in found]

    assert set(kinds()) == {"none"}
    assert set(kinds(mixup=0.5)) == {"mixup"}
    assert set(kinds(cutmix=1.0)) == {"cutmix"}
    both = kinds(mixup=0.5, cutmix=1.0)
    assert 70 < both.count("cutmix") < 130
    assert both.count("mixup") == 200 - both.count("cutmix")


def test_mixup_is_drawn_apart_from_cutmix() -> None:
    mix = draw_mix(AugmentRecipe(mixup=0.2), Draws(5, 3, 4, 8), SIZE)
    assert mix is not None
    assert mix.ratio == mixup_ratio(0.2, generator(5, Stream.MIXUP, epoch=3, step=4))


def test_erasing_covers_a_box_of_the_authors_sizes() -> None:
    x = images(400)
    changed = Erase(0.5)(batch_of(x.clone()), given(400)).images
    covered = (changed == 0).all(1)  # (N, S, S)
    touched = covered.flatten(1).any(1)
    assert 160 < int(touched.sum()) < 240
    assert torch.equal(changed.permute(0, 2, 3, 1)[~covered], x.permute(0, 2, 3, 1)[~covered])
    areas, places = [], torch.zeros(SIZE, SIZE)
    for box in covered[touched]:
        rows, columns = torch.nonzero(box, as_tuple=True)
        height, width = int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)
        assert int(box.sum()) == height * width
        assert 0.2 < height / width < 5  # 0.3 to 3.3, rounded to pixels
        areas.append(height * width / SIZE**2)
        places += box
    assert min(areas) < 0.06
    assert 0.27 < max(areas) < 0.38
    assert float(places[1:-1, 1:-1].min()) > 0  # every place is covered once in a while
    assert torch.equal(Erase(0.0)(batch_of(x.clone()), given(400)).images, x)
