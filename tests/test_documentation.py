"""Every Python block of the documents runs."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import GOLDEN
from tests.fake_hub import FakeHub

ROOT = Path(__file__).parents[1]
NEEDS_HUB = "<!-- needs the hub -->\n"
BLOCKS = [
    pytest.param(bool(hub), block, id=f"{path.name}-{number}")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for number, (hub, block) in enumerate(
        re.findall(rf"({NEEDS_HUB})?```python\n(.*?)```", path.read_text(), flags=re.DOTALL), start=1
    )
]
# Small recorded checkpoints under the names that the documents use.
STAND_INS = {
    "microsoft/beit-base-patch16-224": "hf_v4/classify_single",
    "microsoft/beit-base-patch16-224-pt22k": "hf_v4/mim",
    "timm/beitv2_base_patch16_224.in1k_ft_in22k_in1k": "timm/beitv2",
}
ADE20K = "microsoft/beit-base-finetuned-ade-640-640"


def test_there_are_blocks():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize(("hub", "block"), BLOCKS)
def test_block_runs(hub, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if hub:
        return run_with_hub(block, tmp_path)
    names = {}
    exec(compile(block, "block", "exec"), names)  # noqa: S102  # our own documents
    assert names
    return None


def run_with_hub(block, folder):
    """Run a block that loads published checkpoints, with small ones in their places."""
    release = folder / "release"
    release.mkdir()
    shutil.copy(GOLDEN / "unilm/finetune/checkpoint.pth", release / "beit_base_patch16_224_pt22k_ft1k.pth")
    segmenter = shutil.copytree(GOLDEN / "hf_v4/segment", folder / "segment")
    config = json.loads((segmenter / "config.json").read_text())
    config |= {"out_indices": [1, 2, 3, 5], "out_features": ["stage1", "stage2", "stage3", "stage5"]}
    (segmenter / "config.json").write_text(json.dumps(config))
    with FakeHub() as hub:
        for name, case in STAND_INS.items():
            hub.add(name, GOLDEN / case)
        hub.add(ADE20K, segmenter)
        hub.add("some/files", release)
        address = hub.address("some/files", "beit_base_patch16_224_pt22k_ft1k.pth").rsplit("/", 1)[0]
        prelude = (
            "from beit import catalog\n"
            f"catalog.PublicCheckpoint.url = property(lambda self: {address!r} + '/' + self.original + '.pth')\n"
        )
        process = hub.python(prelude + block, folder / "home")
        _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors[-3000:]
