"""Two processes train as one, from the same recipe."""

import json
import os
import subprocess
import sys

import pytest

from tests.e2e.small import FINETUNE, PICTURES, PRETRAIN, beit, losses

EXTRA = [
    "--train.max_steps=8",
    "--run.log_every=1",
    "--run.report=false",
    "--model.drop_path_rate=0",
    "--run.device=cpu",
]


def test_torchrun_gives_the_losses_of_one_process(tmp_path):
    tokenizer = tmp_path / "tokenizer"
    done = beit("pretrain", *PRETRAIN, *EXTRA, f"--run.output={tmp_path / 'one'}")
    assert done.returncode == 0, done.stderr
    (tmp_path / "one" / "tokenizer" / "model").rename(tokenizer)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    for name, prefix in (("two", [*launcher, "--no_python", sys.executable]), ("single", [sys.executable])):
        command = [*prefix, "-m", "beit", "pretrain", *PRETRAIN, *EXTRA, f"--tokenizer.path={tokenizer}"]
        done = subprocess.run(
            [*command, f"--run.output={tmp_path / name}"], env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
    one, two = losses(tmp_path / "single"), losses(tmp_path / "two")
    assert list(one) == list(two) == list(range(1, 9))
    assert list(two.values()) == pytest.approx(list(one.values()), rel=1e-5)


def test_a_codebook_is_the_same_on_both_processes(tmp_path):
    """k-means, moving averages, revival and early stop are decided together; a process that waits alone would hang."""
    teacher = tmp_path / "teacher"
    done = beit("finetune", *FINETUNE, "--train.max_steps=8", "--train.batch_size=64", f"--run.output={teacher}")
    assert done.returncode == 0, done.stderr
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "--no_python",
               sys.executable, "-m", "beit", "tokenizer", "distill", *PICTURES, f"--teacher={teacher}/model",
               "--image_size=16", "--model.patch_size=4", "--model.vocab_size=32", "--model.code_size=8",
               "--model.hidden_size=32", "--model.num_hidden_layers=1", "--model.num_attention_heads=4",
               "--model.intermediate_size=64", "--model.decoder_layers=1", "--optim.lr=3e-3", "--optim.warmup_steps=2",
               "--quantiser.decay=0.8", "--quantiser.revive_below=0.2", "--train.batch_size=32", "--train.max_steps=40",
               "--early_stop.patience=1", "--early_stop.every=5", "--early_stop.min_gain=0.9", "--run.device=cpu",
               "--run.report=false", "--run.log_every=1", f"--run.output={tmp_path}/run"]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "stopped after step 10: 1 measurement without a gain" in done.stdout
    assert list(losses(tmp_path / "run")) == list(range(1, 11))
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["used_codes"] > 4
    assert max(line.get("revived", 0) for line in lines) > 0
