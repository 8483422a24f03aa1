"""A process that is lost, or fails, ends the run on all: in seconds, with one line that says why."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.e2e.small import PRETRAIN, UNWATCHED, losses

COMMON = [
    *PRETRAIN, *UNWATCHED, "--data.per_class=10", "--run.device=cpu", "--run.log_every=1", "--run.save_every=5",
    "--run.report=false", "--train.max_steps=30", "--train.batch_size=16",
]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(fork_server, tmp_path_factory):
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    ended = fork_server.run("pretrain", *COMMON, f"--run.output={run}", ranks=2)
    assert not any(ended.statuses), ended.errors
    return run


@pytest.fixture
def command(undisturbed, tmp_path):
    tokenizer = f"--tokenizer.path={undisturbed}/tokenizer/model"
    return ["pretrain", *COMMON, tokenizer, f"--run.output={tmp_path}/run"]


def assert_error_says(line, lost, newest):
    assert line.count("\n") == 1, line
    assert line.startswith(f"beit: process {lost} of 2 was lost; checkpoints are sound, the newest is {newest}")
    assert "The same command continues the run, also with another number of processes" in line


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_run_and_any_number_continues_it(fork_server, undisturbed, command, tmp_path, lost):
    run = tmp_path / "run"
    began = time.monotonic()
    ended = fork_server.run(*command, ranks=2, kill=lost, kill_after=run / "checkpoints/step_00000010")
    assert time.monotonic() - began < 30
    assert ended.statuses[lost] == -signal.SIGKILL
    assert ended.statuses[1 - lost] == 1
    newest = max((run / "checkpoints").glob("step_*"))
    assert_error_says(ended.errors[1 - lost], lost, newest)
    expected = losses(undisturbed)
    for ranks in (1, 2):
        copy = tmp_path / f"continued_{ranks}"
        shutil.copytree(run, copy)
        again = fork_server.run(*command[:-1], f"--run.output={copy}", ranks=ranks)
        assert not any(again.statuses), again.errors
        assert f"after step {int(newest.name[5:])}" in again.outputs[0]
        assert list(losses(copy)) == list(expected)
        assert list(losses(copy).values()) == pytest.approx(list(expected.values()), rel=1e-5)
        weights = [folder / "model/model.safetensors" for folder in (copy, undisturbed)]
        assert ranks == 1 or weights[0].read_bytes() == weights[1].read_bytes()


def test_a_launcher_that_stops_the_survivors_is_no_preemption(command, tmp_path):
    """torchrun sends SIGTERM to those that are left, which must not wait for the dead to save together."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "--no_python"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*launcher, sys.executable, "-m", "beit", *command, "--train.max_steps=2000"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("checkpoints/step_*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    listed = subprocess.run(
        ["ps", "--ppid", str(process.pid), "-o", "pid="], capture_output=True, text=True, check=True
    )
    victim = max(map(int, listed.stdout.split()))  # the second process is started last
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    assert process.wait(60) != 0
    assert time.monotonic() - began < 20
    errors = process.stderr.read()
    assert "beit: process 1 of 2 was lost; checkpoints are sound" in errors
    assert errors.count("Traceback") == 1, "the launcher's own"


def test_an_error_on_one_process_is_the_reason_on_all(fork_server, tmp_path):
    """Of one process all pictures are too small: it cannot fill a batch, and the other must not wait for it."""
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for index in range(48):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(tmp_path / f"pictures/{index:02d}.png")
    command = [*COMMON, f"--data.path={tmp_path}/pictures", "--data.max_broken=0.5", f"--run.output={tmp_path}/run"]
    command.remove("--data.per_class=10")
    command.remove("--data.path=digits:train")
    ended = fork_server.run("pretrain", *command, ranks=2, per_rank=[[], ["--data.min_side=17"]])
    assert ended.statuses == [1, 1]
    assert ended.seconds < 30
    reason = "pictures is usable"
    assert reason in ended.errors[1]
    assert "process 1 of 2 ended the run: " in ended.errors[0]
    assert reason in ended.errors[0]
    assert "Traceback" not in "".join(ended.errors)
    # the first also says, for the tokenizer and for the model, that few pictures are held out
    assert [text.count("\n") for text in ended.errors] == [3, 1], ended.errors


def test_a_loss_that_is_not_finite_ends_all(fork_server, command, tmp_path):
    ended = fork_server.run(*command, "--optim.lr=1e30", "--optim.warmup_steps=0", ranks=2)
    assert ended.statuses == [1, 1]
    assert all("is not finite" in text and text.count("\n") == 1 for text in ended.errors), ended.errors
    assert (tmp_path / "run/not_finite.json").exists()


def test_processes_that_do_not_share_the_run_folder_are_refused(fork_server, undisturbed, tmp_path):
    tokenizer = f"--tokenizer.path={undisturbed}/tokenizer/model"
    places = [[f"--run.output={tmp_path}/{name}"] for name in ("one", "other")]
    ended = fork_server.run("pretrain", *COMMON, tokenizer, ranks=2, per_rank=places)
    assert ended.statuses == [1, 1]
    assert f"process 1 does not see {tmp_path}/other/recipe.yaml, which process 0 has written" in ended.errors[0]
    assert "run.output has to be a folder that all processes share" in ended.errors[1]
