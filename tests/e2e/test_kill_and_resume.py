"""A run that is killed at any moment continues bit for bit."""

import signal
import time

import numpy as np
import pytest

from tests.e2e.small import PRETRAIN, beit, losses, start

STEPS = 60
EXTRA = [f"--train.max_steps={STEPS}", "--run.log_every=1", "--run.save_every=7", "--run.report=false"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    done = beit("pretrain", *PRETRAIN, *EXTRA, f"--run.output={run}")
    assert done.returncode == 0, done.stderr
    return run


@pytest.mark.parametrize("attempt", range(2))
def test_sigkill(uninterrupted, tmp_path, attempt):
    run = tmp_path / "run"
    command = ["pretrain", *PRETRAIN, *EXTRA, f"--run.output={run}"]
    kill_after = int(np.random.default_rng().integers(1, STEPS - 25))
    process = start(*command)
    deadline = time.monotonic() + 120
    while max(losses(run), default=0) < kill_after and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed_at = max(losses(run))
    assert killed_at < STEPS, "killed in the middle"
    done = beit(*command)
    assert done.returncode == 0, done.stderr
    expected, resumed = losses(uninterrupted), losses(run)
    assert list(resumed) == list(range(1, STEPS + 1)), "no step is missing or logged twice"
    assert resumed == expected, f"killed after step {killed_at}"
    assert (run / "model/model.safetensors").read_bytes() == (uninterrupted / "model/model.safetensors").read_bytes()
    assert not list(run.rglob("*.tmp"))


def test_workers_do_not_change_the_numbers(uninterrupted, tmp_path):
    done = beit("pretrain", *PRETRAIN, *EXTRA, f"--run.output={tmp_path / 'run'}", "--data.workers=2")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run") == losses(uninterrupted)


def test_killed_while_the_tokenizer_trains(uninterrupted, tmp_path):
    run = tmp_path / "run"
    command = ["pretrain", *PRETRAIN, *EXTRA, f"--run.output={run}"]
    process = start(*command)
    while not losses(run / "tokenizer") and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert beit(*command).returncode == 0
    assert losses(run) == losses(uninterrupted)
