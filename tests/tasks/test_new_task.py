"""A task that is one file gets everything else from the engine: folder, resume, forecast, report, processes, hooks."""

import json
import re
from pathlib import Path

import pytest

from beit import BeitForImageClassification
from tests.e2e.small import MODEL, PICTURES, losses
from tests.fork_server import fork_server as fork_server_of
from tests.tasks import rotation

COMMON = [*PICTURES, *MODEL, "--run.device=cpu", "--run.log_every=1", "--run.save_every=4", "--optim.warmup_steps=2",
          "--optim.lr=3e-3", "--train.batch_size=32", "--train.max_steps=12", "--run.seed=3"]  # fmt: skip
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="session")
def fork_server():
    return fork_server_of()


@pytest.fixture(scope="module")
def whole(fork_server, tmp_path_factory):
    run = tmp_path_factory.mktemp("rotation") / "run"
    ended = fork_server.run(*COMMON, f"--run.output={run}", program="tests.tasks.rotation")
    assert not any(ended.statuses), ended.errors
    return run


def test_it_is_one_short_file():
    assert len(Path(rotation.__file__).read_text().splitlines()) < 80


def test_a_run_leaves_a_folder_like_every_other(whole):
    assert {path.name for path in whole.iterdir()} >= {
        "recipe.yaml", "metrics.jsonl", "tensorboard", "checkpoints", "model", "result.json", "report.html"
    }  # fmt: skip
    assert sorted(losses(whole)) == list(range(1, 13))
    result = json.loads((whole / "result.json").read_text())
    assert 0 <= result["accuracy"] <= 1
    assert result["pictures"] > 50
    assert BeitForImageClassification.from_pretrained(whole / "model").config.num_labels == 4
    page = (whole / "report.html").read_text()
    assert "Rotation: run" in page
    assert "Curves" in page
    assert "after step" not in page
    card = (whole / "model/README.md").read_text()
    assert re.search(
        rf"Trained on 1,\d\d\d pictures of `[^`]+`, measured on {result['pictures']} others of it\.", card
    ), card


def test_killed_it_continues_bit_for_bit(fork_server, whole, tmp_path):
    run = tmp_path / "run"
    command = [*COMMON, f"--run.output={run}"]
    ended = fork_server.run(*command, program="tests.tasks.rotation", kill_after=run / "checkpoints" / "step_00000004")
    assert ended.returncode == -9
    ended = fork_server.run(*command, program="tests.tasks.rotation")
    assert not any(ended.statuses), ended.errors
    assert "continuing" in ended.stdout
    assert losses(run) == losses(whole)
    assert (run / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()
    assert "after step 4" in (run / "report.html").read_text()  # what this command took is not the whole run's time


def test_two_processes_train_the_same_model(fork_server, tmp_path):
    runs = {ranks: tmp_path / f"run_{ranks}" for ranks in (1, 2)}
    for ranks, run in runs.items():
        command = [*COMMON, f"--run.output={run}", "--run.report=false"]
        ended = fork_server.run(*command, program="tests.tasks.rotation", ranks=ranks)
        assert not any(ended.statuses), ended.errors
    one, two = (losses(run) for run in runs.values())
    assert list(two.values()) == pytest.approx(list(one.values()), rel=1e-4)


def test_its_forecast_writes_nothing(fork_server, tmp_path):
    ended = fork_server.run(*COMMON, f"--run.output={tmp_path}/run", "--dry-run", program="tests.tasks.rotation")
    assert not any(ended.statuses), ended.errors
    for words in ("parameters", "steps        12 of 32 pictures", "s per step", "whole run"):
        assert words in ended.stdout
    assert not (tmp_path / "run").exists()


def test_an_early_stop_ends_it_and_keeps_the_best(fork_server, tmp_path):
    run = tmp_path / "run"
    options = ["--early_stop.patience=1", "--validation.every=1", "--early_stop.min_gain=0.9", "--run.report=false"]
    ended = fork_server.run(*COMMON, *options, f"--run.output={run}", program="tests.tasks.rotation")
    assert not any(ended.statuses), ended.errors
    assert "stopped after step 2: 1 measurement without a gain" in ended.stdout
    assert "keeping the model of step 1" in ended.stdout
    assert (run / "best/model.safetensors").read_bytes() == (run / "model/model.safetensors").read_bytes()
