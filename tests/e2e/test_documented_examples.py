"""The examples of the published documentation, with only `from transformers import` turned into `from beit import`.

They run against a local stand-in of the hub, through the real download code, on models of the published sizes of
pictures and answers with less between them. The picture is a local one; the documentation fetches one from the web.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from beit import (
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    BeitForSemanticSegmentation,
    BeitImageProcessor,
    preset,
)
from tests.fake_hub import FakeHub

BASE = {"use_shared_relative_position_bias": False, "use_relative_position_bias": True, "use_mask_token": False,
        "layer_norm_eps": 1e-12}  # fmt: skip

CONFIGURATION = """
from beit import BeitConfig, BeitModel

# Initializing a BEiT beit-base-patch16-224-pt22k style configuration
configuration = BeitConfig()

# Initializing a model (with random weights) from the beit-base-patch16-224-pt22k style configuration
model = BeitModel(configuration)

# Accessing the model configuration
configuration = model.config
print(configuration.hidden_size, model.num_parameters())
"""

MODEL = """
from beit import AutoImageProcessor, BeitModel
import torch

image_processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-patch16-224-pt22k")
model = BeitModel.from_pretrained("microsoft/beit-base-patch16-224-pt22k")

inputs = image_processor(image, return_tensors="pt")

with torch.no_grad():
    outputs = model(**inputs)

last_hidden_states = outputs.last_hidden_state
print(list(last_hidden_states.shape))
"""

MASKED_IMAGE_MODELING = """
from beit import AutoImageProcessor, BeitForMaskedImageModeling
import torch

image_processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-patch16-224-pt22k")
model = BeitForMaskedImageModeling.from_pretrained("microsoft/beit-base-patch16-224-pt22k")

num_patches = (model.config.image_size // model.config.patch_size) ** 2
pixel_values = image_processor(images=image, return_tensors="pt").pixel_values
# create random boolean mask of shape (batch_size, num_patches)
bool_masked_pos = torch.randint(low=0, high=2, size=(1, num_patches)).bool()

outputs = model(pixel_values, bool_masked_pos=bool_masked_pos)
loss, logits = outputs.loss, outputs.logits
print(list(logits.shape))
"""

CLASSIFICATION = """
from beit import AutoImageProcessor, BeitForImageClassification
import torch

image_processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-patch16-224")
model = BeitForImageClassification.from_pretrained("microsoft/beit-base-patch16-224")

inputs = image_processor(image, return_tensors="pt")

with torch.no_grad():
    logits = model(**inputs).logits

# model predicts one of the 1000 ImageNet classes
predicted_label = logits.argmax(-1).item()
print(model.config.id2label[predicted_label])
"""

SEGMENTATION = """
from beit import AutoImageProcessor, BeitForSemanticSegmentation

image_processor = AutoImageProcessor.from_pretrained("microsoft/beit-base-finetuned-ade-640-640")
model = BeitForSemanticSegmentation.from_pretrained("microsoft/beit-base-finetuned-ade-640-640")

inputs = image_processor(images=image, return_tensors="pt")
outputs = model(**inputs)
# logits are of shape (batch_size, num_labels, height, width)
logits = outputs.logits
print(list(logits.shape), model.config.out_indices, model.config.out_indices_meaning)
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The three repositories of the examples: fewer layers where the example does not see it, or narrow ones."""
    root = tmp_path_factory.mktemp("hub")
    torch.manual_seed(0)
    few, narrow = {"num_hidden_layers": 1}, {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 96}
    pretrained = BeitForMaskedImageModeling(preset("base", **few))
    classifier = BeitForImageClassification(
        preset("base", **BASE, **few, id2label={index: f"class number {index}" for index in range(1000)})
    )
    segmenter = BeitForSemanticSegmentation(
        preset("base", **BASE, **narrow, image_size=640, num_labels=150, out_indices=[3, 5, 7, 11])
    )
    with FakeHub() as hub:
        for name, model, size in (
            ("microsoft/beit-base-patch16-224-pt22k", pretrained, 224),
            ("microsoft/beit-base-patch16-224", classifier, 224),
            ("microsoft/beit-base-finetuned-ade-640-640", segmenter, 640),
        ):
            folder = root / name.split("/")[1]
            model.save_pretrained(folder)
            processor = BeitImageProcessor(size=size, do_center_crop=False, do_reduce_labels=size == 640)
            processor.save_pretrained(folder)
            hub.add(name, folder)
        yield hub


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


def run(example, hub, home, tmp_path, **environment):
    picture = tmp_path / "picture.png"
    if not picture.exists():
        pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(picture)
    code = f"from PIL import Image\nimage = Image.open({str(picture)!r})\n{example}"
    process = hub.python(code, home, cwd=tmp_path, **environment)
    process.wait()
    return process


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        (CONFIGURATION, "768 85"),
        (MODEL, "[1, 197, 768]"),
        (MASKED_IMAGE_MODELING, "[1, 196, 8192]"),
        (CLASSIFICATION, "class number "),
        (SEGMENTATION, "[1, 150, 160, 160] [3, 5, 7, 11] original"),
    ],
    ids=["configuration", "model", "masked image modelling", "classification", "segmentation"],
)
def test_example(example, expected, hub, home, tmp_path):
    done = run(example, hub, home, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith(expected)


def test_offline_after_the_first_time(hub, home, tmp_path):
    first = run(MODEL, hub, home, tmp_path)
    assert first.returncode == 0, first.stderr[-3000:]
    hub.requests.clear()
    again = run(MODEL, hub, home, tmp_path, HF_HUB_OFFLINE="1")
    assert again.stdout == "[1, 197, 768]\n", again.stderr[-3000:]
    assert not hub.requests


SMALL = """
import torch
from beit import BeitForImageClassification
from beit.errors import BeitError
try:
    model = BeitForImageClassification.from_pretrained(NAME, **OPTIONS)
    print(model.config.num_labels, round(float(model.classifier.weight.detach().double().sum()), 4), model.load_report)
except BeitError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def small(tmp_path):
    """A small model in two revisions, and its files in shards."""
    from tests.conftest import TINY_MODEL

    config = preset("tiny", **TINY_MODEL, **{key: BASE[key] for key in list(BASE)[:3]}, num_labels=3)
    folders = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = BeitForImageClassification(config)
        folder = tmp_path / f"revision{seed}"
        model.save_pretrained(folder)
        folders.append((folder, round(float(model.classifier.weight.detach().double().sum()), 4)))
    return folders


def load(hub, home, tmp_path, name, options=None, **environment):
    code = SMALL.replace("NAME", repr(name)).replace("OPTIONS", repr(options or {}))
    return run(code, hub, home, tmp_path, **environment).stdout.strip()


def test_revisions_tokens_and_missing_files(small, tmp_path):
    with FakeHub() as hub:
        (main, main_sum), (dev, dev_sum) = small
        hub.add("me/model", main)
        hub.add("me/model", dev, revision="dev")
        hub.add("me/private", main, token="hf_right")  # noqa: S106
        empty = tmp_path / "empty"
        empty.mkdir()
        (empty / "config.json").write_text((main / "config.json").read_text())
        hub.add("me/empty", empty)
        home = tmp_path / "home"
        loaded = "every parameter was loaded"
        assert load(hub, home, tmp_path, "me/model") == f"3 {main_sum} {loaded}"
        assert load(hub, home, tmp_path, "me/model", {"revision": "dev"}) == f"3 {dev_sum} {loaded}"
        printed = load(hub, home, tmp_path, "me/model", {"revision": "nowhere"})
        assert printed.startswith("UnavailableError")
        assert "nowhere" in printed
        printed = load(hub, home, tmp_path, "me/private")
        assert printed.startswith("UnavailableError")
        assert "log in with `hf auth login` or pass token=..." in printed
        assert load(hub, home, tmp_path, "me/private", {"token": "hf_right"}) == f"3 {main_sum} {loaded}"
        printed = load(hub, home, tmp_path, "me/empty")
        assert "UnavailableError the hub repository me/empty holds no weights; expected one of" in printed
        printed = load(hub, tmp_path / "nothing", tmp_path, "me/model", {"local_files_only": True})
        assert printed.startswith("UnavailableError")


def test_a_connection_that_is_cut(small, tmp_path):
    """The next attempt, of the download code or of the user, gets the rest; the model is whole."""
    with FakeHub() as hub:
        folder, expected = small[0]
        hub.add("me/model", folder)
        home = tmp_path / "home"
        hub.cut("me/model", "model.safetensors", after=20_000)
        printed = load(hub, home, tmp_path, "me/model")
        if printed.startswith("UnavailableError"):
            printed = load(hub, home, tmp_path, "me/model")
        assert printed == f"3 {expected} every parameter was loaded"


def test_shards(small, tmp_path):
    from safetensors.torch import load_file, save_file

    folder, expected = small[0]
    tensors = load_file(folder / "model.safetensors")
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "config.json").write_text((folder / "config.json").read_text())
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, shards / file)
        weight_map |= dict.fromkeys(part, file)
    (shards / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    with FakeHub() as hub:
        hub.add("me/shards", shards)
        assert load(hub, tmp_path / "home", tmp_path, "me/shards") == f"3 {expected} every parameter was loaded"
        assert load(hub, tmp_path / "home", tmp_path, str(shards)) == f"3 {expected} every parameter was loaded"


def test_push_and_load_again(small, tmp_path):
    folder, expected = small[0]
    code = f"""
from beit import BeitForImageClassification
model = BeitForImageClassification.from_pretrained({str(folder)!r})
print(model.push_to_hub("me/pushed", token="hf_any"))
"""
    with FakeHub() as hub:
        done = run(code, hub, tmp_path / "home", tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "me/pushed" in done.stdout
        assert load(hub, tmp_path / "home", tmp_path, "me/pushed") == f"3 {expected} every parameter was loaded"
