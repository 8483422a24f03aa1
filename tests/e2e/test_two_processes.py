"""Two processes train as one, from the same recipe."""

import json
import os
import subprocess
import sys

import pytest

from tests.e2e.small import FINETUNE, PICTURES, PRETRAIN, UNWATCHED, beit, losses, metric

EXTRA = [
    *UNWATCHED,
    "--train.max_steps=8",
    "--run.log_every=1",
    "--run.report=false",
    "--data.per_class=16",
    "--model.drop_path_rate=0",
    "--run.device=cpu",
]


@pytest.fixture(scope="module")
def tokenizer(fork_server, tmp_path_factory):
    run = tmp_path_factory.mktemp("tokenizer") / "run"
    ended = fork_server.run("pretrain", *PRETRAIN, *EXTRA, f"--run.output={run}")
    assert not any(ended.statuses), ended.errors
    return run / "tokenizer/model"


def test_torchrun_gives_the_losses_of_one_process(tokenizer, tmp_path):
    command = ["pretrain", *PRETRAIN, *EXTRA, f"--tokenizer.path={tokenizer}"]
    done = beit(*command, f"--run.output={tmp_path / 'single'}")
    assert done.returncode == 0, done.stderr
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m", "beit"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launched = [*launcher, *command, f"--run.output={tmp_path / 'two'}"]
    done = subprocess.run(launched, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    one, two = losses(tmp_path / "single"), losses(tmp_path / "two")
    assert list(one) == list(two) == list(range(1, 9))
    assert list(two.values()) == pytest.approx(list(one.values()), rel=1e-5)
    one, two = (metric(tmp_path / name, "target_perplexity") for name in ("single", "two"))
    assert two == pytest.approx(one, rel=1e-5), "of the pictures of both"


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_process_is_two_of_half_the_batch(fork_server, tokenizer, tmp_path, accumulate):
    """Fifty steps with drop path, which is drawn for the whole batch whatever process a picture falls to."""
    command = ["pretrain", *PRETRAIN, *EXTRA, "--train.max_steps=50", "--optim.clip_grad=0.5",
               "--model.drop_path_rate=0.3", f"--train.accumulate={accumulate}",
               f"--tokenizer.path={tokenizer}"]  # fmt: skip
    for ranks in (1, 2):
        ended = fork_server.run(*command, f"--run.output={tmp_path}/{ranks}", ranks=ranks)
        assert not any(ended.statuses), ended.errors
    one, two = losses(tmp_path / "1"), losses(tmp_path / "2")
    assert list(one) == list(two) == list(range(1, 51))
    assert list(two.values()) == pytest.approx(list(one.values()), rel=1e-5)


def test_dropout_stays_each_process_its_own(fork_server, tokenizer, tmp_path):
    command = ["pretrain", *PRETRAIN, *EXTRA, "--model.hidden_dropout_prob=0.1", f"--tokenizer.path={tokenizer}"]
    for ranks in (1, 2):
        ended = fork_server.run(*command, f"--run.output={tmp_path}/{ranks}", ranks=ranks)
        assert not any(ended.statuses), ended.errors
    one, two = losses(tmp_path / "1"), losses(tmp_path / "2")
    assert list(two.values()) != pytest.approx(list(one.values()), rel=1e-5)
    assert list(two.values()) == pytest.approx(list(one.values()), rel=0.1)


def test_what_processes_cannot_share_is_refused(fork_server, tokenizer, tmp_path):
    for more, line in (
        (["--train.batch_size=33"], "train.batch_size 33 is not a multiple of the 2 processes; use 32"),
        (["--train.accumulate=17"], "train.accumulate is 17, and each of 2 processes has 16 of the 32 pictures"),
    ):
        command = ["pretrain", *PRETRAIN, *EXTRA, *more, f"--tokenizer.path={tokenizer}"]
        ended = fork_server.run(*command, f"--run.output={tmp_path}/run", ranks=2)
        assert ended.statuses == [1, 1]
        assert all(line in text and text.count("\n") == 1 for text in ended.errors), ended.errors
        assert not (tmp_path / "run").exists()


def test_a_codebook_is_the_same_on_both_processes(fork_server, tmp_path):
    """k-means, moving averages, revival and early stop are decided together; a process that waits alone would hang."""
    teacher = tmp_path / "teacher"
    ended = fork_server.run("finetune", *FINETUNE, "--train.max_steps=8", "--train.batch_size=64",
                        "--run.report=false", f"--run.output={teacher}")  # fmt: skip
    assert not any(ended.statuses), ended.errors
    command = ["tokenizer", "distill", *PICTURES, f"--teacher={teacher}/model",
               "--image_size=16", "--model.patch_size=4", "--model.vocab_size=32", "--model.code_size=8",
               "--model.hidden_size=32", "--model.num_hidden_layers=1", "--model.num_attention_heads=4",
               "--model.intermediate_size=64", "--model.decoder_layers=1", "--optim.lr=3e-3", "--optim.warmup_steps=2",
               "--quantiser.decay=0.8", "--quantiser.revive_below=0.2", "--train.batch_size=32", "--train.max_steps=40",
               "--early_stop.patience=1", "--validation.every=5", "--early_stop.min_gain=0.9", "--run.device=cpu",
               "--run.report=false", "--run.log_every=1", f"--run.output={tmp_path}/run"]  # fmt: skip
    ended = fork_server.run(*command, ranks=2)
    assert not any(ended.statuses), ended.errors
    assert "stopped after step 10: 1 measurement without a gain" in ended.outputs[0]
    assert list(losses(tmp_path / "run")) == list(range(1, 11))
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["used_codes"] > 4
    assert max(line.get("revived", 0) for line in lines) > 0
