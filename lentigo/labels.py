"""Label sets: the code, names and malignancy of every class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field

from lentigo.errors import DataError, did_you_mean
from lentigo.text import is_line


def _line(value: str) -> str:
    if not is_line(value):
        raise ValueError("text with control characters or marks of direction")
    return value


LINE_LENGTH = 1000
Line = Annotated[str, Field(max_length=LINE_LENGTH), AfterValidator(_line)]
Code = Annotated[Line, Field(min_length=1, max_length=100)]
Language = Annotated[str, Field(max_length=20)]


@dataclass(frozen=True, slots=True)
class ClassLabel:
    """One class of lesion.

    Attributes:
        code: short lower-case identifier, used in files and tables.
        en: plain English name.
        zh: plain Simplified Chinese name.
        malignant: whether the class is malignant; None if unknown (own data sets).
        names: names in other languages by language code, such as ``{"es": "nevo"}``.
    """

    code: Code
    en: Line
    zh: Line
    malignant: bool | None = None
    names: dict[Language, Line] = field(default_factory=dict, hash=False)

    @property
    def record(self) -> dict[str, Any]:
        """The fields for a file, without empty ``names``."""
        return {key: value for key, value in asdict(self).items() if key != "names" or value}

    def name(self, language: str) -> str:
        """Return the name in a language, such as ``en`` or ``es``; the English name if that language has none."""
        return self.zh if language == "zh" else self.names.get(language, self.en)

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}  # for reading a bundle's spec.json


@dataclass(frozen=True, slots=True)
class LabelSet:
    """An ordered set of classes; the order is that of the network's outputs.

    Attributes:
        name: the set's name, such as ``ham10000``.
        classes: the classes, in output order.
    """

    name: str
    classes: tuple[ClassLabel, ...]

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[ClassLabel]:
        return iter(self.classes)

    @property
    def languages(self) -> tuple[str, ...]:
        """The language codes of the class names, English and Chinese first."""
        return "en", "zh", *sorted({language for c in self.classes for language in c.names})

    @property
    def codes(self) -> tuple[str, ...]:
        """The class codes, in output order."""
        return tuple(c.code for c in self.classes)

    def malignant_probability(self, probabilities: npt.ArrayLike) -> npt.NDArray[np.float64] | None:
        """Return the summed probability of the malignant classes.

        Args:
            probabilities: (..., K), 0 to 1.

        Returns:
            Sums (...), 0 to 1; None if the malignancy of a class is unknown.
        """
        flags = [c.malignant for c in self.classes]
        if None in flags:
            return None
        total: npt.NDArray[np.float64] = np.asarray(probabilities)[..., np.array(flags, dtype=bool)].sum(axis=-1)
        return total

    def index(self, code: str) -> int:
        """Return the index of a class code in the network's outputs.

        Raises:
            DataError: the code is not in this set.
        """
        try:
            return self.codes.index(code)
        except ValueError:
            raise DataError(
                f"unknown class {code!r} in label set {self.name}{did_you_mean(code, self.codes)}"
            ) from None

    @classmethod
    def of(cls, name: str, codes: Iterable[str]) -> LabelSet:
        """Make a label set of a user's classes; names and malignancy come from known codes and English names."""
        classes = [c for known_set in LABEL_SETS.values() for c in known_set]
        known = {c.en: c for c in classes} | {
            c.code: c for c in (*classes, ClassLabel("malignant", "malignant lesion", "恶性病变", True))
        }

        def described(code: str) -> ClassLabel:
            found = known.get(code) or known.get(code.lower().replace("_", " "))
            return (
                ClassLabel(code, found.en, found.zh, found.malignant)
                if found
                else ClassLabel(code, code.replace("_", " "), code)
            )

        return cls(name, tuple(map(described, codes)))


HAM10000 = LabelSet(
    "ham10000",
    (
        ClassLabel("akiec", "actinic keratosis or Bowen's disease", "光化性角化病或鲍温病", True),
        ClassLabel("bcc", "basal cell carcinoma", "基底细胞癌", True),
        ClassLabel("bkl", "benign keratosis", "良性角化病", False),
        ClassLabel("df", "dermatofibroma", "皮肤纤维瘤", False),
        ClassLabel("mel", "melanoma", "黑色素瘤", True),
        ClassLabel("nv", "melanocytic nevus", "黑色素细胞痣", False),
        ClassLabel("vasc", "vascular lesion", "血管性病变", False),
    ),
)

ISIC2017 = LabelSet(
    "isic2017",
    (
        ClassLabel("mel", "melanoma", "黑色素瘤", True),
        ClassLabel("nv", "melanocytic nevus", "黑色素细胞痣", False),
        ClassLabel("sk", "seborrheic keratosis", "脂溢性角化病", False),
    ),
)

PAD_UFES_20 = LabelSet(
    "pad_ufes_20",
    (
        ClassLabel("ack", "actinic keratosis", "光化性角化病", False),
        ClassLabel("bcc", "basal cell carcinoma", "基底细胞癌", True),
        ClassLabel("mel", "melanoma", "黑色素瘤", True),
        ClassLabel("nev", "nevus", "痣", False),
        ClassLabel("scc", "squamous cell carcinoma", "鳞状细胞癌", True),
        ClassLabel("sek", "seborrheic keratosis", "脂溢性角化病", False),
    ),
)

ISIC2019 = LabelSet(
    "isic2019",
    (
        ClassLabel("mel", "melanoma", "黑色素瘤", True),
        ClassLabel("nv", "melanocytic nevus", "黑色素细胞痣", False),
        ClassLabel("bcc", "basal cell carcinoma", "基底细胞癌", True),
        ClassLabel("ak", "actinic keratosis", "光化性角化病", False),
        ClassLabel("bkl", "benign keratosis", "良性角化病", False),
        ClassLabel("df", "dermatofibroma", "皮肤纤维瘤", False),
        ClassLabel("vasc", "vascular lesion", "血管性病变", False),
        ClassLabel("scc", "squamous cell carcinoma", "鳞状细胞癌", True),
    ),
)

ISIC2020 = LabelSet(
    "isic2020",
    (
        ClassLabel("benign", "benign lesion", "良性病变", False),
        ClassLabel("mel", "melanoma", "黑色素瘤", True),
    ),
)

HYPO = LabelSet(
    "hypo",
    (  # in the order that folders named so are read
        ClassLabel("guttate_hypomelanosis", "idiopathic guttate hypomelanosis", "特发性点状白斑", False),
        ClassLabel("halo_naevus", "halo naevus", "晕痣", False),
        ClassLabel("macular_hypomelanosis", "progressive macular hypomelanosis", "进行性斑状色素减少症", False),
        ClassLabel("naevus_anaemicus", "naevus anaemicus", "贫血痣", False),
        ClassLabel("naevus_depigmentosus", "naevus depigmentosus", "无色素痣", False),
        ClassLabel("piebaldism", "piebaldism", "斑驳病", False),
        ClassLabel("pityriasis_alba", "pityriasis alba", "白色糠疹", False),
        ClassLabel("pityriasis_versicolor", "pityriasis versicolor", "花斑糠疹", False),
        ClassLabel("postinflammatory_hypopigmentation", "post-inflammatory hypopigmentation", "炎症后色素减退", False),
        ClassLabel("vitiligo", "vitiligo", "白癜风", False),
    ),
)

LABEL_SETS: dict[str, LabelSet] = {s.name: s for s in (HAM10000, ISIC2017, PAD_UFES_20, ISIC2019, ISIC2020, HYPO)}


def label_set(name: str) -> LabelSet:
    """Return a label set by name.

    Raises:
        DataError: the name is unknown; the message names the nearest.
    """
    try:
        return LABEL_SETS[name]
    except KeyError:
        raise DataError(f"unknown label set {name!r}{did_you_mean(name, LABEL_SETS)}") from None
