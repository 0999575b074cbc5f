"""Format a table's result as a Markdown page: tables, plots, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lentigo.evaluation.markdown import estimate_text, p_text, table_lines
from lentigo.evaluation.seeds import NAMES, OVERALL, PAIRED, PROBABILITY
from lentigo.reproduce.result import EXTERNAL, PRINTED

Data = Mapping[str, Any]

_STARTS = {"imagenet": "ImageNet", "scratch": "scratch", None: "–"}
_METHOD = (
    "Percent; differences in points. In brackets 95 % intervals: hierarchical bootstrap over lesions (or patients, or"
    " images where neither is known) and seeds. `balanced accuracy` is the mean recall, `BACC, one against the rest`"
    " the paper's equation 11 averaged over the classes; which of the two the paper prints is not known. AUC is times"
    " 100."
)
_PAIRS = (
    "Same lesions and seeds on both sides; p is the two-sided bootstrap p after Holm's correction. **\\***: p is below"
    " 0.05 and the interval excludes zero. McNemar's test treats images as independent and applies to one trained"
    " network each."
)
_VALIDATION = (
    "Validation images, which also set each run's temperature and chose its epoch: the level is optimistic, the"
    " calibration error most of all. Test images are not used."
)
_FOLDS = (
    "Cross-validation in {folds} folds: each image is evaluated once, by a network not trained on its group;"
    " each run keeps its last epoch, so that no evaluated image chose anything. Probabilities without a temperature."
)
_SCALED = "Training was {how} than in the recipe as printed: compare the order of the rows, not their level."


def to_markdown(result: Data, figures: Sequence[str]) -> str:
    """Return the page of a `build_result`; ``figures`` are file names of plots in its folder."""
    rows = [row for row in result["rows"] if "class" not in row]
    names = {row["slug"]: row["name"] for row in rows}
    sections = {
        "": [*_facts(result, rows), *_classes_table(result), *_main_table(rows), "", _METHOD],
        "Order of the rows": _order_table(result, names),
        f"Against {names.get(result['reference'], 'the reference')}": _pairs_table(result, names),
        **{f"On {one['data']}": _external_table(one, names) for one in result["elsewhere"]},
        "Recall by class": _recall_table(result, rows, names),
        "Cost": _cost_table(rows) if result["part"] != "validation" else _ideas_table(rows),
        "Plots": [f"![{name}]({name})" for name in figures],
        "Provenance": _provenance(result, rows),
    }
    lines = [f"# {result['table']}, `{result['protocol']}` protocol: {result['title'].lower()}", ""]
    for title, body in sections.items():
        if body:
            lines += [*([f"## {title}", ""] if title else []), *body, ""]
    return "\n".join(lines)


def _facts(result: Data, rows: Sequence[Data]) -> list[str]:
    """Return lines on the comparison and on the limits of the metrics."""
    test, budget = result["test"], result["budget"]
    scratch = ", ".join(row["name"] for row in rows if row["start"] == "scratch")
    values = ", ".join(f"{key} = {_short(value)}" for key, value in budget["values"].items())
    images = f"{test['images']:,} {result['part']} images in {test['groups']:,} groups"
    facts = {
        f"{result['paper']}, on {result['data']}: {images}.": True,
        f"Seeds {', '.join(map(str, result['seeds']))}.": True,
        f"Budget `{budget['name']}`: {values}.": values,
        "Probabilities after a temperature fitted on validation.": not result["folds"],
        _VALIDATION: result["part"] == "validation",
        _FOLDS.format(folds=result["folds"]): result["folds"],
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
    scores = [metric for metric in PROBABILITY if any(metric in row.get("probability", {}) for row in rows)]
    lines = [
        {
            "row": row["name"],
            "start": _STARTS.get(row["start"], str(row["start"])),
            "seeds": ", ".join(map(str, row["seeds"])) or "–",
            "accuracy, printed": _number(row["printed"].get("accuracy")),
            "accuracy": _estimate_in(row["measured"], "accuracy"),
            "BACC, printed": _number(row["printed"].get("bacc")),
            **{NAMES[metric]: _estimate_in(row["measured"], metric) for metric in OVERALL[1:]},
            "sd over seeds (accuracy, balanced)": _spread(row),
            **{NAMES[metric]: _estimate_in(row.get("probability"), metric) for metric in scores},
        }
        for row in rows
    ]
    return table_lines(_filled(lines), "llr")


def _filled(lines: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return the lines without columns that are empty in all of them."""
    columns = [name for name in lines[0] if any(line[name] not in ("–", "") for line in lines)]
    return [{name: line[name] for name in columns} for line in lines]


def _spread(row: Data) -> str:
    """Format the standard deviation over the seeds, in percentage points."""
    each = list(row.get("per_seed", {}).values())
    if len(each) < 2:
        return "–"
    return ", ".join(f"{np.std([one[metric] for one in each], ddof=1) * 100:.1f}" for metric in OVERALL[:2])


def _classes_table(result: Data) -> list[str]:
    """Return the Markdown table of per-class metrics."""
    lines = []
    for row in result["rows"]:
        if "class" in row:
            lines.append({"class": f"{row['name']} (`{row['class']}`)"})
            for title, key in (("P", "precision"), ("R", "sensitivity"), ("F1", "f1")):
                lines[-1][f"{title}, printed"] = f"{row['printed'][key]:.2f}"
                lines[-1][title] = _estimate_in(row["measured"], key, percent=False)
    return [*table_lines(lines), ""] if lines else []


def _order_table(result: Data, names: Data) -> list[str]:
    """Return the table on the paper's row order and on printed values within the measured intervals."""

    def pairs(found: Sequence[Sequence[str]]) -> str:
        listed = "; ".join(f"{names[a]} above {names[b]}" for a, b in found)
        return f"{len(found)}: {listed}" if listed else "0"

    lines = []
    for metric in PRINTED:
        if (order := result["order"][metric]) is None:
            continue
        rows = [row for row in result["rows"] if "class" not in row and row["measured"]]
        inside = [row["printed_inside"][metric] for row in rows if row["printed_inside"].get(metric) is not None]
        lines.append(
            {
                "by": NAMES[metric],
                "order measured": ", ".join(names[slug] for slug in order["measured"]),
                "printed pairs that hold": pairs(order["hold"]),
                "reversed": pairs(order["reversed"]),
                "not significant": str(len(order["not_significant"])),
                "of mixed start": str(order["pairs_of_mixed_start"]),
                "printed figure inside the interval": f"{sum(inside)} of {len(inside)}" if inside else "–",
            }
        )
    return table_lines(lines, "ll")


def _pairs_table(result: Data, names: Data) -> list[str]:
    pairs = result["pairs"]
    if not pairs:
        return ["No other row to compare with the reference."]
    metrics = [metric for metric in PAIRED if any(metric in pair["differences"] for pair in pairs)]
    lines = [
        {
            "row": names[pair["second"]] + (" (mixed start)" if pair["mixed_start"] else ""),
            **{NAMES[metric]: _difference(pair["differences"].get(metric)) for metric in metrics},
            "McNemar p, each seed": ", ".join(p_text(p) for p in pair["mcnemar"].values()),
        }
        for pair in pairs
    ]
    return [*table_lines(lines), "", _PAIRS]


def _external_table(one: Data, names: Data) -> list[str]:
    """Return the table of results on an external data set."""
    differences = {pair["second"]: pair["differences"] for pair in one["pairs"]}
    lines = []
    for slug, found in one["rows"].items():
        lines.append({"row": names[slug]})
        for metric in EXTERNAL:
            lines[-1][NAMES[metric]] = estimate_text(found[metric])
            lines[-1][f"difference, {NAMES[metric]}"] = _difference(differences.get(slug, {}).get(metric))
    images = f"{one['images']:,} images in {one['groups']:,} groups, without the published test part"
    return [
        f"- {images}; classes {', '.join(one['classes'])}.",
        f"- Not here, trained on it: {', '.join(names[slug] for slug in one['trained_on_it']) or 'none'}.",
        "- An answer of another class counts as wrong.",
        "",
        *table_lines(lines),
    ]


def _recall_table(result: Data, rows: Sequence[Data], names: Data) -> list[str]:
    differences: dict[str, dict[str, str]] = {}
    for one in result["recall_of_rare_classes"]:
        differences.setdefault(one["slug"], {})[one["class"]] = estimate_text(one, signed=True)
    rare = sorted({one["class"] for one in result["recall_of_rare_classes"]})
    recalls = [
        {
            "row": row["name"],
            **{
                f"**{code}**" if code in rare else code: estimate_text(found["sensitivity"])
                for code, found in row["per_class"].items()
            },
        }
        for row in rows
        if row["measured"]
    ]
    head = f"rare classes, row − {names.get(result['reference'], '')}"
    against = [
        {head: names[slug], **{code: found.get(code, "–") for code in rare}} for slug, found in differences.items()
    ]
    return [*table_lines(recalls), *(["", *table_lines(against)] if against else [])]


def _cost_table(rows: Sequence[Data]) -> list[str]:
    lines = []
    for row in rows:
        paper, cost = row.get("parameters_as_printed"), row.get("cost")
        costs = (cost["macs"] / 1e6, cost["bytes"] / 1e6, cost["latency_ms"]) if cost else (None, None, None)
        macs, megabytes, milliseconds = ("–" if value is None else f"{value:,.1f}" for value in costs)
        lines.append(
            {
                "row": row["name"],
                "parameters": f"{row['parameters']:,}" if "parameters" in row else "–",
                "printed, M": _number(row["printed"].get("parameters")),
                "counted as printed, M": (
                    f"{paper['parameters'] / 1e6:.2f} ({paper['classes']} classes)" if paper else "–"
                ),
                "MACs, M": macs,
                "ONNX file, MB": megabytes,
                "one image, ms": milliseconds,
                "training of all seeds, min": _minutes(row),
                "notes": row["notes"],
            }
        )
    notes = []
    if measured := [row["cost"] for row in rows if row.get("cost")]:
        sizes = ", ".join(str(size) for size in sorted({cost["size"] for cost in measured}))
        machines = "; ".join(sorted({cost["hardware"] for cost in measured}))
        notes.append(f"- MACs and median latency at {sizes} px, one thread of ONNX Runtime on {machines}.")
    if busy := [row["name"] for row in rows if row.get("cost") and row["cost"]["busy"]]:
        notes.append(f"- Timed on a busy machine, not to be compared: {', '.join(busy)}.")
    return [*table_lines(_filled(lines)), "", *notes]


def _ideas_table(rows: Sequence[Data]) -> list[str]:
    lines = [
        {"idea": row["name"], "what for": row["notes"], "training of all seeds, min": _minutes(row)} for row in rows
    ]
    return table_lines(lines, "llr")


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


def _estimate_in(found: Data | None, metric: str, *, percent: bool = True) -> str:
    return estimate_text((found or {}).get(metric), percent=percent)


def _difference(d: Data | None) -> str:
    if not d:
        return "–"
    mark = " **\\***" if d["real"] else ""
    return f"{estimate_text(d, signed=True)}{mark}, p {p_text(d['p_holm'])}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(v, dict) and "size" in v for v in value):
        return " then ".join(
            f"{v['size']} px" + (f" from epoch {v['from_epoch'] + 1}" if v["from_epoch"] else "") for v in value
        )
    return f"{value:g}" if isinstance(value, float) else str(value)
