"""Several labels per picture: numbers by hand and by scikit-learn, and what is written of them."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, log_loss
from torch.nn import functional

from beit.config import BeitConfig
from beit.data import open_source, with_labels
from beit.errors import ConfigError, DataError
from beit.evaluation.classification.evaluate import evaluate
from beit.evaluation.classification.label_evaluation import LabelEvaluation, LabelResult
from beit.evaluation.classification.measure import evaluate_model
from beit.evaluation.classification.one_pass import PassOptions
from beit.evaluation.classification.sections import evaluation_sections
from beit.evaluation.result import Speed, write_predictions
from beit.image import Preprocessing
from beit.models_torch import BeitForImageClassification
from beit.settings.evaluate import EvaluateJob
from beit.settings.groups import PictureSettings
from tests.conftest import TINY_MODEL

VIEW = Preprocessing((32, 32), 37)


class Named:
    """Pictures without content."""

    def name(self, index):
        return f"picture {index}"

    def load(self, index):
        return Image.new("RGB", (40, 40), (index, 0, 0))


def evaluation(scores, targets):
    """The evaluation of a model that gave these scores (P, K)."""
    scores, targets = np.array(scores, dtype=np.float32), np.array(targets, dtype=bool)
    names = [chr(ord("a") + index) for index in range(scores.shape[1])]
    return LabelEvaluation(Named(), VIEW, names, list(range(len(scores))), Speed(2.0, 1.0), 7, [], targets, scores)


BY_HAND = ([[2, 1, -1], [1, 3, -1], [3, -2, -1]], [[1, 0, 0], [0, 1, 0], [1, 1, 0]])


def test_numbers_by_hand():
    numbers = evaluation(*BY_HAND).numbers()
    # first label: ranked right, 1; second: right, wrong, right -> (1 + 2/3) / 2; the third never occurs
    assert numbers["mean_average_precision"] == pytest.approx((1 + 5 / 6) / 2)
    # 3 of 5 said are right, one of 4 true is missed: precision 3/5, recall 3/4
    assert numbers["f1"] == pytest.approx(2 * 0.6 * 0.75 / (0.6 + 0.75))
    # of the two that occur: 2 of 3 said and 2 of 2 true; 1 of 2 said and 1 of 2 true
    assert numbers["mean_label_f1"] == pytest.approx((2 * 2 / 5 + 2 * 1 / 4) / 2)
    scores, targets = (np.array(side) for side in BY_HAND)
    assert numbers["loss"] == pytest.approx(float(np.mean(np.log1p(np.exp(np.where(targets == 1, -scores, scores))))))
    assert numbers["pictures"] == 3


def test_scores_that_are_all_sure_are_ranked_all_the_same():
    targets, scores = np.array([[0], [1], [0], [1]]), np.array([[40.0], [60.0], [50.0], [45.0]])
    found = evaluation(scores, targets).numbers()["mean_average_precision"]
    assert found == pytest.approx(average_precision_score(targets, scores))
    assert found == pytest.approx((1 + 2 / 3) / 2)


def test_labels_worst_first_by_hand():
    assert evaluation(*BY_HAND).per_label == [
        LabelResult(1, "b", 2, 2, pytest.approx(5 / 6), pytest.approx(1 / 2)),
        LabelResult(0, "a", 2, 3, pytest.approx(1.0), pytest.approx(4 / 5)),
    ]


def test_numbers_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    targets = rng.random((300, 7)) < rng.random(7)
    scores = rng.normal(0, 2, (300, 7)).round(1) + targets  # rounded: some are equal
    ours = evaluation(scores, targets)
    numbers, scores = ours.numbers(), scores.astype(np.float32)
    assert numbers["mean_average_precision"] == pytest.approx(average_precision_score(targets, scores), abs=1e-6)
    assert numbers["f1"] == pytest.approx(f1_score(targets, scores > 0, average="micro"))
    assert numbers["mean_label_f1"] == pytest.approx(f1_score(targets, scores > 0, average="macro"))
    losses = [log_loss(targets[:, k], 1 / (1 + np.exp(-scores[:, k].astype(float)))) for k in range(7)]
    assert numbers["loss"] == pytest.approx(np.mean(losses), abs=1e-6)
    for result in ours.per_label:
        truth, score = targets[:, result.index], scores[:, result.index]
        assert result.average_precision == pytest.approx(average_precision_score(truth, score), abs=1e-6)
        assert result.f1 == pytest.approx(f1_score(truth, score > 0))
        assert (result.pictures, result.predicted) == (truth.sum(), (score > 0).sum())
    assert [each.average_precision for each in ours.per_label] == sorted(e.average_precision for e in ours.per_label)


def test_large_scores_are_distinguished():
    """In single precision, the probabilities of 20 and 30 are both 1."""
    assert evaluation([[30], [20]], [[1], [0]]).numbers()["mean_average_precision"] == 1
    assert evaluation([[20], [30]], [[1], [0]]).numbers()["mean_average_precision"] == 0.5


def test_pictures_without_any_label_have_nothing_to_average():
    numbers = evaluation([[1.0, -1]], [[0, 0]]).numbers()
    assert set(numbers) == {"loss", "f1", "pictures"}
    assert numbers["f1"] == 0


def test_the_report_shows_every_label_and_the_largest_losses():
    numbers, labels, wrong = evaluation_sections(evaluation(*BY_HAND))
    assert dict(numbers.table)["average precision, mean over labels"] == "91.67 %"
    assert labels.rows == [["b", "2", "2", "83.3 %", "50.0 %"], ["a", "2", "3", "100.0 %", "80.0 %"]]
    assert "1 of the model's 3 labels have no pictures" in labels.text
    assert wrong.text.startswith("3 of 3 have a label too many or too few")
    captions = [stack[0].caption for stack in wrong.gallery]
    assert captions == ["is a, b, predicted a", "is a, predicted a, b", "is b, predicted a, b"]


def test_predictions_are_a_table(tmp_path):
    write_predictions(tmp_path / "p.csv", evaluation([[2, 1], [-1, -1]], [[1, 0], [1, 1]]))
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    probabilities = ";".join(f"{1 / (1 + np.exp(-score)):.6g}" for score in (2, 1))
    assert rows == [
        {"name": "picture 0", "labels": "a", "predicted": "a;b", "probabilities": probabilities},
        {"name": "picture 1", "labels": "a;b", "predicted": "", "probabilities": ""},
    ]


def model_of(classes, **options):
    torch.manual_seed(0)
    config = BeitConfig(**TINY_MODEL, id2label=dict(enumerate(classes)), **options)
    model = BeitForImageClassification(config)
    torch.nn.init.normal_(model.classifier.weight, std=0.2)
    return model.eval()


@pytest.fixture
def labelled(pictures, tmp_path):
    """Each picture is of its folder, and odd or even: labels in another order than the model's."""
    file = tmp_path / "labels.csv"
    lines = [f"{name}/{n}.png,{name};{'odd' if n % 2 else 'even'}" for name in ("cat", "dog") for n in range(6)]
    file.write_text("\n".join(["file_name,labels", *lines]))
    return pictures, file


CLASSES = ("odd", "unicorn", "Dog", "cat", "even")
SEVERAL = {"problem_type": "multi_label_classification"}


def test_labels_are_the_models_own_and_flips_average(labelled):
    pictures, file = labelled
    source, model = with_labels(open_source(str(pictures)), str(pictures), str(file)), model_of(CLASSES, **SEVERAL)
    result = evaluate_model(model, VIEW, source, PassOptions(5, flips=True))
    names = [{CLASSES[k].lower() for k in np.flatnonzero(row)} for row in result.targets]
    assert names == [{name, ("even", "odd")[n % 2]} for name in ("cat", "dog") for n in range(6)]
    pixels = torch.stack([torch.from_numpy(VIEW(source.load(index))) for index in range(12)])
    with torch.no_grad():
        both = (model(pixels).logits + model(pixels.flip(-1)).logits) / 2
    np.testing.assert_allclose(result.scores, both.numpy(), atol=1e-5)
    expected = functional.binary_cross_entropy_with_logits(both, torch.from_numpy(result.targets).float())
    assert result.numbers()["loss"] == pytest.approx(float(expected), abs=1e-5)
    assert [each.name for each in result.per_label if each.name == "unicorn"] == []


def job(model, pictures, file, **options):
    return EvaluateJob(str(model), PictureSettings(str(pictures), str(file), workers=0), **options)


def test_the_json_of_a_saved_model(labelled, tmp_path):
    model_of(CLASSES, **SEVERAL).save_pretrained(tmp_path / "model")
    result = evaluate(job(tmp_path / "model", *labelled, output=str(tmp_path / "r.json"), limit=6))
    written = json.loads((tmp_path / "r.json").read_text())
    assert list(written) == [
        "schema", "numbers", "speed", "model", "settings", "versions", "classes", "per_label", "broken",
    ]  # fmt: skip
    assert written["numbers"] == result.numbers()
    assert written["numbers"]["pictures"] == 6
    assert written["model"]["problem_type"] == "multi_label_classification"
    assert written["model"]["matched"] == "name"
    assert written["classes"] == list(CLASSES)
    assert [list(each) for each in written["per_label"]] == [
        ["index", "name", "pictures", "predicted", "average_precision", "f1"]
    ] * 4


@pytest.mark.parametrize(
    ("options", "column", "message"),
    [
        (
            SEVERAL,
            "label",
            r"is for multi_label_classification, but the pictures have one class each; expected several labels: name "
            r"in data.labels a file with the columns `file_name` and `labels`, or name a model for single_label_class",
        ),
        (SEVERAL, "value", "the pictures have a number each; expected several labels: .* name a model for regression"),
        (
            {"problem_type": "single_label_classification"},
            "labels",
            "is for single_label_classification, but the pictures have several labels each; expected one class: put "
            "them into one folder per class, .* or name a model for multi_label_classification$",
        ),
        (
            {},
            "labels",
            "has no problem_type in its config.json and is taken for single_label_classification, .* or name a model "
            "for multi_label_classification, or write multi_label_classification there if this is one",
        ),
    ],
)
def test_labels_of_another_kind_are_refused(pictures, tmp_path, options, column, message):
    (tmp_path / "labels.csv").write_text(f"file_name,{column}\ncat/0.png,1\ndog/1.png,2\n")
    model_of(CLASSES, **options).save_pretrained(tmp_path / "model")
    with pytest.raises(ConfigError, match=message):
        evaluate(job(tmp_path / "model", pictures, tmp_path / "labels.csv"))


def test_pictures_without_labels_are_refused(pictures, tmp_path):
    (pictures / "cat" / "0.png").rename(pictures / "beside.png")
    model_of(CLASSES, **SEVERAL).save_pretrained(tmp_path / "model")
    with pytest.raises(DataError, match=r"have no labels; name in data.labels a file with the columns `file_name` and"):
        evaluate(EvaluateJob(str(tmp_path / "model"), PictureSettings(str(pictures), workers=0)))
