"""Charts of the reports."""

import numpy as np

from beit.reports.charts import curve_chart, layer_chart, scatter_chart


def test_a_chart_of_many_dots_stays_small():
    rng = np.random.default_rng(0)
    many = rng.normal(0, 1, (2, 50_000)).astype(np.float32)
    assert len(scatter_chart(*many, "value")) < 300_000
    assert scatter_chart(*many[:, :50], "value").count(b"<use") >= 50


def test_the_loss_chart_draws_what_to_compare_with():
    lines = [{"step": step, "split": "train", "loss": 3.0 - step} for step in range(3)]
    assert b"the token frequencies" in curve_chart(lines, "Loss", ["loss"], [("the token frequencies", 1.5)]).replace(
        b"&#xa0;", b" "
    )


def test_a_chart_over_layers_names_its_models_and_levels():
    chart = layer_chart({"mine": [0.2, 0.5], "long": [0.1, 0.2, 0.3]}, "kNN", [("pixels", 0.3)])
    assert all(f"<!-- {words} -->".encode() in chart for words in ("mine", "long", "pixels", "kNN", "layer"))
