"""`beit info` knows whatever the package reads or writes."""

import json
import re

import numpy as np
import pytest

from beit.cli.about_weights import TOKENIZERS
from beit.cli.main import main
from beit.data import TokenWriter
from beit.tokenizer.loading import KINDS
from tests.cli.test_main import error_of
from tests.conftest import GOLDEN
from tests.e2e.small import FINETUNE, beit
from tests.inference.exports import model_of


@pytest.fixture
def info(capsys):
    def ask(path):
        assert main(["info", str(path)]) == 0
        what, *lines = capsys.readouterr().out.rstrip().splitlines()
        rows = dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in lines[: lines.index("next")])
        return what.removeprefix(f"{path}: "), rows, [line.strip() for line in lines[lines.index("next") + 1 :]]

    return ask


@pytest.mark.parametrize(
    ("path", "kind", "layout"),
    [
        ("hf_v4/segment", "BeitForSemanticSegmentation", "Hugging Face"),
        ("hf_v5/classify_native_names", "BeitForImageClassification", "Hugging Face 5 native"),
        ("hf_flax/mim_shared", "BeitForMaskedImageModeling", "Flax"),
        ("timm/beit", "BeitForImageClassification", "timm"),
        ("unilm/pretrain/checkpoint.pth", "BeitForMaskedImageModeling", "original (pre-training)"),
        ("unilm/segment/checkpoint.pth", "BeitForSemanticSegmentation", "original (segmentation)"),
        ("hf_v4/model_mean/model.safetensors", "BeitModel", "Hugging Face"),
    ],
)
def test_models_of_every_layout(info, path, kind, layout):
    what, rows, next_steps = info(GOLDEN / path)
    assert (what, rows["layout"]) == (f"a model ({kind})", layout)
    assert rows["encoder"].endswith(" heads")
    assert re.match(r"\d+ x \d+ pixels, 3 channels", rows["input"])
    assert ("classes" in rows) == (kind in ("BeitForImageClassification", "BeitForSemanticSegmentation"))
    assert all(str(GOLDEN / path) in step for step in next_steps)


def test_the_size_of_a_model(info, tmp_path):
    model = model_of("classify")
    model.save_pretrained(tmp_path / "model")
    _, rows, _ = info(tmp_path / "model")
    assert rows["parameters"] == f"{sum(one.numel() for one in model.parameters()):,} of float32"
    assert rows["patches"] == "4 x 4 of 8 x 8 pixels"
    assert rows["classes"] == "3: cat, dog, eel"


def test_tokenizers(info):
    assert set(TOKENIZERS) == set(KINDS)
    what, rows, next_steps = info(GOLDEN / "dalle")
    assert (what, rows["codebook"]) == ("a tokenizer (DiscreteVAE)", "64 visual tokens")
    assert any(step.startswith("beit tokenizer reconstruct") for step in next_steps)
    what, rows, _ = info("beit/nano-cifar10-tokens")
    assert (what, rows["tokens"]) == ("a tokenizer (KMeansTokenizer)", "8 x 8, one for 4 x 4 pixels")


def test_stored_tokens(info, tmp_path):
    writer = TokenWriter(tmp_path, {"tokenizer": "abc", "random_views": {"count": 2}}, (3, 2, 4, 4))
    writer.append(np.zeros((2, 4, 4), np.int64))
    writer.close()
    what, rows, next_steps = info(tmp_path)
    assert (what, rows["finished"]) == ("visual tokens, not all of them yet", "2 of 6 views")
    writer = TokenWriter(tmp_path, {"tokenizer": "abc", "random_views": {"count": 2}}, (3, 2, 4, 4))
    writer.append(np.zeros((4, 4, 4), np.int64))
    writer.close()
    what, rows, next_steps = info(tmp_path)
    assert (what, rows["views"]) == ("stored visual tokens", "2 random ones of each")
    assert next_steps[0].endswith(f"--tokenizer.tokens {tmp_path}")


def test_pictures(info):
    what, rows, next_steps = info("digits:train")
    assert (what, rows) == ("pictures", {"pictures": "1,297", "classes": "10: 0, 1, 2, 3, 4, 5, 6, 7, ..."})
    assert next_steps[0].startswith("beit finetune --checkpoint ")
    picture = GOLDEN / "processor" / "images" / "rgba.png"
    what, rows, _ = info(picture)
    assert what == "a picture"
    assert re.fullmatch(r"\d+ x \d+ pixels", rows["height x width"])
    _, rows, next_steps = info(picture.parent)
    assert rows["classes"].startswith("none")
    assert not any("finetune" in step for step in next_steps)


def test_exported_models(info, tmp_path):
    model_of("classify").config.save_pretrained(tmp_path)
    size = {"image_height": 32, "image_width": 32, "any_size": False, "batch": None}
    about = {"export_version": 1, "format": "onnx", "task": "classify", "precision": "int8", "sha256": {}, **size}
    (tmp_path / "export.json").write_text(json.dumps(about))
    what, rows, _ = info(tmp_path)
    assert (what, rows["precision"], rows["batch"]) == ("an exported model (onnx)", "int8", "of any size")
    assert rows["classes"] == "3: cat, dog, eel"


@pytest.mark.e2e
def test_a_run(info, tmp_path):
    run = tmp_path / "run"
    done = beit(
        "finetune", *FINETUNE, "--train.max_steps=6", "--train.batch_size=32", f"--run.output={run}", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    what, rows, next_steps = info(run)
    assert (what, rows["step"], rows["model"]) == ("a run of beit finetune", "6 of 6", str(run / "model"))
    assert "held-out accuracy" in rows
    assert next_steps == [f"beit info {run / 'model'}"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nowhere", "data path '/nowhere' does not exist"),
        (GOLDEN / "bad/truncated", "model.safetensors is damaged"),
        (GOLDEN / "masking", "there are no pictures in"),
    ],
)
def test_what_is_nothing_is_said_in_one_line(capsys, path, message):
    assert message in error_of(capsys, ["info", str(path)])
