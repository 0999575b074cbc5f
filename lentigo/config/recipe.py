"""Recipes: one experiment as typed, validated data.

A recipe is a YAML file with the sections below. ``load_recipe`` reads one by the name of a packaged
recipe or by path, applies ``key=value`` overrides, and refuses what it does not know. This module
needs no torch.
"""

from __future__ import annotations

import copy
import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from lentigo.config.plain import parse_yaml, read_yaml
from lentigo.errors import RecipeError, did_you_mean
from lentigo.tables import MetadataField

_ABSENT = object()

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    former: ClassVar[Mapping[str, str]] = {}
    """Key of the release before -> its key now. Files with the former keep working for one release."""

    @model_validator(mode="before")
    @classmethod
    def _take_former(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not cls.former.keys() & given.keys():
            return given
        return {cls.former.get(key, key): value for key, value in given.items()}


class ExtraRecipe(_Section):
    """Another data set whose images are learnt from as well; its published test part is left out.

    Attributes:
        folder: where it is, from the folder of the run's own data.
        classes: its class code -> the run's class code; images of other classes are left out.
        until_epoch: the first epoch without them, from 0, so that small images can serve the epochs of small size; None
            for all epochs.
    """

    folder: str
    classes: Annotated[dict[str, str], Field(min_length=1)]
    until_epoch: Annotated[int, Field(ge=1)] | None = None


class DataRecipe(_Section):
    """Which images, and how they are split.

    Attributes:
        protocol: ``image`` (random), ``lesion`` (no lesion on two sides), ``patient``, ``official``, or ``augmented``
            (random, after copies were made; it leaks by design).
        fractions: of train, validation and test; they sum to 1.
        split_seed: seed of the split, apart from the seed of the training.
        folds: number of folds for cross-validation; None for a single split.
        fold: which fold is validation, from 0.
        group_by: the table's column, or a regular expression on file names, that tells the lesion or patient of an
            image; None takes what the data set says itself.
        label_by: likewise the class, for folders and tables of one's own.
        missing: ``skip`` leaves out rows of a table whose image is not there.
        skip_unreadable: leave out images that cannot be decoded, which are named.
        domain: what kind of pictures an own data set holds, as the user says: ``clinical`` (photographs without a
            dermatoscope), ``dermoscopy`` or ``other``; None where it is not stated.
        labels: name of the label set that the data must have; None takes any classes.
        balance: ``offline`` fills up every class of the training part to the size of the largest with turned, mirrored
            and zoomed copies, the same in every epoch; losses still see the counts without copies.
        extra: other data sets to learn from as well, for training only.
    """

    protocol: Literal["image", "lesion", "patient", "official", "augmented"] = "lesion"
    fractions: tuple[Fraction, Fraction, Fraction] = (0.8, 0.1, 0.1)
    split_seed: int = 0
    folds: Annotated[int, Field(ge=2)] | None = None
    fold: Annotated[int, Field(ge=0)] = 0
    group_by: str | None = None
    label_by: str | None = None
    missing: Literal["error", "skip"] = "error"
    skip_unreadable: bool = False
    domain: Literal["clinical", "dermoscopy", "other"] | None = None
    labels: str | None = None
    balance: Literal["none", "offline"] = "none"
    extra: tuple[ExtraRecipe, ...] = ()

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of ``read_samples`` beside the place."""
        return {key: getattr(self, key) for key in ("group_by", "label_by", "missing", "skip_unreadable")}

    @model_validator(mode="after")
    def _consistent(self) -> DataRecipe:
        if abs(sum(self.fractions) - 1) > 1e-6:
            raise ValueError(f"fractions must add up to 1, not {sum(self.fractions):g}")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold must be below folds ({self.folds}); the first fold is 0")
        return self


class NetworkRecipe(_Section):
    """The network, by its registry name.

    Attributes:
        name: registry name, such as ``mobilenetv3_small_caco``.
        options: what the network's builder takes.
        pretrained: ``none``, ``imagenet``, the path of a file of weights, or a packaged model's name or a bundle
            folder, of the same network, for its features. Where the environment variable ``LENTIGO_WEIGHTS`` names a
            file, it stands in for ``imagenet``.
    """

    name: str = "mobilenetv3_small_caco"
    options: dict[str, Any] = {}
    pretrained: str = "imagenet"

    @property
    def bundle(self) -> Path | None:
        """Folder of the bundle whose features are the start; None where there is none."""
        packaged = Path(str(files("lentigo").joinpath("bundles", self.pretrained)))
        return next((folder for folder in (packaged, Path(self.pretrained)) if (folder / "spec.json").is_file()), None)

    def weights(self) -> Literal["imagenet"] | Path | None:
        """What ``create_network(pretrained=...)`` takes."""
        if self.pretrained == "none":
            return None
        if self.pretrained == "imagenet":
            override = os.environ.get("LENTIGO_WEIGHTS")
            return Path(override) if override else "imagenet"
        return self.bundle / "model.onnx" if self.bundle is not None else Path(self.pretrained)


class LossRecipe(_Section):
    """The loss; see ``lentigo.losses.create_loss``."""

    name: Literal["cross_entropy", "focal", "ldam", "joint"] = "joint"
    weight_exponent: NonNegative = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    gamma: NonNegative = 2.0
    alpha: Fraction = 0.5
    max_margin: NonNegative = 0.5
    scale: Positive = 1.0
    drw_epoch: Annotated[int, Field(ge=0)] | None = None
    logit_adjustment: NonNegative = 0.0


class DistilRecipe(_Section):
    """Learning from trained networks as well as from the labels (Hinton et al. 2015).

    Student and teachers see the same augmented images (Beyer et al., CVPR 2022), at the size of the epoch.

    Attributes:
        teachers: run folders, whose mean softmax is the target; none for no distillation. The name of a packaged recipe
            stands for the run of that name beside the student's, which is trained first where it is not there.
        weight: fraction of the distillation term in the loss; the rest is the loss on the labels.
        temperature: of both softmaxes; the term is multiplied by its square.
        views: how many mirrored and turned views of an image a teacher's answer is the mean of, 1 to 8: its test-time
            augmentation, which the student learns to do without.
        size: side of the squares, in pixels, that images are enlarged to for the teachers; None shows them at the size
            of the epoch. A network that was trained on larger images answers badly on small ones, and well on the same
            ones enlarged.
    """

    teachers: tuple[str, ...] = ()
    weight: Fraction = 0.5
    temperature: Positive = 2.0
    views: Annotated[int, Field(ge=1, le=8)] = 1
    size: Annotated[int, Field(ge=16, le=2048)] | None = None


class OptimiserRecipe(_Section):
    """The optimiser.

    Attributes:
        name: ``adamw`` or ``adam``.
        lr: peak learning rate.
        weight_decay: decoupled for AdamW, L2 for Adam.
        betas: running-average coefficients.
        decay_norm_and_bias: whether normalisation parameters and biases decay too (torch's default).
        head_lr: factor on the learning rate of the classification head, which starts untrained.
        layer_decay: factor on the learning rate from each block before the head to the one before it (Clark et al.,
            ICLR 2020), so that early features, which are general, move less; 1 for none.
    """

    name: Literal["adamw", "adam"] = "adamw"
    lr: Positive = 5e-4
    weight_decay: NonNegative = 5e-2
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    decay_norm_and_bias: bool = True
    head_lr: Positive = 1.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0


class ScheduleRecipe(_Section):
    """The learning rate over time.

    Attributes:
        name: ``constant``, ``cosine`` (per step, to ``final`` of the peak) or ``plateau``.
        warmup: epochs of linear warm-up, whole or not.
        final: cosine only: the last learning rate of a cycle as a fraction of its peak.
        restarts: epochs at which a new cycle begins, warm-up first (Loshchilov and Hutter, ICLR 2017).
        restart_factor: the peak of each further cycle is that of the one before times this.
        factor: plateau only: the learning rate is multiplied by this...
        patience: plateau only: ...after so many epochs without better monitored value.
    """

    name: Literal["constant", "cosine", "plateau"] = "constant"
    warmup: NonNegative = 0.0
    final: Fraction = 0.0
    restarts: tuple[Annotated[int, Field(ge=1)], ...] = ()
    restart_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Annotated[int, Field(ge=0)] = 7


class SizeStage(_Section):
    """From this epoch on (the first is 0), images are squares of this many pixels."""

    from_epoch: Annotated[int, Field(ge=0)]
    size: Annotated[int, Field(ge=16, le=2048)]


class ColourRecipe(_Section):
    """Random colour change: each factor is drawn from [1 - x, 1 + x]; ``hue`` in turns, from [-x, x].

    ``channels`` is colour jitter per channel: a factor for each of red, green and blue, as under another light.
    """

    former = {"cast": "channels"}

    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0
    saturation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    channels: Annotated[float, Field(ge=0, lt=1)] = 0.0


class DegradeRecipe(_Section):
    """Random degradations: what lens, sensor, skin and clinic add to a picture.

    Attributes:
        probability: of blur, of noise and of hair, image by image; 0 for none.
        blur: largest standard deviation of a Gaussian blur, in pixels of an image of 224; drawn from [0, x].
        noise: largest standard deviation of Gaussian noise, white being 1; drawn from [0, x].
        hair: most drawn hairs.
        vignette: probability of dark corners.
        marks: probability of a drawn ruler or pen marks.
        jpeg: probability of a round through JPEG, as of an image of 224.
        quality: lowest and highest quality of that JPEG.
    """

    former = {"share": "probability"}

    probability: Fraction = 0.0
    blur: NonNegative = 2.0
    noise: Annotated[float, Field(ge=0, le=1)] = 0.08
    hair: Annotated[int, Field(ge=0, le=200)] = 30
    vignette: Fraction = 0.0
    marks: Fraction = 0.0
    jpeg: Fraction = 0.0
    quality: tuple[Annotated[int, Field(ge=1, le=100)], Annotated[int, Field(ge=1, le=100)]] = (30, 90)

    @field_validator("quality")
    @classmethod
    def _ordered(cls, quality: tuple[int, int]) -> tuple[int, int]:
        if quality[0] > quality[1]:
            raise ValueError(f"quality is [lowest, highest], not {list(quality)}")
        return quality


class AugmentRecipe(_Section):
    """Random changes of the training images, drawn for each image anew.

    Attributes:
        flip_horizontal: probability.
        flip_vertical: probability.
        quarter_turns: rotation by a random multiple of 90 degrees.
        rotation: free rotation, degrees, drawn from [-x, x].
        scale: smallest and largest zoom, above 1 enlarges.
        aspect: largest ratio of width to height that an image is stretched or squeezed by, from 1 for none; uniform in
            the logarithm.
        translation: shift as a fraction of the side, drawn from [-x, x] in both directions.
        colour: random colour change.
        degrade: blur, noise, hair, dark corners, marks and JPEG.
        erase: probability of a covered box (random erasing; Zhong et al., AAAI 2020).
        mixup: parameter of the Beta distribution of mixup (Zhang et al., ICLR 2018); 0 for none. Each batch is blended
            with itself turned round, and so is its loss.
        cutmix: likewise of cutmix (Yun et al., ICCV 2019), which pastes a box; with both, each takes half of the steps.
    """

    flip_horizontal: Fraction = 0.5
    flip_vertical: Fraction = 0.5
    quarter_turns: bool = True
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    scale: tuple[Positive, Positive] = (1.0, 1.0)
    aspect: Annotated[float, Field(ge=1, le=4)] = 1.0
    translation: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    colour: ColourRecipe = ColourRecipe()
    degrade: DegradeRecipe = DegradeRecipe()
    erase: Fraction = 0.0
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError(f"scale is [smallest, largest], not {list(scale)}")
        return scale


class PretrainRecipe(_Section):
    """Learning from the training images without their labels, those of ``data.extra`` too, before the training proper.

    SimSiam (Chen and He, CVPR 2021): two random views of an image shall look alike to the network.

    Attributes:
        epochs: passes over the images; 0 for none.
        size: side of the images in pixels.
        lr: peak learning rate of AdamW, with a cosine schedule.
        augment: what makes two views of an image; its ``degrade``, ``erase``, ``mixup`` and ``cutmix`` have no place
            here.
    """

    epochs: Annotated[int, Field(ge=0)] = 0
    size: Annotated[int, Field(ge=16, le=2048)] = 96
    lr: Positive = 5e-4
    augment: AugmentRecipe = AugmentRecipe(
        rotation=180.0,
        scale=(0.9, 2.0),
        translation=0.2,
        colour=ColourRecipe(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.05, channels=0.1),
    )

    @field_validator("augment")
    @classmethod
    def _views(cls, augment: AugmentRecipe) -> AugmentRecipe:
        if augment.erase or augment.mixup or augment.cutmix or augment.degrade != DegradeRecipe():
            raise ValueError("pretraining takes no degrade, erase, mixup or cutmix")
        return augment


class StopRecipe(_Section):
    """Early stopping: after ``patience`` epochs without better monitored value; None never stops."""

    patience: Annotated[int, Field(ge=1)] | None = None


class Recipe(_Section):
    """One experiment, complete.

    Attributes:
        name: name of the recipe and, by default, of the run.
        description: one line for people.
        data: images and split.
        network: what is trained.
        loss: what is minimised.
        pretrain: what is learnt without labels, before.
        distil: trained networks to learn from, too.
        optimiser: how.
        schedule: learning rate over time.
        epochs: passes over the training images.
        batch: images a step, over all processes.
        sizes: image size over time; validation uses the size of its epoch, predictions the last.
        ema: decay of the running average of the weights that validation uses and that is kept; 0 for none.
        swa: keep the mean of the weights at the end of each cycle of the schedule (stochastic weight averaging;
            Izmailov et al., UAI 2018); no epoch is chosen then.
        precision: ``32``, ``bf16-mixed`` or ``16-mixed``.
        clip: largest gradient norm; 0 for no clipping.
        sampling: exponent of balanced sampling: a class of n images is drawn in proportion to
            n^(1 - sampling): 0 as the data are, 1 every class as often.
        stop: early stopping.
        monitor: what picks ``best.ckpt`` and drives plateau and early stopping; only epochs at the
            last image size are compared.
        augment: random changes of the training images.
        metadata: of ``age``, ``sex`` and ``site``: what the exported bundle takes beside an image. Likelihood ratios of
            the training part's lesions, fitted by the export; training and the image's own answer do not change.
        seed: seed of weights, order and augmentation.
        deterministic: ask for deterministic GPU kernels (slower; the CPU is deterministic anyway).
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    description: str = ""
    data: DataRecipe = DataRecipe()
    network: NetworkRecipe = NetworkRecipe()
    loss: LossRecipe = LossRecipe()
    pretrain: PretrainRecipe = PretrainRecipe()
    distil: DistilRecipe = DistilRecipe()
    optimiser: OptimiserRecipe = OptimiserRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    epochs: Annotated[int, Field(ge=1)] = 100
    batch: Annotated[int, Field(ge=2)] = 128
    sizes: Annotated[tuple[SizeStage, ...], Field(min_length=1)] = (SizeStage(from_epoch=0, size=224),)
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    swa: bool = False
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    clip: NonNegative = 0.0
    sampling: Fraction = 0.0
    stop: StopRecipe = StopRecipe()
    monitor: Literal["val_balanced_accuracy", "val_accuracy", "val_loss"] = "val_balanced_accuracy"
    augment: AugmentRecipe = AugmentRecipe()
    metadata: tuple[MetadataField, ...] = ()
    seed: int = 0
    deterministic: bool = False

    @field_validator("precision", mode="before")
    @classmethod
    def _precision_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("sizes")
    @classmethod
    def _sizes_in_order(cls, sizes: tuple[SizeStage, ...]) -> tuple[SizeStage, ...]:
        starts = [stage.from_epoch for stage in sizes]
        if starts[0] != 0 or any(b <= a for a, b in pairwise(starts)):
            raise ValueError(f"from_epoch must begin with 0 and rise, not {starts}")
        return sizes

    @model_validator(mode="after")
    def _cycles(self) -> Recipe:
        ends = self.cycle_ends
        if any(b <= a for a, b in pairwise(ends)):
            raise ValueError(f"schedule.restarts must rise and lie below epochs ({self.epochs}), not {list(ends[:-1])}")
        if self.swa and (len(ends) == 1 or self.stop.patience is not None):
            raise ValueError("swa averages over schedule.restarts, and takes no stop.patience")
        return self

    @property
    def cycle_ends(self) -> tuple[int, ...]:
        """Number of epochs done at the end of each cycle of the schedule."""
        return (*self.schedule.restarts, self.epochs)

    def size_at(self, epoch: int) -> int:
        """Side of the square images in an epoch (the first is 0), in pixels."""
        return next(stage.size for stage in reversed(self.sizes) if stage.from_epoch <= epoch)

    @property
    def final_size(self) -> int:
        """Side of the images in the last epoch, in pixels; predictions and export use it."""
        return self.size_at(self.epochs - 1)


def to_yaml(recipe: Recipe) -> str:
    """The complete recipe as YAML, every default spelt out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def recipe_names() -> list[str]:
    """Names of the packaged recipes, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files("lentigo").joinpath("recipes").iterdir()
        if entry.name.endswith(".yaml")
    )


def recipe_schema() -> dict[str, Any]:
    """JSON Schema of recipe files, for editors: every key with its type, range, default and description."""
    schema = Recipe.model_json_schema()
    for section in (schema, *schema["$defs"].values()):  # described by the docstrings of their classes
        summary, _, attributes = section["description"].partition("Attributes:")
        for key, text in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
            section["properties"][key]["description"] = " ".join(text.split())
        section["description"] = summary.partition("\n")[0]
    schema["required"] = [key for key in schema["required"] if key != "name"]  # the file's own name stands in for it
    precision = schema["properties"]["precision"]
    precision["enum"] = [*precision["enum"], 32]  # YAML without quotes
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def list_recipes() -> list[dict[str, str | int]]:
    """What each packaged recipe is, one row a recipe."""
    recipes = [load_recipe(name) for name in recipe_names()]
    return [
        {
            "recipe": r.name,
            "network": r.network.name,
            "loss": r.loss.name,
            "epochs": r.epochs,
            "sizes": ", ".join(str(stage.size) for stage in r.sizes),
            "description": r.description,
        }
        for r in recipes
    ]


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides.

    Args:
        name_or_path: name of a packaged recipe, or path of a YAML file.
        overrides: ``key=value`` with dots for sections (``optimiser.lr=1e-3``); values are YAML.

    Raises:
        RecipeError: no such recipe, not YAML, an unknown key (the nearest is named) or a bad value.
    """
    source, raw = _find(name_or_path)
    if not isinstance(raw, dict):
        raise RecipeError(f"{source}: a recipe is a mapping of keys to values; see docs/recipes.md")
    raw.setdefault("name", Path(source).stem)
    return parse_recipe(with_overrides(raw, overrides), source)


def with_overrides(raw: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A recipe's plain data with ``key=value`` overrides applied.

    Raises:
        RecipeError: an override that cannot be read, or that names what is no section.
    """
    changed = copy.deepcopy(dict(raw))
    for override in overrides:
        _apply(changed, override)
    return changed


def parse_recipe(raw: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Validate a recipe given as plain data.

    Args:
        raw: the recipe's keys and values.
        source: what to call it in messages.

    Raises:
        RecipeError: an unknown key or a bad value; all faults are listed, on one line.
    """
    try:
        return Recipe.model_validate(dict(raw))
    except ValidationError as error:
        raise RecipeError(
            f"{source}: " + "; ".join(dict.fromkeys(_explain(fault) for fault in error.errors()))
        ) from None


def recipe_differences(one: Recipe, other: Recipe) -> list[str]:
    """Dotted keys on which two recipes differ."""
    left, right = _flatten(one.model_dump(mode="json")), _flatten(other.model_dump(mode="json"))
    return sorted(key for key in left.keys() | right.keys() if left.get(key, _ABSENT) != right.get(key, _ABSENT))


def _find(name_or_path: str | Path) -> tuple[str, Any]:
    """What to call the recipe, and its data."""
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        return str(path), read_yaml(path)
    packaged = files("lentigo").joinpath("recipes", f"{name_or_path}.yaml")
    if len(path.parts) != 1 or not packaged.is_file():
        raise RecipeError(
            f"no recipe {str(name_or_path)!r}{did_you_mean(str(name_or_path), recipe_names())} (or give the path of a"
            " .yaml file)"
        )
    return str(name_or_path), parse_yaml(packaged.read_text(encoding="utf-8"), str(name_or_path))


def _apply(raw: dict[str, Any], override: str) -> None:
    """Set one dotted key in place."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise RecipeError(f"override {override!r}: write key=value, such as optimiser.lr=1e-3")
    value = parse_yaml(text, f"override {override[:200]!r}: the value")
    *parents, last = key.strip().split(".")
    node: Any = raw
    for depth, part in enumerate(parents):
        node = _step(node, part, override, ".".join(parents[: depth + 1]))
    if isinstance(node, list):
        node[_position(node, last, override)] = value
    else:
        node[last] = value


def _step(node: Any, part: str, override: str, where: str) -> Any:
    child = node[_position(node, part, override)] if isinstance(node, list) else node.setdefault(part, {})
    if child is None:
        child = {}
        node[part] = child
    if not isinstance(child, dict | list):
        raise RecipeError(f"override {override!r}: {where} is a value ({child!r}), not a section")
    return child


def _position(node: list[Any], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(node):
        raise RecipeError(f"override {override!r}: {part!r} is no position in a list of {len(node)}, counted from 0")
    return int(part)


def _explain(fault: ErrorDetails) -> str:
    """One validation fault as one clause naming the key."""
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        parent = ".".join(key.split(".")[:-1])
        return f"unknown key {key!r}{_nearest_key(fault['loc'], parent)}"
    if fault["type"] == "missing":
        return f"{key}: missing"
    if fault["type"] == "value_error":
        return f"{key}: {fault['msg'].removeprefix('Value error, ')}".removeprefix(": ")
    if fault["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", str(fault["ctx"]["expected"]))
        return f"{key}: {fault['input']!r} is not known{did_you_mean(str(fault['input']), choices)}"
    message = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{key}: {message}, not {fault['input']!r}"


def _nearest_key(location: Iterable[str | int], parent: str) -> str:
    """Nearest known key: in the same section first, then anywhere in the recipe."""
    *above, last = [str(part) for part in location]
    section: type[BaseModel] = Recipe
    for part in above:
        if not part.isdigit():  # a position in a list
            section = _model_in(section.model_fields[part].annotation) or section
    here = list(section.model_fields)
    prefix = f"{parent}." if parent else ""
    if near := difflib.get_close_matches(str(last), here, n=1, cutoff=0.6):
        return f"; did you mean {prefix + near[0]!r}?"
    everywhere = {key.rsplit(".", 1)[-1]: key for key in _known_keys(Recipe)}
    if near := difflib.get_close_matches(str(last), everywhere, n=1, cutoff=0.75):
        return f"; did you mean {everywhere[near[0]]!r}?"
    return f"; known{f' in {parent}' if parent else ''}: {', '.join(sorted(here))}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := _model_in(inner))), None)


def _known_keys(section: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        if (model := _model_in(field.annotation)) and name != "sizes":
            keys.extend(_known_keys(model, f"{prefix}{name}."))
    return keys


def _flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    return {
        key: leaf
        for name, child in node.items()
        for key, leaf in _flatten(child, f"{prefix}.{name}".lstrip(".")).items()
    }
