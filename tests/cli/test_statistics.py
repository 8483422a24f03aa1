"""`beit statistics`."""

import json

import numpy as np
import pytest

from beit.cli.main import main
from tests.data.real_files.pictures import save
from tests.image.deep_files import tiff


def test_the_numbers_are_the_settings_of_a_training(tmp_path, capsys):
    for number, value in enumerate((0, 255)):
        save(tmp_path / "set" / f"{number}.png", value)
    (tmp_path / ".numbers.json.99999999.tmp").touch()  # of a command that was killed
    assert main(["statistics", f"--data.path={tmp_path}/set", f"--output={tmp_path}/numbers.json"]) == 0
    assert not list(tmp_path.glob(".*.tmp"))
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


@pytest.mark.parametrize("kind", ["float", "bytes"])
def test_what_stands_for_no_measurement_is_left_out(tmp_path, capsys, kind):
    values, nodata, expected = {
        "float": (np.array([[0.2, 0.4, -9999, -9999]], np.float32), "-9999", 0.3),
        "bytes": (np.array([[51, 102, 255, 255]], np.uint8), "255", 0.3),
    }[kind]
    tags = {"photometric": "minisblack", "extratags": [(42113, "s", 0, nodata, True)]}
    (tmp_path / "0.tif").write_bytes(tiff(np.tile(values, (16, 4)), **tags))
    (tmp_path / "1.tif").write_bytes(tiff(np.tile(values[:, :2], (16, 4)), photometric="minisblack"))
    written = tmp_path / "numbers.json"
    assert main(["statistics", f"--data.path={tmp_path}", f"--output={written}", "--data.max_broken=0"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("33 % of the values, in 1 pictures, stand for no measurement (GDAL_NODATA) and are left")
    numbers = json.loads(written.read_text())
    np.testing.assert_allclose(numbers["mean"], expected, atol=1e-6)
    np.testing.assert_allclose(numbers["std"], 0.1, atol=1e-6)
    assert numbers["absent_values"] == pytest.approx(1 / 3)


def test_bands_are_counted_one_by_one(tmp_path):
    bands = np.full((16, 16, 2), 0.5, np.float32)
    bands[:4, :, 1] = np.nan
    tags = {"photometric": "minisblack", "planarconfig": "contig", "extratags": [(42113, "s", 0, "nan", True)]}
    (tmp_path / "0.tif").write_bytes(tiff(bands, **tags))
    written = tmp_path / "numbers.json"
    assert main(["statistics", f"--data.path={tmp_path}", "--data.channels=2", f"--output={written}"]) == 0
    numbers = json.loads(written.read_text())
    assert (numbers["mean"], numbers["std"]) == ([0.5, 0.5], [0, 0])


def test_a_channel_without_measurements(tmp_path, capsys):
    bands = np.full((16, 16, 2), 0.5, np.float32)
    bands[..., 1] = np.nan
    tags = {"photometric": "minisblack", "planarconfig": "contig", "extratags": [(42113, "s", 0, "nan", True)]}
    (tmp_path / "0.tif").write_bytes(tiff(bands, **tags))
    assert main(["statistics", f"--data.path={tmp_path}", "--data.channels=2"]) == 1
    assert "channel 1 has no measurement in any of 1 pictures (GDAL_NODATA)" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--data.path=absent"], ["--pictures=0", "--data.path=."]])
def test_wrong_arguments(words, capsys):
    assert main(["statistics", *words]) == 1
    assert capsys.readouterr().err.startswith("beit: ")
