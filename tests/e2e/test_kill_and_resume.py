"""A run that is killed at any moment, however often, continues bit for bit, on one process or two."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.small import PRETRAIN, beit, losses

KILLS = 20
STEPS = 15
COMMON = [
    *PRETRAIN, "--data.per_class=8", "--run.device=cpu", "--run.log_every=1", "--run.save_every=3",
    f"--train.max_steps={STEPS}", "--train.ema_decay=0.9", "--validation.every=5",
    "--run.report=false", "--tokenizer.train.max_steps=6",
    "--tokenizer.train.batch_size=16", "--train.batch_size=16", "--validation.pictures=16",
]  # fmt: skip
WRITTEN = ("model", "model_average", "best")


@dataclass
class Whole:
    """A run that nobody disturbed."""

    run: Path
    ranks: int
    seconds: float

    def assert_same(self, run):
        for name in WRITTEN:
            ours, theirs = (folder / name / "model.safetensors" for folder in (run, self.run))
            assert ours.read_bytes() == theirs.read_bytes(), name
        assert losses(run) == losses(self.run), "no step is missing, logged twice, or another"
        assert not [path for path in run.rglob("*") if path.suffix in (".tmp", ".old")]
        newest = sorted(path.name for path in (run / "checkpoints").iterdir())
        assert newest == [f"step_{step:08d}" for step in (STEPS - 3, STEPS)]


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def whole(fork_server, tmp_path_factory, request):
    run = tmp_path_factory.mktemp("whole") / "run"
    ended = fork_server.run("pretrain", *COMMON, f"--run.output={run}", ranks=request.param)
    assert not any(ended.statuses), ended.errors
    return Whole(run, request.param, ended.seconds)


def test_killed_at_random_moments(fork_server, whole, tmp_path):
    """A run is killed as often as it takes to reach its end, then the next one begins, until all kills are dealt out.

    The moments are spread over the time that a whole run takes: start, tokenizer, training, checkpoints, conclusion.
    """
    seed = int.from_bytes(os.urandom(4), "little")
    chance = np.random.default_rng(seed)
    killed, runs, longest = 0, 0, 0.9 * whole.seconds
    while killed < KILLS:
        run = tmp_path / f"run_{runs}"
        runs += 1
        moments = []
        while not (run / "result.json").exists():
            kill_after = chance.uniform(0, longest) if killed < KILLS else None
            ended = fork_server.run(
                "pretrain", *COMMON, f"--run.output={run}", ranks=whole.ranks, kill_after=kill_after
            )
            if -signal.SIGKILL in ended.statuses:
                killed += 1
                moments.append(f"{kill_after:.3f} s, step {max(losses(run), default=0)}")
            else:
                assert not any(ended.statuses), f"seed {seed}, killed after {moments}: {ended.errors}"
                longest = max(0.9 * longest, 1.0)  # the machine is faster now than when the whole run was timed
        try:
            whole.assert_same(run)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, killed after {moments} of {whole.seconds:.1f}: {error}") from None


@pytest.mark.parametrize("whole", [1], ids=["one process"], indirect=True)
def test_workers_do_not_change_the_numbers(whole, tmp_path):
    done = beit("pretrain", *COMMON, f"--run.output={tmp_path / 'run'}", "--data.workers=2")
    assert done.returncode == 0, done.stderr
    whole.assert_same(tmp_path / "run")
