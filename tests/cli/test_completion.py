"""Completion of the command line by a shell."""

import shutil
import subprocess
import sys

import pytest

from beit.catalog import INCLUDED_MODELS
from beit.cli.completion import script
from beit.cli.main import COMMANDS, main
from beit.cli.tokenizer import ACTIONS
from beit.settings.packaged import recipes
from tests.cli.test_main import error_of

pytestmark = pytest.mark.e2e  # the parsers of all commands are made for it

# Every name of an array is one of bash's own; what was typed ends with the word to complete.
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_shtab_beit 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    place = tmp_path_factory.mktemp("completion")
    (place / "script").write_text(script("bash"))
    (place / "my recipe.yaml").touch()
    (place / "pictures").mkdir()

    def ask(*typed):
        command = ["bash", "-c", ASK, "bash", str(place / "script"), "beit", *typed]
        return subprocess.run(command, cwd=place, capture_output=True, text=True, check=True).stdout.splitlines()

    return ask


def test_commands_and_actions(complete):
    assert set(complete("")) == set(COMMANDS)
    assert complete("pre") == ["pretrain", "predict"]
    assert set(complete("tokenizer", "")) == set(ACTIONS)


def test_settings_and_their_values(complete):
    assert complete("pretrain", "--optim.l") == ["--optim.lr", "--optim.layer_decay"]
    assert set(complete("pretrain", "--run.device", "")) == {"auto", "cpu", "cuda"}
    assert set(complete("finetune", "--train.recompute", "")) == {"true", "false"}
    assert complete("tokenizer", "cluster", "--clustering.wi") == ["--clustering.windows"]
    assert "reconstruct" in complete("predict", "--task", "")
    assert complete("evaluate", "--help") == ["--help", "--help-all"]
    assert complete("pretrain", "--dry") == ["--dry-run"]
    assert complete("distill", "--comp") == ["--compare"]
    assert complete("completion", "") == ["bash", "zsh", "fish"]


def test_recipes_and_files(complete):
    own = {recipe.name for recipe in recipes() if recipe.command == "beit segment"}
    assert own
    assert set(complete("segment", "")) == {*own, "my recipe.yaml", "pictures", "script"}
    assert complete("finetune", "--data.path", "pic") == ["pictures"]
    assert complete("serve", "pic") == ["pictures"]


def test_models_and_what_info_takes(complete):
    packaged = {model.name for model in INCLUDED_MODELS}
    assert set(complete("finetune", "--checkpoint", "beit/")) == packaged
    assert set(complete("predict", "beit/nano-cifar10-")) == {name for name in packaged if "nano-cifar10-" in name}
    assert "microsoft/beit-base-patch16-224-pt22k" in complete("benchmark", "microsoft/")
    assert complete("info", "pretrain_sm") == ["pretrain_small"]
    assert complete("info", "pic") == ["pictures"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_knows_every_command(shell, capsys, tmp_path):
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (*COMMANDS, *ACTIONS, "data.path", *(recipe.name for recipe in recipes())))
    (tmp_path / "script").write_text(text)
    if shutil.which(shell) is not None:  # its own parser
        assert subprocess.run([shell, "-n", str(tmp_path / "script")], timeout=60).returncode == 0


def test_another_shell_is_refused(capsys):
    assert "shell: expected one of ['bash', 'zsh', 'fish'], got csh" in error_of(capsys, ["completion", "csh"])


def test_without_shtab_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert "pip install -e '.[train]'" in error_of(capsys, ["completion", "bash"])
