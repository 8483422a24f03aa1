"""Auto classes of two generations of transformers, which give our models once these are registered."""

import json
import os
import subprocess

import pytest

import beit
from tests.conftest import TINY_MODEL
from tests.interop.test_interop import HERE, PEERS, VERSIONS

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]
CODE = """
import json, sys
import beit, torch, transformers
beit.register_with_transformers()
folder = sys.argv[1]
auto = transformers.AutoModelForImageClassification
made = [
    auto.from_pretrained(folder, torch_dtype=torch.float16),
    auto.from_pretrained(folder, num_labels=3, output_attentions=True, ignore_mismatched_sizes=True),
    auto.from_config(transformers.AutoConfig.from_pretrained(folder)),
    auto.from_config(beit.BeitConfig.from_pretrained(folder)),
    transformers.pipeline("image-classification", model=folder).model,
]
found = [[type(one).__module__, str(one.dtype), one.num_labels, one.config.output_attentions] for one in made]
print(json.dumps(found))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_the_auto_classes_give_our_models(tmp_path, version):
    config = beit.BeitConfig(**TINY_MODEL, num_labels=2)
    beit.BeitForImageClassification(config).save_pretrained(tmp_path)
    beit.BeitImageProcessor(size={"height": 16, "width": 16}, do_center_crop=False).save_pretrained(tmp_path)
    done = subprocess.run(
        [PEERS / version / "bin/python", "-c", CODE, tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1] / "src"), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    ours = "beit.models_torch.classification"
    assert json.loads(done.stdout.splitlines()[-1]) == [
        [ours, "torch.float16", 2, False],
        [ours, "torch.float32", 3, True],
        *([[ours, "torch.float32", 2, False]] * 3),
    ]
