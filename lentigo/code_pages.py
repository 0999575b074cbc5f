"""Decode text in Unicode, or in a code page of Windows that can be recognised."""

from __future__ import annotations

import codecs
import re
from contextlib import suppress
from itertools import islice

_SNIFFED = 65536
_PROBED = 2000
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The letters of languages that spreadsheets write in code pages of Windows, beside a to z.
_LANGUAGES = {
    "cp1252": (
        "àâæçéèêëîïôœùûüÿ", "äöüßéèà", "áéíñóúüç", "áâãàçéêíóôõúü", "àèéìíîòóù", "æøåéèöä", "åäöéš", "àçèéíïòóúü·",
        "éëïöüáóè", "áæéðíóöúýþ",
    ),
    "cp1250": ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîşţ", "äöüß"),
    "cp1254": ("âçğıöşûü",),
}  # fmt: skip
_ALPHABETS = ("cp1251", "cp1253")
_CHINESE = ("gb18030", "big5hkscs")
_OTHERS = (*_ALPHABETS, *_CHINESE, "cp932", "cp949")
# Words as scripts spell them, in the bytes of a code page; those of other pages are seldom all so.
_SPELLING = {
    # Hebrew: some letters have another form where a word ends, which stands nowhere else.
    "cp1255": rb"[\xe0-\xe9\xeb\xec\xee\xf0-\xf2\xf4\xf6-\xfa]*[\xe0-\xea\xec\xed\xef\xf1-\xfa]",
    # Thai: a vowel before, marks above and below, a vowel behind a consonant.
    "cp874": rb"(?:[\xe0-\xe4]?[\xa1\xa2\xa4\xa7-\xce][\xd1\xd4-\xda]?[\xe7-\xec]?[\xd0\xd2\xd3]?)+\xcf?",
    # Arabic: one letter stands at the end of a word only; those from E1 are no capitals of Greek or Cyrillic.
    "cp1256": rb"[\x81\x8d\x8e\x90\x98\xc1-\xc8\xca-\xd6\xd8-\xdb\xdd-\xdf\xe1\xe3-\xe6\xec\xed]+\xc9?",
}
_SCRIPT = {page: re.compile(rb"(?:(?:%b)(?: |$))+" % word) for page, word in _SPELLING.items()}
_TELLING = {
    "cp1255": rb"[\xe0-\xfa]",
    "cp874": rb"[\xd0-\xda\xe0-\xe4\xe7-\xec]",
    "cp1256": rb"[\xe1\xe3-\xe6\xed]",
}
"""Letters of these scripts of which any text has a quarter."""
_SPELT = 2.0
"""What the confidence in a page counts for more where its spelling holds, too."""
# What a wrong code page gives: signs or capitals within words, words of accented letters or of several scripts.
_WRONG = re.compile(
    r"[^\W\d_][‚„…†‡ˆ‰‹›“”•˜™¡-¶¸-¿][^\W\d_]|(?:[a-zß-ÿ]|\b[A-Z])[À-ÖØ-ÞŠŒŽŸ][a-z]|[²³¹][^\W\d_]|õ(?!e)|\bï"
    r"|(?<![a-zA-ZÀ-ž])[À-ž]{2,}(?![a-zA-ZÀ-ž])|[\uac00-\ud7af]\s?[\u4e00-\u9fff]|[\u4e00-\u9fff]\s?[\uac00-\ud7af]"
    r"|[a-zA-Z][\u3400-\u9fff\uac00-\ud7af][a-z]|[a-zA-Z][\u0370-\u04ff]|[\u0370-\u04ff][a-zA-Z]|[ά-ώа-я][Α-ΩА-Я]"
    r"|[\ue000-\uf8ff]|[^\W\d_][\u2190-\u2bff][^\W\d_]|[^\W\d_][¡-§¨«¬±¶¸¼-¿]"
    r"|[˘˙˛˝ˇ]|•”|”•|[a-zA-Z][\uff61-\uff9f]|[\uff61-\uff9f][a-zA-Z]"
)
_KANA = re.compile(r"[\u3041-\u30fa]")
_KANA_WORD = re.compile(r"[\u3041-\u30fc]{3}")
_SIGNS = re.compile(rb"[\x00-\x7f\x85\x91-\x97\x99\xa0\xa9\xae\xb0-\xb3\xb5\xb7]*")  # of cp1252, as in °C and µm
_HANGUL = re.compile(rb"[\x00-\x7f]*(?:[\xb0-\xc8][\xa1-\xfe][\x00-\x7f]*){5,}")
_COMMON = {
    "gb18030": frozenset(
        "瘤痣癌病症性斑疹炎皮肤色素角化良恶阴阳正常患者诊断图片照文件名类别标签男女左右上下前后面部脸手臂腿背胸腹黑白红"
    ),
    "euc_jp": frozenset(
        "腫癌病症性斑疹炎皮膚色素角化良悪陰陽正常患者例診断画像写真名類男女左右上下前後面部顔腕手足背胸腹黒白赤"
    ),
}
"""Characters of skin diseases, body sites and the headers of tables."""
_CHINESE_ROWS = frozenset(bytes([row]) for row in range(0xD0, 0xD8))
"""First bytes of a quarter of the common Chinese characters, from x to z, and of rare characters in EUC-JP."""
_NORTH_OR_SOUTH = re.compile(
    rb"(?=.*[\xd0\xdd\xde\xf0\xfd\xfe])[\x00-\x7f\xd6\xf6\xd0\xdd\xde\xf0\xfd\xfe]*", re.DOTALL
)
"""Only letters that Turkish has where Icelandic or Czech have others."""
_RIVAL, _SURE = 0.7, 0.005
"""Share of the best confidence from which another code page may be right as well; confidence that says nothing."""
_FAR, _NEARER = 1.3, 1.05
"""How many times as likely a code page must be that is not read, so that none is taken; and ISO 8859-2."""
_TELLS = 0.025
"""Confidence up to which chardet's word on all pages says nothing."""
_NEAR = frozenset(f"iso8859-{part}" for part in (1, 2, 3, 9, 10, 14, 15, 16))
"""Of which Windows' pages of Western and Central Europe are further versions."""
_NO_PAGE = "it is no Unicode, and it cannot be told in which code page it is written"
_ESCAPES = re.compile(r"\x1b[$(][@A-J]|~\{[!-~\s]*?~\}")
"""How ISO-2022 and HZ write Japanese, Korean and Chinese in ASCII."""
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def decode(content: bytes) -> tuple[str, str]:
    """Decode a table's file; also return its code page of Windows, empty for Unicode.

    Raises:
        ValueError: the content is not text, or too short to recognise the code page.
    """
    for bom, encoding in _BOMS:
        if content.startswith(bom):
            return _checked(content.decode(encoding)), ""
    try:
        return _checked(content.decode("utf-8")), ""
    except ValueError:  # a UnicodeDecodeError is one
        pass
    head = content[:_SNIFFED]
    if head.count(0) * 10 > len(head):  # a lone one is no text
        little = head[1::2].count(0) >= head[::2].count(0)
        return _checked(content.decode("utf-16-le" if little else "utf-16-be")), ""
    cells = dict.fromkeys(re.findall(rb"[^,;\t\r\n\"]*[\x80-\xff][^,;\t\r\n\"]*", content))
    try:
        page = _code_page(b"\n".join(islice(cells, _PROBED)))
        return _checked(content.decode(page)), page
    except UnicodeDecodeError:
        raise ValueError(f"{_NO_PAGE}; save it as UTF-8") from None


def _code_page(cells: bytes) -> str:
    """Recognise the code page of cells that are not Unicode.

    Raises:
        ValueError: several code pages are possible.
    """
    import chardet

    pages = [page for page in (*_LANGUAGES, *_OTHERS, *_SPELLING) if not _is_wrong(cells, page)]
    if _SIGNS.fullmatch(cells) and "cp1252" in pages:
        return "cp1252"
    fits = [page for page in pages if page in _LANGUAGES and _fits(cells, page)]
    if fits:
        pages = [page for page in pages if page in fits or page not in _LANGUAGES]
    if not pages:
        raise ValueError(f"{_NO_PAGE}; save it as UTF-8")
    found = {
        one["encoding"] or "": one["confidence"] * (_SPELT if one["encoding"] in _SPELLING else 1.0)
        for one in chardet.detect_all(
            cells, ignore_threshold=True, include_encodings=pages, compat_names=False, no_match_encoding=pages[0]
        )
    }
    best = max(found, key=lambda page: found[page])
    rivals = {page for page, sure in found.items() if page != best and sure >= _RIVAL * found[best]}
    if best in _LANGUAGES:
        best = "cp1252" if "cp1252" in rivals else best  # by far the most common of the three
        rivals = {"cp1254"} if _NORTH_OR_SOUTH.fullmatch(cells) else rivals - {*_LANGUAGES}
    if best == "gb18030" and _HANGUL.fullmatch(cells):
        rivals = {"cp949"}
    if best in _CHINESE and _may_be_japanese(cells, best):
        rivals = {"euc_jp"}
    if best in _ALPHABETS and not re.search(rb"[\x80-\xff]{3}", cells):
        rivals = {"gb18030"}  # whose characters are two bytes
    if best not in pages or rivals or found[best] < _SURE or _another_is_likelier(cells, best):
        raise ValueError(f"{_NO_PAGE}; save it as UTF-8")
    alike = best in _LANGUAGES and "cp1252" in pages and cells.decode("cp1252") == cells.decode(best)
    return "cp1252" if alike else best


def _another_is_likelier(cells: bytes, page: str) -> bool:
    """Return whether an unsupported code page, such as KOI8, is far more probable and gives another text."""
    import chardet

    found = chardet.detect_all(cells, ignore_threshold=True, compat_names=False)
    read = {*_LANGUAGES, *_OTHERS, *_SPELLING}
    sure = next((one["confidence"] for one in found if one["encoding"] == page), 0.0)
    text = cells.decode(page)
    for one in found:
        other, far = one["encoding"] or "", _FAR
        if page in _LANGUAGES and other in _NEAR:
            far = _NEARER if (page, other) == ("cp1250", "iso8859-2") else float("inf")
        if other not in read and one["confidence"] > max(far * sure, _TELLS):
            with suppress(LookupError, UnicodeDecodeError):
                if cells.decode(other) != text:
                    return True
    return False


def _may_be_japanese(cells: bytes, page: str) -> bool:
    """Return whether a text that a Chinese page decodes may be EUC-JP, which consists of the same bytes."""
    try:
        text = cells.decode("euc_jp")
    except UnicodeDecodeError:
        return False
    if page != "gb18030":
        return _KANA_WORD.search(text) is not None
    chinese, japanese = len(_COMMON[page] & {*cells.decode(page)}), len(_COMMON["euc_jp"] & {*text})
    if chinese != japanese:
        return japanese > chinese
    return not any(pair[:1] in _CHINESE_ROWS for pair in re.findall(rb"[\x80-\xff]{2}", cells))


def _is_wrong(cells: bytes, page: str) -> bool:
    """Return whether a text cannot be in a code page, by its spelling."""
    if page not in _SCRIPT:
        try:
            text = cells.decode(page)
        except UnicodeDecodeError:
            return True
        return _WRONG.search(text) is not None or (page in _CHINESE and _KANA.search(text) is not None)
    words = b" ".join(re.findall(rb"[A-Za-z]*[\x80-\xff][A-Za-z\x80-\xff]*", cells))
    letters = len(words) - words.count(b" ")
    return 4 * len(re.findall(_TELLING[page], words)) < letters or not _SCRIPT[page].fullmatch(words)


def _fits(cells: bytes, page: str) -> bool:
    """Return whether one language of a code page has all accented letters of a text."""
    letters = {letter for letter in cells.decode(page).lower() if not letter.isascii() and letter.isalpha()}
    return any(letters <= {*language} for language in _LANGUAGES[page])


def _checked(text: str) -> str:
    if _CONTROL.search(text[:_SNIFFED]):
        raise ValueError("it holds control characters, so it is no text")
    if _ESCAPES.search(text[:_SNIFFED]):
        raise ValueError("it is written in ISO-2022 or HZ; save it as UTF-8")
    return text.removeprefix("\ufeff")
