"""A k-means tokenizer through the command line: fitted, encoding, pre-training, drawn, and what is refused."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from beit.cli.main import main
from beit.data import StoredTokens
from beit.tokenizer import KMeansTokenizer, load_tokenizer
from tests.e2e.small import MODEL, PICTURES, beit, losses

KMEANS = ["--image_size=16", "--model.vocab_size=32", "--model.patch_size=4", "--model.window=8",
          "--clustering.windows=2000", "--clustering.batch_size=256"]  # fmt: skip
CLUSTER = ["tokenizer", "cluster", *PICTURES, *KMEANS]
PRETRAIN = ["pretrain", *PICTURES, *MODEL, "--mask.count=7", "--mask.min_block=2", "--optim.warmup_steps=0",
            "--train.batch_size=16", "--train.max_steps=2", "--run.log_every=1", "--run.report=false"]  # fmt: skip


@pytest.fixture(scope="module")
def clustered(tmp_path_factory):
    run = tmp_path_factory.mktemp("kmeans") / "run"
    done = beit(*CLUSTER, f"--run.output={run}")
    assert done.returncode == 0, done.stderr
    assert "2,000 windows of 1,232 pictures" in done.stdout
    assert "of 32 codes used, perplexity" in done.stdout
    return run


def fails(capsys, *arguments):
    """Run a command that must fail with one line, and return that line."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_run_folder_like_that_of_every_training(clustered):
    assert {path.name for path in clustered.iterdir()} == {
        "recipe.yaml", "metrics.jsonl", "tensorboard", "model", "result.json", "report.html"
    }  # fmt: skip
    result = json.loads((clustered / "result.json").read_text())
    assert result["used_codes"] > 16
    assert result["psnr"] > 5
    assert json.loads((clustered / "metrics.jsonl").read_text()) == {"step": 0, "split": "val", **result}
    page = (clustered / "report.html").read_text()
    assert "K-means tokenizer: run" in page
    assert "decoded from its visual tokens" in page
    tokenizer = load_tokenizer(clustered / "model")
    assert isinstance(tokenizer, KMeansTokenizer)
    assert (tokenizer.config.window, tokenizer.image_size) == (8, 16)


def test_the_same_seed_gives_the_same_bits_whatever_the_workers(clustered, tmp_path):
    for name, more in (("same", "--data.workers=2"), ("other", "--run.seed=1")):
        done = beit(*CLUSTER, more, f"--run.output={tmp_path}/{name}", "--run.report=false")
        assert done.returncode == 0, done.stderr
    weights = [(run / "model/model.safetensors").read_bytes() for run in (clustered, tmp_path / "same")]
    assert weights[0] == weights[1]
    assert (tmp_path / "other/model/model.safetensors").read_bytes() != weights[0]


def test_it_is_done_once_and_begins_again_when_it_was_interrupted(clustered, tmp_path, capsys):
    command = [*CLUSTER, f"--run.output={tmp_path}/run", "--run.report=false"]
    assert main(command) == 0
    model = tmp_path / "run/model/model.safetensors"
    written = (model.stat().st_mtime_ns, model.read_bytes())
    capsys.readouterr()
    assert main(command) == 0
    assert "windows of" not in capsys.readouterr().out
    assert model.stat().st_mtime_ns == written[0]
    assert "model.vocab_size was 32 and is now 16" in fails(capsys, *command, "--model.vocab_size=16")
    (tmp_path / "run/result.json").unlink()  # as if it had been killed before its end
    assert main(command) == 0
    assert model.stat().st_mtime_ns > written[0]
    assert model.read_bytes() == written[1]
    assert "takes no steps to watch" in fails(capsys, "watch", tmp_path / "run")


def test_pre_training_on_its_tokens(clustered, tmp_path):
    path = f"--tokenizer.path={clustered}/model"
    done = beit(*PRETRAIN, path, f"--run.output={tmp_path}/run", "--gallery.every=1")
    assert done.returncode == 0, done.stderr
    assert sorted(losses(tmp_path / "run")) == [1, 2]
    assert json.loads((tmp_path / "run/model/config.json").read_text())["vocab_size"] == 32
    assert list((tmp_path / "run/pictures").glob("step_*.png"))


def test_stored_tokens_of_several_views(clustered, tmp_path):
    views = ["--augment.flip=0", "--augment.crop_scale=[0.6, 1.0]", "--views=3"]
    encode = ["tokenizer", "encode", f"--tokenizer={clustered}/model", "--data.path=digits:train", "--data.workers=0"]
    assert main([*encode, *views, f"--output={tmp_path}/tokens"]) == 0
    assert StoredTokens(tmp_path / "tokens").shape == (1297, 3, 4, 4)
    common = [*PRETRAIN, f"--tokenizer.path={clustered}/model", "--fixed_views=3", "--train.max_steps=4"]
    for name, more in (("computed", []), ("read", [f"--tokenizer.tokens={tmp_path}/tokens"])):
        done = beit(*common, *more, f"--run.output={tmp_path}/{name}")
        assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "read") == losses(tmp_path / "computed")


def test_reconstructions_and_evaluation(clustered, tmp_path):
    common = [f"--tokenizer={clustered}/model", "--data.path=digits:test", "--data.workers=0"]
    assert main(["tokenizer", "reconstruct", *common, f"--output={tmp_path}/r.png", "--count=4"]) == 0
    assert np.asarray(Image.open(tmp_path / "r.png")).std() > 0
    assert main(["tokenizer", "evaluate", *common, "--image_size=32", f"--output={tmp_path}/n.json"]) == 0
    assert json.loads((tmp_path / "n.json").read_text())["vocab_size"] == 32


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    assert main([*CLUSTER, f"--run.output={tmp_path}/run", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "windows      2,000 of 192 numbers, of 1,232 pictures" in shown
    assert "to read the pictures, at most about" in shown
    assert not (tmp_path / "run").exists()
    assert "--processes is 2" in fails(capsys, *CLUSTER, "--dry-run", "--processes=2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clustering.windows=20"], "clustering.windows is 20 and model.vocab_size 32; expected at least one window"),
        (["--model.window=2"], "tokenizer window is 2 and patch_size 4"),
        (["--model.window=9"], "leaves equal margins"),
        (["--image_size=18"], "image_size 18 is not a multiple of the 4 pixels of a token"),
        (["--run.sharding=fsdp"], "sharding"),
    ],
)
def test_settings_that_do_not_fit(tmp_path, capsys, options, message):
    assert message in fails(capsys, *CLUSTER, *options, f"--run.output={tmp_path}/run")
    assert not (tmp_path / "run").exists()


def test_one_process_only(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    assert "runs in one process; start it without torchrun" in fails(capsys, *CLUSTER, f"--run.output={tmp_path}/run")


def test_pictures_that_are_not_enough(tmp_path, capsys):
    (tmp_path / "plain").mkdir()
    for shade in range(40):
        Image.new("RGB", (20, 20), (6 * shade,) * 3).save(tmp_path / f"plain/{shade}.png")
    command = [*CLUSTER, f"--data.path={tmp_path}/plain", "--data.val_share=0.1", f"--run.output={tmp_path}/run"]
    line = fails(capsys, *command)
    assert "576 windows have 1 different patterns of light and dark; expected at least as many as the 32 codes" in line
    (tmp_path / "plain/broken.png").write_bytes(b"nothing")
    assert "more than data.max_broken allows" in fails(capsys, *command)
