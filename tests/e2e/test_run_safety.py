"""What a run survives: preemption, damaged checkpoints, a loss that is not finite; and how a batch may be divided."""

import json
import multiprocessing
import shutil
import signal
import subprocess
import time
from types import SimpleNamespace

import pytest
from PIL import Image
from safetensors.torch import load_file

from beit.cli.main import main
from beit.engine import loop
from beit.engine.interruption import LossWatch, stop_on_request
from beit.models_torch.loading import read_safetensors
from tests.e2e.small import FEW, FINETUNE, PRETRAIN, UNWATCHED, assert_stops_and_saves, losses, metric, start

COMMON = [
    *PRETRAIN, *FEW, *UNWATCHED, "--run.log_every=1", "--run.save_every=5", "--run.report=false",
    "--train.max_steps=24",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(fork_server, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    done = fork_server.run("pretrain", *COMMON, f"--run.output={run}", "--train.ema_decay=0.9")
    assert done.returncode == 0, done.stderr
    return run


def test_sigterm_saves_and_ends_well(fork_server, whole, tmp_path):
    command = ["pretrain", *COMMON, f"--run.output={tmp_path}/run", "--train.ema_decay=0.9",
               f"--tokenizer.path={whole}/tokenizer/model"]  # fmt: skip
    process = start(*command)
    deadline = time.monotonic() + 120
    while not losses(tmp_path / "run") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    stopped = max(losses(tmp_path / "run"))
    assert 0 < stopped < 24
    assert (tmp_path / f"run/checkpoints/step_{stopped:08d}").is_dir()
    done = fork_server.run(*command)
    assert done.returncode == 0, done.stderr
    assert f"after step {stopped}" in done.stdout
    assert losses(tmp_path / "run") == losses(whole)
    for name in ("model", "model_average"):
        weights = [run / name / "model.safetensors" for run in (whole, tmp_path / "run")]
        assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize(
    ("job", "number", "status"),
    [(["pretrain", *PRETRAIN], signal.SIGTERM, 0), (["finetune", *FINETUNE], signal.SIGINT, 130)],
    ids=["pretrain", "finetune"],
)
def test_a_signal_to_every_process_of_a_job_saves(job, number, status, tmp_path):
    """As terminals, `timeout` and schedulers send it; the workers that load pictures leave the end to the run."""
    command = [*job, "--data.workers=2", "--train.max_steps=2000", f"--run.output={tmp_path}/run"]
    assert_stops_and_saves([*command, "--run.save_every=1000"], tmp_path / "run", number, status)


def test_ctrl_c_twice_stops_at_once():
    accelerator = SimpleNamespace(num_processes=1, is_main_process=True)
    before = signal.getsignal(signal.SIGINT)
    with stop_on_request(accelerator) as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.interrupted
        assert stop.agreed(1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_that_is_not_of_python_is_no_traceback(monkeypatch):
    """As where a program in another language has Python inside: what was there cannot be brought back."""
    chosen = []
    monkeypatch.setattr(signal, "signal", lambda number, handler: chosen.append(handler))
    with stop_on_request(SimpleNamespace(num_processes=1, is_main_process=True)) as stop:
        pass
    assert chosen == [stop.note, stop.note, signal.SIG_DFL, signal.SIG_DFL]


def test_a_process_that_was_just_forked_ends_when_asked_to():
    """It has the handler of its run until it chooses its own."""
    with stop_on_request(SimpleNamespace(num_processes=1, is_main_process=True)) as stop:
        fork = multiprocessing.get_context("fork")
        began = fork.Event()
        child = fork.Process(target=_sleep_on, args=(began,), daemon=True)
        child.start()
        assert began.wait(timeout=20)
        child.terminate()
        child.join(timeout=20)
        assert child.exitcode == 0
        assert not stop.agreed(1)


def _sleep_on(began):
    began.set()
    while True:
        time.sleep(0.1)


def test_the_average_is_one(whole):
    model, average = (load_file(whole / name / "model.safetensors") for name in ("model", "model_average"))
    assert model.keys() == average.keys()
    assert any(not model[name].equal(average[name]) for name in model)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(fork_server, whole, tmp_path):
    command = ["pretrain", *COMMON, f"--run.output={tmp_path}/run", f"--tokenizer.path={whole}/tokenizer/model"]
    assert fork_server.run(*command).returncode == 0
    expected = losses(tmp_path / "run")
    (tmp_path / "run/result.json").unlink()
    newest = tmp_path / "run/checkpoints/step_00000024"
    content = bytearray((newest / "model.safetensors").read_bytes())
    content[-3] ^= 1
    (newest / "model.safetensors").write_bytes(content)
    done = fork_server.run(*command)
    assert done.returncode == 0, done.stderr
    damage = "model.safetensors has changed since it was written"
    assert f"step_00000024 is damaged ({damage}); trying the one before" in done.stderr
    assert "after step 20" in done.stdout
    assert losses(tmp_path / "run") == expected
    (tmp_path / "run/result.json").unlink()
    for checkpoint in (tmp_path / "run/checkpoints").iterdir():
        (checkpoint / "state.json").write_text("{")
    done = fork_server.run(*command)
    assert done.returncode == 1
    assert "all checkpoints in" in done.stderr


def test_a_run_killed_before_it_removed_an_old_checkpoint_removes_it_later(fork_server, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    kept = {path.name for path in (run / "checkpoints").iterdir()}
    shutil.copytree(run / "checkpoints/step_00000024", run / "checkpoints/step_00000001")
    (run / "result.json").unlink()
    done = fork_server.run("pretrain", *COMMON, f"--run.output={run}", "--train.ema_decay=0.9")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (run / "checkpoints").iterdir()} == kept


def test_a_loss_that_is_not_finite_names_its_pictures(fork_server, whole, tmp_path):
    command = ["pretrain", *COMMON, f"--run.output={tmp_path}/run", f"--tokenizer.path={whole}/tokenizer/model",
               "--run.log_every=4", "--optim.lr=1e30", "--optim.warmup_steps=0"]  # fmt: skip
    done = fork_server.run(*command)
    assert done.returncode == 1
    assert "is not finite" in done.stderr
    assert done.stderr.count("\n") == 1
    listed = json.loads((tmp_path / "run/not_finite.json").read_text())
    assert 1 <= listed["step"] <= 4
    assert len(listed["pictures"]) == 32
    assert listed["pictures"][0].keys() == {"epoch", "index", "name"}
    assert f"at step {listed['step']} " in done.stderr


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_learning_rate_of_ten_stops_with_its_reason(fork_server, whole, tmp_path, command):
    options = [option for option in (PRETRAIN if command == "pretrain" else FINETUNE) if "--optim.lr=" not in option]
    if command == "pretrain":
        options += [f"--tokenizer.path={whole}/tokenizer/model", "--monitor.every=0"]
    options += ["--optim.lr=10", "--train.max_steps=120", "--train.batch_size=32", "--run.log_every=5"]
    done = fork_server.run(command, *options, f"--run.output={tmp_path}/run")
    assert done.returncode == 1
    assert "the run has diverged; lower optim.lr or lengthen the warm-up" in done.stderr
    assert done.stderr.strip().endswith("--run.force true goes on all the same")
    assert 50 <= max(losses(tmp_path / "run")) < 100
    reason = json.loads((tmp_path / "run/stopped.json").read_text())["reason"]
    assert reason in done.stderr


def test_a_loss_is_compared_with_guessing_and_with_the_first():
    def stopped(guessing, losses):
        watch = LossWatch(guessing)
        reasons = [watch.note(step, loss) for step, loss in losses]
        return [step for (step, _), reason in zip(losses, reasons, strict=True) if reason is not None]

    steps = [1, *range(10, 121, 10)]
    assert stopped(2.0, [(step, 9.0 if step > 1 else 2.1) for step in steps]) == [60], "said once"
    assert stopped(2.0, [(step, 9.0) for step in steps]) == [], "what it starts from is far off, as with another head"
    assert stopped(2.0, [(step, 3.0 if step > 1 else 0.1) for step in steps]) == [], "no more than twice of guessing"
    assert stopped(2.0, [(step, 9.0 if step % 50 else 2.0) for step in steps[1:]]) == [], "it comes back"
    assert stopped(2.0, [(1, 2.0), (2, 9.0), (60, 9.0), (70, 9.0)]) == [], "too few looks"
    assert stopped(None, [(step, 9.0 if step > 1 else 2.1) for step in steps]) == []


def test_parts_of_a_batch_add_up_to_it(fork_server, whole, tmp_path):
    command = ["pretrain", *COMMON, f"--tokenizer.path={whole}/tokenizer/model", "--model.drop_path_rate=0",
               "--train.max_steps=8"]  # fmt: skip
    for parts in (1, 4):
        done = fork_server.run(*command, f"--train.accumulate={parts}", f"--run.output={tmp_path}/{parts}")
        assert done.returncode == 0, done.stderr
    one, four = losses(tmp_path / "1"), losses(tmp_path / "4")
    assert list(four.values()) == pytest.approx(list(one.values()), rel=1e-5)
    one, four = (metric(tmp_path / parts, "target_perplexity") for parts in ("1", "4"))
    assert four == pytest.approx(one, rel=1e-5), "of all its pictures, rather than the mean of the parts'"


def test_weight_decay_follows_its_schedule(fork_server, whole, tmp_path):
    command = ["pretrain", *COMMON, f"--tokenizer.path={whole}/tokenizer/model", "--train.max_steps=8"]
    for name, end in (("constant", 0.05), ("falling", 0.0), ("none", None)):
        more = [f"--optim.weight_decay_end={end}"] if end is not None else []
        done = fork_server.run(*command, *more, "--optim.weight_decay=0.05", f"--run.output={tmp_path}/{name}")
        assert done.returncode == 0, done.stderr
    weights = {
        name: read_safetensors(tmp_path / name / "model/model.safetensors") for name in ("constant", "falling", "none")
    }
    name = "beit.encoder.layer.0.intermediate.dense.weight"
    assert weights["constant"][name].equal(weights["none"][name])
    assert not weights["falling"][name].equal(weights["none"][name])


def test_pretraining_keeps_the_best_and_may_stop(fork_server, whole, tmp_path):
    command = ["pretrain", *COMMON, f"--tokenizer.path={whole}/tokenizer/model", f"--run.output={tmp_path}/run"]
    stop = ["--early_stop.patience=1", "--validation.every=4", "--early_stop.min_gain=0.9"]
    done = fork_server.run(*command, *stop)
    assert done.returncode == 0, done.stderr
    assert "stopped after step 8" in done.stdout
    assert "keeping the model of step 4" in done.stdout
    assert losses(tmp_path / "run") == {step: loss for step, loss in losses(whole).items() if step <= 8}, (
        "only measured"
    )


def test_the_best_is_kept_without_stopping(fork_server, whole, tmp_path):
    """Measured only: best/ is the model of the best measurement, the result is the last model, nothing else changes."""
    command = ["pretrain", *COMMON, f"--tokenizer.path={whole}/tokenizer/model", "--train.ema_decay=0.9"]
    measure = ["--validation.every=4", "--early_stop.min_gain=0.2"]
    ended = fork_server.run(*command, *measure, f"--run.output={tmp_path}/run")
    assert ended.statuses == [0], ended.errors
    assert "keeping the model" not in ended.outputs[0]
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    measured = {line["step"]: line["held_out_loss"] for line in lines if "held_out_loss" in line}
    assert list(measured) == [4, 8, 12, 16, 20, 24]
    model, last = (run / "model/model.safetensors" for run in (tmp_path / "run", whole))
    assert model.read_bytes() == last.read_bytes()
    best = load_file(tmp_path / "run/best/model.safetensors")
    assert any(not best[name].equal(tensor) for name, tensor in load_file(last).items()), "no gain of a fifth was later"
    stopped = fork_server.run(*command, f"--run.output={tmp_path}/stopped", "--early_stop.patience=6",
                          "--validation.every=4", "--early_stop.min_gain=0.2")  # fmt: skip
    assert stopped.statuses == [0], stopped.errors
    assert (tmp_path / "stopped/model/model.safetensors").read_bytes() == (
        tmp_path / "run/best/model.safetensors"
    ).read_bytes()


def test_a_place_that_cannot_be_written_is_one_line(fork_server, whole, tmp_path):
    command = ["pretrain", *COMMON, f"--tokenizer.path={whole}/tokenizer/model"]
    (tmp_path / "file").write_text("")
    places = [tmp_path / "file/run"]
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)], capture_output=True).returncode
    )
    try:
        for place in [*places, *([disk / "run"] if mounted else [])]:
            for ranks in (1, 2):
                ended = fork_server.run(*command, f"--run.output={place}", ranks=ranks)
                assert ended.statuses == [1] * ranks
                assert all("cannot write" in text and text.count("\n") == 1 for text in ended.errors), ended.errors
                assert not place.exists()
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (["--mask.count=17"], "17 masked patches with blocks of at least 2 on a grid of 16 patches; expected 2 to 16"),
        (["--mask.count=1"], "1 masked patches with blocks of at least 2 on a grid of 16 patches; expected 2 to 16"),
        (["--mask.min_block=17", "--mask.count=17"], "the smallest block is 17 patches; expected 1 to 16"),
        (["--train.accumulate=33"], "train.accumulate is 33, and each of 1 processes has 32 of the 32 pictures"),
        (["--train.batch_size=2000"], "train.batch_size 2000 is larger than the 200 pictures"),
    ],
)
def test_impossible_settings_leave_nothing_behind(fork_server, tmp_path, settings, line):
    ended = fork_server.run("pretrain", *COMMON, *settings, f"--run.output={tmp_path}/run")
    assert ended.statuses == [1]
    assert line in ended.errors[0]
    assert ended.errors[0].count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_other_settings_are_named_unless_forced(fork_server, whole, tmp_path):
    run = tmp_path / "run"
    command = ["pretrain", *COMMON, f"--tokenizer.path={whole}/tokenizer/model", f"--run.output={run}"]
    ended = fork_server.run(*command, kill_after=run / "checkpoints/step_00000010")
    assert ended.statuses == [-signal.SIGKILL]
    changed = ["--optim.lr=2e-3", "--model.drop_path_rate=0.1"]
    refused = fork_server.run(*command, *changed)
    assert refused.statuses == [1]
    assert "model.drop_path_rate was 0.2 and is now 0.1; optim.lr was 0.0015 and is now 0.002" in refused.errors[0]
    forced = fork_server.run(*command, *changed, "--force")
    assert forced.statuses == [0], forced.errors
    assert "continues with other settings: model.drop_path_rate was 0.2 and is now 0.1" in forced.errors[0]


def test_settings_that_its_tokenizer_shares_are_forced_too(fork_server, whole, tmp_path):
    """It is trained, and stays as it is: on its own it has nothing left to train, and ended the run that was forced."""
    run = shutil.copytree(whole, tmp_path / "run")
    more = ["--train.ema_decay=0.9", "--train.max_steps=26", "--augment.rotation=5", "--force"]
    forced = fork_server.run("pretrain", *COMMON, *more, f"--run.output={run}")
    assert forced.statuses == [0], forced.errors
    assert f"{run / 'tokenizer'} stays as it is: augment.rotation was 0.0 and is now 5.0" in forced.errors[0]
    assert max(losses(run)) == 26


@pytest.mark.parametrize(
    "job", [["finetune", *FINETUNE], ["pretrain", *PRETRAIN, *UNWATCHED]], ids=["finetune", "pretrain"]
)
def test_pictures_that_go_stop_a_run_and_it_continues_to_the_same_model(job, pictures, tmp_path, monkeypatch, capsys):
    """None counts as broken, whatever share of them may be: others in their place would make it another run."""
    step, away = loop._Loop._step, tmp_path / "away"
    command = [*job, f"--data.path={pictures}", "--data.keep_decoded=false", "--data.max_broken=1",
               "--data.val_share=0.2", "--train.batch_size=4", "--train.max_steps=6", "--optim.warmup_steps=2",
               "--run.save_every=1", "--run.report=false"]  # fmt: skip
    tokenizer = ["--tokenizer.path=beit/nano-cifar10-tokens"] if job[0] == "pretrain" else []
    command = [option for option in command if not option.startswith("--tokenizer.")] + tokenizer
    assert main([*command, f"--run.output={tmp_path}/whole"]) == 0

    def step_and_move(self, number, tensors):
        if number == 2:
            (pictures / "cat").rename(away)
        return step(self, number, tensors)

    with monkeypatch.context() as patched:
        patched.setattr(loop._Loop, "_step", step_and_move)
        assert main([*command, f"--run.output={tmp_path}/run"]) == 1
    assert "was there when it was listed and cannot be read any more" in capsys.readouterr().err
    assert not (tmp_path / "run/broken.txt").exists()
    assert not (tmp_path / "run/model").exists()
    away.rename(pictures / "cat")
    assert main([*command, f"--run.output={tmp_path}/run"]) == 0
    weights = [tmp_path / run / "model/model.safetensors" for run in ("whole", "run")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_run_does_not_continue_with_other_pictures(pictures, tmp_path, capsys):
    """Of equal number, names and labels. One that was repaired meanwhile is no reason to begin again."""
    command = ["finetune", *FINETUNE, f"--data.path={pictures}", "--data.val_share=0.2", "--train.batch_size=4",
               "--optim.warmup_steps=0", "--run.save_every=1", "--run.report=false", "--run.force=true",
               f"--run.output={tmp_path}/run"]  # fmt: skip
    assert main([*command, "--train.max_steps=1"]) == 0
    checkpoint = tmp_path / "run/checkpoints/step_00000001/state.json"
    before = checkpoint.read_bytes()
    files = sorted(pictures.rglob("*.png"))
    Image.new("RGB", (48, 40), "red").save(files[0])
    assert main([*command, "--train.max_steps=2"]) == 0
    for number, file in enumerate(files):
        Image.new("RGB", (48, 40), (number, 0, 99)).save(file)
    assert main([*command, "--train.max_steps=3"]) == 1
    assert (
        "was made with other pictures, or other label maps: of 12 that were compared 12 are" in capsys.readouterr().err
    )
    assert (tmp_path / "run/model").is_dir()
    assert len(before) < 2000
