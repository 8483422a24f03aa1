"""Finished runs that are trained on, and those with other settings that leave nothing to train."""

import json
import shutil

import pytest

from tests.e2e.small import FINETUNE, beit, losses

SHORT = ["--train.batch_size=32", "--run.log_every=1", "--run.report=false", "--data.val_share=0.05"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    place = tmp_path_factory.mktemp("finished") / "run"
    done = beit("finetune", *FINETUNE, *SHORT, "--train.max_steps=8", f"--run.output={place}")
    assert done.returncode == 0, done.stderr
    return place


def command(run, *more):
    return beit("finetune", *FINETUNE, *SHORT, f"--run.output={run}", *more)


def test_more_steps_train_on_from_the_last_checkpoint(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    before = losses(run)
    done = command(run, "--train.max_steps=12", "--run.force=true")
    assert done.returncode == 0, done.stderr
    assert "training on after step 8, the end of the run so far, to step 12: the learning rate goes" in done.stdout
    after = losses(run)
    assert max(after) == 12
    assert {step: after[step] for step in before} == before
    assert "max_steps: 12" in (run / "recipe.yaml").read_text()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "val" and "pictures" in line] == [12]
    assert json.loads((run / "result.json").read_text())["pictures"] > 0
    again = command(run, "--train.max_steps=12")  # the command of the longer run is now its own
    assert again.returncode == 0, again.stderr
    rates = {line["step"]: line["lr"] for line in lines if line["split"] == "train"}
    assert rates[9] > rates[10] > rates[12]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (["--train.max_steps=6"], "has taken 8 steps already, and with the settings of now a run has 6"),
        (
            ["--train.max_steps=8", "--run.seed=3"],
            "so nothing is left to train (run.seed was 0 and is now 3): raise train.max_steps",
        ),
    ],
)
def test_nothing_to_train_leaves_the_recipe_alone(finished, tmp_path, changed, words):
    run = shutil.copytree(finished, tmp_path / "run")
    recipe = (run / "recipe.yaml").read_bytes()
    done = command(run, *changed, "--run.force=true")
    assert done.returncode == 1
    assert words in done.stderr
    assert (run / "recipe.yaml").read_bytes() == recipe
    assert command(run, "--train.max_steps=8").returncode == 0  # the original command
    assert (run / "recipe.yaml").read_bytes() == recipe


def test_fewer_steps_than_a_stopped_run_has_taken_are_refused(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "result.json").unlink()
    done = command(run, "--train.max_steps=6", "--run.force=true")
    assert done.returncode == 1
    assert "has taken 8 steps already" in done.stderr
    assert "max_steps: 8" in (run / "recipe.yaml").read_text()


def test_a_run_that_stopped_early_needs_more_patience(tmp_path):
    early = ["--train.max_steps=20", "--validation.every=1", "--early_stop.patience=1", "--early_stop.min_gain=0.9"]
    done = command(tmp_path / "run", *early)
    assert done.returncode == 0, done.stderr
    assert "stopped after step" in done.stdout
    longer = [*early, "--train.max_steps=25", "--run.force=true"]
    done = command(tmp_path / "run", *longer)
    assert done.returncode == 1
    assert "and its measurements brought no gain; raise it too" in done.stderr
    done = command(tmp_path / "run", *longer, "--early_stop.patience=100")
    assert done.returncode == 0, done.stderr
    assert max(losses(tmp_path / "run")) == 25
