"""Recipes: one experiment as typed, validated data.

A recipe is a YAML file with the sections below. ``load_recipe`` reads a packaged recipe by name, or a file by path,
applies ``key=value`` overrides, and refuses unknown keys. This module does not need torch.
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
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
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
    """Current key by key of the previous release, which stays valid for one release."""

    @model_validator(mode="before")
    @classmethod
    def _take_former(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not cls.former.keys() & given.keys():
            return given
        return {cls.former.get(key, key): value for key, value in given.items()}

    @field_validator("*", mode="after")
    @classmethod
    def _no_empty_text(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name != "description" and "" in (value if isinstance(value, tuple) else (value,)):
            raise ValueError("is empty; give a value, or leave the key out")
        return value


class ExtraRecipe(_Section):
    """An additional training data set, without its published test part.

    Attributes:
        folder: its folder, relative to the run's data set.
        classes: class code of the run by class code of this data set; images of other classes are left out.
        until_epoch: first epoch (from 0) without these images, for example to use small images only in epochs of small
            size; None for all epochs.
    """

    folder: str
    classes: Annotated[dict[str, str], Field(min_length=1)]
    until_epoch: Annotated[int, Field(ge=1)] | None = None


class DataRecipe(_Section):
    """Images and split.

    Attributes:
        protocol: ``image`` (random), ``lesion`` (all images of a lesion in one part), ``patient``, ``official``, or
            ``augmented`` (random, with copies made before the split; it leaks by design).
        fractions: fractions of train, validation and test; they sum to 1.
        split_seed: seed of the split, independent of the training seed.
        folds: number of folds for cross-validation; None for a single split.
        fold: index of the validation fold, from 0.
        group_by: table column, or regular expression on file names, for the lesion or patient of an image; None for
            the data set's own.
        label_by: table column or regular expression for the class, for own folders and tables.
        missing: ``skip`` leaves out table rows whose image is missing.
        skip_unreadable: whether to leave out images that cannot be decoded, with a message.
        domain: kind of pictures of an own data set, stated by the user: ``clinical`` (photographs without a
            dermatoscope), ``dermoscopy`` or ``other``; None if not stated.
        labels: name of the required label set; None accepts any classes.
        balance: ``offline`` fills up every class of the training part to the size of the largest with rotated, mirrored
            and zoomed copies, the same in every epoch; losses use the counts without copies.
        extra: additional data sets, for training only.
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
    def has_test_part(self) -> bool:
        """Whether a test part stays apart from training and from the folds of a cross-validation."""
        return bool(self.fractions[2]) or self.protocol == "official"

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of ``read_samples`` besides the folder."""
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
        options: options of the network's builder.
        pretrained: ``none``, ``imagenet``, the path of a file of weights, or a packaged model's name or a bundle
            folder, of the same network, for its features. A file named by the environment variable ``LENTIGO_WEIGHTS``
            replaces ``imagenet``.
    """

    name: str = "mobilenetv3_small_caco"
    options: dict[str, Any] = {}
    pretrained: str = "imagenet"

    @property
    def bundle(self) -> Path | None:
        """Folder of the bundle that training starts from; None for other weights."""
        packaged = Path(str(files("lentigo").joinpath("bundles", self.pretrained)))
        return next((folder for folder in (packaged, Path(self.pretrained)) if (folder / "spec.json").is_file()), None)

    def weights(self) -> Literal["imagenet"] | Path | None:
        """Return the argument for ``create_network(pretrained=...)``."""
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
    """Knowledge distillation from trained networks (Hinton et al. 2015).

    Student and teachers get the same augmented images (Beyer et al., CVPR 2022), at the size of the epoch.

    Attributes:
        teachers: run folders, whose mean softmax is the target; none for no distillation. The name of a packaged recipe
            means the run of that name beside the student's, which is trained first if it is missing.
        weight: fraction of the distillation term in the loss; the rest is the loss on the labels.
        temperature: temperature of both softmaxes; the term is multiplied by its square.
        views: number of mirrored and rotated views over which a teacher's prediction is averaged (test-time
            augmentation), 1 to 8.
        size: side in pixels to which images are enlarged for the teachers; None for the size of the epoch. A network
            trained on larger images is inaccurate on small ones, and more accurate on the same images enlarged.
        precision: ``bf16-mixed`` for the teachers alone, which halves their time on CPUs with AVX512-BF16; None for the
            run's.
    """

    teachers: tuple[str, ...] = ()
    weight: Fraction = 0.5
    temperature: Positive = 2.0
    views: Annotated[int, Field(ge=1, le=8)] = 1
    size: Annotated[int, Field(ge=16, le=2048)] | None = None
    precision: Literal["bf16-mixed"] | None = None


class OptimiserRecipe(_Section):
    """The optimiser.

    Attributes:
        name: ``adamw`` or ``adam``.
        lr: peak learning rate.
        weight_decay: decoupled for AdamW, L2 for Adam.
        betas: coefficients of the moving averages.
        decay_norm_and_bias: whether weight decay includes normalisation parameters and biases (torch's default).
        head_lr: factor on the learning rate of the classification head, which starts untrained.
        layer_decay: factor on the learning rate from each block to the preceding one (Clark et al., ICLR 2020), so that
            early, general features change less; 1 for none.
    """

    name: Literal["adamw", "adam"] = "adamw"
    lr: Positive = 5e-4
    weight_decay: NonNegative = 5e-2
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    decay_norm_and_bias: bool = True
    head_lr: Positive = 1.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0


class ScheduleRecipe(_Section):
    """The learning-rate schedule.

    Attributes:
        name: ``constant``, ``cosine`` (per step, to ``final`` of the peak) or ``plateau``.
        warmup: epochs of linear warm-up, may be fractional.
        final: for cosine: the last learning rate of a cycle as a fraction of its peak.
        restarts: epochs at which a new cycle starts, with warm-up (Loshchilov and Hutter, ICLR 2017).
        restart_factor: ratio of the peak of each cycle to that of the previous one.
        factor: for plateau: factor on the learning rate after ``patience`` epochs.
        patience: for plateau: epochs without a better monitored value.
    """

    name: Literal["constant", "cosine", "plateau"] = "constant"
    warmup: NonNegative = 0.0
    final: Fraction = 0.0
    restarts: tuple[Annotated[int, Field(ge=1)], ...] = ()
    restart_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Annotated[int, Field(ge=0)] = 7


class SizeStage(_Section):
    """Side of the square images in pixels, from an epoch on (the first is 0)."""

    from_epoch: Annotated[int, Field(ge=0)]
    size: Annotated[int, Field(ge=16, le=2048)]


class ColourRecipe(_Section):
    """Random colour change: each factor is drawn from [1 - x, 1 + x]; ``hue`` in turns, from [-x, x].

    ``channels`` is colour jitter per channel: a factor for each of red, green and blue.
    """

    former = {"cast": "channels"}

    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0
    saturation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    channels: Annotated[float, Field(ge=0, lt=1)] = 0.0


class DegradeRecipe(_Section):
    """Random degradations: blur, noise, hair, dark corners, marks and JPEG.

    Attributes:
        probability: of blur, of noise and of hair, per image; 0 for none.
        blur: maximum standard deviation of a Gaussian blur, in pixels of an image of 224; drawn from [0, x].
        noise: maximum standard deviation of Gaussian noise, with white as 1; drawn from [0, x].
        hair: maximum number of drawn hairs.
        vignette: probability of dark corners.
        marks: probability of a drawn ruler or pen marks.
        jpeg: probability of JPEG compression, as of an image of 224.
        quality: lowest and highest JPEG quality.
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
    """Augmentation of the training images, drawn independently for each image.

    Attributes:
        flip_horizontal: probability of a horizontal flip.
        flip_vertical: probability of a vertical flip.
        quarter_turns: whether to rotate by a random multiple of 90 degrees.
        rotation: additional rotation in degrees, drawn from [-x, x].
        scale: smallest and largest zoom, above 1 enlarges; uniform in the logarithm.
        aspect: maximum change of the ratio of width to height, 1 for none; uniform in the logarithm.
        translation: translation as a fraction of the side, drawn from [-x, x] in both directions.
        colour: random colour change.
        degrade: blur, noise, hair, dark corners, marks and JPEG.
        erase: probability of random erasing (Zhong et al., AAAI 2020).
        mixup: parameter of the Beta distribution of mixup (Zhang et al., ICLR 2018); 0 for none. Each batch is blended
            with its reverse, and so is its loss.
        cutmix: parameter of the Beta distribution of cutmix (Yun et al., ICCV 2019); 0 for none. With both, each is
            used in half of the steps.
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
    """Self-supervised pretraining on the training images, including those of ``data.extra``.

    SimSiam (Chen and He, CVPR 2021) maximises the similarity of two random views of an image.

    Attributes:
        epochs: passes over the images; 0 for none.
        size: side of the images in pixels.
        lr: peak learning rate of AdamW, with a cosine schedule.
        augment: augmentation of the two views, without ``degrade``, ``erase``, ``mixup`` and ``cutmix``.
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
    """Early stopping after ``patience`` epochs without a better monitored value; None for no early stopping."""

    patience: Annotated[int, Field(ge=1)] | None = None


class Recipe(_Section):
    """A complete experiment.

    Attributes:
        name: name of the recipe and, by default, of the run.
        description: one line of description.
        data: images and split.
        network: the network.
        loss: the loss.
        pretrain: self-supervised pretraining.
        distil: distillation from trained networks.
        optimiser: the optimiser.
        schedule: the learning-rate schedule.
        epochs: passes over the training images.
        batch: images per step, over all processes.
        sizes: image size by epoch; validation uses the size of its epoch, predictions the last.
        ema: decay of the exponential moving average of the weights for validation and ``best.ckpt``; 0 for none.
        swa: whether to keep the mean of the weights at the end of each cycle of the schedule (stochastic weight
            averaging; Izmailov et al., UAI 2018) instead of one epoch's.
        precision: ``32``, ``bf16-mixed`` or ``16-mixed``.
        clip: largest gradient norm; 0 for no clipping.
        sampling: exponent of balanced sampling: a class of n images is drawn in proportion to n^(1 - sampling): 0 for
            the data's frequencies, 1 for equal ones.
        stop: early stopping.
        monitor: figure that selects ``best.ckpt`` and drives plateau and early stopping; only epochs at the last image
            size are compared. ``last`` keeps the last epoch, so that validation images choose nothing.
        augment: augmentation of the training images.
        metadata: a list from ``age``, ``sex`` and ``site``: the metadata that the exported bundle takes. The export
            fits likelihood ratios on the training part's lesions; training and the image's own answer do not change.
        seed: seed of weights, order, augmentation and dropout.
        deterministic: whether to use deterministic GPU kernels (slower; the CPU is always deterministic).
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
    monitor: Literal["val_balanced_accuracy", "val_accuracy", "val_loss", "last"] = "val_balanced_accuracy"
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
        if self.monitor == "last" and (self.schedule.name == "plateau" or self.stop.patience is not None):
            raise ValueError("monitor: last keeps the last epoch, and takes no plateau schedule and no stop.patience")
        return self

    @property
    def keeps_last(self) -> bool:
        """Whether the last epoch is kept, whatever the metrics of the validation images."""
        return self.swa or self.monitor == "last"

    @property
    def monitored(self) -> str:
        """Name of the validation metric that is monitored."""
        return "loss" if self.monitor == "last" else self.monitor.removeprefix("val_")

    @property
    def cycle_ends(self) -> tuple[int, ...]:
        """Number of completed epochs at the end of each cycle of the schedule."""
        return (*self.schedule.restarts, self.epochs)

    def size_at(self, epoch: int) -> int:
        """Return the side of the square images in an epoch (the first is 0), in pixels."""
        return next(stage.size for stage in reversed(self.sizes) if stage.from_epoch <= epoch)

    @property
    def final_size(self) -> int:
        """Side of the images in the last epoch, in pixels; predictions and export use it."""
        return self.size_at(self.epochs - 1)


def to_yaml(recipe: Recipe) -> str:
    """Format the complete recipe as YAML, with every default."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def recipe_names() -> list[str]:
    """Return the names of the packaged recipes, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files("lentigo").joinpath("recipes").iterdir()
        if entry.name.endswith(".yaml")
    )


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema of recipe files, for editors: type, range, default and description of every key."""
    schema = Recipe.model_json_schema()
    for section in (schema, *schema["$defs"].values()):  # descriptions come from the docstrings of the classes
        summary, _, attributes = section["description"].partition("Attributes:")
        for key, text in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
            section["properties"][key]["description"] = " ".join(text.split())
        section["description"] = summary.partition("\n")[0]
    schema["required"] = [key for key in schema["required"] if key != "name"]  # the default is the file's name
    precision = schema["properties"]["precision"]
    precision["enum"] = [*precision["enum"], 32]  # YAML without quotes
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def list_recipes() -> list[dict[str, str | int]]:
    """Describe each packaged recipe in one row."""
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
        RecipeError: the recipe does not exist or is not YAML, a key is unknown (the message names the nearest) or a
            value is not valid.
    """
    source, raw = _find(name_or_path)
    if not isinstance(raw, dict):
        raise RecipeError(f"{source}: a recipe is a mapping of keys to values; see docs/recipes.md")
    raw.setdefault("name", Path(source).stem)
    return parse_recipe(with_overrides(raw, overrides), source)


def with_overrides(raw: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Apply ``key=value`` overrides to a copy of a recipe's plain data.

    Raises:
        RecipeError: an override cannot be parsed, or names a value as a section.
    """
    changed = copy.deepcopy(dict(raw))
    for override in overrides:
        _apply(changed, override)
    return changed


def parse_recipe(raw: Mapping[str, Any], source: str = "recipe") -> Recipe:
    """Validate a recipe given as plain data.

    Args:
        raw: the recipe's keys and values.
        source: its name in messages.

    Raises:
        RecipeError: a key is unknown or a value not valid; the message lists all faults on one line.
    """
    try:
        return Recipe.model_validate(dict(raw))
    except ValidationError as error:
        raise RecipeError(
            f"{source}: " + "; ".join(dict.fromkeys(_explain(fault) for fault in error.errors()))
        ) from None


def recipe_differences(one: Recipe, other: Recipe) -> list[str]:
    """Return the dotted keys in which two recipes differ."""
    left, right = _flatten(one.model_dump(mode="json")), _flatten(other.model_dump(mode="json"))
    return sorted(key for key in left.keys() | right.keys() if left.get(key, _ABSENT) != right.get(key, _ABSENT))


def _find(name_or_path: str | Path) -> tuple[str, Any]:
    """Return the recipe's name for messages, and its data."""
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
    """Describe a validation fault in one clause that names the key."""
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
    """Suggest the nearest known key: in the same section first, then anywhere in the recipe."""
    *above, last = [str(part) for part in location]
    section: type[BaseModel] = Recipe
    for part in above:
        if not part.isdigit():  # an index in a list
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
