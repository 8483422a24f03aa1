"""Charts of the reports."""

import re
import warnings
from html import unescape

import numpy as np
import pytest

from beit.reports.charts import confusion_chart, curve_chart, has_curve, layer_chart, scatter_chart


def words_in(chart):
    """What stands in a chart, as a reader's program reads it."""
    return [unescape(words) for words in re.findall(r">([^<>]+)</(?:text|tspan)>", chart.decode())]


def test_a_chart_of_many_dots_stays_small():
    rng = np.random.default_rng(0)
    many = rng.normal(0, 1, (2, 50_000)).astype(np.float32)
    assert len(scatter_chart(*many, "value")) < 300_000
    assert scatter_chart(*many[:, :50], "value").count(b"<use") >= 50


def test_the_loss_chart_draws_what_to_compare_with():
    lines = [{"step": step, "split": "train", "loss": 3.0 - step} for step in range(3)]
    assert "the token frequencies" in words_in(curve_chart(lines, "Loss", ["loss"], [("the token frequencies", 1.5)]))


def test_a_loss_that_is_measured_again_and_again_has_one_curve_of_held_out_pictures():
    lines = [{"step": 1, "split": "train", "loss": 3.0}, {"step": 2, "split": "val", "loss": 2.0}]
    chart = curve_chart(lines, "Loss", ["loss", "held_out_loss"])
    assert [words for words in words_in(chart) if "loss" in words] == ["loss, training", "loss, held out"]
    chart = curve_chart([*lines, {"step": 1, "split": "val", "held_out_loss": 2.5}], "Loss", ["loss", "held_out_loss"])
    assert [words for words in words_in(chart) if "loss" in words] == ["loss, training", "validation loss"]


def test_a_chart_over_layers_names_its_models_and_levels():
    chart = layer_chart({"mine": [0.2, 0.5], "long": [0.1, 0.2, 0.3]}, "kNN", [("pixels", 0.3)])
    assert {"mine", "long", "pixels", "kNN", "layer"} <= set(words_in(chart))


@pytest.mark.parametrize("name", ["\N{CAT}", "\u732b", "\u0642\u0637\u0629", "<b>&", "$x_1$"])
def test_names_in_any_script_are_left_to_the_fonts_of_the_reader(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that of matplotlib about letters of no font of its own
        charts = [
            confusion_chart(np.eye(2, dtype=np.int64), [name, "dog"]),
            layer_chart({name: [0.2, 0.5]}, "kNN"),
            scatter_chart(np.ones(2, np.float32), np.ones(2, np.float32), name),
        ]
    assert all(name in words_in(chart) for chart in charts)


def test_zeros_are_drawn_above_nothing_negative():
    lines = [{"step": step, "split": "train", "dead_codes": 0.0} for step in range(3)]
    assert not any("\N{MINUS SIGN}" in word for word in words_in(curve_chart(lines, "Dead codes", ["dead_codes"])))
    lines[1]["dead_codes"] = -1.0
    assert any("\N{MINUS SIGN}" in word for word in words_in(curve_chart(lines, "Dead codes", ["dead_codes"])))


def test_a_curve_has_two_points_and_a_single_one_is_a_dot():
    train = {"step": 5, "split": "train", "perplexity": 2.0, "loss": 1.0}
    held_out = {"step": 5, "split": "val", "perplexity": 3.0}
    assert not has_curve([train, held_out], ["perplexity", "loss"])
    assert has_curve([train, held_out, {**held_out, "step": 9}], ["perplexity"])
    chart = curve_chart([train, held_out, {**held_out, "step": 9}], "Perplexity", ["perplexity"]).decode()
    dots = [line for line in chart.splitlines() if "<use " in line]
    assert any("#1f77b4" in dot for dot in dots), "the only point of the training, in the first colour"
