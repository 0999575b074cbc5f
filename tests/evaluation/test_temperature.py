from __future__ import annotations

import numpy as np
import pytest
from evaluation_tables import table

from lentigo.errors import DataError
from lentigo.evaluation import apply_temperature, fit_temperature, reliability
from lentigo.evaluation.temperature import bin_of


def draw(temperature: float, count: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    """Answers that are calibrated only once they are divided by ``temperature``."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=2, size=(count, 4))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (honest.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    loud = np.exp(logits * temperature)
    return loud / loud.sum(axis=1, keepdims=True), targets


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(true: float) -> None:
    probabilities, targets = draw(true)
    found = fit_temperature(probabilities, targets)
    assert found == pytest.approx(true, rel=0.06)
    if true != 1:
        before = reliability(probabilities, targets).ece
        assert reliability(apply_temperature(probabilities, found), targets).ece < before / 2


def test_the_fit_is_the_least_loss_on_a_grid() -> None:
    made = table(400, 11)

    def loss(t: float) -> float:
        return float(-np.log(apply_temperature(made.probabilities, t)[np.arange(400), made.targets]).mean())

    best = min(np.geomspace(0.1, 10, 2001), key=loss)
    assert fit_temperature(made.probabilities, made.targets) == pytest.approx(best, rel=3e-3)


def test_apply_temperature_is_softmax_of_scaled_logits() -> None:
    logits = np.random.default_rng(3).normal(size=(20, 5)) * 4
    softmax = lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)  # noqa: E731
    np.testing.assert_allclose(apply_temperature(softmax(logits), 1.7), softmax(logits / 1.7), atol=1e-12)
    extreme = apply_temperature(np.array([[1.0, 0.0], [1e-300, 1.0]]), 3.0)
    assert np.isfinite(extreme).all()
    np.testing.assert_allclose(extreme.sum(axis=1), 1)
    with pytest.raises(DataError, match="above 0"):
        apply_temperature(softmax(logits), 0.0)


def test_a_fit_without_limit_stops_at_its_bounds() -> None:
    sure = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert fit_temperature(sure, np.array([0, 1])) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(sure, np.array([1, 0])) == pytest.approx(20, rel=1e-3)
    with pytest.raises(DataError, match="0 rows"):
        fit_temperature(np.empty((0, 2)), np.empty(0, dtype=np.int64))


def test_ece_by_hand() -> None:
    made = table(250, 12)
    top, right = made.probabilities.max(axis=1), made.probabilities.argmax(axis=1) == made.targets
    slow = 0.0
    for b in range(15):
        inside = [i for i in range(250) if b / 15 < top[i] <= (b + 1) / 15]
        if inside:
            slow += len(inside) / 250 * abs(right[inside].mean() - top[inside].mean())
    assert reliability(made.probabilities, made.targets).ece == pytest.approx(slow)
    bins = reliability(made.probabilities, made.targets)
    assert bins.counts.sum() == 250
    assert np.isnan(bins.accuracy[0])  # seven classes: no top probability below 1/7
    assert len(bins.edges) == 16


def test_bins_are_closed_on_the_right() -> None:
    np.testing.assert_array_equal(bin_of(np.array([0.0, 0.1, 0.5, 0.51, 1.0]), 2), [0, 0, 0, 1, 1])
