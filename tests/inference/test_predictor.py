import numpy as np
import pytest
import torch
from PIL import Image

from beit import BeitForImageClassification, Predictor, preset
from beit.errors import ConfigError, DataError
from beit.image import Preprocessing
from tests.conftest import TINY_MODEL


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    model = BeitForImageClassification(preset("tiny", **TINY_MODEL, id2label={0: "cat", 1: "dog", 2: "eel"}))
    torch.nn.init.normal_(model.classifier.weight)
    model.save_pretrained(tmp_path / "model")
    Preprocessing((32, 32), (36, 36)).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_predictions_are_sorted_and_those_of_the_model(folder, pictures):
    predictor = Predictor.from_pretrained(folder)
    paths = sorted(pictures.glob("*/*.png"))
    predictions = predictor.classify(paths, top_k=9, batch_size=5)
    assert len(predictions) == 12
    for path, prediction in zip(paths, predictions, strict=True):
        assert sorted(prediction.labels) == ["cat", "dog", "eel"]
        assert prediction.probabilities == sorted(prediction.probabilities, reverse=True)
        assert sum(prediction.probabilities) == pytest.approx(1)
        pixels = torch.from_numpy(predictor.preprocessing(Image.open(path).convert("RGB")))[None]
        logits = predictor.runner.model(pixels).logits[0]
        assert prediction.label == predictor.classes[int(logits.argmax())]


def test_pictures_in_any_form(folder, pictures):
    predictor = Predictor.from_pretrained(folder)
    path = pictures / "cat" / "0.png"
    forms = [path, str(path), path.read_bytes(), Image.open(path), Image.open(path).convert("RGBA")]
    predictions = predictor.classify(forms)
    assert all(np.allclose(p.probabilities, predictions[0].probabilities, atol=1e-6) for p in predictions)


def test_broken_pictures_and_models(folder, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        Predictor.from_pretrained(folder).classify([tmp_path / "absent.png"])
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"preprocessor_config.json does not exist"):
        Predictor.from_pretrained(folder)
