"""Heat maps must depend on what the network has learnt (Adebayo et al., *Sanity Checks for Saliency Maps*, NeurIPS
2018).

A map that stays the same when the weights are drawn anew shows edges of the image, not the reasons of the network.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from scipy.stats import spearmanr

from lentigo.imaging import normalise
from lentigo.inference import Classifier, load
from lentigo.resampler import resize
from lentigo.synthetic import render_phantom


@pytest.fixture(scope="module")
def trained() -> Classifier:
    """The packaged model: a network that was really trained."""
    return load()


@pytest.fixture(scope="module")
def images(trained: Classifier) -> np.ndarray:
    drawn = [
        resize(render_phantom(code, seed, 160), trained.size)
        for seed in range(2)
        for code in ("mel", "nv", "bcc", "bkl", "vasc")
    ]
    return normalise(np.stack(drawn), trained.spec.input.mean, trained.spec.input.std)


def shuffled(trained: Classifier, seed: int, chosen: Callable[[int], bool]) -> onnxruntime.InferenceSession:
    """The network with the values of its weights shuffled, in each tensor whose number of axes is ``chosen``."""
    model, rng = onnx.load(trained.bundle.model), np.random.default_rng(seed)
    changed = 0
    for weight in model.graph.initializer:
        if chosen(len(weight.dims)):
            values = numpy_helper.to_array(weight).ravel().copy()
            rng.shuffle(values)
            weight.CopyFrom(numpy_helper.from_array(values.reshape(weight.dims), weight.name))
            changed += 1
    assert changed
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def similarity(trained: Classifier, images: np.ndarray, other: np.ndarray) -> float:
    """Mean rank correlation of the maps of the predicted classes; a map that is all zero has nothing in common with
    any."""
    outputs = trained.run_normalised(images)
    assert outputs.cam is not None
    found = []
    for i, k in enumerate(outputs.logits.argmax(axis=1)):
        first, second = outputs.cam[i, k].ravel(), other[i, k].ravel()
        assert np.isfinite(second).all()
        found.append(float(spearmanr(first, second).statistic) if np.ptp(first) > 0 and np.ptp(second) > 0 else 0.0)
    return float(np.mean(found))


def test_maps_of_random_weights_are_others(trained: Classifier, images: np.ndarray) -> None:
    maps = [shuffled(trained, seed, lambda axes: axes >= 2).run(["cam"], {"image": images})[0] for seed in range(3)]
    same = trained.run_normalised(images).cam
    assert same is not None
    assert similarity(trained, images, same) == pytest.approx(1, abs=1e-6)
    assert abs(np.mean([similarity(trained, images, other) for other in maps])) < 0.3


def test_maps_depend_on_the_head_alone_too(trained: Classifier, images: np.ndarray) -> None:
    """The first step of the cascade: the layers that turn features into classes; the features that are left keep some
    likeness."""
    maps = [shuffled(trained, seed, lambda axes: axes == 2).run(["cam"], {"image": images})[0] for seed in range(3)]
    assert np.mean([similarity(trained, images, other) for other in maps]) < 0.7
