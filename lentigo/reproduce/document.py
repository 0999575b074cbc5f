"""A table's result as a page of Markdown: tables, plots, provenance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lentigo.estimate import Estimate
from lentigo.evaluation.markdown import markdown_table
from lentigo.reproduce.measure import PAIRED
from lentigo.reproduce.result import PRINTED

Data = Mapping[str, Any]
Columns = Mapping[str, Callable[[Any], str]]

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "bacc_ovr": "BACC, one against the rest",
    "macro_f1": "macro F1",
    "macro_auc": "AUC, mean over the classes",
    "malignant_auc": "AUC, malignant against benign",
    "malignant_sensitivity": "malignant sensitivity at 90 % specificity",
    "ece": "expected calibration error",
}
_EXTERNAL = ("balanced_accuracy", "macro_auc", "malignant_auc")
_STARTS = {"imagenet": "ImageNet", "scratch": "scratch", None: "–"}
_METHOD = (
    "Percent; differences in points. In brackets 95 % intervals: hierarchical bootstrap over lesions (or patients, or"
    " images where neither is known) and seeds. `balanced accuracy` is the mean recall, `BACC, one against the rest`"
    " the paper's equation 11 averaged over the classes; which of the two the paper prints is not known. AUC is times"
    " 100. Probabilities after a temperature fitted on validation."
)
_PAIRS = (
    "Same lesions and seeds on both sides; p is the two-sided bootstrap p after Holm's correction. **\\***: p is below"
    " 0.05 and the interval leaves out zero. McNemar's test takes images as independent and holds for one trained"
    " network each."
)
_VALIDATION = (
    "Validation images, which also set each run's temperature and chose its epoch: the level is too good, and the"
    " calibration error more so. No test image was looked at."
)
_SCALED = "Training was {how} than in the recipe as printed: read the order of the rows, not their level."


def to_markdown(result: Data, figures: Sequence[str]) -> str:
    """The page.

    Args:
        result: of ``build_result``.
        figures: file names of the plots beside it.
    """
    rows = [row for row in result["rows"] if "class" not in row]
    names = {row["slug"]: row["name"] for row in rows}
    sections = {
        "": [*_facts(result, rows), *_classes_table(result), *_main_table(rows), "", _METHOD],
        "Order of the rows": _order_table(result, names),
        f"Against {names.get(result['reference'], 'the reference')}": _pairs_table(result, names),
        **{f"On {one['data']}": _external_table(one, names) for one in result["elsewhere"]},
        "Recall by class": _recall_table(result, rows, names),
        "Cost": _cost_table(rows) if result["part"] == "test" else _ideas_table(rows),
        "Plots": [f"![{name}]({name})" for name in figures],
        "Where this comes from": _provenance(result, rows),
    }
    lines = [f"# {result['table']}, `{result['protocol']}` protocol: {result['title'].lower()}", ""]
    for title, body in sections.items():
        if body:
            lines += [*([f"## {title}", ""] if title else []), *body, ""]
    return "\n".join(lines)


def _table(rows: Sequence[Any], columns: Columns, align: str = "lr") -> list[str]:
    return markdown_table(list(columns), [[cell(row) for cell in columns.values()] for row in rows], align)


def _facts(result: Data, rows: Sequence[Data]) -> list[str]:
    """What was compared, and what limits the figures."""
    test, budget = result["test"], result["budget"]
    scratch = ", ".join(row["name"] for row in rows if row["start"] == "scratch")
    values = ", ".join(f"{key} = {_short(value)}" for key, value in budget["values"].items())
    images = f"{test['images']:,} {result['part']} images in {test['groups']:,} groups"
    facts = {
        f"{result['paper']}, on {result['data']}: {images}.": True,
        f"Seeds {', '.join(map(str, result['seeds']))}.": True,
        f"Budget `{budget['name']}`: {values}.": values,
        _VALIDATION: result["part"] == "validation",
        _SCALED.format(how="shorter and on smaller images" if "epochs" in budget["values"] else "on smaller images"): (
            budget["name"] != "paper"
        ),
        "One seed: the spread between seeds is not in the intervals.": len(result["seeds"]) == 1,
        f"**Mixed starts**: {scratch} from scratch, the others from ImageNet; compare like with like.": (
            result["mixed_start"]
        ),
        **{f"**{row['name']}**: {'; '.join(row['missing'])}.": row["missing"] for row in rows},
    }
    return [*(f"- {text}" for text, holds in facts.items() if holds), ""]


def _main_table(rows: Sequence[Data]) -> list[str]:
    def measured(key: str, metric: str) -> Callable[[Data], str]:
        return lambda row: estimate_text((row.get(key) or {}).get(metric))

    columns: dict[str, Callable[[Data], str]] = {
        "row": lambda row: row["name"],
        "start": lambda row: _STARTS.get(row["start"], str(row["start"])),
        "seeds": lambda row: ", ".join(map(str, row["seeds"])) or "–",
        "accuracy, printed": lambda row: _number(row["printed"].get("accuracy")),
        "accuracy": measured("measured", "accuracy"),
        "BACC, printed": lambda row: _number(row["printed"].get("bacc")),
        **{NAMES[metric]: measured("measured", metric) for metric in ("balanced_accuracy", "bacc_ovr", "macro_f1")},
        "sd over seeds (accuracy, balanced)": _spread,
    }
    for metric in ("macro_auc", "malignant_auc", "malignant_sensitivity", "ece"):
        if any(metric in row.get("probability", {}) for row in rows):
            columns[NAMES[metric]] = measured("probability", metric)
    return _table(rows, columns, "llr")


def _spread(row: Data) -> str:
    """Standard deviation over the seeds, in points."""
    each = list(row.get("per_seed", {}).values())
    if len(each) < 2:
        return "–"
    return ", ".join(
        f"{np.std([one[metric] for one in each], ddof=1) * 100:.1f}" for metric in ("accuracy", "balanced_accuracy")
    )


def _classes_table(result: Data) -> list[str]:
    """The lines of a table that is printed class by class."""
    rows = [row for row in result["rows"] if "class" in row]
    columns: dict[str, Callable[[Data], str]] = {"class": lambda row: f"{row['name']} (`{row['class']}`)"}
    for title, key in (("P", "precision"), ("R", "sensitivity"), ("F1", "f1")):
        columns[f"{title}, printed"] = lambda row, key=key: f"{row['printed'][key]:.2f}"  # type: ignore[misc]
        columns[title] = lambda row, key=key: estimate_text((row["measured"] or {}).get(key), percent=False)  # type: ignore[misc]
    return [*_table(rows, columns), ""] if rows else []


def _order_table(result: Data, names: Data) -> list[str]:
    """How far the printed order of rows holds, and how many printed figures lie in the measured interval."""
    orders = [(metric, order) for metric in PRINTED if (order := result["order"][metric]) is not None]
    if not orders:
        return []

    def pairs(key: str) -> Callable[[tuple[str, Data]], str]:
        def text(one: tuple[str, Data]) -> str:
            listed = "; ".join(f"{names[a]} above {names[b]}" for a, b in one[1][key])
            return f"{len(one[1][key])}: {listed}" if listed else "0"

        return text

    def inside(one: tuple[str, Data]) -> str:
        found = [row["printed_inside"].get(one[0]) for row in result["rows"] if "class" not in row and row["measured"]]
        known = [value for value in found if value is not None]
        return f"{sum(known)} of {len(known)}" if known else "–"

    columns: Columns = {
        "by": lambda one: NAMES[one[0]],
        "order measured": lambda one: ", ".join(names[slug] for slug in one[1]["measured"]),
        "printed pairs that hold": pairs("hold"),
        "reversed": pairs("reversed"),
        "not told apart": lambda one: str(len(one[1]["inside_the_noise"])),
        "of mixed start": lambda one: str(one[1]["pairs_of_mixed_start"]),
        "printed figure inside the interval": inside,
    }
    return _table(orders, columns, "ll")


def _pairs_table(result: Data, names: Data) -> list[str]:
    def difference(metric: str) -> Callable[[Data], str]:
        return lambda pair: _difference(pair["differences"].get(metric))

    columns: Columns = {
        "row": lambda pair: names[pair["second"]] + (" (mixed start)" if pair["mixed_start"] else ""),
        **{
            NAMES[metric]: difference(metric)
            for metric in PAIRED
            if any(metric in pair["differences"] for pair in result["pairs"])
        },
        "McNemar p, each seed": lambda pair: ", ".join(_p(p) for p in pair["mcnemar"].values()),
    }
    return (
        [*_table(result["pairs"], columns), "", _PAIRS]
        if result["pairs"]
        else ["No other row to compare with the reference."]
    )


def _external_table(one: Data, names: Data) -> list[str]:
    """The rows on a data set that none of them was trained on."""
    differences = {pair["second"]: pair["differences"] for pair in one["pairs"]}
    columns: dict[str, Callable[[str], str]] = {"row": lambda slug: names[slug]}
    for metric in _EXTERNAL:
        columns[NAMES[metric]] = lambda slug, metric=metric: estimate_text(one["rows"][slug][metric])  # type: ignore[misc]
        columns[f"difference, {NAMES[metric]}"] = lambda slug, metric=metric: _difference(
            differences.get(slug, {}).get(metric)
        )  # type: ignore[misc]
    return [
        (
            f"- {one['images']:,} images in {one['groups']:,} groups, without the published test part; classes"
            f" {', '.join(one['classes'])}."
        ),
        f"- Not here, trained on it: {', '.join(names[slug] for slug in one['learnt_from_it']) or 'none'}.",
        "- An answer of another class counts as wrong.",
        "",
        *_table(list(one["rows"]), columns),
    ]


def _recall_table(result: Data, rows: Sequence[Data], names: Data) -> list[str]:
    present = [row for row in rows if row["measured"]]
    rare = sorted({one["class"] for one in result["recall_of_rare_classes"]})
    columns: dict[str, Callable[[Data], str]] = {"row": lambda row: row["name"]}
    for code in present[0]["per_class"]:
        title = f"**{code}**" if code in rare else code
        columns[title] = lambda row, code=code: estimate_text(row["per_class"][code]["sensitivity"])  # type: ignore[misc]
    differences: dict[str, dict[str, str]] = {}
    for one in result["recall_of_rare_classes"]:
        differences.setdefault(one["slug"], {})[one["class"]] = estimate_text(one, signed=True)
    lines = [[names[slug], *(values.get(code, "–") for code in rare)] for slug, values in differences.items()]
    head = [f"rare classes, row − {names.get(result['reference'], '')}", *rare]
    return [*_table(present, columns), *(["", *markdown_table(head, lines)] if lines else [])]


def _cost_table(rows: Sequence[Data]) -> list[str]:
    def counted(row: Data) -> str:
        paper = row.get("parameters_as_printed")
        return "–" if paper is None else f"{paper['parameters'] / 1e6:.2f} ({paper['classes']} classes)"

    def cost(key: str, scale: float = 1) -> Callable[[Data], str]:
        return lambda row: f"{row['cost'][key] / scale:,.1f}" if row.get("cost") else "–"

    columns: Columns = {
        "row": lambda row: row["name"],
        "parameters": lambda row: f"{row['parameters']:,}" if "parameters" in row else "–",
        "printed, M": lambda row: _number(row["printed"].get("parameters")),
        "counted as printed, M": counted,
        "MACs, M": cost("macs", 1e6),
        "ONNX file, MB": cost("bytes", 1e6),
        "one image, ms": cost("latency_ms"),
        "training of all seeds, min": _minutes,
        "notes": lambda row: row["notes"],
    }
    measured = [row["cost"] for row in rows if row.get("cost")]
    sizes = ", ".join(str(size) for size in sorted({cost["size"] for cost in measured}))
    machines = "; ".join(sorted({cost["hardware"] for cost in measured}))
    busy = [row["name"] for row in rows if row.get("cost") and row["cost"]["busy"]]
    notes = {
        f"- MACs and median latency at {sizes} px, one thread of ONNX Runtime on {machines}.": measured,
        f"- Timed on a busy machine, not to be compared: {', '.join(busy)}.": busy,
    }
    return [*_table(rows, columns), "", *(text for text, holds in notes.items() if holds)]


def _ideas_table(rows: Sequence[Data]) -> list[str]:
    columns: Columns = {
        "idea": lambda row: row["name"],
        "what for": lambda row: row["notes"],
        "training of all seeds, min": _minutes,
    }
    return _table(rows, columns, "llr")


def _minutes(row: Data) -> str:
    return f"{row['wall_seconds'] / 60:.0f}" if row["measured"] else "–"


def _provenance(result: Data, rows: Sequence[Data]) -> list[str]:
    source = result["provenance"]
    split, interval = source["split"], result["interval"]
    facts = {
        "command": f"`{source['command']}`",
        "data": f"{result['data']}, fingerprint `{source['fingerprint']}`",
        "split": (
            f"`{split['protocol']}`, seed {split['split_seed']}; "
            + "; ".join(f"{name} {column['total']:,}" for name, column in split["counts"].items() if name != "total")
        ),
        "recipe": f"`{result['budget']['recipe']}`, budget `{result['budget']['name']}`",
        "ImageNet weights": (
            ", ".join(sorted({row["weights"]["source"] for row in rows if row.get("weights")})) or "none"
        ),
        "bootstrap": f"{interval['resamples']:,} resamples, seed {interval['seed']}",
        "hardware": "; ".join(source["hardware"]),
        "wall time of all runs": f"{source['wall_seconds'] / 3600:.1f} h, {' to '.join(source['runs_created'])}",
        "versions": ", ".join(f"{key} {value}" for key, value in source["versions"].items()),
    }
    return [f"- {name}: {text}" for name, text in facts.items()]


def estimate_text(e: Data | None, *, percent: bool = True, signed: bool = False) -> str:
    """A value with its interval, in percent with one decimal or as it is with two."""
    if not e or e["value"] is None:
        return "–"
    return Estimate(e["value"], e["low"], e["high"]).text(percent=percent, digits=1 if percent else 2, signed=signed)


def _difference(d: Data | None) -> str:
    if not d:
        return "–"
    mark = " **\\***" if d["real"] else ""
    return f"{estimate_text(d, signed=True)}{mark}, p {_p(d['p_holm'])}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(v, dict) and "size" in v for v in value):
        return " then ".join(
            f"{v['size']} px" + (f" from epoch {v['from_epoch'] + 1}" if v["from_epoch"] else "") for v in value
        )
    return f"{value:g}" if isinstance(value, float) else str(value)
