"""Two processes train as one, from the same recipe."""

import os
import subprocess
import sys

import pytest

from tests.e2e.small import PRETRAIN, beit, losses

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
