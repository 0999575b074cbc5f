"""Read the images of a run, check them against the recipe and split them; restore them for a resumed run."""

from __future__ import annotations

from pathlib import Path

from lentigo.config.recipe import DataRecipe, Recipe
from lentigo.data import Samples, balance_training, kfold_samples, load_split, read_samples, split_samples
from lentigo.data.extra import Extra, check_apart, read_extra
from lentigo.errors import DataError, TrainingError, did_you_mean
from lentigo.labels import label_set
from lentigo.training.rundir import SPLIT, load_run


def prepare_samples(recipe: Recipe, data: Path) -> Samples:
    """Read a data set and split it as the recipe says.

    Raises:
        DataError: the data cannot be read or split, do not fit the recipe's classes, or lack a class in training.
    """
    chosen = recipe.data
    samples = read_samples(data, **chosen.reading)
    if chosen.labels is not None:
        expected = label_set(chosen.labels).codes
        if samples.labels.codes != expected:
            strange = {code: did_you_mean(code, expected) for code in samples.labels.codes if code not in expected}
            near = "".join(
                f"; {code!r} is none of these{hint}" for code, hint in strange.items() if hint.startswith("; did")
            )
            raise DataError(
                f"{data}: the classes are {', '.join(samples.labels.codes)}, but the recipe {recipe.name} is for"
                f" {', '.join(expected)} (data.labels={chosen.labels}){near}; use --set data.labels=null to train on"
                " other classes"
            )
    samples = divide(samples, chosen)
    check_classes(samples)
    if chosen.balance == "offline" and chosen.protocol != "augmented":  # which balances the classes itself
        samples = balance_training(samples, chosen.split_seed)
    return samples


def divide(samples: Samples, chosen: DataRecipe) -> Samples:
    """Split samples as a recipe says, with its fold if it has folds.

    Raises:
        DataError: the samples cannot be split so.
    """
    samples = split_samples(samples, chosen.protocol, fractions=chosen.fractions, seed=chosen.split_seed)
    if chosen.folds is None:
        return samples
    return kfold_samples(samples, chosen.protocol, folds=chosen.folds, fold=chosen.fold, seed=chosen.split_seed)


def prepare_extras(recipe: Recipe, data: Path, samples: Samples) -> tuple[Extra, ...]:
    """Read the recipe's additional training data sets.

    Args:
        recipe: the experiment.
        data: the run's data set; folders of the others are relative to it.
        samples: the run's images, split.

    Raises:
        DataError: a data set cannot be read, or contains images that the run is evaluated on.
    """
    found = []
    for number, chosen in enumerate(recipe.data.extra):
        folder = data / chosen.folder
        if not folder.exists():
            raise DataError(
                f"{folder}: no such folder, and the recipe {recipe.name} also trains on it; name it with "
                f"--set data.extra.{number}.folder=FOLDER, or train without other data: --set 'data.extra=[]'"
            )
        found.append(read_extra(folder, chosen.classes, samples.labels))
    check_apart(samples, found)
    return tuple(found)


def check_classes(samples: Samples) -> None:
    """Check that every class has a training image.

    Raises:
        DataError: a class has none.
    """
    present = set(samples.frame["label"][samples.frame["split"] == "train"])
    missing = [code for code in samples.labels.codes if code not in present]
    if missing:
        raise DataError(
            f"{samples.root}: no training image of class {', '.join(missing)}; every class needs some: add images, or"
            " leave the class out"
        )


def samples_of(recipe: Recipe, data: Path, folder: Path, *, resumed: bool) -> Samples:
    """Read a run's images, split as the recipe says, or, for a resumed run, as at its start.

    Raises:
        DataError: as `prepare_samples`.
        TrainingError: the data differ from those at the start of the run.
    """
    if not resumed:
        return prepare_samples(recipe, data)
    samples = load_split(read_samples(data, **recipe.data.reading), folder / SPLIT)
    begun = load_run(folder).record["fingerprint"]
    if samples.fingerprint != begun:
        raise TrainingError(
            f"{data}: not the data that the run in {folder} was started with (fingerprint {samples.fingerprint[:12]}…,"
            f" then {begun[:12]}…)"
        )
    return samples


def extras_of(recipe: Recipe, data: Path, samples: Samples, folder: Path, *, resumed: bool) -> tuple[Extra, ...]:
    """Read a run's additional training data sets; for a resumed run they must be those of its start.

    Raises:
        DataError: as `prepare_extras`.
        TrainingError: the data differ from those at the start of the run.
    """
    extras = prepare_extras(recipe, data, samples)
    if resumed:
        for extra, begun in zip(extras, load_run(folder).record.get("extra", []), strict=True):
            if extra.record != begun:
                raise TrainingError(f"{extra.samples.root}: not the data that the run in {folder} was started with")
    return extras
