"""Choice of the images on which a bundle is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lentigo.bundle import Spec
from lentigo.config.recipe import DataRecipe
from lentigo.data import Samples, kfold_samples, load_split, read_samples, split_samples
from lentigo.data.extra import extra_of, rename_classes
from lentigo.data.groups import UNKNOWN, GroupSource
from lentigo.data.readers import Missing
from lentigo.data.samples import SPLITS
from lentigo.errors import DataError, did_you_mean

ALL = "all"
_KEPT = ("fractions", "folds", "fold", "extra", "group_by", "label_by", "missing", "skip_unreadable")
_OWN_LAYOUTS = ("folder", "csv")


@dataclass(frozen=True)
class Part:
    """The images to evaluate, with a description of the choice."""

    samples: Samples
    protocol: str
    description: str
    trained_on: int | None


@dataclass(frozen=True)
class EvaluationData:
    """A data set with the bundle's classes.

    Attributes:
        samples: images that can be evaluated.
        fingerprint: fingerprint of the whole data set.
        training_images: ids of images that training used as additional data; None if it used none of this data set.
        teacher: a teacher of the bundle that was trained on this data set, if the bundle was not.
        left_out: number of images of classes that are not requested.
        classes: the data's class codes -> the bundle's, if given.
        lesions: image id -> lesion, to evaluate lesions; None to evaluate images.
        by: source of the lesion ids.
    """

    samples: Samples
    fingerprint: str
    training_images: frozenset[str] | None
    teacher: str | None
    left_out: int
    classes: Mapping[str, str] | None
    lesions: Mapping[str, str] | None = None
    by: GroupSource = UNKNOWN


def read_evaluation_data(
    data: Path, spec: Spec, classes: Mapping[str, str] | None, group_by: str | None = None, missing: Missing = "error"
) -> EvaluationData:
    """Read samples, check their classes and bring them into the bundle's order.

    Args:
        data: the data set.
        spec: the bundle's specification.
        classes: the data's class codes -> the bundle's.
        group_by: a column, or a pattern on file names, that identifies the lesion, to evaluate lesions. Splits keep
            these lesions whole if the data have no other group.
        missing: treatment of table rows without an image file.

    Raises:
        DataError: classes unknown to the bundle, ``classes`` given for its training data set, or images of one lesion
            with different classes.
    """
    samples, reading = _as_in_training(data, spec), _data_recipe(spec).reading
    if samples is None:
        reading = {"missing": missing}
        samples = read_samples(data, **reading)
    if group_by is not None:
        grouped = read_samples(data, **{**reading, "group_by": group_by}, lone_groups=True)
        samples = samples if samples.groups.known else grouped
        evaluated = _evaluation_data(samples, data, spec, classes)
        lesions = dict(zip(grouped.frame["image"], grouped.frame["group"], strict=True))
        _check_lesions(evaluated.samples, lesions, group_by)
        return replace(evaluated, lesions=lesions, by=grouped.groups)
    return _evaluation_data(samples, data, spec, classes)


def _check_lesions(samples: Samples, lesions: Mapping[str, str], group_by: str) -> None:
    labels = samples.frame["label"].groupby(samples.frame["image"].map(lesions)).unique()
    mixed = labels[labels.map(len) > 1]
    if len(mixed):
        raise DataError(
            f"{samples.root}: --group-by {group_by!r}: {len(mixed):,} groups hold pictures of different classes, the"
            f" first {mixed.index[0]!r} ({', '.join(sorted(mixed.iloc[0]))}); name what tells the lesion, not the"
            " patient"
        )


def _evaluation_data(samples: Samples, data: Path, spec: Spec, classes: Mapping[str, str] | None) -> EvaluationData:
    fingerprint = samples.fingerprint
    training_images = None
    for seen, chosen in zip(spec.provenance.extra, _data_recipe(spec).extra, strict=False):
        if seen.fingerprint == fingerprint:
            training_images = frozenset(extra_of(samples, data, chosen.classes, spec.labels).samples.frame["image"])
    teacher = next((one.teacher for one in spec.provenance.taught if one.fingerprint == fingerprint), None)
    if classes is None:
        return EvaluationData(known_classes(samples, data, spec), fingerprint, training_images, teacher, 0, None)
    if fingerprint == spec.provenance.fingerprint:
        raise DataError(f"{data}: {spec.name} was trained on this data set and has its classes; omit --classes")
    renamed = rename_classes(samples, data, classes, spec.labels)
    if not len(renamed):
        raise DataError(f"{data}: has no image of the classes {', '.join(classes)}")
    return EvaluationData(renamed, fingerprint, training_images, teacher, len(samples) - len(renamed), classes)


def _as_in_training(data: Path, spec: Spec) -> Samples | None:
    """Read the data set with the bundle's training options; None for other data or default options."""
    chosen = _data_recipe(spec)
    if chosen.reading == DataRecipe().reading:
        return None
    try:
        samples = read_samples(data, **chosen.reading)
    except DataError:
        return None
    return samples if samples.fingerprint == spec.provenance.fingerprint else None


def known_classes(samples: Samples, data: Path, spec: Spec) -> Samples:
    """Return the samples with the bundle's classes, in its order.

    Raises:
        DataError: classes unknown to the bundle.
    """
    present = [code for code in samples.labels.codes if (samples.frame["label"] == code).any()]
    foreign = [code for code in present if code not in spec.codes]
    if foreign:
        count = int(samples.frame["label"].isin(foreign).sum())
        raise DataError(
            f"{data}: {count:,} of {len(samples):,} images are of classes that {spec.name} does not have"
            f" ({', '.join(foreign)}{did_you_mean(foreign[0], spec.codes) if samples.name in _OWN_LAYOUTS else ''}); it"
            f" has {', '.join(spec.codes)}: map classes with --classes"
            " THEIRS=OURS,... (images of others are skipped), or rename them in a CSV with columns path and label"
        )
    return replace(samples, labels=spec.labels)


def choose_part(
    evaluated: EvaluationData, spec: Spec, *, split: str, split_file: str | Path | None, protocol: str | None
) -> Part:
    """Choose the images to evaluate; see ``evaluate`` for the rules.

    Raises:
        DataError: no such split, incompatible arguments, a data set that cannot be split this way, or no images
            outside the training.
    """
    if split not in (*SPLITS, ALL):
        raise DataError(f"unknown split {split!r}{did_you_mean(split, (*SPLITS, ALL))}")
    if split_file is not None and protocol is not None:
        raise DataError("a saved split and a protocol exclude each other; give one of them")
    samples, training_images = evaluated.samples, evaluated.training_images
    trained = split_of_training(samples, spec) if evaluated.fingerprint == spec.provenance.fingerprint else None
    if trained is not None:
        training_images = frozenset(trained.frame["image"][trained.frame["split"] == "train"])
    if split_file is not None:
        divided, named = load_split(samples, split_file), f"by {Path(split_file).name}"
    elif protocol is not None:
        divided, named = _divide(samples, spec, protocol), f"protocol {protocol}"
    elif trained is not None:
        divided, named = trained, f"protocol {spec.provenance.protocol}, as in training"
    elif training_images is None:
        divided, named, split = samples, "not the files of its training", ALL
        if samples.title in (spec.provenance.data, *(one.data for one in spec.provenance.extra)):
            named += f", but of the same name, {samples.title}: images of its training may be among these"
        named += f", but its teacher {evaluated.teacher} was trained on it" if evaluated.teacher else ""
    elif split == ALL:
        divided, named = samples, "training saw images of this data set as well"
    else:
        divided, named, split = samples.without(training_images), "that training has not seen", ALL
        if not len(divided):
            raise DataError(
                f"{samples.root}: {spec.name} was trained on all of these images; take others, or --split all"
            )
    chosen = divided if split == ALL else divided.subset(split)
    overlap = None if training_images is None else int(chosen.frame["image"].isin(training_images).sum())
    text = f"all {len(chosen):,} images" if split == ALL else f"{len(chosen):,} {split} images"
    text += f" ({named})" if split != ALL or trained is None else ""
    if evaluated.lesions is not None:
        text += f", as {chosen.frame['image'].map(evaluated.lesions).nunique():,} {evaluated.by.units}"
        text += f" ({evaluated.by.blank:,} images of the data set name none and stand alone)" * bool(evaluated.by.blank)
    text += f"; {evaluated.left_out:,} of other classes left out" if evaluated.left_out else ""
    if overlap:
        text += f"; {overlap:,} of them it was trained on, so that the figures do not hold for new images"
    used = (
        "all images"
        if split == ALL
        else (protocol or ("saved split" if split_file is not None else spec.provenance.protocol))
    )
    return Part(chosen, used, text, overlap)


def split_of_training(samples: Samples, spec: Spec) -> Samples:
    """Split the bundle's training data set as in its training."""
    origin = spec.provenance
    divided = _divide(samples, spec, origin.protocol)
    chosen = _data_recipe(spec)
    if chosen.folds is not None:
        divided = kfold_samples(divided, origin.protocol, folds=chosen.folds, fold=chosen.fold, seed=origin.split_seed)
    return divided


def _divide(samples: Samples, spec: Spec, protocol: str) -> Samples:
    return split_samples(samples, protocol, fractions=_data_recipe(spec).fractions, seed=spec.provenance.split_seed)


def _data_recipe(spec: Spec) -> DataRecipe:
    """Return the recipe of the bundle's split, without keys of other versions that are unknown here."""
    stored = spec.provenance.recipe.get("data") or {}
    return DataRecipe.model_validate({key: stored[key] for key in _KEPT if key in stored})
