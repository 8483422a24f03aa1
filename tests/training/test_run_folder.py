from types import SimpleNamespace

import pytest
from accelerate import Accelerator

from beit.errors import ConfigError
from beit.training.jobs import PretrainJob
from beit.training.run_folder import open_run_folder


@pytest.fixture
def opened(tmp_path):
    """Open a run in a folder."""
    job = PretrainJob()
    run = SimpleNamespace(output=str(tmp_path), resume=True, force=False)
    return lambda: open_run_folder(job, run, Accelerator(cpu=True))


def test_a_run_killed_while_it_wrote_its_recipe_begins_again(opened, tmp_path):
    (tmp_path / ".recipe.yaml.4711.tmp").write_text("run:\n  outp")
    folder = opened()
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]
    assert "output:" in folder.recipe.read_text()


@pytest.mark.parametrize("name", ["notes.txt", ".recipe.yaml", "recipe.yaml.4711.tmp"])
def test_files_of_others_are_left_alone(opened, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match="is not empty and holds no run"):
        opened()
    assert (tmp_path / name).read_text() == "mine"
