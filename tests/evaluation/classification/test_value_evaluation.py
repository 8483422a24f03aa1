"""Numbers: errors by hand and by scikit-learn, and what is written of them."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from beit.config import BeitConfig
from beit.errors import ConfigError
from beit.evaluation.classification.evaluate import evaluate
from beit.evaluation.classification.sections import evaluation_sections
from beit.evaluation.classification.value_evaluation import ValueEvaluation, ValueResult
from beit.evaluation.result import Speed, write_predictions
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification
from beit.settings.evaluate import EvaluateJob
from beit.settings.groups import PictureSettings
from tests.conftest import TINY_MODEL


class Named:
    """Pictures without content."""

    def name(self, index):
        return f"picture {index}"

    def load(self, index):
        return Image.new("RGB", (40, 40), (index, 0, 0))


def evaluation(values, targets, names=("value",)):
    values, targets = (np.array(side, dtype=np.float32) for side in (values, targets))
    common = (Named(), Preprocessing((32, 32), 37), list(names), list(range(len(values))), Speed(2.0, 1.0), 7, [])
    return ValueEvaluation(*common, targets, values)


def test_numbers_by_hand():
    result = evaluation([[1], [2], [6]], [[1], [3], [5]])
    two_thirds = pytest.approx(2 / 3)
    assert result.numbers() == {
        "loss": two_thirds,
        "mean_squared_error": two_thirds,
        "mean_absolute_error": two_thirds,
        "r2": pytest.approx(1 - 2 / 8),
        "pictures": 3,
    }
    assert result.per_value() == [ValueResult(0, "value", two_thirds, two_thirds, pytest.approx(1 - 2 / 8))]


def test_without_variance_there_is_none_to_explain():
    result = evaluation([[0], [0]], [[0.1], [0.1]])
    assert "r2" not in result.numbers()
    assert result.per_value()[0].r2 is None
    assert evaluation_sections(result)[1].rows[0][3] == "all pictures have the same"


def test_numbers_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    targets = rng.normal([5, -100], [1, 30], (200, 2)).astype(np.float32)
    values = (targets + rng.normal(0, 3, (200, 2))).astype(np.float32)
    result = evaluation(values, targets, ("age", "height"))
    assert result.numbers()["mean_squared_error"] == pytest.approx(mean_squared_error(targets, values), rel=1e-5)
    assert result.numbers()["mean_absolute_error"] == pytest.approx(mean_absolute_error(targets, values), rel=1e-5)
    for k, (each, name) in enumerate(zip(result.per_value(), ("age", "height"), strict=True)):
        assert (each.index, each.name) == (k, name)
        assert each.mean_squared_error == pytest.approx(mean_squared_error(targets[:, k], values[:, k]), rel=1e-5)
        assert each.mean_absolute_error == pytest.approx(mean_absolute_error(targets[:, k], values[:, k]), rel=1e-5)
        assert each.r2 == pytest.approx(r2_score(targets[:, k], values[:, k]), abs=1e-5)


def test_the_report_shows_every_number_and_the_largest_errors():
    """Errors of several numbers are compared in units of their deviations: 2 of 1 is more than 30 of 100."""
    result = evaluation([[1, 130], [5, 300], [5, 500]], [[1, 100], [3, 300], [5, 500]], ("age", "height"))
    _, numbers, errors = evaluation_sections(result)
    assert [row[:2] for row in numbers.rows] == [["age", "0.6667"], ["height", "10"]]
    assert [chart.caption for chart in numbers.charts] == ["age: true and predicted", "height: true and predicted"]
    assert [stack[0].caption for stack in errors.gallery][:2] == [
        "age is 3, predicted 5",
        "height is 100, predicted 130",
    ]


def test_predictions_are_a_table(tmp_path):
    write_predictions(tmp_path / "p.csv", evaluation([[1.5, 2]], [[1, -3.25]], ("age", "height")))
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["name", "age", "height", "predicted_age", "predicted_height"],
        ["picture 0", "1", "-3.25", "1.5", "2"],
    ]


def saved(place, count=1, **options):
    torch.manual_seed(0)
    BeitForImageClassification(BeitConfig(**TINY_MODEL, num_labels=count, **options)).save_pretrained(place)
    return BeitForImageClassification.from_pretrained(place).eval()


@pytest.fixture
def valued(pictures, tmp_path):
    file = tmp_path / "values.jsonl"
    rows = [{"file_name": f"{name}/{n}.png", "value": n + 0.5} for name in ("cat", "dog") for n in range(5)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return PictureSettings(str(pictures), str(file), workers=0)


@pytest.mark.parametrize("options", [{"problem_type": "regression"}, {}], ids=["named", "one_number"])
def test_the_json_of_a_saved_model(valued, tmp_path, options):
    model, output = saved(tmp_path / "model", **options), tmp_path / "r.json"
    result = evaluate(EvaluateJob(str(tmp_path / "model"), valued, output=str(output), batch_size=3))
    assert result.targets.tolist() == [[n + 0.5] for _ in range(2) for n in range(5)]
    pixels = torch.stack([torch.from_numpy(result.view(result.source.load(index))) for index in range(10)])
    with torch.no_grad():
        expected = model(pixels, labels=torch.from_numpy(result.targets))
    np.testing.assert_allclose(result.values, expected.logits.numpy(), atol=1e-5)
    assert result.numbers()["loss"] == pytest.approx(float(expected.loss), rel=1e-5)
    written = json.loads(output.read_text())
    assert list(written)[6:] == ["classes", "per_value", "broken"]
    assert written["numbers"] == result.numbers()
    assert written["model"]["problem_type"] == "regression"
    assert [list(each) for each in written["per_value"]] == [
        ["index", "name", "mean_absolute_error", "mean_squared_error", "r2"]
    ]


def test_flips_and_bf16_change_what_is_said(valued, tmp_path):
    saved(tmp_path / "model")
    model = str(tmp_path / "model")
    plain, flipped, fast = (
        evaluate(EvaluateJob(model, valued, **options)) for options in ({}, {"flips": True}, {"precision": "bf16"})
    )
    for other in (flipped, fast):
        assert not np.array_equal(other.values, plain.values)
        np.testing.assert_allclose(other.values, plain.values, atol=0.05)


def test_other_labels_and_numbers_are_refused(valued, pictures, tmp_path):
    saved(tmp_path / "one", problem_type="regression")
    saved(tmp_path / "three", 3, problem_type="regression")
    with pytest.raises(ConfigError, match="is for regression, but the pictures have one class each; expected a number"):
        evaluate(EvaluateJob(str(tmp_path / "one"), PictureSettings(str(pictures), workers=0)))
    with pytest.raises(ConfigError, match="the model gives 3 numbers per picture, but the pictures have 1 each"):
        evaluate(EvaluateJob(str(tmp_path / "three"), valued))
