"""One idiom and one vocabulary of settings for all commands."""

import dataclasses
import json
import re

import pytest
import yaml

from beit.cli.main import COMMANDS, main
from beit.cli.parser import SettingsParser, parse_job
from beit.cli.pretrain import DESCRIPTION
from beit.cli.tokenizer import ACTIONS
from beit.cli.training import parse_training
from beit.errors import ConfigError
from beit.settings.evaluate import EvaluateJob
from beit.settings.export import ExportJob
from beit.settings.predict import PredictJob
from beit.settings.pretrain import PretrainJob
from beit.settings.serve import ServeJob
from beit.settings.tokenizer import EncodeJob, EvaluateTokenizerJob, ReconstructJob

EVERY = [*(command for command in COMMANDS if command != "tokenizer"), *(f"tokenizer {action}" for action in ACTIONS)]
TRAINING = ["pretrain", "finetune", "segment", "tokenizer train", "tokenizer distill"]
USING = ["evaluate", "predict", "serve", "tokenizer encode", "tokenizer reconstruct", "tokenizer evaluate"]
MODEL_USERS = [EvaluateJob, PredictJob, ServeJob, EncodeJob, ReconstructJob, EvaluateTokenizerJob]


def shown(capsys, command, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), *arguments])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def settings_in(text):
    """The settings that a help explains, in order, each with its account."""
    parts = re.split(r"^  --([\w.]+) ", text, flags=re.M)
    return dict(zip(parts[1::2], (" ".join(part.split()) for part in parts[2::2]), strict=True))


@pytest.mark.parametrize("command", EVERY)
@pytest.mark.e2e
def test_required_settings_come_first(capsys, command):
    text = shown(capsys, command, "--help-all")
    for section in re.split(r"\n(?=\S.*:\n  -)", text)[1:]:
        required = ["(required, " in account for account in settings_in(section).values()]
        assert required == sorted(required, reverse=True), section
    sections = ["(required, " in section for section in re.split(r"\n(?=\S.*:\n  -)", text)[1:]]
    assert sections == sorted(sections, reverse=True)
    usage = " ".join(text.split("\n\n")[0].split())
    for name in (name for name, account in settings_in(text).items() if "(required, " in account):
        assert f"--{name} " in usage or f" {name.upper()}" in usage


@pytest.mark.parametrize("command", EVERY)
def test_every_command_prints_its_settings_as_a_recipe(capsys, command):
    settings = yaml.safe_load(shown(capsys, command, "--print_config"))
    assert isinstance(settings, dict)
    assert "recipe" not in settings


@pytest.mark.parametrize("command", EVERY)
def test_every_command_names_the_nearest_setting(capsys, command):
    settings = yaml.safe_load(shown(capsys, command, "--print_config"))
    name = next(name for name, value in settings.items() if not isinstance(value, dict))
    assert main([*command.split(), f"--{name}x=1"]) == 1
    assert f"there is no setting '{name}x'; did you mean {name}?" in capsys.readouterr().err


@pytest.mark.parametrize("command", TRAINING)
def test_trainings_have_device_precision_and_batch_size_in_their_groups(capsys, command):
    names = settings_in(shown(capsys, command, "--help-all"))
    assert {"run.device", "run.precision", "train.batch_size"} <= names.keys()
    assert not {"device", "precision", "batch_size"} & names.keys()


@pytest.mark.parametrize("kind", MODEL_USERS, ids=lambda kind: kind.__name__)
def test_commands_that_use_a_model_have_them_in_one_place_and_order(kind):
    names = [field.name for field in dataclasses.fields(kind)]
    first = names.index("device")
    assert names[first : first + 3] == ["device", "precision", "batch_size"]
    required = [field.name for field in dataclasses.fields(kind) if field.default is field.default_factory]
    chosen = ["model", "models"]  # first where it can be left out too
    assert [name for name in names[:first] if name not in chosen] == [name for name in required if name not in chosen]


def test_the_same_setting_has_the_same_account(capsys):
    helps = [settings_in(shown(capsys, command, "--help-all")) for command in USING]
    for name in ("device", "precision", "batch_size"):
        sentences = {re.sub(r"^\{.*?\} |^[A-Z_]+ ", "", account[name]).split(". ")[0] for account in helps}
        assert len(sentences) == 1, sentences


@pytest.mark.parametrize("command", EVERY)
def test_no_setting_is_called_otherwise(capsys, command):
    last = {name.split(".")[-1] for name in settings_in(shown(capsys, command, "--help-all"))}
    assert not last & {"dtype", "torch_dtype", "half", "bf16", "fp16", "masks", "mask_suffix"}


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["segment", "--masks.path=x"], "label_maps.path"),
        (["segment", "--masks.mask_suffix=x"], "label_maps.suffix"),
        (["evaluate", "--masks.ignored=[1]"], "label_maps.ignored"),
        (["evaluate", "--half=true"], "precision"),
        (["predict", "m", "x.png", "--dtype=bf16"], "precision"),
        (["serve", "m", "--bf16"], "precision"),
        (["tokenizer", "encode", "--encoding.precision=fp32"], "precision"),
        (["finetune", "--dtype=bf16"], "run.precision"),
    ],
)
def test_former_and_foreign_names_lead_to_ours(capsys, arguments, meant):
    assert main(arguments) == 1
    assert f"; did you mean {meant}?" in capsys.readouterr().err


def predict(*arguments):
    return parse_job(PredictJob, "beit predict", "", arguments, words=("model", "pictures"))


def test_words_and_names_are_the_same():
    named = predict("--model=m", '--pictures=["a.png", "3"]', "--json=true", "--workers=3")
    assert named.pictures == ("a.png", "3")
    assert predict("m", "a.png", "3", "--json", "--workers", "3") == named
    assert predict("--json", "--workers", "3", "m", "a.png", "--", "3") == named
    assert predict("m", "--json", "a.png", "--workers=3", "3") == named
    assert not predict("m", "a.png", "--json", "false").json


def test_a_recipe_serves_every_command(tmp_path):
    recipe = tmp_path / "ask.yaml"
    recipe.write_text(yaml.safe_dump({"model": "m", "pictures": ["a.png"], "batch_size": 4, "json": True}))
    assert predict(str(recipe)) == predict("--recipe", str(recipe))
    job = predict(str(recipe), "--batch_size=2")
    assert (job.model, job.pictures, job.batch_size, job.json) == ("m", ("a.png",), 2, True)
    recipe.write_text("model: m\ndata: {path: pictures}\n")
    assert parse_job(EvaluateJob, "beit evaluate", "", [str(recipe), "--flips"]).flips


def test_options_of_tasks_are_settings_of_predict(capsys):
    settings = yaml.safe_load(shown(capsys, "predict", "m", "x.png", "--top_k=3", "--print_config"))
    assert (settings["model"], settings["pictures"], settings["task"], settings["top_k"]) == (
        "m",
        ["x.png"],
        "classify",
        3,
    )
    assert main(["predict", "m", "x.png", "--task=embed", "--top_k=3"]) == 1
    assert "--top_k is an option of classify, and --task is embed; leave it out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["m"], "pictures is missing; name it: pictures: files, folders, films, tar or parquet shards"),
        ([], "pictures is missing; name it: pictures: files"),
        (["m", "a", "--batch_size=0"], "batch_size: input should be greater than or equal to 1, got 0"),
        (["m", "a", "--precision=int8"], "precision: expected one of ['auto', 'fp32', 'bf16', 'fp16'], got int8"),
        (["m", "a", "--workers"], "expected one argument"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, message):
    with pytest.raises(ConfigError) as failed:
        predict(*arguments)
    assert message in str(failed.value)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--train.epochs", "1:30"], "train.epochs: '1:30' is 90 in YAML"),
        (["--augment.crop_scale=[010, 1]"], "augment.crop_scale: '010' is 8 in YAML"),
    ],
)
def test_numbers_that_few_mean_are_refused_as_they_are_in_recipes(option, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse_job(PretrainJob, "beit pretrain", "", ["--data.path=p", *option])


def test_texts_that_look_like_such_numbers_stay_what_they_are():
    given = ["--data.path=010", "--run.output", "1:30", "--data.columns=['01', b]", "--train.max_steps=1_000"]
    job = parse_job(PretrainJob, "beit pretrain", "", given)
    assert (job.data.path, job.run.output, job.data.columns) == ("010", "1:30", ("01", "b"))
    assert job.train.max_steps == 1000


def test_too_many_words_are_refused():
    with pytest.raises(ConfigError, match=r"the word 'b' has no place; expected beit export MODEL --to"):
        parse_job(ExportJob, "beit export", "", ["a", "b"], words=("model",))


def test_types_are_in_the_words_of_a_recipe(capsys):
    text = settings_in(shown(capsys, "finetune", "--help-all"))
    assert "type: tiny, small, base, large or null" in text["model.size"]
    assert "type: balanced, [float, ...] or null" in text["class_weights"]


def test_a_parser_can_leave_fields_out():
    parser = SettingsParser(PredictJob, "beit predict", "", ("model", "pictures"), skip=("options",))
    assert "options" not in parser.values(["m", "a"])
    assert json.dumps(parser.job(["m", "a"]).options) == "{}"


def test_what_is_missing_is_said_in_one_line():
    with pytest.raises(ConfigError, match=r"data\.path is missing; name it: folder of pictures") as failed:
        parse_training(PretrainJob, "beit pretrain", DESCRIPTION, [])
    assert "\n" not in str(failed.value)
