"""Scenarios with a stand-in of the hub on this machine, each in a process of its own: the client reads HF_ENDPOINT when
it is imported.
"""

import json

import pytest

from tests.fake_hub import FakeHub

PRELUDE = """
import json, pathlib, sys, time
from beit.errors import BeitError
from beit import hub
time.sleep = lambda seconds: None  # the client waits between its own attempts
answers = {}

def attempt(name, function, *arguments, **options):
    try:
        answers[name] = function(*arguments, **options)
    except BeitError as error:
        answers[name] = [type(error).__name__, str(error), type(error.__cause__).__name__]

def get(name, filename="config.json", repo_id="owner/model", **options):
    attempt(name, lambda: as_text(hub.hub_file(repo_id, filename, hub.HubOptions(**options))))

def as_text(path):
    return None if path is None else path.read_text()
"""


@pytest.fixture
def hub():
    with FakeHub() as running:
        yield running


@pytest.fixture
def model(tmp_path):
    """A folder that can be served."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("the config")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 4000)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nA model")
    (folder / "sub" / "config.json").write_text("the config below")
    return folder


@pytest.fixture
def ask(hub, tmp_path):
    """Run a scenario in another process; return what it put into `answers`."""

    def run(code, home="home", **variables):
        process = hub.python(f"{PRELUDE}\n{code}\nprint(json.dumps(answers))", tmp_path / home, **variables)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        return json.loads(output)

    return run
