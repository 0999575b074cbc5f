"""The teachers of a run: find or train them, and refuse those that would leak."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lentigo.bundle import read_spec
from lentigo.config.recipe import Recipe, load_recipe, recipe_names
from lentigo.data import Samples
from lentigo.data.extra import Extra
from lentigo.data.tables import need_columns, read_table
from lentigo.errors import TrainingError
from lentigo.labels import LabelSet
from lentigo.training.rundir import EXTRA, RECORD, SPLIT, Run, load_run

if TYPE_CHECKING:
    from lentigo.training.distil import Teachers


def teacher_place(teacher: str, folder: Path) -> Path:
    """Return the run folder of a teacher; that of a packaged recipe is beside the student's."""
    return folder.parent / teacher if is_recipe(teacher) else Path(teacher)


def is_recipe(teacher: str) -> bool:
    """Return whether a teacher is named by its packaged recipe; a run folder of that path takes precedence."""
    return teacher in recipe_names() and not (Path(teacher) / RECORD).is_file()


def teachers_to_train(recipe: Recipe, folder: Path) -> list[Recipe]:
    """Return the packaged recipes of teachers whose runs are not finished, with the student's data.

    A teacher uses each additional data set until the epoch that its own recipe states.
    """
    same = {key: getattr(recipe.data, key) for key in ("protocol", "fractions", "split_seed", "folds", "fold")}
    found = []
    for teacher in recipe.distil.teachers:
        place = teacher_place(teacher, folder)
        if is_recipe(teacher) and not ((place / RECORD).is_file() and load_run(place).finished):
            trained = load_recipe(teacher)
            until = {one.folder: one.until_epoch for one in trained.data.extra}
            extra = [one.model_copy(update={"until_epoch": until.get(one.folder)}) for one in recipe.data.extra]
            data = trained.data.model_copy(update={**same, "extra": tuple(extra)})
            found.append(trained.model_copy(update={"data": data}))
    return found


def open_teachers(recipe: Recipe, samples: Samples, folder: Path) -> Teachers | None:
    """Load the teachers of a recipe; None if it has none.

    Args:
        recipe: the student's recipe.
        samples: the student's images, split.
        folder: the student's run folder.

    Raises:
        TrainingError: a teacher has other classes, was trained on images that the student is evaluated on, or is named
            by its recipe and was not trained on the student's other data sets.
    """
    from lentigo.training.distil import Teachers

    runs = []
    for teacher in recipe.distil.teachers:
        run = load_run(teacher_place(teacher, folder))
        check_teacher(run.folder, run.labels, samples.labels)
        check_unseen(run, samples)
        if is_recipe(teacher):
            check_extra(run, recipe)
        runs.append(run)
    return Teachers([run.network() for run in runs], recipe.distil) if runs else None


def check_unseen(teacher: Run, samples: Samples) -> None:
    """Refuse a teacher that was trained on a run's validation or test images: its predictions would leak them.

    Raises:
        TrainingError: it was.
    """
    split = samples.frame.set_index("image")["split"]
    trained = _training_images(teacher)
    if (teacher.folder / EXTRA).is_file():
        trained.update(read_table(teacher.folder / EXTRA)["image"])
    leaked = sorted(trained.intersection(split.index[split.isin(["val", "test"])]))
    if len(leaked):
        raise TrainingError(
            f"{teacher.folder}: this teacher was trained on {len(leaked):,} of the images that validate or test this"
            f" run, the first {leaked[0]!r}; a teacher must be trained on the same split (data.protocol,"
            " data.split_seed)"
        )


def check_extra(teacher: Run, student: Recipe) -> None:
    """Refuse a teacher, named by its recipe, with other additional data sets than the student's.

    With more data sets, the student would depend on data that its recipe does not name. With fewer, the teacher would
    predict images of data sets that it was not trained on.

    Raises:
        TrainingError: the data sets differ.
    """
    teachers, students = (
        [(one.folder, one.classes) for one in chosen.data.extra] for chosen in (teacher.recipe, student)
    )
    if teachers != students:
        described = [", ".join(folder for folder, _ in chosen) or "none" for chosen in (teachers, students)]
        raise TrainingError(
            f"{teacher.folder}: this teacher was trained with other data sets (data.extra: {described[0]}) than this"
            f" run has ({described[1]}); move its folder away to train it again, or name the folder in"
            " distil.teachers to use it as it is"
        )


def teacher_data(recipe: Recipe, samples: Samples, extras: Sequence[Extra], folder: Path) -> list[dict[str, Any]]:
    """List the data sets that teachers, or their teachers, were trained on and the student is not.

    Args:
        recipe: the student's recipe.
        samples: the student's images.
        extras: the student's additional data sets.
        folder: the student's run folder.

    Returns:
        For each: ``teacher`` (name of its run), ``data``, ``fingerprint`` and ``images`` (number of training images).
    """
    known = {samples.fingerprint, *(extra.fingerprint for extra in extras)}
    found = []
    for teacher in recipe.distil.teachers:
        run = load_run(teacher_place(teacher, folder))
        own = {key: run.record[key] for key in ("data", "fingerprint")} | {"images": len(_training_images(run))}
        for seen in (own, *run.record.get("extra", []), *run.record.get("taught", [])):
            if seen["fingerprint"] not in known:
                known.add(seen["fingerprint"])
                found.append({"teacher": run.folder.resolve().name, **seen})
    return found


def feature_data(recipe: Recipe, samples: Samples) -> list[dict[str, Any]]:
    """List the data sets of the bundle that a run starts from, as `teacher_data` does, with ``by``: ``features``."""
    if recipe.network.bundle is None:
        return []
    spec = read_spec(recipe.network.bundle)
    origin = spec.provenance
    own = {"data": origin.data, "fingerprint": origin.fingerprint, "images": origin.counts.get("train", 0)}
    seen = [own, *(one.model_dump(include=set(own)) for one in (*origin.extra, *origin.taught))]
    unknown = {one["fingerprint"]: one for one in reversed(seen) if one["fingerprint"] != samples.fingerprint}
    return [{"teacher": spec.name, "by": "features", **one} for one in reversed(unknown.values())]


def _training_images(run: Run) -> set[str]:
    """Return the ids of a run's own training images."""
    table = need_columns(read_table(run.folder / SPLIT), ("image", "split"), run.folder / SPLIT)
    return set(table["image"][table["split"] == "train"])


def check_teacher(folder: Path, teacher: LabelSet, student: LabelSet) -> None:
    """Refuse a teacher of other classes.

    Raises:
        TrainingError: its classes, or their order, are not the student's.
    """
    if teacher.codes != student.codes:
        raise TrainingError(
            f"{folder}: a teacher for {', '.join(teacher.codes)}, but the data has {', '.join(student.codes)}; "
            "distil.teachers must have the same classes in the same order"
        )
