"""A training whose pictures are kept decoded, and changed where the model is, is the same training."""

import pytest
import yaml

from tests.e2e.small import FEW, FINETUNE, PICTURES, PRETRAIN, TOKENIZER, beit, losses

pytestmark = pytest.mark.e2e
COMMON = ["--run.log_every=1", "--run.save_every=4", "--run.report=false", "--train.max_steps=8",
          "--run.device=cpu", "--monitor.every=0", "--gallery.pictures=0", "--tokenizer.train.max_steps=4",
          "--optim.warmup_steps=1", "--run.precision=fp32", "--augment.color_jitter=0.4"]  # fmt: skip
KEPT = ["--data.keep_decoded=true"]
MODEL = [*KEPT, "--augment.device=model"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    run = tmp_path_factory.mktemp("plain") / "run"
    ended = beit("pretrain", *PRETRAIN, *FEW, *COMMON, "--data.keep_decoded=false", f"--run.output={run}")
    assert ended.returncode == 0, ended.stderr
    return run


def pretrained(run, plain, *options, **how):
    tokenizer = f"--tokenizer.path={plain / 'tokenizer' / 'model'}"
    return beit("pretrain", *PRETRAIN, *FEW, *COMMON, tokenizer, f"--run.output={run}", *options, **how)


def test_kept_pictures_change_no_bit(plain, tmp_path):
    run = tmp_path / "run"
    assert pretrained(run, plain, *KEPT, "--data.workers=2").returncode == 0
    assert losses(run) == losses(plain)


def test_changed_where_the_model_is_it_is_the_same_training_and_continues_bit_for_bit(plain, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert pretrained(whole, plain, *MODEL).returncode == 0
    assert losses(whole) == pytest.approx(losses(plain), rel=1e-5)
    assert pretrained(killed, plain, *MODEL, kill_after=killed / "checkpoints" / "step_00000004").returncode == -9
    ended = pretrained(killed, plain, *MODEL)
    assert "continuing" in ended.stdout
    assert losses(killed) == losses(whole)
    name = "model/model.safetensors"
    assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_fine_tuning_has_both_and_says_what_it_chose(tmp_path):
    options = [option for option in COMMON if "monitor" not in option and "gallery" not in option]
    options = [option for option in options if "tokenizer" not in option]
    runs = {}
    for name, chosen in (("plain", ["--data.keep_decoded=false"]), ("model", ["--augment.device=model"])):
        runs[name] = tmp_path / name
        ended = beit(
            "finetune", *FINETUNE, *options, *chosen, f"--run.output={runs[name]}", "--train.max_steps=21",
            "--run.log_every=7",
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
    assert "data.keep_decoded True: 1,234 pictures, decoded once, take 0.2 MiB" in ended.stdout
    assert yaml.safe_load((runs["model"] / "recipe.yaml").read_text())["data"]["keep_decoded"] is True
    assert losses(runs["model"]) == pytest.approx(losses(runs["plain"]), rel=1e-2)


def test_a_tokenizer_has_both(tmp_path):
    """Its view has one mean and one deviation for any number of channels, and pictures their three colours."""
    options = [*PICTURES, *TOKENIZER, *FEW, "--run.log_every=1", "--run.report=false", "--train.max_steps=6",
               "--train.batch_size=32", "--run.device=cpu", "--augment.color_jitter=0.4"]  # fmt: skip
    runs = {"plain": tmp_path / "plain", "model": tmp_path / "model"}
    for name, chosen in (("plain", ["--data.keep_decoded=false"]), ("model", MODEL)):
        ended = beit("tokenizer", "train", *options, *chosen, f"--run.output={runs[name]}")
        assert ended.returncode == 0, ended.stderr
    assert losses(runs["model"]) == pytest.approx(losses(runs["plain"]), rel=1e-5)


def test_what_trains_nothing_refuses_it(tmp_path, plain):
    ended = beit(
        "tokenizer", "encode", f"--tokenizer={plain / 'tokenizer' / 'model'}", "--data.path=digits:train",
        f"--output={tmp_path / 'tokens'}", "--views=1", "--augment.device=model",
    )  # fmt: skip
    assert ended.returncode == 1
    assert "augment.device is model, which trainings know alone; set it to cpu, or leave it out" in ended.stderr
