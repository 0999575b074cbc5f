"""The packaged model: whole, small, equal to its golden vectors, and as good as its card says on lesions it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lentigo.bundle import Bundle
from lentigo.data import read_samples, split_samples
from lentigo.export import check_parity
from lentigo.inference import DEFAULT, find_bundle, load, packaged_bundles, predict_paths


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return find_bundle(DEFAULT)


def test_the_default_is_packaged_and_small(bundle: Bundle) -> None:
    assert DEFAULT in packaged_bundles()
    assert bundle.model.stat().st_size < 8_000_000
    assert bundle.spec.codes == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert bundle.spec.network.parameters == 1_271_958


def test_it_gives_its_golden_answers(bundle: Bundle) -> None:
    report = check_parity(bundle)
    assert report.passed, str(report)


def test_the_card_says_what_it_must(bundle: Bundle) -> None:
    card = bundle.card
    for text in ("Not a medical device", "CC BY-NC-SA 4.0", "lesion", "Limitations", bundle.spec.provenance.fingerprint[:16]):
        assert text in card


def test_its_test_figures_can_be_measured_again(bundle: Bundle, shared_data: Path) -> None:
    spec = bundle.spec
    samples = read_samples(shared_data / "ham10000")
    if samples.fingerprint != spec.provenance.fingerprint:
        pytest.skip("the data at hand are not those of the packaged model")
    test = split_samples(samples, spec.provenance.protocol, seed=spec.provenance.split_seed).subset("test")
    codes: list[str] = []
    summary = predict_paths(load(), [test.file(i) for i in range(len(test))], progress=False, on_row=lambda row: codes.append(row.label))
    assert summary.failed == 0
    right = np.asarray(codes) == test.frame["label"].to_numpy()
    recalls = [right[test.targets == k].mean() for k in range(len(test.labels))]
    figures = spec.metrics["test"]
    # Stored as float16: an image at a boundary may change sides.
    assert np.mean(right) == pytest.approx(figures["accuracy"].value, abs=0.005)
    assert np.mean(recalls) == pytest.approx(figures["balanced_accuracy"].value, abs=0.01)
