import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from beit.config import BeitConfig
from beit.data import open_source
from beit.errors import CheckpointError, ConfigError, DataError
from beit.evaluation.classification.class_evaluation import ClassEvaluation
from beit.evaluation.classification.evaluate import evaluate
from beit.evaluation.classification.evaluation import EvaluatedModel
from beit.evaluation.classification.measure import evaluate_model
from beit.evaluation.classification.one_pass import PassOptions
from beit.evaluation.result import Speed, write_predictions, write_result
from beit.image import BeitImageProcessor, Preprocessing
from beit.models_torch import BeitForImageClassification, BeitForMaskedImageModeling
from beit.settings.evaluate import EvaluateJob
from beit.settings.groups import PictureSettings
from tests.conftest import TINY_MODEL

VIEW = Preprocessing((32, 32), 37)


class Named:
    """Pictures of which only the names are asked for."""

    def name(self, index):
        return f"picture {index}"


def evaluation(probabilities, labels, classes=None):
    """The evaluation of a model that gave these probabilities (P, K)."""
    probabilities = torch.tensor(probabilities, dtype=torch.float64)
    labels = np.array(labels)
    best = probabilities.topk(min(5, probabilities.shape[1]))
    losses = -probabilities[torch.arange(len(labels)), torch.from_numpy(labels)].log().numpy()
    names = classes or [chr(ord("a") + index) for index in range(probabilities.shape[1])]
    values = best.values.float().numpy()
    common = (Named(), VIEW, names, list(range(len(labels))), Speed(2.0, 1.0), 7, [])
    return ClassEvaluation(*common, labels, best.indices.numpy(), values, losses)


BY_HAND = ([[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.7, 0.2]], [0, 1, 1, 0])


def classifier(classes=("cat", "dog"), **options):
    torch.manual_seed(0)
    names = dict(enumerate(classes))
    model = BeitForImageClassification(BeitConfig(**{**TINY_MODEL, **options}, id2label=names))
    torch.nn.init.normal_(model.classifier.weight, std=0.2)
    return model.eval()


def test_flips_average_the_scores_of_both_images(pictures):
    source, model = open_source(str(pictures)), classifier()
    result = evaluate_model(model, VIEW, source, PassOptions(5, flips=True))
    pixels = torch.stack([torch.from_numpy(VIEW(source.load(index))) for index in range(12)])
    with torch.no_grad():
        plain = model(pixels).logits
        both = (plain + model(pixels.flip(-1)).logits) / 2
    expected = both.softmax(-1).max(-1).values.numpy()
    np.testing.assert_allclose(result.confidence, expected, atol=1e-6)
    once = evaluate_model(model, VIEW, source, PassOptions(5))
    np.testing.assert_allclose(once.confidence, plain.softmax(-1).max(-1).values.numpy(), atol=1e-6)
    assert np.abs(once.confidence - expected).max() > 1e-4
    losses = torch.nn.functional.cross_entropy(both, torch.from_numpy(source.labels), reduction="none")
    np.testing.assert_allclose(result.losses, losses.numpy(), atol=1e-5)


def test_the_preprocessor_is_followed_to_the_bit(pictures):
    """The filter it names, and black where a crop is larger than the picture, as in BeitImageProcessor."""
    source = open_source(str(pictures))
    for view in (
        Preprocessing((32, 32), (32, 32), resample=Image.Resampling.BILINEAR),
        Preprocessing((32, 32), 16),
        VIEW,
    ):
        result = evaluate_model(classifier(), view, source, PassOptions(12))
        processor = BeitImageProcessor(
            size={"shortest_edge": view.resize} if isinstance(view.resize, int) else {"height": 32, "width": 32},
            resample=view.resample,
            crop_size={"height": 32, "width": 32},
        )
        pixels = processor([source.load(index) for index in range(12)], return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            expected = classifier()(pixels).logits.softmax(-1).max(-1).values
        np.testing.assert_allclose(result.confidence, expected.numpy(), atol=1e-6)


def test_bf16_is_close_and_not_the_same(pictures):
    source, model = open_source(str(pictures)), classifier()
    exact, fast = (evaluate_model(model, VIEW, source, PassOptions(4, precision=name)) for name in ("fp32", "bf16"))
    np.testing.assert_allclose(fast.confidence, exact.confidence, atol=0.05)
    assert not np.array_equal(fast.confidence, exact.confidence)


def test_broken_pictures_are_left_out_and_labels_stay_in_step(pictures):
    (pictures / "cat" / "1.png").write_text("no picture")
    result = evaluate_model(classifier(), VIEW, open_source(str(pictures)), PassOptions(4))
    assert result.indices == [0, *range(2, 12)]
    assert result.labels.tolist() == [0] * 5 + [1] * 6
    assert "1.png" in result.broken[0].name


def test_classes_are_the_models_own(pictures):
    """The folders are sorted, cat and dog; the model has dog first and a class more."""
    result = evaluate_model(classifier(("dog", "emu", "cat")), VIEW, open_source(str(pictures)), PassOptions(12))
    assert result.labels.tolist() == [2] * 6 + [0] * 6


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "model"
    classifier().save_pretrained(folder)
    VIEW.save_pretrained(folder)
    return folder


def job(model, pictures, **options):
    return EvaluateJob(str(model), PictureSettings(str(pictures), workers=0), **options)


def test_json_schema(saved, pictures, tmp_path):
    output = tmp_path / "result.json"
    result = evaluate(job(saved, pictures, output=str(output), flips=True))
    written = json.loads(output.read_text())
    assert list(written) == [
        "schema", "numbers", "speed", "model", "settings", "versions", "classes", "per_class", "calibration",
        "confusion", "broken",
    ]  # fmt: skip
    assert written["schema"] == 1
    assert written["numbers"] == result.numbers()
    assert set(written["speed"]) == {"model", "whole"}
    assert written["speed"]["model"] > written["speed"]["whole"] / 2 > 0
    assert written["model"] == {
        "name": str(saved),
        "matched": "name",
        "view_from": "the model's preprocessor_config.json",
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "precision": written["model"]["precision"],
        "problem_type": "single_label_classification",
        "parameters": sum(parameter.numel() for parameter in classifier().parameters()),
        "classes": 2,
        "view": {"image_size": [32, 32], "resize": 37, "resample": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3},
    }
    assert written["settings"]["flips"] is True
    assert set(written["versions"]) == {"beit", "python", "torch", "torchmetrics", "numpy", "Pillow"}
    assert written["classes"] == ["cat", "dog"]
    for each in written["per_class"]:
        assert list(each) == ["index", "name", "pictures", "accuracy", "precision", "taken_for"]
    assert sum(each["pictures"] for each in written["calibration"]) == 12
    assert set(written["calibration"][0]) == {"low", "high", "pictures", "confidence", "accuracy"}
    right = sum(cell["pictures"] for cell in written["confusion"] if cell["label"] == cell["predicted"])
    assert right / 12 == written["numbers"]["accuracy"]
    assert written["broken"] == []


def test_json_of_a_classless_number_is_still_json(tmp_path):
    """A class that is never predicted has no precision: null, since JSON has no NaN."""
    result = evaluation([[0.9, 0.1]], [1])
    described = EvaluatedModel("m", "name", "v", "cpu", "fp32")
    write_result(tmp_path / "r.json", result, described.to_json(result), EvaluateJob("m", PictureSettings("pictures")))
    (only,) = json.loads((tmp_path / "r.json").read_text())["per_class"]
    assert (only["precision"], only["accuracy"], only["taken_for"]) == (None, 0.0, "a")


def test_predictions_are_a_table(tmp_path):
    names = ["tench, Tinca tinca", 'a "quoted" one', "c"]
    write_predictions(tmp_path / "p.csv", evaluation(*BY_HAND, names))
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1] == {
        "name": "picture 1",
        "label": 'a "quoted" one',
        "predicted": "tench, Tinca tinca",
        "probability": "0.6",
        "top_2": 'a "quoted" one',
        "probability_2": "0.3",
        "top_3": "c",
        "probability_3": "0.1",
    }
    assert len(rows) == 4


def test_limit_is_spread_over_all_classes(saved, pictures):
    result = evaluate(job(saved, pictures, limit=4))
    assert result.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"problem_type": "multi_label_classification"}, "the model is for multi_label_classification, but the"),
        ({"problem_type": "regression"}, "the model is for regression, but the pictures have one class each"),
        ({"classes": ("one",)}, "has no problem_type in its config.json and is taken for regression, but the pictures"),
        (
            {"classes": ("one",), "problem_type": "single_label_classification"},
            "the model has 1 classes; expected at least 2",
        ),
    ],
)
def test_models_that_do_not_choose_a_class_are_refused(pictures, tmp_path, options, message):
    classifier(**options).save_pretrained(tmp_path / "other")
    with pytest.raises(ConfigError, match=message):
        evaluate(job(tmp_path / "other", pictures))


def test_a_pretrained_model_has_no_classes(pictures, tmp_path):
    BeitForMaskedImageModeling(BeitConfig(**TINY_MODEL)).save_pretrained(tmp_path / "mim")
    with pytest.raises(CheckpointError, match=r"holds no trained classifier, .* would be random"):
        evaluate(job(tmp_path / "mim", pictures))


def test_scores_that_are_not_finite_are_an_error(pictures):
    model = classifier()
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    with pytest.raises(CheckpointError, match=r"not finite in the batch of .*cat/0.png"):
        evaluate_model(model, VIEW, open_source(str(pictures)), PassOptions(4))


def test_pictures_without_labels_are_refused(saved, pictures):
    (pictures / "cat" / "0.png").rename(pictures / "beside.png")
    with pytest.raises(DataError, match="have no labels; put them into one folder per class"):
        evaluate(job(saved, pictures))


def test_places_that_cannot_be_written_are_refused_first(saved, pictures, tmp_path):
    with pytest.raises(ConfigError, match=r"output is '.*', a folder; expected the name of a file"):
        evaluate(job(saved, pictures, output=str(tmp_path)))
    same = str(tmp_path / "same")
    with pytest.raises(ConfigError, match="which another file is to have"):
        evaluate(job(saved, pictures, output=same, report=same))
