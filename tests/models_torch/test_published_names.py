"""Published checkpoints by every spelling of their names."""

import json
import shutil

import pytest

from beit import (
    catalog,
)
from tests.conftest import GOLDEN
from tests.fake_hub import FakeHub

CLASSIFIER = GOLDEN / "hf_v4/classify_single"


@pytest.mark.parametrize("checkpoint", catalog.PUBLIC_CHECKPOINTS, ids=lambda checkpoint: checkpoint.original)
def test_every_spelling_leads_to_the_checkpoint(checkpoint):
    for spelling in checkpoint.spellings:
        found = catalog.public_checkpoint(spelling)
        assert found.original == checkpoint.original
        assert found.hub is not None or found.timm is None
    assert checkpoint.url.startswith("https://")


@pytest.mark.e2e
def test_published_names_in_three_spellings(tmp_path):
    """Each from where it is published; the segmentation that Microsoft published reads the original layers."""

    original, timm = GOLDEN / "unilm/finetune/checkpoint.pth", GOLDEN / "timm/beit"
    release = tmp_path / "release" / "beit_base_patch16_224_pt22k_ft1k.pth"
    release.parent.mkdir()
    shutil.copy(original, release)
    segment = tmp_path / "segment"
    shutil.copytree(GOLDEN / "hf_v4/segment", segment)
    config = json.loads((segment / "config.json").read_text())
    config |= {"out_indices": [1, 2, 3, 5], "out_features": ["stage1", "stage2", "stage3", "stage5"]}
    (segment / "config.json").write_text(json.dumps(config))
    with FakeHub() as hub:
        hub.add("microsoft/beit-base-patch16-224-pt22k-ft22k", CLASSIFIER)
        hub.add("timm/beit_base_patch16_224.in22k_ft_in22k", timm)
        hub.add("microsoft/beit-base-finetuned-ade-640-640", segment)
        hub.add("some/files", release.parent)
        address = hub.address("some/files", release.name).rsplit("/", 1)[0]
        code = f"""
from pathlib import Path
from beit import BeitForImageClassification, BeitForSemanticSegmentation, catalog
catalog.PublicCheckpoint.url = property(lambda self: {address!r} + "/" + self.original + ".pth")
for name in ("microsoft/beit-base-patch16-224-pt22k-ft22k", "beit_base_patch16_224_pt22k_ft22k",
             "beit_base_patch16_224.in22k_ft_in22k", "timm/beit_base_patch16_224.in22k_ft_in22k",
             "beit_base_patch16_224_pt22k_ft1k", "beit_base_patch16_224_pt22k_ft1k.pth"):
    print(BeitForImageClassification.from_pretrained(name).config.num_labels)
for name in ("microsoft/beit-base-finetuned-ade-640-640", "beit_base_patch16_640_pt22k_ft22ktoade20k"):
    print(BeitForSemanticSegmentation.from_pretrained(name).taps)
model = BeitForSemanticSegmentation.from_pretrained(name, out_indices_meaning="huggingface")
print(model.taps)
"""
        process = hub.python(code, tmp_path / "home")
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-2000:]
    assert output.split("\n")[:6] == ["5", "5", "7", "7", "7", "7"]
    assert output.split("\n")[6:9] == ["(2, 3, 4, 6)", "(2, 3, 4, 6)", "(0, 1, 2, 4)"]
