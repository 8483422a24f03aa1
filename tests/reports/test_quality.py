"""Quality of features in words, in a table and as curves, from the lines of a run."""

import pytest

from beit.reports.quality import described, layer_rows, measurements, quality_sections, result_numbers, verdict


def best(step, knn, layer, **more):
    return {
        "step": step, "split": "val", "knn": knn, "knn_layer": layer, "rankme": 9.0, "rankme_layer": 1,
        "position_spread": 0.5, **more,
    }  # fmt: skip


def layer(step, number, knn):
    return {"step": step, "split": f"layer_{number}", "knn": knn, "rankme": 9.0 - number, "position_spread": 0.5}


LINES = [
    {"step": 0, "split": "pixels", "knn": 0.3},
    layer(0, 1, 0.2), layer(0, 2, 0.25), best(0, 0.25, 2),
    {"step": 10, "split": "train", "loss": 1.0},
    layer(10, 1, 0.4), layer(10, 2, 0.35), best(10, 0.4, 1),
    {"step": 10, "split": "val", "loss": 1.0, "pictures": 5},
]  # fmt: skip


def test_words():
    assert described(best(10, 0.342, 4)) == "kNN 34.2 % (layer 4)"
    assert described({"retrieval": 0.5, "retrieval_layer": 3, "rankme": 7.0}) == "views 50.0 % (layer 3)"
    assert described({"rankme": 7.04, "rankme_layer": 3}) == "RankMe 7.0 (layer 3)"


def test_lines_of_the_monitor_are_found_among_others():
    assert [line["step"] for line in measurements(LINES)] == [0, 10]
    assert [row["knn"] for row in layer_rows(LINES)] == [0.4, 0.35]


def test_the_result_has_the_newest_beside_its_floors():
    numbers = result_numbers(LINES)
    assert (numbers["knn"], numbers["knn_layer"], numbers["pixels_knn"], numbers["start_knn"]) == (0.4, 1, 0.3, 0.25)
    assert result_numbers(LINES[4:5]) == {}


@pytest.mark.parametrize(("knn", "words"), [(0.4, "are better than"), (0.3, "are no better than")])
def test_the_verdict_compares_with_what_needs_no_training(knn, words):
    said = verdict(result_numbers([*LINES[:4], best(10, knn, 1)]))
    expected = f"kNN {100 * knn:.1f} % (layer 1; raw pixels 30.0 %; before training 25.0 %): the features {words}"
    assert said.startswith(expected)
    assert verdict({"loss": 1.0, "accuracy": 0.5}) is None


def test_the_verdict_names_the_measure_that_alone_is_better():
    result = {"knn": 0.2, "knn_layer": 1, "pixels_knn": 0.3, "ridge": 0.4, "ridge_layer": 2, "pixels_ridge": 0.3}
    assert "the features are better than what needs no training by ridge alone" in verdict(result)


def test_the_sections_have_the_curves_with_their_floors_and_all_layers():
    answer, layers = quality_sections(LINES)
    assert answer.title == "Is it any good?"
    assert [chart.caption for chart in answer.charts] == [
        "kNN, best layer", "RankMe, best layer", "Spread over positions, best layer",
    ]  # fmt: skip
    assert layers.title == "Features of every layer, after step 10"
    assert layers.columns == ["", "kNN", "RankMe", "spread over positions"]
    assert layers.rows == [
        ["layer 1", "40.0 % *", "8.0 *", "50.0 %"],
        ["layer 2", "35.0 %", "7.0", "50.0 %"],
        ["raw pixels", "30.0 %", "", ""],
        ["before training", "25.0 %", "9.0", "50.0 %"],
    ]
    assert quality_sections(LINES[4:5]) == []
