"""Provenance: the training data of a model and of its teachers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lentigo.bundle import Domain, as_name
from lentigo.data.groups import recorded_groups
from lentigo.evaluation import PredictionTable
from lentigo.labels import LINE_LENGTH
from lentigo.synthetic.phantom import all_rendered
from lentigo.training import Run


@dataclass(frozen=True)
class DataFacts:
    """Facts about a data set for the bundles of models trained on it.

    Attributes:
        title: its full name.
        licence: its licence, short.
        source: citation, with a DOI or arXiv number.
        domain: kind of its images.
        bias: known gaps and over-represented groups.
        original: suffix and description of the published files; None if there is only one form.
    """

    title: str
    licence: str
    source: str
    domain: Domain
    bias: str
    original: tuple[str, str] | None = None

    @property
    def non_commercial(self) -> bool:
        """Whether the licence restricts derived works to non-commercial use."""
        return "NC" in self.licence or "non-commercial" in self.licence


DATA: dict[str, DataFacts] = {
    "ham10000": DataFacts(
        "HAM10000",
        "CC BY-NC-SA 4.0",
        "Tschandl P., Rosendahl C., Kittler H., The HAM10000 dataset, Scientific Data 5:180161 (2018), doi"
        " 10.7910/DVN/DBW86T",
        "dermoscopy",
        "Images come from two centres (Vienna and Queensland), mostly from light skin; two thirds are melanocytic nevi;"
        " lesions were chosen, and photographs cropped around them. Classes outside the seven do not occur.",
        (".jpg", "JPEG of 600 x 450 px"),
    ),
    "isic2016": DataFacts(
        "ISIC 2016, part 3",
        "CC0",
        "Gutman D. et al., Skin Lesion Analysis toward Melanoma Detection: the ISBI 2016 challenge, arXiv 1605.01397",
        "dermoscopy",
        "Images come from several centres and devices, mostly from light skin. Melanoma against all other lesions.",
        (".jpg", "JPEG of up to several thousand pixels"),
    ),
    "isic2017": DataFacts(
        "ISIC 2017, part 3",
        "the challenge's own terms",
        "Codella N. et al., Skin Lesion Analysis Toward Melanoma Detection: the 2017 ISBI challenge, arXiv 1710.05006",
        "dermoscopy",
        "Images come from several centres and devices, mostly from light skin. Melanoma, nevus and seborrheic keratosis"
        " only.",
        (".jpg", "JPEG of up to several thousand pixels"),
    ),
    "isic2018": DataFacts(
        "ISIC 2018, task 3",
        "CC BY-NC 4.0",
        "Codella N. et al., Skin Lesion Analysis Toward Melanoma Detection 2018, arXiv 1902.03368; its training images"
        " are HAM10000 (Tschandl P. et al., Scientific Data 5:180161 (2018))",
        "dermoscopy",
        "Images come mostly from two centres (Vienna and Queensland) and from light skin; two thirds are melanocytic"
        " nevi. Classes outside the seven do not occur.",
        (".jpg", "JPEG of 600 x 450 px"),
    ),
    "isic2019": DataFacts(
        "ISIC 2019",
        "CC BY-NC 4.0",
        "BCN20000 (Combalia M. et al., arXiv 1908.02288), HAM10000 (Tschandl P. et al., Scientific Data 5:180161"
        " (2018)) and MSK (Codella N. et al., arXiv 1710.05006)",
        "dermoscopy",
        "Images come from Barcelona, Vienna, Queensland and New York, mostly from light skin, each with its own image"
        " size and classes.",
        (".jpg", "JPEG of 600 x 450 to 1024 x 1024 px"),
    ),
    "isic2020": DataFacts(
        "ISIC 2020",
        "CC BY-NC 4.0",
        "Rotemberg V. et al., A patient-centric dataset of images and metadata for identifying melanomas using clinical"
        " context, Scientific Data 8:34 (2021), doi 10.1038/s41597-021-00815-z",
        "dermoscopy",
        "Images come from several centres, mostly from light skin; 1.8 % are melanomas. Most benign lesions have no"
        " diagnosis.",
        (".jpg", "JPEG of up to several thousand pixels"),
    ),
    "isic-archive": DataFacts(
        "the ISIC archive",
        "CC0, CC BY or CC BY-NC, image by image",
        "International Skin Imaging Collaboration, isic-archive.com",
        "not stated",
        "A selection from the collections of many centres, mostly from light skin.",
        (".jpg", "JPEG of up to several thousand pixels"),
    ),
    "derm7pt": DataFacts(
        "derm7pt",
        "own terms, non-commercial",
        "Kawahara J. et al., Seven-point checklist and skin lesion classification using multitask multimodal neural"
        " nets, IEEE J. Biomed. Health Inform. 23:538 (2019), doi 10.1109/JBHI.2018.2824327",
        "dermoscopy",
        "Images come from a teaching atlas, whose cases were chosen, mostly from light skin.",
        (".jpg", "JPEG of about 768 x 512 px"),
    ),
    "dermamnist": DataFacts(
        "DermaMNIST (HAM10000 at low resolution)",
        "CC BY-NC 4.0",
        "Yang J. et al., MedMNIST v2, Scientific Data 10:41 (2023), doi 10.1038/s41597-022-01721-8; "
        "images from HAM10000 (Tschandl et al. 2018)",
        "dermoscopy",
        "HAM10000 scaled down; its published split does not keep the images of one lesion together.",
    ),
    "pad_ufes_20": DataFacts(
        "PAD-UFES-20",
        "CC BY 4.0",
        "Pacheco A. G. C. et al., PAD-UFES-20, Data in Brief 32:106221 (2020), doi 10.17632/zr7vgbcyr2.1",
        "clinical",
        "Smartphone photographs from one state of Brazil. Not every diagnosis was confirmed by biopsy.",
        (".png", "PNG photographs at full size"),
    ),
    "phantoms": DataFacts(
        "rendered phantoms, not photographs of anyone",
        "Apache-2.0",
        "lentigo.synthetic.phantom",
        "phantom",
        "Drawn by a program for demonstrations. No accuracy on them says anything about skin.",
    ),
}
"""Facts by the name of the data set's reader, and of phantoms."""

MODALITY_DATA = tuple(DATA[name] for name in ("ham10000", "isic2017", "isic2019", "isic-archive", "pad_ufes_20"))
"""Data sets that the graph of `lentigo.export.modality` was trained on."""


def data_facts(run: Run, test: PredictionTable) -> DataFacts | None:
    """Return the facts about the run's data, if known; phantoms are recognised by their image ids."""
    if all_rendered(test.images.tolist()):
        return DATA["phantoms"]
    return DATA.get(str(run.record["data"]))


def data_domain(facts: DataFacts | None, run: Run) -> Domain:
    """Return the kind of the images; the recipe's ``data.domain`` where the data set does not tell it."""
    if facts is not None and facts.domain != "not stated":
        return facts.domain
    return run.recipe.data.domain or "not stated"


def training_data_facts(run: Run, facts: DataFacts | None) -> list[DataFacts | None]:
    """Return the facts about every training data set: the run's own, additional ones, then its teachers'."""
    return [facts, *(other for other, _ in _known(run, "extra")), *(other for other, _ in _known(run, "taught"))]


def model_name(run: Run) -> str:
    """Return the bundle's name: the run's if it was trained on own data, otherwise the recipe's."""
    return (as_name(str(run.record["name"])) if run.record.get("data_name") else "") or run.recipe.name


def model_title(training_data: Sequence[DataFacts | None], run: Run) -> str:
    """Describe network and data in one line, without data sets of teachers only."""
    own = f"own images ({run.record['data_name']})" if run.record.get("data_name") else "own images"
    seen = training_data[: 1 + len(run.record.get("extra", []))]
    return f"{run.recipe.network.name} trained on {' and '.join(f.title if f else own for f in seen)}"


def model_licence(training_data: Sequence[DataFacts | None]) -> str:
    """Return the licence of the model: that of the first non-commercial data set, otherwise Apache-2.0."""
    return next(
        (f"{f.licence} (as the data)" for f in training_data if f is not None and f.non_commercial), "Apache-2.0"
    )


def data_licence(training_data: Sequence[DataFacts | None]) -> str:
    """Return licences and sources of all data sets, each once, in one line; licences alone if it would be too long."""
    own = "not stated: a data set of the user's own"
    full = " | ".join(dict.fromkeys(f"{f.licence}; {f.source}" if f else own for f in training_data))
    if len(full) <= LINE_LENGTH:
        return full
    return " | ".join(dict.fromkeys(f"{f.title}: {f.licence}" if f else own for f in training_data))


def other_notes(run: Run) -> list[str]:
    """Return sentences on groups in more than one part of the split, and on additional data sets."""
    notes = []
    if shared := run.record.get("shared_groups"):
        units = recorded_groups(run.record).units
        notes.append(
            f"{shared:,} {units} have images in more than one part of the split: figures are too good for new {units}."
        )
    for (facts, entry), chosen in zip(_known(run, "extra"), run.recipe.data.extra, strict=True):
        classes = ", ".join(f"`{theirs}` as `{own}`" for theirs, own in chosen.classes.items())
        notes.append(
            f"Training, and training only, also saw {entry['images']:,} images of {_named(facts, entry)}: {classes}."
        )
    if run.record.get("extra"):
        notes.append("Published test parts of these data were left out; figures on the rest say nothing of new images.")
    taught: dict[str, list[str]] = {}
    for facts, entry in _known(run, "taught"):
        if entry.get("by") == "features":
            who = f"Training started from the features of `{entry['teacher']}`. It, or a teacher of it,"
        else:
            who = f"The teacher `{entry['teacher']}`, or a teacher of it,"
        taught.setdefault(who, []).append(f"{entry['images']:,} images of {_named(facts, entry)}")
    for who, data in taught.items():
        notes.append(f"{who} was trained on {'; '.join(data)}. Figures on these data say nothing of new images.")
    return notes


def _known(run: Run, key: str) -> list[tuple[DataFacts | None, dict[str, Any]]]:
    return [(DATA.get(entry["data"]), entry) for entry in run.record.get(key, [])]


def _named(facts: DataFacts | None, entry: dict[str, Any]) -> str:
    return f"{facts.title} ({facts.source}; licence: {facts.licence})" if facts else f"`{entry['data']}`"
