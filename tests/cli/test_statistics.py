"""`beit statistics`."""

import json

import numpy as np
import pytest

from beit.cli.main import main
from tests.data.real_files.pictures import save


def test_the_numbers_are_the_settings_of_a_training(tmp_path, capsys):
    for number, value in enumerate((0, 255)):
        save(tmp_path / "set" / f"{number}.png", value)
    assert main(["statistics", f"--data.path={tmp_path}/set", f"--output={tmp_path}/numbers.json"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "2 pictures"
    assert '--model.image_mean "[0.5, 0.5, 0.5]" --model.image_std "[0.5, 0.5, 0.5]"' in said
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    np.testing.assert_allclose(numbers["mean"] + numbers["std"], 0.5)
    assert numbers["pictures"] == 2


def test_values_beyond_their_range_are_counted(tmp_path, capsys):
    for number, value in enumerate((1000, 3000, 5000)):
        np.save(tmp_path / f"{number}.npy", np.full((16, 16, 2), value, np.uint16))
    assert main(["statistics", f"--data.path={tmp_path}", "--data.channels=2", "--data.value_range=[0, 4000]"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("33 % of the values, in 1 pictures, lie beyond their range and are cut off")


@pytest.mark.parametrize("words", [["--data.path=absent"], ["--pictures=0", "--data.path=."]])
def test_wrong_arguments(words, capsys):
    assert main(["statistics", *words]) == 1
    assert capsys.readouterr().err.startswith("beit: ")
