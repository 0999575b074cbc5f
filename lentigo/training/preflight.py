"""Check what a run needs without importing torch: folder, recipe, network, weights, data, disk."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lentigo.bundle import Spec, read_spec
from lentigo.config.recipe import Recipe, load_recipe, recipe_differences
from lentigo.data import Samples
from lentigo.data.cache import bytes_to_build
from lentigo.data.extra import Extra
from lentigo.errors import NetworkError, OutputError, RecipeError, TrainingError, did_you_mean
from lentigo.machine import default_directory
from lentigo.networks.options import check_listed
from lentigo.text import counted
from lentigo.training.rundir import LAST, RECIPE, RECORD, load_run
from lentigo.training.samples import extras_of, prepare_extras, prepare_samples, samples_of
from lentigo.training.teachers import is_recipe, teacher_place

# Keys that may change when a run is resumed.
_FREE = frozenset({"name", "description", "network.pretrained"})
_RUN_BYTES = 64 * 2**20
"""Bytes for checkpoints, tables and logs of a small network."""


@dataclass(frozen=True)
class Ready:
    """The data of a run, read and split.

    Attributes:
        samples: images of its data set.
        extras: images of other data sets, for training only.
    """

    samples: Samples
    extras: tuple[Extra, ...]


def check_run(
    recipe: Recipe, data: Path, folder: Path, *, resume: bool = False, cache: Path | None = None
) -> Ready | None:
    """Check what a run needs, and read its data.

    Args:
        recipe: the experiment.
        data: the data set.
        folder: the run folder.
        resume: whether to resume the run in that folder.
        cache: folder of decoded images; None for the user's.

    Returns:
        The data; None if the run in ``folder`` is finished.

    Raises:
        LentigoError: the folder, the recipe, the network, the weights, the data or the disk cannot be used.
    """
    if is_first_process() or resume:
        check_folder(folder, recipe, resume=resume)
    begun = resume and (folder / LAST).is_file()
    if begun and load_run(folder).finished:
        return None
    spec = None if begun else check_start(recipe)
    check_listed(recipe.network.name, recipe.network.options)
    for teacher in recipe.distil.teachers:
        if not is_recipe(teacher):
            load_run(teacher_place(teacher, folder))
    samples = samples_of(recipe, data, folder, resumed=begun)
    if spec is not None:
        check_unseen(spec, recipe, samples)
    ready = Ready(samples, extras_of(recipe, data, samples, folder, resumed=begun))
    _check_disk(recipe, ready, folder, cache)
    return ready


def describe(recipe: Recipe, data: str | Path) -> str:
    """Describe a run without training.

    Raises:
        LentigoError: as `check_run`.
    """
    spec = check_start(recipe)
    check_listed(recipe.network.name, recipe.network.options)
    samples = prepare_samples(recipe, Path(data))
    if spec is not None:
        check_unseen(spec, recipe, samples)
    return describe_ready(recipe, Ready(samples, prepare_extras(recipe, Path(data), samples)))


def describe_ready(recipe: Recipe, ready: Ready) -> str:
    """Describe a run on data that are already read."""
    sizes = ", ".join(f"{s.size} px from epoch {s.from_epoch + 1}" for s in recipe.sizes)
    lines = [
        f"recipe {recipe.name}: {recipe.description}",
        f"{recipe.network.name}, pretrained: {recipe.network.pretrained}; loss {recipe.loss.name}",
        (
            f"{counted(recipe.epochs, 'epoch')}, batch {recipe.batch}, {sizes}; {recipe.optimiser.name},"
            f" {recipe.schedule.name} schedule"
        ),
        f"protocol {recipe.data.protocol}, split seed {recipe.data.split_seed}",
    ]
    if recipe.pretrain.epochs:
        lines.append(
            f"self-supervised pretraining: {counted(recipe.pretrain.epochs, 'epoch')} at {recipe.pretrain.size} px"
        )
    if recipe.distil.teachers:
        lines.append(f"teachers: {', '.join(recipe.distil.teachers)}")
    lines.append(repr(ready.samples))
    lines += [
        f"and, for training only, {len(extra.samples):,} images of {extra.samples.name} ({extra.samples.root})"
        for extra in ready.extras
    ]
    return "\n".join(lines)


def check_folder(folder: Path, recipe: Recipe, *, resume: bool) -> None:
    """Check that a run can be written to a folder, or resumed in it.

    Raises:
        TrainingError: the folder contains a run or other files; or no run to resume, or one of another recipe.
        OutputError: the folder cannot be created or written.
    """
    if not resume:
        if (folder / RECORD).exists() or (folder / RECIPE).exists():
            raise TrainingError(
                f"{folder}: contains a run already; continue it with --resume, or name another folder with --out"
            )
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise TrainingError(f"{folder}: exists and is not empty; name another folder with --out")
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            raise OutputError(f"{folder}: cannot be created, {there} is not a writable folder; name another with --out")
        return
    if not (folder / RECIPE).is_file():
        raise TrainingError(f"{folder}: no run to resume; start one without --resume")
    differences = [key for key in recipe_differences(recipe, load_recipe(folder / RECIPE)) if key not in _FREE]
    if differences:
        raise TrainingError(
            f"{folder}: the run has another recipe ({', '.join(differences)} differ); resume with the same"
            f" recipe and --set, such as {folder / RECIPE}, or name another folder with --out"
        )


def check_start(recipe: Recipe) -> Spec | None:
    """Check the weights that training starts from.

    Returns:
        The specification of the bundle; None for other weights.

    Raises:
        NetworkError: the file or bundle does not exist.
        RecipeError: the bundle is of another network, or has int8 weights.
    """
    chosen = recipe.network
    folder = chosen.bundle
    if folder is None:
        weights = chosen.weights()
        if isinstance(weights, Path) and not weights.is_file():
            known = ["none", "imagenet", *packaged_models()]
            raise NetworkError(
                f"network.pretrained: no weight file {str(weights)!r}, and no bundle of that"
                f" name{did_you_mean(str(weights), known)}"
            )
        return None
    spec = read_spec(folder)
    if spec.network.name != chosen.name:
        raise RecipeError(
            f"network.pretrained: {spec.name} is a {spec.network.name}, and network.name is {chosen.name}; "
            f"use --set network.name={spec.network.name}, or other weights"
        )
    if spec.weights == "int8":
        raise RecipeError(
            f"network.pretrained: {spec.name} has int8 weights, which cannot be trained; export it with --weights fp32"
        )
    return spec


def check_unseen(spec: Spec, recipe: Recipe, samples: Samples) -> None:
    """Refuse a bundle that may have been trained on the run's validation or test images.

    Raises:
        TrainingError: the bundle, or its teacher, was trained on this data set, and not with the same split.
    """
    origin = spec.provenance
    if samples.fingerprint == origin.fingerprint:
        stored, own = origin.recipe.get("data") or {}, recipe.data.model_dump(mode="json")
        if all(
            stored.get(key, own[key]) == own[key] for key in ("protocol", "fractions", "split_seed", "folds", "fold")
        ):
            return
    elif samples.fingerprint not in {seen.fingerprint for seen in (*origin.extra, *origin.taught)}:
        return
    raise TrainingError(
        f"network.pretrained: {spec.name} was trained on {samples.root}, perhaps on images that this run is"
        " evaluated on; start from other weights (imagenet, none), or split as it was trained"
        f" (data.protocol={origin.protocol}, data.split_seed={origin.split_seed})"
    )


_GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvmap")


def packaged_models() -> Sequence[str]:
    """Return the names of the packaged bundles."""
    from lentigo.inference.classifier import packaged_bundles

    return packaged_bundles()


def check_device(name: str) -> None:
    """Refuse ``gpu`` on a machine that plainly has none, without importing torch.

    Raises:
        TrainingError: a Linux machine without the device files of NVIDIA's or AMD's driver, or of WSL's.
    """
    if name == "gpu" and sys.platform == "linux" and not any(map(os.path.exists, _GPU_FILES)):
        raise TrainingError(
            "no GPU on this machine that can be used: its driver's device is missing; leave --device out"
        )


def is_first_process() -> bool:
    """Return whether this process writes files, from the launcher's environment (before a process group exists)."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def _check_disk(recipe: Recipe, ready: Ready, folder: Path, cache: Path | None) -> None:
    sizes = {recipe.size_at(epoch) for epoch in range(recipe.epochs)}
    parts = (ready.samples, *(extra.samples for extra in ready.extras))
    directory = cache or default_directory()
    needed = {
        directory: sum(bytes_to_build(part, size, directory) for part in parts for size in sizes),
        folder: _RUN_BYTES,
    }
    for place, size in needed.items():
        there = next(p for p in (place, *place.absolute().parents) if p.exists())
        free = shutil.disk_usage(there).free
        if free < size:
            what = (
                "the decoded images (lentigo cache --clear, or another place, LENTIGO_CACHE)"
                if place == directory
                else "the run"
            )
            raise OutputError(f"{place}: too full for {what}: {size / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free")
        if size and not os.access(there, os.W_OK):
            raise OutputError(f"{place}: cannot be written; name another place with LENTIGO_CACHE")
