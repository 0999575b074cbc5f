"""What the stages of an export hand on."""

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
    """What a bundle says of itself; what is None is taken from the run.

    Attributes:
        name: lower case; by default the run's where it learnt from own data, otherwise the recipe's.
        title: one line for people.
        version: the bundle's version.
        domain: what kind of images; known for the published data sets and for phantoms, otherwise what the recipe says.
        licence: of the model; by default that of the data where it binds, otherwise Apache-2.0.
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
    """A finished run, read, with what is fitted on its validation predictions.

    Attributes:
        run: the run.
        validation: predictions that calibration, int8 weights and the graph are checked on.
        test: predictions that the figures come from.
        images: the run's images; None where they are not at hand.
        facts: of its data set; None for a user's own.
        learnt: of every data set that its knowledge comes from.
        calibration: temperature, operating points and prediction sets.
        metadata: what age, sex and site say beside the image, where the recipe wants it.
    """

    run: Run
    validation: PredictionTable
    test: PredictionTable
    images: RunImages | None
    facts: DataFacts | None
    learnt: list[DataFacts | None]
    calibration: Calibration
    metadata: Metadata | None = None


@dataclass(frozen=True)
class Graph:
    """The graph of a bundle.

    Attributes:
        network: the trained network.
        content: the serialised model.
        weights: how its weights are stored.
        abstention: when to abstain; None where no images were at hand to set it.
        variants: ways to store the weights that were measured.
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
    """Figures of the calibrated model on the test predictions; ``effect`` is of its metadata, where it takes any."""

    metrics: Metrics
    coverage: Coverage
    effect: MetadataEffect | None = None
