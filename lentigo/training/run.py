"""Train by a recipe into a run folder; a run can be interrupted at any time and resumed."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from lentigo.config.recipe import Recipe, to_yaml
from lentigo.data import save_split
from lentigo.data.extra import save_extras
from lentigo.errors import OutputError, TrainingError, first_line
from lentigo.files import write_text
from lentigo.losses import create_loss
from lentigo.machine import available_cores, keep_freed_memory
from lentigo.networks import Network, create_network
from lentigo.training.batches import Batches
from lentigo.training.loggers import Loggers, check_loggers
from lentigo.training.loop import Task, fit
from lentigo.training.predict import write_split_predictions
from lentigo.training.preflight import Ready, check_run, is_first_process
from lentigo.training.pretrain import pretrain, pretrain_recipe
from lentigo.training.progress import RunProgress
from lentigo.training.record import command_line, hardware, versions
from lentigo.training.rundir import (
    EXTRA,
    LAST,
    LOG,
    PRETRAIN,
    PRETRAIN_LOG,
    RECIPE,
    SPLIT,
    RunWriter,
    load_run,
    read_resumable,
    update_record,
    write_record,
)
from lentigo.training.start import fit_to_images
from lentigo.training.streams import Stream, torch_seed
from lentigo.training.teachers import feature_data, open_teachers, teacher_data, teachers_to_train


def train(
    recipe: Recipe,
    data: str | Path,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    devices: int = 1,
    nodes: int = 1,
    accelerator: str = "auto",
    progress: bool = True,
    cache: str | Path | None = None,
    ready: Ready | None = None,
    loggers: Sequence[str] = (),
) -> Path:
    """Train by a recipe, then predict validation and test with the best weights.

    Args:
        recipe: the experiment.
        data: the data set, in any layout that ``read_samples`` supports.
        out: the run folder; None for ``runs/<recipe name>``.
        resume: whether to resume the run in that folder.
        devices: number of accelerators, or of processes on a CPU, on each host.
        nodes: number of hosts.
        accelerator: ``auto``, ``cpu`` or ``gpu``.
        progress: whether to show a bar in a terminal; otherwise one line per epoch.
        cache: folder of decoded images; None for the user's cache folder.
        ready: the data, if `check_run` has read them already.
        loggers: names from ``csv``, ``mlflow``, ``tensorboard`` and ``wandb``; they get the figures of each epoch.

    Returns:
        The run folder.

    Raises:
        DataError: the data cannot be used.
        RecipeError: the recipe is not valid.
        NetworkError: the network is unknown, or the weights are not its own.
        TrainingError: the folder has a run already, or none to resume; the loss is not finite; or a file cannot be
            written.
    """
    started = time.monotonic()
    check_loggers(loggers)
    folder = Path(out) if out is not None else Path("runs") / recipe.name
    place = Path(cache) if cache is not None else None
    ready = ready or check_run(recipe, Path(data), folder, resume=resume, cache=place)
    if ready is None:
        return folder
    state = read_resumable(folder / LAST) if resume else None
    if recipe.pretrain.epochs and devices * nodes > 1:
        raise TrainingError("pretraining (pretrain.epochs) runs on one device; leave --devices and --nodes at 1")
    for missing in teachers_to_train(recipe, folder):
        teacher = folder.parent / missing.name
        if devices * nodes > 1:
            raise TrainingError(
                f"{teacher}: the teacher is not trained yet; train it first: lentigo train {missing.name}"
            )
        begun = (teacher / RECIPE).is_file()
        train(missing, data, out=teacher, resume=begun, accelerator=accelerator, progress=progress, cache=cache)
    batches = partial(Batches, ready.samples, extras=ready.extras, cache=place, progress=progress)
    images = batches(recipe)
    task = create_task(images, folder, pretrained=state is None)
    fabric = create_fabric(recipe, devices=devices, nodes=nodes, accelerator=accelerator)
    first, machine = is_first_process(), hardware(fabric.device, devices * nodes)
    shown = RunProgress(bar=progress, quiet=not first)
    if first and state is None:
        _begin(folder, images, task.network, data=Path(data), machine=machine)
    if task.network.load_report is not None:
        shown.say(str(task.network.load_report))
    shown.say(_headline(images, machine))
    writer = RunWriter(folder, LAST, LOG, started, state)
    try:
        with shown, Loggers(loggers if first else (), folder, writer.history, shown.say) as logger:
            fabric.loggers.append(logger)  # type: ignore[arg-type]  # Fabric calls only log_metrics
            fabric.launch()
            if state is None and recipe.pretrain.epochs:
                earlier = read_resumable(folder / PRETRAIN) if resume else None
                views = batches(pretrain_recipe(recipe), stream=Stream.PRETRAIN_ORDER)
                before = RunWriter(folder, PRETRAIN, PRETRAIN_LOG, time.monotonic(), earlier)
                pretrain(fabric, task.network, views, before, shown, earlier)
                writer.earlier = before.earlier
            fit(fabric, task, images, writer, shown, state)
        if fabric.is_global_zero:
            _finish(writer, images, fabric.device)
    except OutputError as error:
        kept = folder / LAST
        raise TrainingError(
            f"{error}; make room, then go on with --resume"
            + (f" from the last good checkpoint, {kept}" if kept.is_file() else "")
        ) from None
    return folder


def create_task(images: Batches, folder: Path, *, pretrained: bool) -> Task:
    """Create the network, its loss and its teachers.

    Args:
        images: the run's images, with its recipe.
        folder: the run folder; teachers are beside it.
        pretrained: whether the network starts from the recipe's weights.

    Raises:
        NetworkError: the network is unknown, or the weights are not its own.
        TrainingError: a teacher has other classes or would leak.
    """
    recipe, samples = images.recipe, images.samples
    torch.manual_seed(torch_seed(recipe.seed, Stream.WEIGHTS))
    chosen, classes = recipe.network, len(samples.labels)
    network = create_network(
        chosen.name, classes=classes, pretrained=chosen.weights() if pretrained else None, **chosen.options
    )
    if network.load_report is not None and network.load_report.folded:
        fit_to_images(network, images, recipe.size_at(0))
    network.to(memory_format=torch.channels_last)
    # Without copies: weights and margins of the loss depend on the number of original images.
    own = images.rows["train"][~samples.copies[images.rows["train"]]]
    targets = np.concatenate([samples.targets[own], *(extra.samples.targets for extra in images.extras)])
    options = recipe.loss.model_dump()
    criterion = create_loss(options.pop("name"), np.bincount(targets, minlength=classes).tolist(), **options)
    return Task(recipe, network, criterion, classes, open_teachers(recipe, samples, folder))


def create_fabric(recipe: Recipe, *, devices: int, nodes: int, accelerator: str) -> Fabric:
    """Create the Fabric with devices and precision, not launched yet.

    Raises:
        TrainingError: the devices are not available, or do not support the precision.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    # Of several processes with weights in channels-last order: only the order in memory differs.
    warnings.filterwarnings("ignore", message="Grad strides do not match")
    gpu = accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available())
    if recipe.precision == "16-mixed" and not gpu:
        raise TrainingError("precision 16-mixed needs a GPU; use precision=bf16-mixed or precision=32")
    if gpu:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = not recipe.deterministic
    else:
        keep_freed_memory()
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, available_cores() // devices))
    if recipe.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    try:
        return Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if devices * nodes > 1 else "auto",
            precision="32-true" if recipe.precision == "32" else recipe.precision,
        )
    except (MisconfigurationException, RuntimeError) as error:
        raise TrainingError(f"cannot train on {devices} x {accelerator}: {first_line(error)}") from None


def _begin(folder: Path, images: Batches, network: Network, *, data: Path, machine: str) -> None:
    """Write recipe, split and record before the first epoch."""
    recipe, samples, extras = images.recipe, images.samples, images.extras
    write_text(folder / RECIPE, to_yaml(recipe))
    save_split(samples, folder / SPLIT)
    if extras:
        save_extras(extras, folder / EXTRA)
    record = {
        "name": folder.name,
        "command": command_line(),
        "recipe": recipe.name,
        "network": network.name,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "pretrained": None if network.load_report is None else network.load_report.record,
        "data": samples.name,
        **({"data_name": samples.title} if samples.is_own else {}),
        "data_root": str(data),
        "fingerprint": samples.fingerprint,
        "groups": samples.groups.record,
        "shared_groups": samples.shared_groups,
        "extra": [extra.record for extra in extras],
        "taught": [*teacher_data(recipe, samples, extras, folder), *feature_data(recipe, samples)],
        "protocol": recipe.data.protocol,
        "split_seed": recipe.data.split_seed,
        "seed": recipe.seed,
        "copies": int(samples.copies.sum()),
        "counts": {
            str(split): {str(code): int(n) for code, n in column.items()} for split, column in samples.counts().items()
        },
        "labels": [c.record for c in samples.labels],
        "size": recipe.final_size,
        "hardware": machine,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "wall_seconds": 0.0,
        "epochs_done": 0,
        "best": None,
        "finished": False,
    }
    write_record(folder, record)


def _headline(images: Batches, machine: str) -> str:
    recipe, samples = images.recipe, images.samples
    parts = ", ".join(f"{len(rows):,} {name}" for name, rows in images.rows.items())
    more = "".join(f" and {len(extra.samples):,} images of {extra.samples.title}" for extra in images.extras)
    return f"{recipe.name} on {samples.title} ({recipe.data.protocol} protocol: {parts}){more}, {machine}"


def _finish(writer: RunWriter, images: Batches, device: torch.device) -> None:
    """Predict with the best weights and close the record."""
    recipe, network = images.recipe, load_run(writer.folder).network().to(device).to(memory_format=torch.channels_last)
    pixels = images.pixels(recipe.final_size)
    for split in ("val", "test"):
        if len(images.rows[split]):
            path = writer.folder / "predictions" / f"{split}.csv"
            write_split_predictions(network, images.samples, pixels, split, path, device=device, batch=recipe.batch)
    update_record(writer.folder, wall_seconds=round(writer.seconds, 1), finished=True)
