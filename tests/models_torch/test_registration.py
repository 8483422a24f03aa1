"""Auto classes and pipelines of transformers with our classes, in a process of its own: it changes transformers."""

import json
import subprocess
import sys

import pytest

from beit import BeitForImageClassification, BeitImageProcessor
from beit.errors import MissingExtraError
from beit.models_torch import registration
from tests.conftest import GOLDEN

pytestmark = pytest.mark.e2e
CODE = """
import json, sys
import numpy as np
import beit, transformers
from PIL import Image

folder, data2vec = sys.argv[1:]
before = type(transformers.AutoModel.from_pretrained(folder)).__module__
beit.register_with_transformers()
beit.register_with_transformers()
config, rest = transformers.AutoConfig.from_pretrained(folder, num_labels=2, other=1, return_unused_kwargs=True)
made = [
    transformers.AutoModel.from_pretrained(folder),
    transformers.AutoModelForImageClassification.from_pretrained(folder),
    transformers.AutoModelForImageClassification.from_pretrained(folder, num_labels=2),
    transformers.AutoModelForImageClassification.from_pretrained(data2vec),
    transformers.AutoImageProcessor.from_pretrained(folder),
    transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(folder)),
    transformers.AutoModelForImageClassification.from_config(beit.BeitConfig.from_pretrained(folder), dtype="bfloat16"),
    transformers.AutoModelForSemanticSegmentation.from_config(beit.Data2VecVisionConfig.from_pretrained(data2vec)),
]
classify = transformers.pipeline("image-classification", model=folder)
features = transformers.pipeline("image-feature-extraction", model=folder)
picture = Image.effect_noise((40, 40), 80).convert("RGB")
answer = {
    "before": before,
    "config": [isinstance(config, beit.BeitConfig), config.num_labels, rest],
    "made": [type(one).__module__ + "." + type(one).__name__ for one in made],
    "attends": transformers.AutoModel.from_pretrained(folder, output_attentions=True).config.output_attentions,
    "new_head": made[2].classifier.out_features,
    "best": classify(picture)[0]["label"],
    "ours": beit.Predictor.from_pretrained(folder, device="cpu").classify([picture])[0].label,
    "features": list(np.shape(features(picture))),
    "model": type(features.model).__module__,
}
print(json.dumps(answer))
"""


def test_their_auto_classes_give_ours(tmp_path):
    pytest.importorskip("transformers")
    BeitForImageClassification.from_pretrained(GOLDEN / "hf_v4/classify_single").save_pretrained(tmp_path)
    BeitImageProcessor(size=32, do_center_crop=False).save_pretrained(tmp_path)
    command = [sys.executable, "-c", CODE, str(tmp_path), str(GOLDEN / "data2vec/classify")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["before"].startswith("transformers.")
    assert answer["config"] == [True, 2, {"other": 1}]
    assert answer["made"] == [
        "beit.models_torch.model.BeitModel",
        "beit.models_torch.classification.BeitForImageClassification",
        "beit.models_torch.classification.BeitForImageClassification",
        "beit.models_torch.data2vec.Data2VecVisionForImageClassification",
        "beit.image.processor.BeitImageProcessor",
        "beit.models_torch.model.BeitModel",
        "beit.models_torch.classification.BeitForImageClassification",
        "beit.models_torch.data2vec.Data2VecVisionForSemanticSegmentation",
    ]
    assert answer["attends"] is True
    assert answer["new_head"] == 2
    assert answer["best"] == answer["ours"]
    assert answer["features"][0] == 1
    assert answer["model"] == "beit.models_torch.model"


def test_without_transformers_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="the library 'transformers' is not installed"):
        registration.register_with_transformers()
