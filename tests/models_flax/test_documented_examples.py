"""The Flax examples of the published documentation, with only the import line changed.

They run against a local stand-in of the hub that holds small models under the published names. The picture is a local
one, where the documentation fetches one from the web.
"""

import shutil

import numpy as np
import pytest
from PIL import Image

from beit import BeitImageProcessor
from tests.conftest import GOLDEN
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.e2e

MODEL = """
from beit import AutoImageProcessor, FlaxBeitModel

image_processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-patch16-224-pt22k-ft22k")
model = FlaxBeitModel.from_pretrained("microsoft/beit-base-patch16-224-pt22k-ft22k")

inputs = image_processor(images=image, return_tensors="np")
outputs = model(**inputs)
last_hidden_states = outputs.last_hidden_state
print(last_hidden_states.shape)
"""

MASKED_IMAGE_MODELING = """
from beit import AutoImageProcessor, FlaxBeitForMaskedImageModeling

image_processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-patch16-224-pt22k")
model = FlaxBeitForMaskedImageModeling.from_pretrained("microsoft/beit-base-patch16-224-pt22k")

inputs = image_processor(images=image, return_tensors="np")
outputs = model(**inputs)
logits = outputs.logits
print(logits.shape)
"""

CLASSIFICATION = """
from beit import AutoImageProcessor, FlaxBeitForImageClassification

image_processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-patch16-224")
model = FlaxBeitForImageClassification.from_pretrained("microsoft/beit-base-patch16-224")

inputs = image_processor(images=image, return_tensors="np")
outputs = model(**inputs)
logits = outputs.logits
# model predicts one of the 1000 ImageNet classes
predicted_class_idx = logits.argmax(-1).item()
print("Predicted class:", model.config.id2label[predicted_class_idx])
"""
STAND_INS = {
    "microsoft/beit-base-patch16-224-pt22k-ft22k": "hf_flax/model_mean",
    "microsoft/beit-base-patch16-224-pt22k": "hf_v4/mim",  # as on the hub, PyTorch weights only
    "microsoft/beit-base-patch16-224": "hf_flax/classify_mean",
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    with FakeHub() as hub:
        for name, case in STAND_INS.items():
            folder = shutil.copytree(GOLDEN / case, root / case.replace("/", "-"))
            BeitImageProcessor(size=32, do_center_crop=False).save_pretrained(folder)
            hub.add(name, folder)
        yield hub


@pytest.mark.parametrize(
    ("example", "expected"),
    [(MODEL, "(1, 17, 32)"), (MASKED_IMAGE_MODELING, "(1, 16, 64)"), (CLASSIFICATION, "Predicted class: LABEL_")],
    ids=["model", "masked image modelling", "classification"],
)
def test_example(example, expected, hub, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    code = f"from PIL import Image\nimage = Image.open('picture.png')\n{example}"
    process = hub.python(code, tmp_path / "home", cwd=tmp_path)
    assert process.wait() == 0, process.stderr[-3000:]
    assert process.stdout.startswith(expected)
