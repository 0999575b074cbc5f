"""Random streams: the same place draws the same, and no two places or streams share a number."""

from __future__ import annotations

from itertools import product

import torch

from lentigo.training.streams import Draws, Stream, generator, torch_seed


def test_draws_depend_on_seed_and_place_only() -> None:
    assert torch.equal(Draws(3, 1, 2, 5).table(Stream.WARP, 7), Draws(3, 1, 2, 5).table(Stream.WARP, 7))
    seeds = {
        torch_seed(seed, Stream.DROPOUT, epoch=epoch, step=step)
        for seed in (-1, 0, 1)
        for epoch in range(4)
        for step in range(4)
    }
    assert len(seeds) == 48
    table = Draws(0, 0, 0, 5).table(Stream.WARP, 7)
    assert table.shape == (5, 7)
    assert table.dtype == torch.float32
    assert 0 <= float(table.min()) <= float(table.max()) < 1


def test_processes_share_out_one_table() -> None:
    whole = Draws(0, 7, 1, 8).table(Stream.ERASE, 5)
    for rank in range(3):
        assert torch.equal(Draws(0, 7, 1, 8, rank=rank, world=3).table(Stream.ERASE, 5), whole[rank::3])
        assert (
            Draws(0, 7, 1, 8, rank=rank, world=3).generator(Stream.MIXUP).random()
            == Draws(0, 7, 1, 8).generator(Stream.MIXUP).random()
        )


def test_no_two_streams_or_places_share_a_number() -> None:
    """Philox's counter holds stream, epoch and step, its key seed and item: all of them, whole, so that no two are
    alike."""
    seen = set()
    seeds, items, large = (0, 1, 2**32, 5 + 7 * 2**32, -1), (0, 1, 2), 2**40
    for stream, epoch, step, seed, item in product(Stream, (0, 1, 7, large), (0, 1, 7, large), seeds, items):
        state = generator(seed, stream, epoch=epoch, step=step, item=item).bit_generator.state["state"]
        assert state["counter"][0] == 0  # counts the blocks of this place alone
        seen.add((*state["counter"].tolist(), *state["key"].tolist()))
    assert len(seen) == len(Stream) * 4 * 4 * len(seeds) * len(items)


def test_streams_have_numbers_of_their_own() -> None:
    numbers = [generator(0, stream).integers(2**63, size=4).tolist() for stream in Stream]
    assert len({tuple(row) for row in numbers}) == len(Stream) == len(Stream.__members__)
