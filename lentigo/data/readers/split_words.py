"""Words for training, validation and test in names of folders, files and columns."""

from __future__ import annotations

import re
import unicodedata


def _plain(name: str) -> str:
    """Return a name without accents."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))


_SPLIT_WORDS = {
    _plain(word): part
    for part, words in {
        "train": (
            "train training trn trainings trainieren lern entrenamiento entrenar entrainement entraîner apprentissage"
            " treino treinamento treinar addestramento addestrare allenamento trainen eğitim обучение 训练 訓練 学習"
            " 훈련 학습"
        ),
        "val": (
            "val valid validation validate dev eval validierung validierungs validieren validación validar validação"
            " validazione validare convalida valider validatie valideren doğrulama валидация 验证 驗證 検証 검증"
        ),
        "test": (
            "test testing tst holdout prüf prüfung pruefung testen prueba pruebas probar teste testar essai tester"
            " prova тест 测试 測試 テスト 테스트 시험"
        ),
    }.items()
    for word in words.split()
}
_SPLIT_WORD = re.compile(
    rf"({'|'.join(sorted(_SPLIT_WORDS, key=len, reverse=True))})(set|data|daten|bilder|images|imgs|split|集)?$"
)
_NOISE = frozenset((
    "set", "data", "dataset", "images", "image", "imgs", "img", "pictures", "photos", "split", "folder", "part", "the",
    "input", "v",
))  # fmt: skip


def split_word(name: str) -> tuple[str, str]:
    """Return the split in a name (empty without one) and the rest of the name.

    Example:
        >>> split_word("ISIC_Training_set")
        ('train', 'isic')
    """
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", _plain(name)).lower()
    words = re.findall(r"[^\W\d_]+", re.sub(r"hold[\s_\-]?out", "holdout", spaced))
    found = [_SPLIT_WORDS[match[1]] for word in words if (match := _SPLIT_WORD.fullmatch(word))]
    rest = [word for word in words if word not in _NOISE and not _SPLIT_WORD.fullmatch(word)]
    return (found[0] if len(found) == 1 else "", " ".join(rest))
