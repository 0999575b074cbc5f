"""The data that the stages of an export exchange."""

from __future__ import annotations

from dataclasses import dataclass

from lentigo.bundle import Abstention, Domain, Metadata
from lentigo.evaluation import Calibration, Metrics, PredictionTable
from lentigo.evaluation.conformal import Coverage
from lentigo.evaluation.metadata import MetadataEffect
from lentigo.export.images import RunImages
from lentigo.export.mobile import MobileModel
from lentigo.export.provenance import DataFacts
from lentigo.export.quantize import Variant, Weights
from lentigo.networks import Network
from lentigo.training import Run


@dataclass(frozen=True)
class About:
    """Name, title, version, domain and licence of a bundle; None for the default from the run.

    Attributes:
        name: lower case; by default the run's if it was trained on own data, otherwise the recipe's.
        title: one line of description.
        version: the bundle's version.
        domain: kind of images; by default that of a published data set or of phantoms, otherwise the recipe's.
        licence: licence of the model; by default that of non-commercial data, otherwise Apache-2.0.
        notes: a remark for the provenance and the card.
    """

    name: str | None = None
    title: str | None = None
    version: str = "1"
    domain: Domain | None = None
    licence: str | None = None
    notes: str = ""


@dataclass(frozen=True)
class Source:
    """A finished run with its calibration.

    Attributes:
        run: the run.
        validation: predictions for calibration and for checking the graph.
        test: predictions for the figures.
        images: the run's images; None if they are not available.
        facts: facts about its data set; None for a user's own.
        training_data: facts about every training data set, including those of teachers.
        calibration: temperature, operating points and prediction sets.
        metadata: likelihood ratios of age, sex and site; None if the recipe has no ``metadata``.
    """

    run: Run
    validation: PredictionTable
    test: PredictionTable
    images: RunImages | None
    facts: DataFacts | None
    training_data: list[DataFacts | None]
    calibration: Calibration
    metadata: Metadata | None = None


@dataclass(frozen=True)
class Graph:
    """The graph of a bundle.

    Attributes:
        network: the trained network.
        content: the serialised model.
        weights: kind of stored weights.
        abstention: the rule of abstention; None if it could not be fitted without images.
        variants: the measured kinds of stored weights.
        mobile: the network in formats for phones.
    """

    network: Network
    content: bytes
    weights: Weights
    abstention: Abstention | None
    variants: tuple[Variant, ...]
    mobile: tuple[MobileModel, ...] = ()


@dataclass(frozen=True)
class Figures:
    """Figures of the calibrated model on the test predictions.

    Attributes:
        metrics: all metrics with intervals.
        coverage: coverage and size of the prediction sets.
        effect: effect of the metadata; None if the model takes none.
    """

    metrics: Metrics
    coverage: Coverage
    effect: MetadataEffect | None = None
