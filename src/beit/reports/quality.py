"""Quality of the features of a run, of the lines that its monitor wrote: words, a table over the layers, and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beit.reports.charts import Line, curve_chart
from beit.reports.report import Section, chart_figure

SPLIT = "layer_"  # and the number of a layer, from 1: its lines of the metrics
PIXELS = "pixels"  # the line of what raw pixels reach
_WORDS = {
    "knn": "kNN",
    "ridge": "ridge probe",
    "retrieval": "views that find each other",
    "rankme": "RankMe",
    "position_spread": "spread over positions",
}
_SHORT = {"knn": "kNN", "ridge": "ridge", "retrieval": "views", "rankme": "RankMe"}
_SHARES = ("knn", "ridge", "retrieval", "position_spread")
COMPARED = ("knn", "ridge", "retrieval")  # raw pixels are more dimensions, so their rank says nothing
_LABEL = "best layer"  # of a curve
_FLOORS = {"pixels": "raw pixels", "start": "before training"}  # what needs no training
_ABOUT = {
    "knn": "kNN: held-out pictures classified by a vote of the nearest training pictures (cosine).",
    "ridge": "Ridge probe: a linear classifier, fitted to the training pictures in closed form.",
    "retrieval": "Views that find each other: two random views of a held-out picture, each the nearest to the other "
    "among the views of all.",
    "rankme": "RankMe: effective number of dimensions that the features of the training pictures fill.",
    "position_spread": "Spread over positions: share of the variance of patches that lies inside pictures; 0 when all "
    "patches of a picture carry the same.",
}


def measurements(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the lines with the best of all layers, in order; that of random weights, or of a checkpoint, is step 0."""
    return [dict(line) for line in lines if line["split"] == "val" and "rankme_layer" in line]


def layer_rows(lines: Sequence[Line]) -> list[dict[str, float]]:
    """Return the newest numbers of every layer, from the first."""
    newest = {int(line["split"].removeprefix(SPLIT)): line for line in lines if line["split"].startswith(SPLIT)}
    return [{name: newest[layer][name] for name in _WORDS if name in newest[layer]} for layer in sorted(newest)]


def described(numbers: Mapping[str, Any]) -> str:
    """Return the first measure of some numbers in a few words: "kNN 34.2 % (layer 4)"."""
    name = next(name for name in _SHORT if name in numbers)
    layer = f" (layer {numbers[f'{name}_layer']})" if f"{name}_layer" in numbers else ""
    return f"{_SHORT[name]} {_shown(name, numbers[name])}{layer}"


def result_numbers(lines: Sequence[Line]) -> dict[str, float]:
    """Return the newest measurement beside its floors, for the result of a run; nothing if there is none."""
    measured = measurements(lines)
    if not measured:
        return {}
    names = [name for name in _WORDS if name in measured[-1]]
    numbers = {key: measured[-1][key] for name in names for key in (name, f"{name}_layer") if key in measured[-1]}
    for floor, line in _floors(lines).items():
        numbers |= {f"{floor}_{name}": line[name] for name in names if name in line}
    return numbers


def verdict(result: Mapping[str, float]) -> str | None:
    """Return a sentence on the features of a run, from its result: how they compare with what needs no training.

    None if the run had no monitor.
    """
    names = [name for name in COMPARED if name in result]
    if not names:
        return None
    parts: list[str] = []
    better: list[str] = []
    for name in names:
        floors = {words: result[f"{floor}_{name}"] for floor, words in _FLOORS.items() if f"{floor}_{name}" in result}
        compared = "".join(f"; {words} {_shown(name, value)}" for words, value in floors.items())
        parts.append(f"{_SHORT[name]} {_shown(name, result[name])} (layer {result[f'{name}_layer']}{compared})")
        better += [_SHORT[name]] if result[name] > max(floors.values(), default=0.0) else []
    some = f" by {better[0]} alone" if 0 < len(better) < len(names) else ""
    return (
        f"{', '.join(parts)}: the features are {'better' if better else 'no better'} than what needs no training{some}"
    )


def quality_sections(lines: Sequence[Line]) -> list[Section]:
    """Return the sections of a report: a verdict with the curves beside their floors, and all layers at the end."""
    measured, rows = measurements(lines), layer_rows(lines)
    if not measured or not rows:
        return []
    names, floors = list(rows[0]), _floors(lines)
    said = verdict(result_numbers(lines))
    answer = Section("Is it any good?", f"{said}." if said is not None else "")
    for name in names:
        points = [{"step": line["step"], "split": "val", _LABEL: line[name]} for line in measured]
        levels = [(_FLOORS[floor], line[name]) for floor, line in floors.items() if name in line]
        chart = curve_chart(points, _title(name), [_LABEL], levels, percent=name in _SHARES)
        answer.charts.append(chart_figure(chart, _title(name)))
    return [answer, _table(measured[-1]["step"], rows, floors)]


def _table(step: int, rows: Sequence[Mapping[str, float]], floors: Mapping[str, Line]) -> Section:
    """Return all layers after some step, and their floors; the best are marked."""
    names = list(rows[0])
    about = " ".join(["*: the best.", *(_ABOUT[name] for name in names)])
    section = Section(f"Features of every layer, after step {step:,}", about)
    section.columns = ["", *(_WORDS[name] for name in names)]
    best = {name: max(row[name] for row in rows) for name in names if name != "position_spread"}
    for number, row in enumerate(rows, start=1):
        cells = (_shown(name, row[name]) + " *" * (row[name] == best.get(name)) for name in names)
        section.rows.append([f"layer {number}", *cells])
    for floor, line in floors.items():
        section.rows.append([_FLOORS[floor], *(_shown(name, line[name]) if name in line else "" for name in names)])
    return section


def _floors(lines: Sequence[Line]) -> dict[str, Line]:
    """Return what needs no training: raw pixels, and the best layers before the first step."""
    pixels = [{name: line[name] for name in COMPARED if name in line} for line in lines if line["split"] == PIXELS]
    start = [line for line in measurements(lines) if line["step"] == 0]
    return {name: found[-1] for name, found in (("pixels", pixels), ("start", start)) if found}


def _title(name: str) -> str:
    words = _WORDS[name]
    return f"{words}, best layer" if name == "knn" else f"{words[0].upper()}{words[1:]}, best layer"


def _shown(name: str, value: float) -> str:
    return f"{100 * value:.1f} %" if name in _SHARES else f"{value:,.1f}"
