"""The examples of the published page that are in PyTorch or name a class of it, run as they stand there.

Only the import line is another. They find small models under the published names on a hub of this machine, and a
picture of this machine in the place of one on the web. With transformers in the import line they give the same numbers.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import beit
from tests.conftest import TINY_MODEL
from tests.fake_hub import FakeHub

pytestmark = pytest.mark.e2e

PICTURE_OF_THE_WEB = """
from PIL import Image
import requests

url = "http://images.cocodataset.org/val2017/000000039769.jpg"
image = Image.open(requests.get(url, stream=True).raw)
"""
PICTURE_OF_THE_HUB = """
import torch
from datasets import load_dataset

dataset = load_dataset("huggingface/cats-image")
image = dataset["test"]["image"][0]
"""
MODEL = f"""
from LIBRARY import AutoImageProcessor, BeitModel
{PICTURE_OF_THE_HUB}
image_processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-patch16-224-pt22k")
model = BeitModel.from_pretrained("microsoft/beit-base-patch16-224-pt22k")

inputs = image_processor(image, return_tensors="pt")

with torch.no_grad():
    outputs = model(**inputs)

last_hidden_states = outputs.last_hidden_state
found = last_hidden_states
"""
MASKED_IMAGE_MODELING = f"""
from LIBRARY import AutoImageProcessor, BeitForMaskedImageModeling
import torch
{PICTURE_OF_THE_WEB}
image_processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-patch16-224-pt22k")
model = BeitForMaskedImageModeling.from_pretrained("microsoft/beit-base-patch16-224-pt22k")

num_patches = (model.config.image_size // model.config.patch_size) ** 2
pixel_values = image_processor(images=image, return_tensors="pt").pixel_values
# create random boolean mask of shape (batch_size, num_patches)
bool_masked_pos = torch.randint(low=0, high=2, size=(1, num_patches)).bool()

outputs = model(pixel_values, bool_masked_pos=bool_masked_pos)
loss, logits = outputs.loss, outputs.logits
found = logits
assert loss is None
"""
CLASSIFICATION = f"""
from LIBRARY import AutoImageProcessor, BeitForImageClassification
{PICTURE_OF_THE_HUB}
image_processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-patch16-224")
model = BeitForImageClassification.from_pretrained("microsoft/beit-base-patch16-224")

inputs = image_processor(image, return_tensors="pt")

with torch.no_grad():
    logits = model(**inputs).logits

# model predicts one of the 1000 ImageNet classes
predicted_label = logits.argmax(-1).item()
print(model.config.id2label[predicted_label])
found = logits
"""
SEGMENTATION = f"""
from LIBRARY import AutoImageProcessor, BeitForSemanticSegmentation
{PICTURE_OF_THE_WEB}
image_processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-finetuned-ade-640-640")
model = BeitForSemanticSegmentation.from_pretrained("microsoft/beit-base-finetuned-ade-640-640")

inputs = image_processor(images=image, return_tensors="pt")
outputs = model(**inputs)
# logits are of shape (batch_size, num_labels, height, width)
logits = outputs.logits
found = logits
"""
BACKBONE = f"""
from LIBRARY import AutoImageProcessor, AutoBackbone
import torch
{PICTURE_OF_THE_WEB}
processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-patch16-224")
model = AutoBackbone.from_pretrained(
    "microsoft/beit-base-patch16-224", out_features=["stage1", "stage2", "stage3", "stage4"]
)

inputs = processor(image, return_tensors="pt")

outputs = model(**inputs)
feature_maps = outputs.feature_maps
found = feature_maps[-1]
"""
CONFIGURATION = """
from LIBRARY import BeitConfig, BeitModel

# Initializing a BEiT beit-base-patch16-224-pt22k style configuration
configuration = BeitConfig()

# Initializing a model (with random weights) from the beit-base-patch16-224-pt22k style configuration
model = BeitModel(configuration)

# Accessing the model configuration
configuration = model.config
found = model.embeddings.cls_token * 0
"""
# on the page of Flax, with the class of PyTorch and arrays of numpy
MASKED_WITH_ARRAYS = f"""
from LIBRARY import AutoImageProcessor, BeitForMaskedImageModeling
{PICTURE_OF_THE_WEB}
image_processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-patch16-224-pt22k")
model = BeitForMaskedImageModeling.from_pretrained("microsoft/beit-base-patch16-224-pt22k")

inputs = image_processor(images=image, return_tensors="np")
outputs = model(**inputs)
logits = outputs.logits
found = logits
"""
# by name: the example, the shape of what it finds with the small model, and whether transformers finds the same
EXAMPLES = {
    "model": (MODEL, [1, 17, 32], True),
    "masked image modelling": (MASKED_IMAGE_MODELING, [1, 16, 64], True),
    "classification": (CLASSIFICATION, [1, 3], True),
    "segmentation": (SEGMENTATION, [1, 3, 16, 16], False),  # theirs reads other layers of this model
    "backbone": (BACKBONE, [1, 32, 4, 4], True),
    "configuration": (CONFIGURATION, [1, 1, 768], True),
    "masked image modelling with arrays": (MASKED_WITH_ARRAYS, [1, 16, 64], False),
}
BEFORE = """
import datasets, json, requests, torch
from PIL import Image
from types import SimpleNamespace

datasets.load_dataset = lambda name: {"test": {"image": [Image.open("picture.png")]}}
requests.get = lambda url, stream: SimpleNamespace(raw=open("picture.png", "rb"))
every = []
"""
EACH = """
names = {}
torch.manual_seed(0)  # a mask is drawn
exec(EXAMPLE, names)
every.append(names["found"].tolist())
"""
AFTER = """
with open("found.json", "w") as file:
    json.dump(every, file)
"""
SHARED = {"use_relative_position_bias": False, "use_shared_relative_position_bias": True}
PUBLISHED = {
    "microsoft/beit-base-patch16-224-pt22k": ("BeitForMaskedImageModeling", SHARED | {"use_mask_token": True}),
    "microsoft/beit-base-patch16-224": (
        "BeitForImageClassification",
        {"id2label": {0: "tabby", 1: "tiger", 2: "lynx"}},
    ),
    "microsoft/beit-base-finetuned-ade-640-640": (
        "BeitForSemanticSegmentation",
        {"num_labels": 3, "out_indices": [0, 1, 2, 3], "out_indices_meaning": "original"},
    ),
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    torch.manual_seed(0)
    options = TINY_MODEL | {"num_hidden_layers": 4, "layer_norm_eps": 1e-6, "use_relative_position_bias": True}
    with FakeHub() as hub:
        for name, (kind, more) in PUBLISHED.items():
            folder = tmp_path_factory.mktemp("published")
            model = getattr(beit, kind)(beit.BeitConfig(**options | more))
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=0.1)
            model.save_pretrained(folder)
            beit.BeitImageProcessor(size=32, do_center_crop=False).save_pretrained(folder)
            hub.add(name, folder)
        yield hub


@pytest.fixture(scope="module")
def theirs(hub, tmp_path_factory):
    """What transformers finds by those examples that it runs; in one process, since its import takes long."""
    pytest.importorskip("transformers")
    examples = {name: example for name, (example, _, runs_there) in EXAMPLES.items() if runs_there}
    found = found_by("transformers", examples.values(), hub, tmp_path_factory.mktemp("theirs"))
    return dict(zip(examples, found, strict=True))


def found_by(library, examples, hub, folder):
    """What is found by examples with a library in their import lines, run in one process."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "picture.png")
    codes = [EACH.replace("EXAMPLE", repr(example.replace("LIBRARY", library))) for example in examples]
    process = hub.python("".join([BEFORE, *codes, AFTER]), folder / "home", cwd=folder)
    assert process.wait() == 0, process.stderr[-3000:]
    return [np.array(one) for one in json.loads((folder / "found.json").read_text(encoding="utf-8"))]


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, hub, theirs, tmp_path):
    example, shape, runs_there = EXAMPLES[name]
    (found,) = found_by("beit", [example], hub, tmp_path)
    assert list(found.shape) == shape
    assert np.isfinite(found).all()
    if runs_there:
        np.testing.assert_allclose(found, theirs[name], atol=1e-4)
