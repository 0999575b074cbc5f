"""The words by which names of folders, files and columns tell training, validation and test."""

from __future__ import annotations

import re
import unicodedata

_SPLIT_WORDS = {
    **dict.fromkeys(
        (
            "train", "training", "trn", "trainings", "lern", "entrenamiento", "entrainement", "apprentissage", "treino",
            "treinamento", "addestramento", "egitim", "обучение", "训练", "訓練",
        ),
        "train",
    ),
    **dict.fromkeys(
        (
            "val", "valid", "validation", "validate", "dev", "eval", "validierung", "validierungs", "validacion",
            "validacao", "validazione", "convalida", "validatie", "dogrulama", "валидация", "验证", "驗證", "検証",
        ),
        "val",
    ),
    **dict.fromkeys(
        (
            "test", "testing", "tst", "holdout", "pruf", "prufung", "pruefung", "prueba", "pruebas", "teste", "essai",
            "тест", "测试", "測試",
        ),
        "test",
    ),
}  # fmt: skip
_SPLIT_WORD = re.compile(
    rf"({'|'.join(sorted(_SPLIT_WORDS, key=len, reverse=True))})(set|data|daten|bilder|images|imgs|split|集)?$"
)
_NOISE = frozenset((
    "set", "data", "dataset", "images", "image", "imgs", "img", "pictures", "photos", "split", "folder", "part", "the",
    "input", "v",
))  # fmt: skip


def split_word(name: str) -> tuple[str, str]:
    """The split that a name says, empty where it says none, and what else it says.

    Example:
        >>> split_word("ISIC_Training_set")
        ('train', 'isic')
    """
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", plain).lower()
    words = re.findall(r"[^\W\d_]+", re.sub(r"hold[\s_\-]?out", "holdout", spaced))
    found = [_SPLIT_WORDS[match[1]] for word in words if (match := _SPLIT_WORD.fullmatch(word))]
    rest = [word for word in words if word not in _NOISE and not _SPLIT_WORD.fullmatch(word)]
    return (found[0] if len(found) == 1 else "", " ".join(rest))
