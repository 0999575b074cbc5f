"""Every loss against a slow version in plain Python, plus weights, deferred re-weighting and bad input."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lentigo.errors import RecipeError
from lentigo.losses import class_weights, create_loss, ldam_margins

COUNTS = [327, 514, 1099, 115, 1113, 6705, 142]  # HAM10000
NAMES = ("cross_entropy", "focal", "ldam", "joint")


def batch(n: int = 9, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(n, len(COUNTS), generator=generator)
    return logits.to(dtype), torch.arange(n) % len(COUNTS)


def log_softmax(row: list[float]) -> list[float]:
    top = max(row)
    total = math.log(sum(math.exp(v - top) for v in row))
    return [v - top - total for v in row]


def slow_weights(exponent: float) -> list[float]:
    raw = [n**-exponent for n in COUNTS]
    return [v * len(raw) / sum(raw) for v in raw]


def slow_cross_entropy(logits: list[list[float]], targets: list[int], weights: list[float], smoothing: float) -> float:
    total = 0.0
    for row, y in zip(logits, targets, strict=True):
        logs = log_softmax(row)
        spread = sum(w * value for w, value in zip(weights, logs, strict=True)) / len(row)
        total -= (1 - smoothing) * weights[y] * logs[y] + smoothing * spread
    return total / sum(weights[y] for y in targets)


def slow_focal(logits: list[list[float]], targets: list[int], weights: list[float], gamma: float) -> float:
    total = 0.0
    for row, y in zip(logits, targets, strict=True):
        log_p = log_softmax(row)[y]
        total -= weights[y] * (1 - math.exp(log_p)) ** gamma * log_p
    return total / sum(weights[y] for y in targets)


def slow_ldam(
    logits: list[list[float]], targets: list[int], weights: list[float], max_margin: float, scale: float
) -> float:
    total = 0.0
    for row, y in zip(logits, targets, strict=True):
        margin = max_margin * (min(COUNTS) / COUNTS[y]) ** 0.25
        shifted = [scale * (v - margin if j == y else v) for j, v in enumerate(row)]
        total -= weights[y] * log_softmax(shifted)[y]
    return total / sum(weights[y] for y in targets)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 9])
def test_equal_the_slow_versions(exponent: float, n: int) -> None:
    logits, targets = batch(n)
    rows, ys, weights = logits.tolist(), targets.tolist(), slow_weights(exponent)

    def fast(name: str, **options: float) -> float:
        return create_loss(name, COUNTS, weight_exponent=exponent, **options)(logits, targets).item()

    close = {"rel": 1e-5}
    assert fast("cross_entropy") == pytest.approx(slow_cross_entropy(rows, ys, weights, 0.0), **close)
    assert fast("cross_entropy", label_smoothing=0.1) == pytest.approx(
        slow_cross_entropy(rows, ys, weights, 0.1), **close
    )
    assert fast("focal") == pytest.approx(slow_focal(rows, ys, weights, 2.0), **close)
    assert fast("focal", gamma=0.5) == pytest.approx(slow_focal(rows, ys, weights, 0.5), **close)
    assert fast("ldam") == pytest.approx(slow_ldam(rows, ys, weights, 0.5, 1.0), **close)
    assert fast("ldam", max_margin=0.8, scale=30.0) == pytest.approx(slow_ldam(rows, ys, weights, 0.8, 30.0), **close)
    joint = 0.3 * slow_focal(rows, ys, weights, 2.0) + 0.7 * slow_ldam(rows, ys, weights, 0.5, 1.0)
    assert fast("joint", alpha=0.3) == pytest.approx(joint, **close)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_right(name: str) -> None:
    loss = create_loss(name, COUNTS, weight_exponent=0.5)
    logits, targets = batch()
    assert torch.autograd.gradcheck(lambda z: loss(z, targets), (logits.requires_grad_(True),))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_stable_at_extreme_logits(name: str, dtype: torch.dtype) -> None:
    loss = create_loss(name, COUNTS, weight_exponent=1.0, gamma=0.5)
    for sign in (1, -1):  # certain and right, certain and wrong
        logits = torch.zeros(2, len(COUNTS), dtype=dtype)
        logits[:, 2] = sign * 1e4
        logits.requires_grad_(True)
        value = loss(logits, torch.tensor([2, 2]))
        value.backward()
        assert value.dtype == torch.float32
        assert torch.isfinite(value)
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_near_float32(name: str) -> None:
    loss = create_loss(name, COUNTS, weight_exponent=0.5)
    logits, targets = batch(9, torch.bfloat16)
    torch.testing.assert_close(loss(logits, targets), loss(logits.float(), targets))


@given(st.floats(0, 2), st.lists(st.integers(1, 10**6), min_size=2, max_size=12))
@settings(max_examples=50, deadline=None)
def test_weights_fall_with_the_count_and_average_one(exponent: float, counts: list[int]) -> None:
    weights = class_weights(counts, exponent)
    assert weights.mean().item() == pytest.approx(1, rel=1e-5)
    by_count = [w for _, w in sorted(zip(counts, weights.tolist(), strict=True))]
    assert all(a >= b * (1 - 1e-6) for a, b in pairwise(by_count))


def test_margins() -> None:
    margins = ldam_margins(COUNTS, 0.5)
    assert margins.argmax().item() == COUNTS.index(115)
    assert margins.max().item() == pytest.approx(0.5)
    assert margins[5].item() == pytest.approx(0.5 * (115 / 6705) ** 0.25)


def test_focal_without_focus_and_ldam_without_margin_are_cross_entropy() -> None:
    logits, targets = batch()
    plain = create_loss("cross_entropy", COUNTS, weight_exponent=0.5)(logits, targets)
    torch.testing.assert_close(create_loss("focal", COUNTS, weight_exponent=0.5, gamma=0.0)(logits, targets), plain)
    torch.testing.assert_close(create_loss("ldam", COUNTS, weight_exponent=0.5, max_margin=0.0)(logits, targets), plain)


@pytest.mark.parametrize("name", NAMES)
def test_deferred_reweighting_switches_on_at_its_epoch(name: str) -> None:
    logits, targets = batch()
    deferred = create_loss(name, COUNTS, weight_exponent=1.0, drw_epoch=3)
    plain = create_loss(name, COUNTS)(logits, targets)
    weighted = create_loss(name, COUNTS, weight_exponent=1.0)(logits, targets)
    assert not torch.allclose(plain, weighted)
    for epoch, expected in [(0, plain), (2, plain), (3, weighted), (9, weighted), (1, plain)]:
        deferred.set_epoch(epoch)
        torch.testing.assert_close(deferred(logits, targets), expected)


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_logit_adjustment_equals_the_slow_version(tau: float) -> None:
    logits, targets = batch()
    shifted = [
        [v + tau * math.log(n / sum(COUNTS)) for v, n in zip(row, COUNTS, strict=True)] for row in logits.tolist()
    ]
    expected = slow_cross_entropy(shifted, targets.tolist(), [1.0] * len(COUNTS), 0.0)
    assert create_loss("cross_entropy", COUNTS, logit_adjustment=tau)(logits, targets).item() == pytest.approx(
        expected, rel=1e-6
    )


def test_losses_leave_no_trace_in_checkpoints() -> None:
    assert not create_loss("joint", COUNTS, weight_exponent=1.0, drw_epoch=1).state_dict()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("focul", {}, "did you mean 'focal'"),
        ("joint", {"alpha": 1.5}, "alpha should be from 0 to 1"),
        ("focal", {"gamma": -1.0}, "should not be negative"),
        ("ldam", {"scale": 0.0}, "scale above 0"),
        ("cross_entropy", {"label_smoothing": 1.0}, "label_smoothing should be"),
        ("focal", {"label_smoothing": 0.1}, "belongs to cross_entropy"),
        ("ldam", {"logit_adjustment": 1.0}, "belongs to cross_entropy"),
        ("focal", {"drw_epoch": 2}, "set weight_exponent above 0"),
    ],
)
def test_bad_options(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        create_loss(name, COUNTS, **options)


@pytest.mark.parametrize(("name", "exponent"), [("ldam", 0.0), ("joint", 0.0), ("cross_entropy", 1.0)])
def test_an_empty_class_is_named(name: str, exponent: float) -> None:
    with pytest.raises(RecipeError, match=r"class 1, 3 .* no training image"):
        create_loss(name, [3, 0, 2, 0], weight_exponent=exponent)
