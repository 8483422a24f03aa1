"""Pictures of what a pre-training makes of the same held-out pictures while it learns."""

import shutil

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from beit.cli.main import main
from tests.e2e.small import PRETRAIN

STEPS = [2, 4, 6, 8, 9]


def pretrain(run, tokenizer, *more):
    options = ["--train.max_steps=9", "--gallery.every=2", "--gallery.pictures=3", "--run.save_every=3"]
    keep = ["--monitor.every=0", "--run.keep_checkpoints=9", f"--tokenizer.path={tokenizer}", f"--run.output={run}"]
    return main(["pretrain", *PRETRAIN, *options, *keep, *more])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    run = tmp_path_factory.mktemp("gallery") / "first"
    options = ["--train.max_steps=6", "--run.report=false", "--monitor.every=0"]
    assert main(["pretrain", *PRETRAIN, *options, f"--run.output={run}"]) == 0
    assert len(list((run / "pictures").glob("step_*.png"))) == 6, "a tenth of the run, at least a step"
    return run / "tokenizer/model"


@pytest.fixture(scope="module")
def run(tmp_path_factory, tokenizer):
    path = tmp_path_factory.mktemp("gallery") / "run"
    assert pretrain(path, tokenizer) == 0
    return path


def rows(run):
    return {path.stem: path.read_bytes() for path in sorted((run / "pictures").iterdir())}


def pixels(run, name):
    return np.asarray(Image.open(run / "pictures" / f"{name}.png")).astype(int)


def test_the_rows_are_of_the_same_pictures(run):
    kept = rows(run)
    assert list(kept) == ["picture", "seen", *(f"step_{step:08d}" for step in STEPS), "true_tokens"]
    assert {Image.open(run / "pictures" / f"{name}.png").size for name in kept} == {(3 * 128 + 2 * 4, 128)}
    hidden = (pixels(run, "picture") != pixels(run, "seen")).any(axis=2)
    assert 0.1 < hidden.mean() < 0.6
    first, last, true = (pixels(run, name) for name in ("step_00000002", "step_00000009", "true_tokens"))
    assert (first != last).any(), "the model has learnt something"
    assert (last != true).any(), "and not everything"


def test_the_report_and_tensorboard_show_them(run):
    page = (run / "report.html").read_text()
    captions = [
        "seen by the model",
        *(f"predicted after step {step}" for step in STEPS),
        "decoded from its true tokens",
    ]
    places = [page.index(f"<figcaption>{caption}") for caption in captions]
    assert places == sorted(places)
    assert "Patch features of held-out pictures in colours" in page
    assert page.count('alt="picture"') == 1 + 3, "the row of the gallery, and pictures whose features are in colours"
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()
    assert [image.step for image in events.Images("reconstructions")] == STEPS


def test_looking_changes_nothing(run, tokenizer, tmp_path):
    assert pretrain(tmp_path / "run", tokenizer, "--gallery.pictures=0") == 0
    assert not (tmp_path / "run/pictures").exists()
    page = (tmp_path / "run/report.html").read_text()
    assert "Reconstructions" not in page
    assert "Patch features of held-out pictures" not in page
    name = "model/model.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


def test_a_continued_run_has_the_same_rows(run, tokenizer, tmp_path):
    stopped = tmp_path / "run"
    shutil.copytree(run, stopped)
    (stopped / "result.json").unlink()
    for step in (6, 9):
        shutil.rmtree(stopped / f"checkpoints/step_{step:08d}")
    for name in ("step_00000004", "step_00000005", "true_tokens"):  # what a stopped run might have left
        (stopped / f"pictures/{name}.png").write_bytes(b"junk")
    assert pretrain(stopped, tokenizer) == 0
    assert rows(stopped) == rows(run)


def test_the_model_that_an_early_stop_keeps_has_a_row(tokenizer, tmp_path, capsys):
    stop = ["--early_stop.patience=1", "--validation.every=3", "--early_stop.min_gain=0.9", "--gallery.every=5",
            "--run.report=false"]  # fmt: skip
    assert pretrain(tmp_path / "run", tokenizer, *stop) == 0
    assert "keeping the model of step 3" in capsys.readouterr().out
    assert [name for name in rows(tmp_path / "run") if name.startswith("step")] == [
        "step_00000003", "step_00000005", "step_00000006",
    ]  # fmt: skip


def test_held_out_pictures_that_are_all_broken_stop_it_before_the_first_step(pictures, tokenizer, tmp_path, capsys):
    (tmp_path / "val").mkdir()
    (tmp_path / "val/0.png").write_bytes(b"this is text")
    options = [f"--data.path={pictures}", f"--data.val_path={tmp_path}/val", "--train.batch_size=4"]
    assert pretrain(tmp_path / "run", tokenizer, *options) == 1
    assert "none of the 1 pictures is usable; first: " in capsys.readouterr().err
    assert not list((tmp_path / "run").rglob("step_*"))
