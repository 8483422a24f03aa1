"""What a run survives: preemption, damaged checkpoints, a loss that is not finite; and how a batch may be divided."""

import json
import signal
import time

import pytest
from safetensors.torch import load_file

from beit.weights import read_safetensors
from tests.e2e.small import PRETRAIN, beit, losses, start

COMMON = [*PRETRAIN, "--run.log_every=1", "--run.save_every=5", "--run.report=false", "--train.max_steps=24"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    done = beit("pretrain", *COMMON, f"--run.output={run}", "--train.ema_decay=0.9")
    assert done.returncode == 0, done.stderr
    return run


def test_sigterm_saves_and_ends_well(whole, tmp_path):
    command = ["pretrain", *COMMON, f"--run.output={tmp_path}/run", "--train.ema_decay=0.9"]
    process = start(*command)
    deadline = time.monotonic() + 120
    while not losses(tmp_path / "run") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    stopped = max(losses(tmp_path / "run"))
    assert 0 < stopped < 24
    assert (tmp_path / f"run/checkpoints/step_{stopped:08d}").is_dir()
    done = beit(*command)
    assert done.returncode == 0, done.stderr
    assert f"after step {stopped}" in done.stdout
    assert losses(tmp_path / "run") == losses(whole)
    for name in ("model", "model_average"):
        weights = [run / name / "model.safetensors" for run in (whole, tmp_path / "run")]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_average_is_one(whole):
    model, average = (load_file(whole / name / "model.safetensors") for name in ("model", "model_average"))
    assert model.keys() == average.keys()
    assert any(not model[name].equal(average[name]) for name in model)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(whole, tmp_path):
    command = ["pretrain", *COMMON, f"--run.output={tmp_path}/run", f"--tokenizer.path={whole}/tokenizer/model"]
    assert beit(*command).returncode == 0
    expected = losses(tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    newest = tmp_path / "run/checkpoints/step_00000024"
    content = bytearray((newest / "model.safetensors").read_bytes())
    content[-3] ^= 1
    (newest / "model.safetensors").write_bytes(content)
    done = beit(*command)
    assert done.returncode == 0, done.stderr
    assert "step_00000024 is damaged (model.safetensors is not what was written); trying the one before" in done.stderr
    assert "after step 20" in done.stdout
    assert losses(tmp_path / "run") == expected
    (tmp_path / "run/result.json").unlink()
    for checkpoint in (tmp_path / "run/checkpoints").iterdir():
        (checkpoint / "state.json").write_text("{")
    done = beit(*command)
    assert done.returncode == 1
    assert "all checkpoints in" in done.stderr


def test_a_loss_that_is_not_finite_names_its_pictures(whole, tmp_path):
    command = ["pretrain", *COMMON, f"--run.output={tmp_path}/run", f"--tokenizer.path={whole}/tokenizer/model",
               "--run.log_every=4", "--optim.lr=1e30", "--optim.warmup_steps=0"]  # fmt: skip
    done = beit(*command)
    assert done.returncode == 1
    assert "is not finite" in done.stderr
    assert done.stderr.count("\n") == 1
    listed = json.loads((tmp_path / "run/not_finite.json").read_text())
    assert 1 <= listed["step"] <= 4
    assert len(listed["pictures"]) == 32
    assert listed["pictures"][0].keys() == {"epoch", "index", "name"}
    assert f"at step {listed['step']} " in done.stderr


def test_parts_of_a_batch_add_up_to_it(whole, tmp_path):
    command = ["pretrain", *COMMON, f"--tokenizer.path={whole}/tokenizer/model", "--model.drop_path_rate=0",
               "--train.max_steps=8"]  # fmt: skip
    for parts in (1, 4):
        done = beit(*command, f"--train.accumulate={parts}", f"--run.output={tmp_path}/{parts}")
        assert done.returncode == 0, done.stderr
    one, four = losses(tmp_path / "1"), losses(tmp_path / "4")
    assert list(four.values()) == pytest.approx(list(one.values()), rel=1e-5)


def test_weight_decay_follows_its_schedule(whole, tmp_path):
    command = ["pretrain", *COMMON, f"--tokenizer.path={whole}/tokenizer/model", "--train.max_steps=8"]
    for name, end in (("constant", 0.05), ("falling", 0.0), ("none", None)):
        more = [f"--optim.weight_decay_end={end}"] if end is not None else []
        done = beit(*command, *more, "--optim.weight_decay=0.05", f"--run.output={tmp_path}/{name}")
        assert done.returncode == 0, done.stderr
    weights = {
        name: read_safetensors(tmp_path / name / "model/model.safetensors") for name in ("constant", "falling", "none")
    }
    name = "beit.encoder.layer.0.intermediate.dense.weight"
    assert weights["constant"][name].equal(weights["none"][name])
    assert not weights["falling"][name].equal(weights["none"][name])


def test_fewer_pictures_than_one_batch(tmp_path):
    done = beit("pretrain", *COMMON, "--train.batch_size=2000", f"--run.output={tmp_path}/run")
    assert done.returncode == 1
    assert "train.batch_size 2000 is larger than the 1232 pictures" in done.stderr
    assert not (tmp_path / "run").exists()


def test_pretraining_keeps_the_best_and_may_stop(whole, tmp_path):
    command = ["pretrain", *COMMON, f"--tokenizer.path={whole}/tokenizer/model", f"--run.output={tmp_path}/run"]
    stop = ["--early_stop.patience=1", "--early_stop.every=4", "--early_stop.min_gain=0.9"]
    done = beit(*command, *stop)
    assert done.returncode == 0, done.stderr
    assert "stopped after step 8" in done.stdout
    assert "keeping the model of step 4" in done.stdout
    assert losses(tmp_path / "run") == {step: loss for step, loss in losses(whole).items() if step <= 8}, (
        "only measured"
    )
