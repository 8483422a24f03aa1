"""Trackers of experiments, offline: packages of the test's own stand in for their libraries."""

import json
import sys

import pytest
from accelerate import PartialState

from beit.engine.metrics import MetricsLog
from beit.engine.run_folder import RunFolder
from beit.engine.trackers import begun_trackers, check_trackers
from beit.errors import ConfigError, MissingExtraError
from beit.settings.groups import RunSettings

SETTINGS = {"optim": {"lr": 0.1, "betas": (0.9, 0.98)}, "name": None, "long": "x" * 1000}
# What accelerate's trackers call of wandb and trackio, and of mlflow; every call becomes a line of a file.
LIKE_WANDB = """
import json
def note(**what):
    with open({calls!r}, "a") as file:
        file.write(json.dumps(what) + "\\n")
class Config:
    def update(self, values, **_): note(config=values)
config = Config()
class Run:
    config = config
    def log(self, values, step=None, **_): note(log=values, step=step)
    def finish(self): note(finish=True)
def init(**options):
    note(init=options)
    return Run()
"""
LIKE_MLFLOW = """
import json, types
def note(**what):
    with open({calls!r}, "a") as file:
        file.write(json.dumps(what) + "\\n")
ActiveRun = object
def search_experiments(**_): return []
def create_experiment(name=None, **_): note(experiment=name)
def start_run(**options): note(init={{"run_name": options["run_name"]}})
def log_params(values): note(config=values)
def log_metrics(values, step=None, **_): note(log=values, step=step)
def end_run(): note(finish=True)
utils = types.SimpleNamespace(validation=types.SimpleNamespace(MAX_PARAM_VAL_LENGTH=500, MAX_PARAMS_TAGS_PER_BATCH=100))
"""


@pytest.fixture(params=["wandb", "trackio", "mlflow"])
def library(request, tmp_path, monkeypatch):
    """The name of a library that is installed, and what was asked of it."""
    calls = tmp_path / "calls.jsonl"
    (tmp_path / "site").mkdir()
    text = LIKE_MLFLOW if request.param == "mlflow" else LIKE_WANDB
    (tmp_path / "site" / f"{request.param}.py").write_text(text.format(calls=str(calls)))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, request.param, raising=False)
    PartialState()  # as the Accelerator of a run: accelerate logs by it
    yield request.param, lambda: [json.loads(line) for line in calls.read_text().splitlines()]
    sys.modules.pop(request.param, None)


def test_a_tracker_gets_the_settings_and_every_number(library, tmp_path):
    name, calls = library
    folder, run = RunFolder(tmp_path / "mine"), RunSettings(trackers=(name,))
    folder.path.mkdir()
    check_trackers(run)
    with begun_trackers(folder, run, SETTINGS, active=True) as trackers:
        with MetricsLog(folder, 0, events=False, trackers=trackers) as log:
            log.write(1, "train", {"loss": 0.5})
        with MetricsLog(folder, 1, events=False, trackers=trackers, concluding=True) as log:
            log.write(1, "val", {"accuracy": 1.0})
    said = calls()
    (begun,) = (line["init"] for line in said if "init" in line)
    assert begun.get("name", begun.get("run_name")) == "mine"
    (config,) = (line["config"] for line in said if "config" in line)
    assert float(config["optim.lr"]) == 0.1
    assert config["optim.betas"] == "[0.9, 0.98]"
    assert len(config["long"]) == 250
    assert [line for line in said if "log" in line] == [
        {"log": {"train/loss": 0.5}, "step": 1},
        {"log": {"val/accuracy": 1.0}, "step": 1},
    ]
    assert said[-1] == {"finish": True}
    assert not folder.tensorboard.exists()


def test_a_run_that_continues_keeps_its_identity(library, tmp_path):
    name, calls = library
    if name != "wandb":
        pytest.skip("has no identity of ours")
    for _ in range(2):
        with begun_trackers(RunFolder(tmp_path / "mine"), RunSettings(trackers=("wandb",)), {}, active=True):
            pass
    first, second = (line["init"] for line in calls() if "init" in line)
    assert first["id"] == second["id"]
    assert first["resume"] == "allow"


def test_one_that_fails_later_is_given_up(library, tmp_path, monkeypatch, caplog):
    name, _ = library
    with begun_trackers(RunFolder(tmp_path / "mine"), RunSettings(trackers=(name,)), {}, active=True) as trackers:
        monkeypatch.setattr(trackers._trackers[name], "log", lambda *_, **__: 1 / 0)
        trackers.write(1, "train", {"loss": 0.5})
        trackers.write(2, "train", {"loss": 0.5})
    assert caplog.text.count("failed and gets no more numbers (division by zero)") == 1


def test_one_that_cannot_begin_is_an_error(library, tmp_path, monkeypatch):
    name, _ = library
    module = __import__(name)
    monkeypatch.setattr(module, "start_run" if name == "mlflow" else "init", lambda **_: 1 / 0)
    run = RunSettings(trackers=(name,))
    with (
        pytest.raises(ConfigError, match=f"the tracker {name} cannot begin .*log in to it, or leave it out"),
        begun_trackers(RunFolder(tmp_path / "mine"), run, {}, active=True),
    ):
        pass


def test_other_processes_and_other_libraries(tmp_path):
    with begun_trackers(RunFolder(tmp_path), RunSettings(trackers=("wandb",)), {}, active=False) as trackers:
        trackers.write(1, "train", {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []
    check_trackers(RunSettings())
    with pytest.raises(MissingExtraError, match=r"run.trackers names wandb, .*pip install wandb, or leave it out"):
        check_trackers(RunSettings(trackers=("tensorboard", "wandb")))
