"""Names of diagnoses in tables and archives, and the classes that a ``classes.csv`` describes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from lentigo.data.reading import Reading
from lentigo.data.tables import read_table
from lentigo.errors import DataError
from lentigo.labels import LABEL_SETS, ClassLabel
from lentigo.tables import find_column, shown_columns

_CODES = {
    "melanoma": "mel",
    "nevus": "nv",
    "naevus": "nv",
    "melanocytic nevus": "nv",
    "melanocytic naevus": "nv",
    "mole": "nv",
    "actinic keratosis": "ak",
    "solar or actinic keratosis": "ak",
    "basal cell carcinoma": "bcc",
    "squamous cell carcinoma": "scc",
    "dermatofibroma": "df",
    "vascular lesion": "vasc",
    "hemangioma": "vasc",
    "haemangioma": "vasc",
    "angioma": "vasc",
    "angiokeratoma": "vasc",
    "pyogenic granuloma": "vasc",
    "seborrheic keratosis": "bkl",
    "seborrhoeic keratosis": "bkl",
    "pigmented benign keratosis": "bkl",
    "benign keratosis": "bkl",
    "solar lentigo": "bkl",
    "lichenoid keratosis": "bkl",
    "lichen planus like keratosis": "bkl",
}
"""Name of a lesion in archives -> ISIC 2019's code; `diagnosis_code` adds other nevi and subtypes."""
_SUBTYPES = (
    (re.compile(r"\bmelanoma\b"), "mel"),
    (re.compile(r"\bbasal cell carcinoma\b"), "bcc"),
    (re.compile(r"\bsquamous cell carcinoma\b|\bkeratoacanthoma\b"), "scc"),
    (re.compile(r"^(nevus|naevus)\b(?!.*(sebaceous|depigmentosus|anaemicus|anemicus|comedonicus))"), "nv"),
    (
        re.compile(
            r"\b(blue|clark|combined|congenital|dermal|recurrent|spitz|dysplastic|compound|junctional) n(a)?evus\b"
        ),
        "nv",
    ),
    (re.compile(r"\b(hem|haem)?angioma\b"), "vasc"),
)
_MORE = (
    "benign", "malignant", "other", "others", "normal", "healthy", "lentigo", "eczema", "psoriasis", "acne", "scc",
    "sk", "true", "false", "yes", "no", "common nevus", "atypical nevus",
    "melanom", "nävus", "basaliom", "basalzellkarzinom", "spinaliom", "plattenepithelkarzinom", "aktinische keratose",
    "seborrhoische keratose", "nevo", "carcinoma basocelular", "queratosis seborreica", "mélanome",
    "carcinome basocellulaire", "nevüs", "iyi huylu", "kötü huylu", "benigno", "maligno", "gutartig", "bösartig",
)  # fmt: skip


MALIGNANT = ("malignant", "true", "yes", "1", "1.0", "m")
BENIGN = ("benign", "false", "no", "0", "0.0", "b")
"""Values of tables for malignant and benign, in lower case."""


_LANGUAGES = {
    "name": "en", "english": "en", "chinese": "zh", "spanish": "es", "español": "es", "espanol": "es", "french": "fr",
    "français": "fr", "german": "de",
    "portuguese": "pt", "italian": "it", "russian": "ru", "japanese": "ja", "korean": "ko", "arabic": "ar",
    "dutch": "nl", "polish": "pl",
    "turkish": "tr", "hindi": "hi", "vietnamese": "vi",
}  # fmt: skip
"""What people call a language in a table's header -> its code."""


def label_key(name: str) -> str:
    """Normalise a class name: lower case, composed letters, single blanks for ``_`` and ``-`` (not in ``-1``)."""
    plain = unicodedata.normalize("NFC", name).strip()
    return plain if re.fullmatch(r"-\d+", plain) else re.sub(r"[\s_\-]+", " ", plain).strip().lower()


_KNOWN = (
    {label_key(text) for labels in LABEL_SETS.values() for c in labels for text in (c.code, c.en, c.zh)}
    | set(_CODES)
    | set(_MORE)
)


_SAME = {label_key(text): c.code for labels in LABEL_SETS.values() for c in labels for text in (c.code, c.en, c.zh)}
_SAME |= dict.fromkeys(("nevus", "naevus", "nev", "mole", "melanocytic naevus", "痣"), "nv") | {
    "ack": "ak",
    "solar keratosis": "ak",
}
_SAME |= dict.fromkeys(("sek", "seborrheic keratosis", "seborrhoeic keratosis"), "sk")
"""Names of one disease -> one code of it; ``mel`` and ``melanoma`` are the same."""


def same_disease(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of class names that mean one disease, such as ``mel`` and ``melanoma``."""
    found: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        if (code := _SAME.get(label_key(name))) is not None:
            found.setdefault(code, []).append(name)
    return [alike for alike in found.values() if len(alike) > 1]


def is_known(name: str) -> bool:
    """Return whether a name is the code or name of a skin lesion or disease that lentigo knows."""
    return label_key(name) in _KNOWN


def diagnosis_code(name: str) -> str | None:
    """Return ISIC 2019's code of a diagnosis; None if it belongs to none of its classes."""
    key = re.sub(r", (nos|invasive|in situ|superficial|nodular)\b.*| \(.*\)$", "", label_key(name)).strip()
    return _CODES.get(key) or next((code for pattern, code in _SUBTYPES if pattern.search(key)), None)


def read_classes(root: Path, reading: Reading) -> dict[str, ClassLabel]:
    """Read the classes in ``classes.csv`` beside the data: code, names, malignant or benign; empty without the file.

    Raises:
        DataError: no column code, a code twice, or a value that is neither malignant nor benign.
    """
    path = root / "classes.csv"
    if not path.is_file():
        return {}
    table = read_table(path)
    code = find_column(table.columns, ("code", "class", "label", "id", "index", "class_id", "label_id"))
    if code is None:
        raise DataError(
            f"{path}: has no column 'code' (found: {shown_columns(table.columns)}; looked for: code, en, zh, malignant)"
        )
    kind = find_column(table.columns, ("malignant", "kind", "malignancy", "benign_malignant"))
    languages = {str(c): language for c in table.columns if c not in (code, kind) and (language := _language(str(c)))}
    found: dict[str, ClassLabel] = {}
    for line, row in table.iterrows():
        name = str(row[code])
        if not name or name in found:
            raise DataError(f"{path}: line {line}: {f'class {name!r} stands there twice' if name else 'no code'}")
        names = {language: str(row[column]) for column, language in languages.items() if row[column]}
        en = names.pop("en", "")
        malignant = _malignant(str(row[kind]), path, str(line)) if kind else None
        found[name] = ClassLabel(
            name, en or name.replace("_", " "), names.pop("zh", "") or en or name, malignant, names
        )
    others = [str(c) for c in table.columns if c not in (code, kind, *languages)]
    if others:
        reading.note(
            f"classes.csv: column {', '.join(others)} is not used; names are in columns such as en, zh, es or name_pt"
        )
    reading.columns["classes"] = f"classes.csv ({len(found)})"
    return found


def _language(column: str) -> str:
    """Return the language of a column of names; empty for other columns."""
    words = re.sub(r"[\s\-.]+", "_", column.strip().lower())
    if words in _LANGUAGES or words in _LANGUAGES.values():
        return _LANGUAGES.get(words, words)
    match = re.fullmatch(r"names?_(.+)|(.+)_name", words)
    word = (match[1] or match[2]) if match else ""
    return _LANGUAGES.get(word, word.replace("_", "-") if re.fullmatch(r"[a-z]{2,3}(_[a-z]{2,4})?", word) else "")


def _malignant(text: str, path: Path, line: str) -> bool | None:
    key = text.strip().lower()
    if key in MALIGNANT:
        return True
    if key in BENIGN:
        return False
    if key in ("", "unknown", "?"):
        return None
    raise DataError(f"{path}: line {line}: {text!r} is neither malignant nor benign (nor empty, where it is not known)")
