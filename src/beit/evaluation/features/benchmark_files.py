"""Files of a benchmark of frozen features: its JSON for programs, its page with curves over the layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beit.evaluation.features.benchmark import Benchmark, Measured
from beit.evaluation.features.patch_probes import PatchLayerScores
from beit.evaluation.features.probes import LayerScores, ModelScores
from beit.evaluation.result import SCHEMA, versions
from beit.files import make_folder, write_json
from beit.reports.charts import layer_chart
from beit.reports.report import Section, chart_figure, write_report
from beit.settings.base import plain, resolved_recipe
from beit.settings.benchmark import BenchmarkJob

RESULT_NAME, REPORT_NAME = "result.json", "report.html"
_ABOUT = (
    "Accuracy on validation pictures. The layer, k and the ridge penalty of every row are chosen on a quarter of the "
    "training pictures, never on validation pictures. kNN: vote of the nearest training pictures (cosine). Ridge: a "
    "linear classifier in closed form. Attentive: a learnt query attends over the patches of the layer of the ridge "
    "probe, then a linear layer; its epochs are chosen on a part of the same quarter. Ridge 1 %: learns from so many "
    "of the labels, the same share of each class. Few-shot: from so many training pictures of each class. Both are the "
    "mean and standard deviation over random draws, their penalty chosen on that quarter."
)
_ABOUT_FINETUNED = (
    " Fine-tuned: all weights learn, with so many of the labels, from this model or from random weights; one training "
    "each, and the last model counts."
)
_ABOUT_PATCHES = (
    "Share of the validation patches whose class is found, and mean IoU of the classes in patches. A patch is of the "
    "class that most of its pixels have, ignored ones apart. Layer, k and ridge penalty of every row are chosen on the "
    "patches of a quarter of the training pictures, never on validation pictures. kNN: vote of the nearest training "
    "patches (cosine). Ridge: a linear classifier in closed form."
)
_CURVES: dict[str, tuple[str, Callable[[LayerScores], float]]] = {
    "knn": ("kNN, validation accuracy", lambda layer: layer.knn),
    "ridge": ("Ridge probe, validation accuracy", lambda layer: layer.ridge),
}


def to_json(result: Benchmark, job: BenchmarkJob) -> dict[str, Any]:
    """Return the result of a benchmark, ready for JSON."""
    return {
        "schema": SCHEMA,
        "numbers": {row.frozen.name: row_numbers(row) for row in result.rows},
        "models": [_row_json(row) for row in result.rows],
        "pictures": {"training": result.train_pictures, "validation": result.val_pictures},
        "device": result.device,
        "precision": result.precision,
        "settings": plain(asdict(job)),
        "versions": versions(),
        "classes": result.classes,
        "broken": [picture.to_json() for picture in result.broken],
    }


def row_numbers(row: Measured) -> dict[str, float]:
    """Return the headline numbers of a row: accuracies in [0, 1], and what was chosen for them."""
    scores = row.scores
    numbers: dict[str, float] = {
        "knn": scores.knn,
        "knn_layer": scores.knn_layer,
        "knn_k": scores.layers[scores.knn_layer - 1].k,
        "ridge": scores.ridge,
        "ridge_layer": scores.ridge_layer,
        "ridge_penalty": scores.layers[scores.ridge_layer - 1].penalty,
    }
    if (ious := _mean_ious(scores)) is not None:
        numbers["knn_mean_iou"], numbers["ridge_mean_iou"] = ious
    if scores.attentive is not None:
        numbers |= {
            "attentive": scores.attentive.accuracy,
            "attentive_layer": scores.attentive.layer,
            "attentive_epochs": scores.attentive.epochs,
        }
    for part in scores.shares:
        numbers |= {f"{percent(part.share)}_percent_ridge": part.ridge,
                    f"{percent(part.share)}_percent_ridge_spread": part.ridge_spread}  # fmt: skip
    for tuned in row.finetuned:
        numbers[f"{percent(tuned.share)}_percent_finetuned"] = tuned.accuracy
    for few in scores.few_shot:
        numbers |= {f"{few.shots}_shot_{name}": getattr(few, name)
                    for name in ("knn", "knn_spread", "ridge", "ridge_spread")}  # fmt: skip
    return numbers


def write_benchmark(folder: Path, result: Benchmark, job: BenchmarkJob, duration: str | None = None) -> None:
    """Write result.json and report.html into a folder.

    Args:
        folder: The folder.
        result: Of the benchmark.
        job: Its settings.
        duration: The time that it took, in words.

    Raises:
        StorageError: If one cannot be written; an earlier file is untouched.
    """
    make_folder(folder)
    write_json(folder / RESULT_NAME, to_json(result, job), indent=2)
    title = "Benchmark of frozen features"
    write_report(folder / REPORT_NAME, title, sections(result), resolved_recipe(job), duration)


def table(result: Benchmark) -> tuple[list[str], list[list[str]]]:
    """Return names of columns, and rows of words: one for each kind of features, or each measurement if these are more.

    So the table is as narrow as it can be: a model is measured in ten ways and more.
    """
    columns, rows = _row_of_each(result)
    if len(columns) - 1 <= len(rows):
        return columns, rows
    turned = [list(words) for words in zip(columns, *rows, strict=True)]
    return turned[0], turned[1:]


def _row_of_each(result: Benchmark) -> tuple[list[str], list[list[str]]]:
    """Return names of columns, and a row of words for each kind of features."""
    shots = [few.shots for few in result.rows[0].scores.few_shot]
    attentive = any(row.scores.attentive is not None for row in result.rows)
    few_shot = [f"{count}-shot {name}" for count in shots for name in ("kNN-1", "ridge")]
    of_patches = _mean_ious(result.rows[0].scores) is not None
    answers = ["kNN", "kNN mIoU", "ridge", "ridge mIoU"] if of_patches else ["kNN", "ridge"]
    shares = [f"ridge {percent(part.share)} %" for part in result.rows[0].scores.shares]
    tuned = [f"fine-tuned {percent(share)} %" for share in _finetuned_shares(result)]
    columns = ["", *answers, *shares, *["attentive"] * attentive, *few_shot, *tuned]
    rows: list[list[str]] = []
    for row in result.rows:
        scores = row.scores
        knn, ridge = f"{100 * scores.knn:.1f} %", f"{100 * scores.ridge:.1f} %"
        if row.frozen.kind != "pixels":
            knn, ridge = f"{knn} (layer {scores.knn_layer})", f"{ridge} (layer {scores.ridge_layer})"
        answers = [knn, ridge]
        if (ious := _mean_ious(scores)) is not None:
            answers = [
                word for answer, iou in zip(answers, ious, strict=True) for word in (answer, f"{100 * iou:.1f} %")
            ]
        few = [
            f"{100 * mean:.1f} ± {100 * spread:.1f} %"
            for each in scores.few_shot
            for mean, spread in ((each.knn, each.knn_spread), (each.ridge, each.ridge_spread))
        ]
        parts = [f"{100 * part.ridge:.1f} ± {100 * part.ridge_spread:.1f} %" for part in scores.shares]
        found = {part.share: f"{100 * part.accuracy:.1f} %" for part in row.finetuned}
        tuned = [found.get(share, "-") for share in _finetuned_shares(result)]
        rows.append([row.frozen.name, *answers, *parts, *[_attentive_words(scores)] * attentive, *few, *tuned])
    return columns, rows


def percent(share: float) -> str:
    """Return a share in percent, such as "0.5"."""
    return f"{100 * share:g}"


def _finetuned_shares(result: Benchmark) -> list[float]:
    return sorted({tuned.share for row in result.rows for tuned in row.finetuned})


def counted(result: Benchmark) -> str:
    """Return what was measured, in words."""
    words = f"{result.train_pictures:,} training and {result.val_pictures:,} validation pictures of "
    words += f"{len(result.classes):,} classes"
    if (patches := result.rows[0].patches) is not None:
        words += f", {patches[0]:,} and {patches[1]:,} patches of them"
    return words


def _mean_ious(scores: ModelScores) -> tuple[float, float] | None:
    """Return the mean IoU of the kNN and of the ridge probe, each of its layer; None of whole pictures."""
    knn, ridge = scores.layers[scores.knn_layer - 1], scores.layers[scores.ridge_layer - 1]
    if not isinstance(knn, PatchLayerScores) or not isinstance(ridge, PatchLayerScores):
        return None
    return knn.knn_mean_iou, ridge.ridge_mean_iou


def _attentive_words(scores: ModelScores) -> str:
    return "-" if scores.attentive is None else f"{100 * scores.attentive.accuracy:.1f} %"


def sections(result: Benchmark) -> list[Section]:
    """Return the sections of the report: the table, curves over the layers beside their floors, and every layer."""
    answer = Section("Result", f"{counted(result)}. Accuracy is that of validation pictures.")
    about = Section("How it is measured", _ABOUT if result.rows[0].patches is None else _ABOUT_PATCHES)
    about.text += _ABOUT_FINETUNED * bool(_finetuned_shares(result))
    answer.columns, answer.rows = table(result)
    if result.broken:
        answer.text += f" {len(result.broken)} broken pictures were left out; first: {result.broken[0].reason}"
    curves = Section("Layers", "Dashed: raw pixels, which need no model.")
    for title, value in _CURVES.values():
        drawn = {row.frozen.name: [value(layer) for layer in row.scores.layers] for row in _with_layers(result)}
        floors = [(row.frozen.name, value(row.scores.layers[0])) for row in result.rows if row.frozen.kind == "pixels"]
        curves.charts.append(chart_figure(layer_chart(drawn, title, floors), title))
    return [answer, curves, about, *(_layers_section(row) for row in _with_layers(result))]


def _with_layers(result: Benchmark) -> list[Measured]:
    return [row for row in result.rows if row.frozen.kind != "pixels"]


def _layers_section(row: Measured) -> Section:
    """Return every layer of a model; what was chosen is marked."""
    view, scores = row.frozen.view.image_hw, row.scores
    section = Section(
        f"Every layer: {row.frozen.name}",
        f"{row.frozen.parameters:,} parameters, pictures of {view[0]} x {view[1]} pixels as in {row.frozen.view_from}, "
        f"{row.speed:,.1f} pictures per second. *: chosen by its accuracy on held-out training pictures.",
    )
    section.columns = ["layer", "kNN", "k", "kNN, held out", "ridge", "penalty", "ridge, held out"]
    if row.patches is not None:
        section.columns += ["kNN mIoU", "ridge mIoU"]
    for number, layer in enumerate(scores.layers, start=1):
        knn_mark, ridge_mark = " *" * (number == scores.knn_layer), " *" * (number == scores.ridge_layer)
        section.rows.append([
            str(number),
            f"{100 * layer.knn:.1f} %{knn_mark}", str(layer.k), f"{100 * layer.knn_held_out:.1f} %",
            f"{100 * layer.ridge:.1f} %{ridge_mark}", f"{layer.penalty:g}", f"{100 * layer.ridge_held_out:.1f} %",
        ])  # fmt: skip
        if isinstance(layer, PatchLayerScores):
            section.rows[-1] += [f"{100 * iou:.1f} %" for iou in (layer.knn_mean_iou, layer.ridge_mean_iou)]
    return section


def _row_json(row: Measured) -> dict[str, Any]:
    """Return a row with all of its layers."""
    frozen, scores = row.frozen, row.scores
    return {
        "name": frozen.name,
        "kind": frozen.kind,
        "parameters": frozen.parameters,
        "view": {
            "image_size": list(frozen.view.image_hw),
            "mean": list(frozen.view.mean),
            "std": list(frozen.view.std),
            "from": frozen.view_from,
        },
        "speed": row.speed,
        "seconds": row.seconds,
        "patches": None if row.patches is None else dict(zip(("training", "validation"), row.patches, strict=True)),
        "knn_layer": scores.knn_layer,
        "ridge_layer": scores.ridge_layer,
        "layers": [{"layer": number, **asdict(layer)} for number, layer in enumerate(scores.layers, start=1)],
        "few_shot": [asdict(few) for few in scores.few_shot],
        "label_shares": [asdict(part) for part in scores.shares],
        "finetuned": [asdict(tuned) for tuned in row.finetuned],
        "attentive": None if scores.attentive is None else asdict(scores.attentive),
    }
