"""Hostile repositories: no code of one is run, no name or link in it leads out of it, and nothing is passed on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from beit import BeitConfig, BeitForImageClassification
from beit.errors import CheckpointError
from beit.hub.repository import _inside
from tests.fake_hub import FakeHub

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "image_size": 32,
         "patch_size": 16}  # fmt: skip
CODE = "from pathlib import Path\nPath({trace!r}).touch()\nraise SystemExit('it ran')\n"
LOAD = """
from beit import BeitConfig, BeitForImageClassification
for kind in (BeitConfig, BeitForImageClassification):
    model = kind.from_pretrained("evil/model", **({} if kind is BeitConfig else {"trust_remote_code": True}))
model.save_pretrained(SAVED)
"""


@pytest.fixture
def folder(tmp_path):
    """A sound model beside code that wants to be run, and a config that says so."""
    place = tmp_path / "evil"
    BeitForImageClassification(BeitConfig(**SMALL)).save_pretrained(place)
    options = json.loads((place / "config.json").read_text())
    options["auto_map"] = {
        "AutoModelForImageClassification": "modeling.Evil",
        "AutoConfig": "other/repo--modeling.Evil",
    }
    (place / "config.json").write_text(json.dumps(options))
    (place / "modeling.py").write_text(CODE.format(trace=str(tmp_path / "ran")))
    return place


@pytest.mark.e2e
def test_code_in_a_repository_is_neither_run_nor_passed_on(folder, tmp_path):
    with FakeHub() as hub:
        hub.add("evil/model", folder)
        code = LOAD.replace("SAVED", repr(str(tmp_path / "saved")))
        environment = {**os.environ, **hub.environment(tmp_path / "home")}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
    assert "auto_map" not in (tmp_path / "saved" / "config.json").read_text()


def test_code_in_a_folder_neither(folder, tmp_path):
    BeitForImageClassification.from_pretrained(folder, trust_remote_code=True)
    assert not (tmp_path / "ran").exists()


@pytest.fixture
def cached(tmp_path):
    """A repository in the cache of the hub, as its client lays it out."""
    snapshot, blobs = (tmp_path / "hub" / "models--a--b" / name for name in ("snapshots/1", "blobs"))
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "x").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/x")
    return snapshot


def test_a_link_into_the_cache_is_followed(cached, tmp_path):
    assert _inside(cached / "config.json", "a/b") == cached / "config.json"
    blobs = cached.parents[1] / "blobs"
    shutil.move(blobs, tmp_path / "elsewhere")  # a cache that its owner has put on another disk
    blobs.symlink_to(tmp_path / "elsewhere")
    assert _inside(cached / "config.json", "a/b").read_text() == "{}"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../models--other/blobs/y", "../../blobs/../../../secret"])
def test_a_link_out_of_it_is_not(cached, target):
    (cached / "out.json").symlink_to(target)
    with pytest.raises(CheckpointError, match="out of the cache of the hub"):
        _inside(Path(cached / "out.json"), "a/b")
