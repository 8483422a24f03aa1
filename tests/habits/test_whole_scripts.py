"""Whole scripts, written for transformers, that run on our classes with only the import line changed.

Those in `scripts` import from beit. With transformers in that line they find the same numbers.
"""

import runpy
from pathlib import Path

import datasets
import numpy as np
import pytest
from accelerate.state import AcceleratorState, GradientState
from PIL import Image

import beit
from tests.habits.pairs import made

pytestmark = pytest.mark.e2e
SCRIPTS = Path(__file__).parent / "scripts"
# transformers 5 has other names of modules in memory than 4.37.2, for which the scripts are written
RENAMED = {'["query", "value"]': '["q_proj", "v_proj"]', "model.beit.encoder.layer[": "model.beit.layers["}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder that scripts run in: a model with its processor, and pictures of two classes."""
    model = made(beit, num_labels=2, id2label={0: "bright", 1: "dark"}, initializer_range=0.2)
    model.save_pretrained(tmp_path / "pretrained")
    beit.BeitImageProcessor(size=32, do_center_crop=False).save_pretrained(tmp_path / "pretrained")
    rng = np.random.default_rng(0)
    for label, mean in (("bright", 150), ("dark", 105)):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(10):
            pixels = rng.normal(mean, 40, (36, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / label / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    yield tmp_path
    reset_accelerate()


def reset_accelerate():
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def found_by(script, library, folder):
    """What a script finds with a library in its import line."""
    code = (SCRIPTS / f"{script}.py").read_text(encoding="utf-8").replace("from beit import", f"from {library} import")
    for name, newer in RENAMED.items() if library == "transformers" else ():
        code = code.replace(name, newer)
    (folder / "script.py").write_text(code, encoding="utf-8")
    reset_accelerate()
    return runpy.run_path(str(folder / "script.py"))["found"]


def close(ours, theirs, what):
    """Compare numbers, texts, and lists and mappings of them."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), what
        for name in ours:
            close(ours[name], theirs[name], f"{what} {name}")
    elif isinstance(ours, str) or (isinstance(ours, list) and ours and isinstance(ours[0], str)):
        assert ours == theirs, what
    else:
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4, err_msg=what)


def learns(found):
    assert np.mean(found["losses"][-2:]) < 0.9 * np.mean(found["losses"][:2])


def continues(ours, theirs):
    """What was stopped goes on as if it was not; that of transformers 5 does not find its weights."""
    learns(ours)
    assert ours.pop("resumed") == ours["losses"]
    assert theirs.pop("resumed")[2:] != theirs["losses"][2:], "the defect is gone"


def adds_up(ours, theirs):
    assert np.abs(ours["delta"]).max() < 0.05
    assert np.sum(ours["heat"]) > 0


CHECKS = {
    "adapter_with_peft": lambda ours, theirs: learns(ours),
    "attributions_with_captum": adds_up,
    "fine_tuning_with_accelerate": lambda ours, theirs: learns(ours),
    "fine_tuning_with_trainer": continues,
}


def test_every_script_is_checked():
    assert {path.stem for path in SCRIPTS.glob("[a-z]*.py")} == set(CHECKS)


@pytest.mark.parametrize("script", CHECKS)
def test_a_script_finds_the_same(script, folder, tmp_path_factory):
    ours = found_by(script, "beit", folder)
    aside = tmp_path_factory.mktemp("ours")
    for path in folder.iterdir():  # what the first run has written
        if path.name not in ("pretrained", "pictures", "cache"):
            path.rename(aside / path.name)
    theirs = found_by(script, "transformers", folder)
    CHECKS[script](ours, theirs)
    close(ours, theirs, script)
