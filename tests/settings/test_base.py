"""Settings that are left out are those of the job, from Python, from a recipe and from the command line."""

import json
import pickle
import string
import types
import typing
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from beit.cli.parser import SettingsParser
from beit.errors import ConfigError
from beit.settings.base import STRICT, Settings, resolved_recipe, without_effect
from beit.settings.benchmark import BenchmarkJob
from beit.settings.convert import ConvertJob
from beit.settings.demo import DemoJob
from beit.settings.evaluate import EvaluateJob
from beit.settings.export import ExportJob
from beit.settings.finetune import FinetuneJob, LoraSettings, MixingSettings, RandAugmentSettings
from beit.settings.groups import DataSettings, OptimSettings, RunSettings, TrainSettings
from beit.settings.inspection import DoctorJob, ModelsJob, WatchJob
from beit.settings.predict import PredictJob
from beit.settings.pretrain import PretrainJob, PretrainTokenizerSettings
from beit.settings.segment import SegmentJob
from beit.settings.serve import ServeJob
from beit.settings.tokenizer import (
    ClusterJob,
    ConvertTokenizerJob,
    DistillJob,
    EncodeJob,
    EvaluateTokenizerJob,
    ReconstructJob,
    TokenizerJob,
)

JOBS = [
    BenchmarkJob, ClusterJob, ConvertJob, ConvertTokenizerJob, DemoJob, DistillJob, DoctorJob, EncodeJob, EvaluateJob,
    EvaluateTokenizerJob, ExportJob, FinetuneJob, ModelsJob, PredictJob, PretrainJob, ReconstructJob, SegmentJob,
    ServeJob, TokenizerJob, WatchJob,
]  # fmt: skip
DATA = DataSettings("pictures")
NO_SETTING = {"options"}  # of predict: a setting of its own each


def values(kind, bounds=()):
    """Values of a type, most of which its checks let pass."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return st.sampled_from(parts)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([values(part, bounds) for part in parts])
    if origin is tuple:
        several = parts[-1] is Ellipsis
        return st.lists(values(parts[0], bounds), min_size=1, max_size=3) if several else fixed(parts, bounds)
    least = next((bound.ge for bound in bounds if hasattr(bound, "ge")), 0)
    return {
        bool: st.booleans(),
        int: st.integers(int(least), 64),
        float: st.sampled_from([0.25, 0.5, 0.875]),
        str: st.text(string.ascii_letters, min_size=5, max_size=8),
        types.NoneType: st.none(),
    }.get(kind, st.nothing())


def fixed(parts, bounds):
    return st.tuples(*(values(part, bounds) for part in parts)).map(sorted)


@cache
def partial(kind):
    """Some of the settings of a job or group, groups as dictionaries; what is required is among them."""
    required, optional = {}, {}
    for name, field in kind.__pydantic_fields__.items():
        if name in NO_SETTING:
            continue
        group = isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
        drawn = partial(field.annotation) if group else values(field.annotation, field.metadata)
        if not drawn.is_empty:
            (required if field.is_required() else optional)[name] = drawn
    few = st.sets(st.sampled_from(sorted(optional)), max_size=4) if optional else st.just(set())
    chosen = few.map(sorted)  # a set's order changes with the process, and with it what is drawn
    return chosen.flatmap(lambda names: st.fixed_dictionaries(required | {name: optional[name] for name in names}))


def in_python(kind, given_settings):
    """A job as Python makes it: groups are instances, with what was given alone."""
    fields = kind.__pydantic_fields__
    made = {
        name: in_python(fields[name].annotation, value) if is_group(fields[name].annotation) else value
        for name, value in given_settings.items()
    }
    return kind(**made)


def is_group(kind):
    return isinstance(kind, type) and issubclass(kind, Settings)


def dotted(given_settings, prefix=""):
    for name, value in given_settings.items():
        if isinstance(value, dict) and value:
            yield from dotted(value, f"{prefix}{name}.")
        elif not isinstance(value, dict):
            yield f"--{prefix}{name}={value if isinstance(value, str) else json.dumps(value)}"


@cache
def parser(kind):
    return SettingsParser(kind, "beit", "", skip=tuple(NO_SETTING & kind.__pydantic_fields__.keys()))


def outcome(make, kind, *arguments):
    """The resolved recipe, or None where a check refuses the settings."""
    try:
        return resolved_recipe(make(kind, *arguments))
    except (ValidationError, ConfigError):
        return None


@pytest.mark.parametrize("kind", JOBS, ids=lambda kind: kind.__name__)
@pytest.mark.e2e
def test_python_a_recipe_and_the_command_line_give_the_same_settings(kind):
    compared = 0

    @settings(max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(partial(kind))
    def compare(drawn):
        nonlocal compared
        with TemporaryDirectory() as folder:
            recipe = Path(folder, "recipe.yaml")
            recipe.write_text(yaml.safe_dump(drawn))
            made = outcome(in_python, kind, drawn)
            nested = outcome(lambda kind, drawn: kind(**drawn), kind, drawn)
            read = outcome(lambda kind, path: parser(kind).job(["--recipe", path]), kind, str(recipe))
            typed = outcome(lambda kind, options: parser(kind).job(options), kind, list(dotted(drawn)))
        assert made == nested == read == typed
        compared += made is not None

    compare()
    assert compared >= min(8, 2 ** len(kind.__pydantic_fields__))


def test_a_group_leaves_the_rest_to_its_job():
    assert FinetuneJob(DATA, optim=OptimSettings(lr=1e-3)).optim == replace(FinetuneJob(DATA).optim, lr=1e-3)
    assert FinetuneJob(DATA, run=RunSettings(seed=3)).run.output == "runs/finetune"
    tokenizer = PretrainTokenizerSettings(optim=OptimSettings(lr=3e-3))
    assert PretrainJob(DATA, tokenizer=tokenizer).tokenizer.optim.weight_decay == 1e-4


def test_a_setting_that_is_given_stays_although_it_is_the_default_of_the_group():
    assert FinetuneJob(DATA, optim=OptimSettings(layer_decay=1.0)).optim.layer_decay == 1.0
    assert SegmentJob(DATA, {"path": "maps", "classes": "names"}, train=TrainSettings(128)).train.batch_size == 128


def test_the_group_of_a_job_keeps_all_of_its_settings_in_another():
    optim = PretrainJob(DATA).optim
    assert FinetuneJob(DATA, optim=optim).optim == optim
    assert FinetuneJob(DATA, optim=replace(OptimSettings(), lr=1e-3)).optim == OptimSettings(lr=1e-3)


@pytest.mark.parametrize("output", ["x" * 231, "runs/" + "\u00e9" * 116 + "/model", "a\0b"])
def test_what_is_no_path_to_write_is_refused_at_once(output):
    with pytest.raises(ValidationError, match=r"output is '.*; expected (at most 230: shorten it|text without NUL)"):
        PretrainJob(DATA, run=RunSettings(output=output))
    assert RunSettings(output="/".join(["x" * 230] * 9)).output


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "names nothing"),
        (" ", "names nothing"),
        ("runs/mine\r", "without white space or a line end"),
        ("runs/mine\n", "without white space or a line end"),
        (" runs", "without white space or a line end"),
        ("$BEIT_RUNS/mine", "BEIT_RUNS is replaced by shells alone"),
        ("${BEIT_RUNS}", "BEIT_RUNS} is replaced by shells alone"),
    ],
)
def test_what_a_shell_or_a_file_left_of_a_path_to_write_is_refused(monkeypatch, output, reason):
    monkeypatch.setenv("BEIT_RUNS", "/data/runs")
    with pytest.raises(ValidationError, match=reason):
        RunSettings(output=output)
    with pytest.raises(ValidationError, match=reason):
        PredictJob(["a.png"], output=output)
    assert [RunSettings(output=path).output for path in (".", "a b", "$5", "$NO_SUCH/x")] == [
        ".",
        "a b",
        "$5",
        "$NO_SUCH/x",
    ]
    assert DataSettings("pictures ").path == "pictures "  # it is there, or missed


def test_settings_survive_pickle():
    job = FinetuneJob(DATA, optim=OptimSettings(lr=1e-3))
    assert pickle.loads(pickle.dumps(job)) == job  # noqa: S301  # our own
    assert FinetuneJob(DATA, optim=pickle.loads(pickle.dumps(job.optim))).optim == job.optim  # noqa: S301


def test_jobs_of_others_inherit_too():
    @dataclass(frozen=True, config=STRICT)
    class Job(Settings):
        data: DataSettings
        train: TrainSettings = TrainSettings(batch_size=7)

    assert Job(DATA, train=TrainSettings(epochs=2)).train == TrainSettings(batch_size=7, epochs=2)


def test_recipes_are_plain_yaml_and_complete():
    recipe = resolved_recipe(PretrainJob(DataSettings("pictures")))
    assert "!!" not in recipe
    assert "  lr: auto\n" in recipe
    assert next(iter(recipe.splitlines())) == "data:"


def test_the_home_folder_has_its_place_in_paths(monkeypatch):
    """A shell leaves it to the program in `--run.output=~/runs`, and a recipe always does."""
    monkeypatch.setenv("HOME", "/home/ada")
    assert PretrainJob(DATA, run={"output": "~/runs"}).run.output == "/home/ada/runs"
    assert DataSettings("~/pictures").path == "/home/ada/pictures"
    assert PredictJob(["~/a.png", "b.png"]).pictures == ("/home/ada/a.png", "b.png")
    assert [DataSettings(path).path for path in ("~ada/x", "./~/x", "a~/x")] == ["~ada/x", "./~/x", "a~/x"]


def test_a_seed_beyond_what_random_streams_take_is_refused():
    assert RunSettings(seed=2**63 - 1).seed == 2**63 - 1
    with pytest.raises(ValueError, match="less than 9223372036854775808"):
        RunSettings(seed=2**63)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ({}, None),
        ({"lora": LoraSettings(rank=4, alpha=8)}, None),
        ({"lora": LoraSettings(alpha=8, feed_forward=True)},
         "lora.alpha, lora.feed_forward have no effect: lora.rank is not set"),
        ({"rand_augment": RandAugmentSettings(magnitude=5)},
         "rand_augment.magnitude has no effect: rand_augment.operations is not set"),
        ({"mixing": MixingSettings(switch=0.1)},
         "mixing.switch has no effect: mixing.mixup or mixing.cutmix is not set"),
        ({"mixing": MixingSettings(cutmix=1.0, probability=0.1)}, None),
    ],
)  # fmt: skip
def test_settings_of_what_is_off_are_named(groups, said):
    assert without_effect(FinetuneJob(DataSettings("p"), **groups)) == said
