"""What a person sees of a run, before it and while it works."""

import json
import os
import re
import shutil
import socket
import time

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from beit.cli.main import main
from beit.engine.run_folder import RunFolder
from beit.engine.run_state import read_state
from beit.engine.schedule import Schedule
from beit.files import lock as locks
from beit.files import locked
from beit.settings.groups import OptimSettings, TrainSettings
from beit.tasks.pretrain.task import PretrainTask
from tests.e2e.small import FINETUNE, PRETRAIN, UNWATCHED, beit


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("watched") / "run"
    options = ["--train.max_steps=8", "--run.log_every=2", "--optim.weight_decay_end=0.2"]
    stop = ["--early_stop.patience=9", "--validation.every=2", "--aggregation.early_layer=1"]
    done = beit("pretrain", *PRETRAIN, *options, *stop, f"--run.output={path}")
    assert done.returncode == 0, done.stderr
    return path


def test_metrics_show_how_the_machine_is_used(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in (line for line in lines if line["split"] == "train"):
        assert line["images_per_second"] > 0
        assert 0 <= line["data_wait"] <= 1
        assert line["memory_gib"] > 0.05
        assert 0 < line["flops_utilisation"] < 1
        assert 1 <= line["prediction_perplexity"] <= 32


def test_metrics_and_report_hold_all_that_a_person_watches(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    line = next(line for line in lines if line["split"] == "train")
    learning = {"loss", "aggregation_loss", "accuracy", "prediction_perplexity", "target_perplexity", "lr",
                "weight_decay", "grad_norm"}  # fmt: skip
    machine = {"images_per_second", "flops_utilisation", "data_wait", "memory_gib"}
    assert learning | machine == line.keys() - {"step", "split", "epoch"}
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert {f"train/{name}" for name in learning | machine} <= set(events.Tags()["scalars"])
    page = (run / "report.html").read_text()
    quality = ["kNN, best layer", "Ridge probe, best layer", "RankMe, best layer", "Spread over positions, best layer"]
    assert re.findall(r'<img src="data:image/svg[^"]*" alt="([^"]+)"', page) == [*quality, *PretrainTask.curves]


def test_watch_shows_a_finished_run(run, capsys):
    shown = watched(run, capsys)
    assert "step 8 of 8 (epoch 0.2): finished" in shown
    for word in ("loss", "loss, held out", "accuracy", "perplexity of the predictions", "learning rate", "weight decay",
                 "gradient norm", "images per second", "model FLOP utilisation", "time waiting for data", "memory, GiB",
                 "last checkpoint: step 8", "broken pictures: none", "report.html"):  # fmt: skip
        assert word in shown
    assert "▁" in shown
    assert "█" in shown


def watched(run, capsys):
    assert main(["watch", str(run), "--once"]) == 0
    return " ".join(capsys.readouterr().out.replace("\n", " ").split())


def part_of(run, tmp_path, *gone):
    """Return a copy of a run without its end."""
    part = tmp_path / "part"
    shutil.copytree(run, part)
    for name in ("result.json", "report.html", *gone):
        path = part / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return part


def keep_until(part, step):
    """Drop the lines of the metrics after a step."""
    lines = (part / "metrics.jsonl").read_text().splitlines(keepends=True)
    (part / "metrics.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] <= step))


def lock_elsewhere(part):
    """Leave the lock of a process on another machine, whose life this one cannot know."""
    holder = {"host": "elsewhere", "space": "", "process": 1, "begun": "", "since": "", "token": ""}
    (part / ".lock").write_text(json.dumps(holder))


def at_work(run, tmp_path):
    """Return a copy of a run after four of its steps, which a process on another machine takes."""
    part = part_of(run, tmp_path, "checkpoints")
    keep_until(part, step=4)
    lock_elsewhere(part)
    return part


def test_watch_shows_a_run_at_work(run, tmp_path, capsys):
    part = at_work(run, tmp_path)
    (part / "broken.txt").write_text("one is broken\ntwo is broken\n")
    shown = watched(part, capsys)
    assert "step 4 of 8 (epoch 0.1), about" in shown
    assert "left: at work" in shown
    assert "no checkpoint yet broken pictures: 2, listed in" in shown


@pytest.mark.parametrize("seconds", [0, 3000])
def test_watch_shows_a_paused_run(run, tmp_path, capsys, seconds):
    part = part_of(run, tmp_path)
    (part / "checkpoints/step_00000008").rename(part / "checkpoints/step_00000005")
    keep_until(part, step=2)
    for path in (part, *part.rglob("*")):
        os.utime(path, (time.time() - seconds,) * 2)
    shown = watched(part, capsys)
    assert "step 5 of 8" in shown
    assert "paused; the same command continues it after step 5" in shown
    assert "left:" not in shown


def test_a_clock_that_was_set_back_makes_no_times_before_now(run, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 5.0)
    state = read_state(RunFolder(run))
    assert (state.checkpoint_age, state.quiet) == (0, 0)


def test_watch_shows_a_run_that_was_killed_and_one_that_diverged(run, tmp_path, capsys):
    part = at_work(run, tmp_path)
    keep_until(part, step=2)
    for path in (part, *part.rglob("*")):
        os.utime(path, (time.time() - 3000,) * 2)
    assert "not at work, as it seems: nothing new for 50 min; the same command starts it again" in watched(part, capsys)
    (part / "not_finite.json").write_text('{"step": 5, "pictures": []}')
    assert "stopped: the loss was not finite at step 5" in watched(part, capsys)
    RunFolder(part).write_stopped("nothing can be learnt")
    assert "stopped itself: nothing can be learnt" in watched(part, capsys)


@pytest.mark.parametrize("last", [4, 8])
def test_watch_shows_a_run_that_ended_in_an_error(run, tmp_path, capsys, last):
    """At once: on a full disk, say, during its steps or while it was measured after the last."""
    part = part_of(run, tmp_path, "checkpoints")
    keep_until(part, step=last)
    expected = "not at work: it was stopped, or ended in an error that its output has; the same command starts it again"
    assert expected in watched(part, capsys)


def test_watch_shows_a_run_that_ended_in_an_error_after_its_tokenizer(run, tmp_path, capsys):
    part = part_of(run, tmp_path, "checkpoints", "metrics.jsonl", "pictures")
    os.utime(part / "tokenizer/result.json")
    expected = (
        "finished; the pre-training was stopped, or ended in an error that its output has; the same command starts it"
    )
    assert expected in watched(part, capsys)
    here = {"host": socket.gethostname(), "space": locks._space(), "process": os.getpid(), "begun": "another life"}
    (part / ".lock").write_text(json.dumps({**here, "since": "", "token": ""}))
    expected = f"the pre-training is not at work: its process ({os.getpid()}) was killed; the same command starts it"
    assert expected in watched(part, capsys)


def test_watch_shows_the_tokenizer_that_is_trained_first(run, tmp_path, capsys):
    part = part_of(run, tmp_path, "checkpoints", "metrics.jsonl", "pictures")
    assert "its tokenizer first) step 20 of 20" in watched(part, capsys)


@pytest.fixture
def looks(monkeypatch):
    """What happens between one look and the next, in order; a look beyond fails the test. Stdout is a terminal."""
    events = []
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("beit.cli.watch.time.sleep", lambda _: events.pop(0)())
    return events


def test_watching_ends_with_the_run(run, tmp_path, looks, capsys):
    part = at_work(run, tmp_path)
    looks += [lambda: None, lambda: shutil.copy(run / "result.json", part)]
    assert main(["watch", str(part)]) == 0
    assert not looks
    assert "finished" in capsys.readouterr().out


def test_watching_ends_when_the_run_is_paused(run, tmp_path, looks, capsys):
    part = at_work(run, tmp_path)
    looks += [lambda: None, lambda: (part / "checkpoints/step_00000005").mkdir(parents=True)]
    assert main(["watch", str(part)]) == 0
    assert "paused; the same command continues it after step 5" in capsys.readouterr().out


def test_watching_ends_when_the_run_diverges(run, tmp_path, looks, capsys):
    part = at_work(run, tmp_path)
    looks += [lambda: (part / "not_finite.json").write_text('{"step": 5, "pictures": []}')]
    assert main(["watch", str(part)]) == 0
    assert "stopped: the loss was not finite at step 5" in capsys.readouterr().out


def test_watching_ends_when_the_run_was_killed(run, tmp_path, looks, capsys):
    part = at_work(run, tmp_path)

    def die():
        for path in (part, *part.rglob("*")):
            os.utime(path, (time.time() - 3000,) * 2)

    looks += [die]
    assert main(["watch", str(part)]) == 0
    assert "nothing new for 50 min; the same command starts it again" in capsys.readouterr().out
    assert main(["watch", str(part)]) == 0, "without a second look"


def test_watching_goes_on_from_the_tokenizer_to_the_model(run, tmp_path, looks, capsys):
    part = part_of(run, tmp_path, "checkpoints", "metrics.jsonl", "pictures")
    lock_elsewhere(part)
    os.utime(part / "tokenizer/result.json")
    looks += [lambda: None, lambda: shutil.copy(run / "result.json", part)]
    assert main(["watch", str(part)]) == 0
    assert not looks
    assert "finished; the pre-training begins" in capsys.readouterr().out


def test_a_run_that_was_continued_is_at_work_again(run, tmp_path):
    part = at_work(run, tmp_path)
    (part / "checkpoints/step_00000005").mkdir(parents=True)
    (part / "not_finite.json").write_text('{"step": 6, "pictures": []}')
    assert not read_state(RunFolder(part)).working
    later = time.time() + 5
    os.utime(part / "recipe.yaml", (later, later))
    assert read_state(RunFolder(part)).working


def test_no_clock_that_was_set_back_or_ahead_hides_what_a_run_does(run, tmp_path):
    """What an earlier start left behind seems to be newer than the recipe, or why the run stopped seems to be older."""
    part, later = part_of(run, tmp_path), time.time() + 86_400
    (part / "checkpoints/step_00000008").rename(part / "checkpoints/step_00000005")
    keep_until(part, step=5)
    (part / "not_finite.json").write_text('{"step": 6, "pictures": []}')
    for path in (part / "not_finite.json", part / "checkpoints"):
        os.utime(path, (later, later))
    assert not read_state(RunFolder(part)).working
    with locked(part / ".lock", part, "wait"):
        assert read_state(RunFolder(part)).working
    RunFolder(part).write_stopped("nothing can be learnt")
    os.utime(part / "recipe.yaml", (later, later))
    assert read_state(RunFolder(part)).doing == "stopped itself: nothing can be learnt"


def test_without_a_terminal_it_looks_once(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("beit.cli.watch.time.sleep", lambda _: pytest.fail("a second look"))
    assert main(["watch", str(at_work(run, tmp_path))]) == 0
    assert "left: at work" in " ".join(capsys.readouterr().out.split())


def test_a_run_in_epochs_prints_its_steps(run, tmp_path):
    part = part_of(run, tmp_path)
    recipe = yaml.safe_load((part / "recipe.yaml").read_text())
    recipe["train"] |= {"max_steps": None, "epochs": 10}
    (part / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert read_state(RunFolder(part)).steps == 385


def test_watch_names_what_is_wrong_with_a_folder_that_holds_no_run(run, tmp_path, capsys):
    for path, message in (
        (run / "model", "holds no run (no recipe.yaml); name the run.output of a training"),
        (run.parent, f"there are runs in it: {run}"),
        (run / "metrics.jsonl", "is a file; name a run folder"),
        (tmp_path / "none", "does not exist; name a run folder"),
    ):
        assert main(["watch", str(path)]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_a_dry_run_prints_the_cost_and_writes_nothing(tmp_path):
    done = beit("pretrain", *PRETRAIN, "--train.epochs=10", "--dry-run", f"--run.output={tmp_path}/run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("parameters", "memory", "GFLOP per picture", "steps        385 of 32 pictures", "whole run",
                 "of the time makes visual tokens", "before for its tokenizer"):  # fmt: skip
        assert word in done.stdout
    assert "not counted" not in done.stdout, "it has no validation"
    assert not list(tmp_path.iterdir())
    done = beit("pretrain", *PRETRAIN, "--dry-run", "--mask.count=99", f"--run.output={tmp_path}/run")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


def test_a_fine_tuning_prints_its_cost_too(tmp_path):
    command = ["finetune", *FINETUNE, "--train.epochs=2", "--train.batch_size=32", "--mixing.mixup=0.8", "--dry-run"]
    done = beit(*command, f"--run.output={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    parameters = re.search(r"parameters   ([\d,]+)", done.stdout)[1]
    for word in ("of 32 pictures, out of 1,", "s per step", "whole run", "weights and optimiser"):
        assert word in done.stdout
    assert re.search(r"\n {13}[23] measurements of \d+ held-out pictures \(validation\) not counted\n", done.stdout)
    assert not list(tmp_path.iterdir())
    command = ["finetune", *FINETUNE, "--train.max_steps=6", "--train.batch_size=32", f"--run.output={tmp_path}/run"]
    done = beit(*command, "--data.val_share=0.02")
    assert done.returncode == 0, done.stderr
    assert "data.val_share 0.02 of 1,297 pictures would be 26, too few to measure on: 50 are held out" in done.stderr
    assert re.search(rf"fine-tuning: {parameters} parameters, [\d,]+ pictures, 6 steps of 32 in fp32\n", done.stdout)
    assert "fine-tuning: step 1/6 " in done.stdout  # a log shows at once that it works


def test_a_run_continues_with_other_settings_only_by_force(run, tmp_path):
    command = ["pretrain", *PRETRAIN, *UNWATCHED, "--run.log_every=2", "--run.report=false",
               f"--run.output={tmp_path}/run", f"--tokenizer.path={run}/tokenizer/model"]  # fmt: skip
    assert beit(*command, "--train.max_steps=8").returncode == 0
    (tmp_path / "run/result.json").unlink()
    done = beit(*command, "--train.max_steps=12")
    assert done.returncode == 1
    assert "train.max_steps was 8 and is now 12" in done.stderr
    done = beit(*command, "--train.max_steps=12", "--force")
    assert done.returncode == 0, done.stderr
    assert "continues with other settings: train.max_steps was 8 and is now 12" in done.stderr
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert max(steps) == 12


def test_a_run_of_a_version_without_a_setting_had_its_default(run, tmp_path):
    place = shutil.copytree(run, tmp_path / "run")
    recipe = yaml.safe_load((place / "recipe.yaml").read_text())
    assert recipe["mask"].pop("kind") == "block"
    assert recipe["optim"].pop("decline") == "cosine"
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command = ["pretrain", "--recipe", str(run / "recipe.yaml"), f"--run.output={place}"]
    done = beit(*command, "--mask.kind=random")
    assert done.returncode == 1
    assert "mask.kind was 'block' and is now 'random'." in done.stderr
    done = beit(*command)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("pictures", "batch"), [(50, 4), (215, 2), (333, 6)])
def test_the_length_of_a_run_is_that_of_its_schedule(run, tmp_path, pictures, batch):
    """Also where its epochs end in the middle of a batch: half a step more would look like an early stop."""
    part = shutil.copytree(run, tmp_path / "part")
    recipe = yaml.safe_load((part / "recipe.yaml").read_text())
    recipe["train"] |= {"max_steps": None, "epochs": 1, "batch_size": batch}
    (part / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    train, optim = TrainSettings(batch_size=batch, epochs=1), OptimSettings(lr=1e-3)
    steps = Schedule(optim, train, pictures).steps
    shutil.rmtree(part / "checkpoints")
    for step in range(1, steps + 1):
        line = {"step": step, "split": "train", "loss": 1.0, "epoch": step * batch / pictures}
        (part / "metrics.jsonl").write_text(json.dumps(line) + "\n")
        state = read_state(RunFolder(part))
        assert state.steps == steps, step
    assert state.doing == "finished"


def test_shards_are_no_broken_pictures(run, tmp_path, capsys):
    part = at_work(run, tmp_path)
    (part / "broken.txt").write_text("shard a.tar: it is cut off\none is broken\n")
    assert "broken pictures: 1, listed in" in watched(part, capsys)
