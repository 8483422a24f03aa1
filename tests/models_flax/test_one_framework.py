"""Each framework works where the other cannot be imported."""

import os
import subprocess
import sys

import pytest

from tests.conftest import GOLDEN

pytestmark = pytest.mark.e2e

BLOCK = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""

WITHOUT_TORCH = """
import numpy as np
from beit import AutoImageProcessor, BeitImageProcessor, FlaxBeitForImageClassification
for file in ("model.safetensors", "pytorch_model.bin"):
    model = FlaxBeitForImageClassification.from_pretrained(f"{GOLDEN}/hf_v4/classify_single/{file}")
flax_model = FlaxBeitForImageClassification.from_pretrained(f"{GOLDEN}/hf_flax/classify_mean")
original = FlaxBeitForImageClassification.from_pretrained(
    f"{GOLDEN}/unilm/finetune_released/checkpoint.pth", num_attention_heads=4
)
timm = FlaxBeitForImageClassification.from_pretrained(f"{GOLDEN}/timm/beit")
for safe in (False, True):
    model.save_pretrained("saved", safe_serialization=safe)
processor = BeitImageProcessor(size=32, do_center_crop=False)
picture = np.zeros((40, 50, 3), np.uint8)
for kind in ("np", "jax"):
    print(model(**processor(images=picture, return_tensors=kind)).logits.shape)
print("torch" in sys.modules)
"""

WITHOUT_JAX = """
import torch
from beit import BeitForImageClassification, FlaxBeitModelOutputWithPooling
from beit.models_torch.conversion import convert
model = BeitForImageClassification.from_pretrained(f"{GOLDEN}/hf_flax/classify_mean")
convert(f"{GOLDEN}/hf_flax/classify_mean", "there", "flax")
print(tuple(model(torch.zeros(1, 3, 32, 32)).logits.shape))
try:
    from beit import FlaxBeitModel
except ImportError as error:
    print(type(error).__name__, error)
"""


def run(code, absent, folder):
    text = BLOCK.replace("ABSENT", repr(absent)) + f"GOLDEN = {str(GOLDEN)!r}\n" + code
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=folder, env=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_flax_without_torch(tmp_path):
    assert run(WITHOUT_TORCH, ("torch",), tmp_path) == "(1, 5)\n(1, 5)\nFalse\n"


@pytest.mark.parametrize("absent", [("jax", "jaxlib"), ("flax",)], ids=lambda names: names[0])
def test_torch_without_flax(absent, tmp_path):
    lines = run(WITHOUT_JAX, absent, tmp_path).splitlines()
    assert lines[0].startswith("(1, ")
    assert lines[1] == (
        f"MissingExtraError the library '{absent[0]}' is not installed; "
        "in the checkout of beit run: pip install -e '.[flax]'"
    )
