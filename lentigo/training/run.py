"""A run: train by a recipe into a folder that says everything, can be stopped at any time, and goes on where it was."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from lentigo.config.recipe import Recipe, to_yaml
from lentigo.data import Samples, save_split
from lentigo.data.extra import Extra, save_extras
from lentigo.data.module import LesionData
from lentigo.errors import OutputError, TrainingError, first_line
from lentigo.files import write_text
from lentigo.losses import create_loss
from lentigo.machine import available_cores, keep_freed_memory
from lentigo.networks import Network, create_network
from lentigo.training.checkpoint import RunKeeper
from lentigo.training.predict import write_split_predictions
from lentigo.training.preflight import Ready, check_run, is_first_process
from lentigo.training.pretrain import PretrainKeeper, pretrain
from lentigo.training.progress import RunProgress
from lentigo.training.record import command_line, hardware, versions
from lentigo.training.rundir import (
    EXTRA,
    LAST,
    PRETRAIN,
    RECIPE,
    SPLIT,
    load_run,
    read_checkpoint,
    update_record,
    write_record,
)
from lentigo.training.start import fit_to_images
from lentigo.training.task import LesionTask
from lentigo.training.teachers import open_teachers, started_from, taught_by, teachers_to_train


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
) -> Path:
    """Train by a recipe, then predict validation and test with the best weights.

    Args:
        recipe: the experiment.
        data: the data set, in any layout that ``read_samples`` knows.
        out: the run folder; ``runs/<recipe name>`` when left out.
        resume: go on with the run in that folder.
        devices: accelerators, or processes on a CPU, on this host.
        nodes: hosts.
        accelerator: ``auto``, ``cpu`` or ``gpu``.
        progress: a bar in a terminal; otherwise one line an epoch.
        cache: folder of decoded images; the user's cache folder when left out.
        ready: the data, where `check_run` has read them already.

    Returns:
        The run folder.

    Raises:
        DataError: the data cannot be used.
        RecipeError: the recipe asks for what cannot be.
        NetworkError: unknown network, or weights that do not belong to it.
        TrainingError: a run is there already, nothing is there to resume, the loss is no number, or the disk refuses.
    """
    started = time.monotonic()
    folder = Path(out) if out is not None else Path("runs") / recipe.name
    first = is_first_process()
    ready = ready or check_run(recipe, Path(data), folder, resume=resume, cache=Path(cache) if cache is not None else None)
    if ready is None:
        return folder
    samples, extras = ready.samples, ready.extras
    state = read_checkpoint(folder / LAST) if resume and (folder / LAST).is_file() else None
    if recipe.pretrain.epochs and devices * nodes > 1:
        raise TrainingError("pretraining (pretrain.epochs) runs on one device; leave --devices and --nodes at 1")
    for missing in teachers_to_train(recipe, folder):
        if devices * nodes > 1:
            raise TrainingError(
                f"{folder.parent / missing.name}: the teacher is not trained yet; train it first: lentigo train {missing.name}"
            )
        place = folder.parent / missing.name
        train(missing, data, out=place, resume=(place / RECIPE).is_file(), accelerator=accelerator, progress=progress, cache=cache)
    torch.manual_seed(recipe.seed)
    network = create_network(
        recipe.network.name,
        classes=len(samples.labels),
        pretrained=None if state else recipe.network.weights(),
        **recipe.network.options,
    )
    task, module = _assemble(recipe, samples, extras, network, folder, cache=Path(cache) if cache is not None else None, progress=progress)
    shown = RunProgress(recipe, bar=progress)
    keeper = RunKeeper(folder, recipe, shown, started)
    if state is not None:
        keeper.load_state_dict(state["callbacks"]["RunKeeper"])
    trainer = _trainer(recipe, [keeper, shown], devices=devices, nodes=nodes, accelerator=accelerator)
    if first:
        if state is None:
            _begin(folder, recipe, samples, extras, network, trainer, data=Path(data))
        if network.load_report is not None:
            shown.say(str(network.load_report))
        shown.say(_headline(recipe, samples, extras, trainer))
    try:
        if state is None and recipe.pretrain.epochs:
            keeper.earlier = _pretrain(network, module, recipe, folder, shown, resume=resume, accelerator=accelerator)
        if state is None or not (state["task"]["stopped"] or _epochs_done(state) >= recipe.epochs):
            trainer.fit(task, module, ckpt_path=str(folder / LAST) if state else None)
        if trainer.is_global_zero:
            _finish(folder, recipe, samples, module, trainer.strategy.root_device, keeper)
    except OutputError as error:
        kept = folder / LAST
        raise TrainingError(
            f"{error}; make room, then go on with --resume" + (f" from the last good checkpoint, {kept}" if kept.is_file() else "")
        ) from None
    return folder


def _assemble(
    recipe: Recipe, samples: Samples, extras: Sequence[Extra], network: Network, folder: Path, *, cache: Path | None, progress: bool
) -> tuple[LesionTask, LesionData]:
    module = LesionData(
        samples,
        size_at=recipe.size_at,
        epochs=recipe.epochs,
        batch=recipe.batch,
        sampling=recipe.sampling,
        seed=recipe.seed,
        cache=cache,
        progress=progress,
        extra=[extra.samples for extra in extras],
        until=[extra.until_epoch for extra in recipe.data.extra],
    )
    # Copies are left out: a rare class stays rare to the loss that weighs it or gives it a margin.
    learnt = (samples.frame["split"].to_numpy() == "train") & ~samples.copies
    targets = np.concatenate([samples.targets[learnt], *(extra.samples.targets for extra in extras)])
    counts = [int(n) for n in np.bincount(targets, minlength=len(samples.labels))]
    options = recipe.loss.model_dump()
    criterion = create_loss(options.pop("name"), counts, **options)
    if network.load_report is not None and network.load_report.folded:
        fit_to_images(network, module, recipe.size_at(0))
    network.to(memory_format=torch.channels_last)
    teachers = open_teachers(recipe, samples, folder)
    steps = [module.steps(epoch) for epoch in range(recipe.epochs)]
    return LesionTask(network, criterion, recipe, steps=steps, classes=len(samples.labels), teachers=teachers), module


def _pretrain(
    network: Network, module: LesionData, recipe: Recipe, folder: Path, shown: RunProgress, *, resume: bool, accelerator: str
) -> float:
    """Pretrain the network in place, and say how many seconds earlier sessions have taken of that."""
    chosen = recipe.pretrain
    state = read_checkpoint(folder / PRETRAIN) if resume and (folder / PRETRAIN).is_file() else None
    keeper = PretrainKeeper(folder, chosen, shown)
    images = module.with_size(chosen.size, chosen.epochs)
    trainer = _trainer(recipe, [keeper], devices=1, nodes=1, accelerator=accelerator, epochs=chosen.epochs, judged=False)
    pretrain(network, images, trainer, recipe, keeper, state)
    update_record(folder, pretraining={**keeper.history[-1], "images": len(module.learnt), "seconds": round(keeper.seconds, 1)})
    return keeper.earlier


def _trainer(
    recipe: Recipe,
    callbacks: list[pl.Callback],
    *,
    devices: int,
    nodes: int,
    accelerator: str,
    epochs: int | None = None,
    judged: bool = True,
) -> pl.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # The loader gathers whole batches from a memory map: more workers would not help.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*passed in a `val_dataloader`.*")  # pretraining has no use for it
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")  # lightning 2.6 on torch 2.14
    many = devices * nodes > 1
    gpu = accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available())
    if recipe.precision == "16-mixed" and not gpu:
        raise TrainingError("precision 16-mixed needs a GPU; use precision=bf16-mixed or precision=32")
    if gpu:
        torch.set_float32_matmul_precision("high")
    else:
        keep_freed_memory()
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, available_cores() // devices))
    try:
        return pl.Trainer(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy="ddp" if many else "auto",
            max_epochs=epochs or recipe.epochs,
            limit_val_batches=None if judged else 0,
            precision="32-true" if recipe.precision == "32" else recipe.precision,
            gradient_clip_val=recipe.clip or None,
            deterministic="warn" if recipe.deterministic else None,
            benchmark=gpu and not recipe.deterministic,
            sync_batchnorm=many and gpu,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=1,
        )
    except (MisconfigurationException, RuntimeError) as error:
        raise TrainingError(f"cannot train on {devices} x {accelerator}: {first_line(error)}") from None


def _begin(
    folder: Path, recipe: Recipe, samples: Samples, extras: Sequence[Extra], network: Network, trainer: pl.Trainer, *, data: Path
) -> None:
    """Write what is known before the first epoch."""
    write_text(folder / RECIPE, to_yaml(recipe))
    save_split(samples, folder / SPLIT)
    if extras:
        save_extras(extras, folder / EXTRA)
    counts = samples.counts()
    report = network.load_report
    record = {
        "name": folder.name,
        "command": command_line(),
        "recipe": recipe.name,
        "network": network.name,
        "parameters": _parameters(network),
        "pretrained": None
        if report is None
        else {"source": report.source, "share": report.share, "loaded": report.loaded, "expected": report.expected, "new": report.new},
        "data": samples.name,
        "data_root": str(data),
        "fingerprint": samples.fingerprint,
        "groups": samples.groups.record,
        "extra": [extra.record for extra in extras],
        "taught": [*taught_by(recipe, samples, extras, folder), *started_from(recipe, samples)],
        "protocol": recipe.data.protocol,
        "split_seed": recipe.data.split_seed,
        "seed": recipe.seed,
        "copies": int(samples.copies.sum()),
        "counts": {str(split): {str(code): int(n) for code, n in column.items()} for split, column in counts.items()},
        "labels": [{"code": c.code, "en": c.en, "zh": c.zh, "malignant": c.malignant} for c in samples.labels],
        "size": recipe.final_size,
        "hardware": hardware(trainer.strategy.root_device, trainer.world_size),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "wall_seconds": 0.0,
        "epochs_done": 0,
        "best": None,
        "finished": False,
    }
    write_record(folder, record)


def _headline(recipe: Recipe, samples: Samples, extras: Sequence[Extra], trainer: pl.Trainer) -> str:
    split = samples.frame["split"].value_counts()
    parts = ", ".join(f"{int(split.get(name, 0)):,} {name}" for name in ("train", "val", "test"))
    machine = hardware(trainer.strategy.root_device, trainer.world_size)
    more = "".join(f" and {len(extra.samples):,} images of {extra.samples.name}" for extra in extras)
    return f"{recipe.name} on {samples.name} ({recipe.data.protocol} protocol: {parts}){more}, {machine}"


def _finish(folder: Path, recipe: Recipe, samples: Samples, module: LesionData, device: torch.device, keeper: RunKeeper) -> None:
    """Predict with the best weights and close the record."""
    network = load_run(folder).network().to(device).to(memory_format=torch.channels_last)
    pixels = module.pixels(recipe.final_size)
    for split in ("val", "test"):
        if len(module.rows[split]):
            path = folder / "predictions" / f"{split}.csv"
            write_split_predictions(network, samples, pixels, split, path, device=device, batch=recipe.batch)
    update_record(folder, wall_seconds=round(keeper.wall_seconds, 1), finished=True)


def _epochs_done(state: Mapping[str, Any]) -> int:
    return len(state["callbacks"]["RunKeeper"]["history"])


def _parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
