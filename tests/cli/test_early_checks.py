"""Cheap mistakes end before a framework is imported."""

import json
import subprocess
import sys

import pytest

from beit.cli.early_checks import are_pictures, check_warmup
from beit.engine.run_folder import RunFolder, prepare_run_folder
from beit.errors import ConfigError
from beit.settings.groups import DataSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.pretrain import PretrainJob

# as the command does, in a process that has imported nothing, and what is imported then
COMMAND = """
import json, sys
from beit.cli.main import main
status = main(json.loads(sys.argv[1]))
print(json.dumps([status, [name for name in ("torch", "jax", "accelerate") if name in sys.modules]]))
"""


def ended(*arguments):
    """The error line of a command, which has imported no framework."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, json.dumps(arguments)], capture_output=True, text=True, timeout=120
    )
    status, imported = json.loads(done.stdout.splitlines()[-1])
    assert (status, imported) == (1, []), done.stdout
    return done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.path=/nowhere"], "data path '/nowhere' does not exist"),
        (["--data.path={here}", "--data.val_path=/nowhere"], "data path '/nowhere' does not exist"),
        (["--data.path={here}", "--optim.lrr=1"], "there is no setting 'optim.lrr'; did you mean optim.lr?"),
        (["{recipe}", "--data.path={here}"], "there is no setting 'optim.lrr'; did you mean optim.lr?"),
        (
            ["--data.path={here}", "--train.max_steps=5", "--optim.warmup_steps=5"],
            "the warm-up of 5 steps is not shorter than the run of 5; lower optim.warmup_steps or train longer",
        ),
        (
            ["--data.path={here}", "--train.epochs=9", "--optim.warmup_epochs=10"],
            "the warm-up of 10 epochs is not shorter than the run of 9",
        ),
        (["--data.path={here}", "--run.output={other}"], "optim.lr was 0.5 and is now 0.25"),
        (["--data.path={here}", "--run.output={here}"], "here, all of which is read"),
    ],
)
def test_cheap_mistakes_end_before_a_framework_is_imported(tmp_path, arguments, message):
    places = {name: tmp_path / name for name in ("here", "other", "recipe.yaml")}
    (places["here"] / "a").mkdir(parents=True)
    places["recipe.yaml"].write_text("optim: {lrr: 1}\n")
    before = PretrainJob(
        DataSettings(str(places["here"])), run=RunSettings(str(places["other"])), optim=OptimSettings(lr=0.5)
    )
    prepare_run_folder(before, before.run)
    RunFolder(places["other"]).write_result({})
    named = {"here": places["here"], "other": places["other"], "recipe": places["recipe.yaml"]}
    given = [argument.format(**named) for argument in arguments]
    rate = [] if "lrr" in message else ["--optim.lr=0.25"]
    assert message in ended("pretrain", *given, *rate)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "/nowhere", "{here}"], "/nowhere"),
        (["predict", "/nowhere.png"], "/nowhere.png does not exist; expected a picture"),
        (["predict", "{here}/model"], "pictures is missing; name it"),
        (
            ["predict", "microsoft/beit-base-patch16-224", "{here}", "/nowhere.png"],
            "/nowhere.png does not exist; expected a picture",
        ),
        (["evaluate", "--model=/nowhere", "--data.path={here}"], "/nowhere"),
        (["evaluate", "--model={here}", "--data.path=/nowhere"], "data path '/nowhere' does not exist"),
        (["export", "/nowhere", "--to=onnx", "--output={here}/exported"], "/nowhere"),
        (["benchmark", "/nowhere", "--data.path={here}"], "/nowhere"),
        (["convert", "/nowhere", "{here}/converted", "--to=timm"], "/nowhere"),
        (["serve", "/nowhere"], "/nowhere"),
        (["tokenizer", "encode", "--tokenizer={here}", "--data.path=/nowhere", "--output={here}/tokens"], "/nowhere"),
    ],
)
def test_a_model_or_a_picture_that_is_not_there(tmp_path, arguments, message):
    error = ended(*(argument.format(here=tmp_path) for argument in arguments))
    assert message in error
    assert "Traceback" not in error


@pytest.mark.e2e
def test_a_gpu_that_is_not_there(monkeypatch, tmp_path):
    from beit.cli import early_checks

    monkeypatch.setattr(early_checks, "_GPU_DEVICES", ("no such device",))
    monkeypatch.setattr(sys, "platform", "linux")
    job = PretrainJob(DataSettings(str(tmp_path)), run=RunSettings(str(tmp_path / "run"), device="cuda"))
    with pytest.raises(ConfigError, match="there is no usable GPU; use 'cpu' or 'auto'"):
        early_checks.check_early(job, writes=True)


def test_a_warmup_that_the_number_of_pictures_decides_is_left_for_later():
    cases = (({"epochs": 10}, {"max_steps": 3}), ({"steps": 10}, {"epochs": 3}), ({"steps": 9}, {"max_steps": 10}))
    for warmup, length in cases:
        optim = OptimSettings(**{f"warmup_{name}": value for name, value in warmup.items()})
        assert check_warmup(optim, TrainSettings(**length)) is None, "no error"


def test_words_that_name_pictures(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.yaml").touch()
    assert all(map(are_pictures, (str(tmp_path), "a.PNG", "a.mp4", "train.parquet", "hub:me/cats", "cats/*.jpg")))
    assert not any(
        map(
            are_pictures,
            (str(tmp_path / "model"), str(tmp_path / "run"), "microsoft/beit-base-patch16-224", "model.pth", "runs/a"),
        )
    )
