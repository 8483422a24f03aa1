"""Pictures whose names are no UTF-8 text, sound and broken ones, through every output that names them."""

import csv
import json
import os
import sys

import pyarrow.parquet as parquet
import pytest
from PIL import Image

from beit.cli.main import main
from beit.files import read_json

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
MODEL = "beit/nano-cifar10-classifier"
SOUND, BROKEN = os.fsdecode(b"\xff\xfe.png"), os.fsdecode(b"\xfd.png")


@pytest.fixture
def pictures(tmp_path):
    for number, name in enumerate(("airplane", "cat")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for file in ("a.png", SOUND):
            Image.new("RGB", (32, 32), (90 * number, 50, 50)).save(tmp_path / "pictures" / name / file)
    (tmp_path / "pictures" / "cat" / BROKEN).write_bytes(b"x")
    return tmp_path / "pictures"


def predict(*arguments):
    assert main(["predict", MODEL, *map(str, arguments), "--device=cpu"]) == 1  # one is broken


def test_predictions_name_them(pictures, tmp_path):
    outputs = {ending: tmp_path / f"a.{ending}" for ending in ("jsonl", "csv", "parquet")}
    for output in outputs.values():
        predict(pictures, f"--output={output}")
        predict(pictures, f"--output={output}")  # which reads the record of the job
    expected = ["airplane/a.png", r"airplane/\udcff\udcfe.png", "cat/a.png", r"cat/\udcff\udcfe.png"]
    lines = [json.loads(line)["picture"] for line in outputs["jsonl"].read_text().splitlines()]
    table = [row["picture"] for row in csv.DictReader(outputs["csv"].read_text().splitlines())]
    for found in (lines, table, parquet.read_table(outputs["parquet"])["picture"].to_pylist()):
        assert [name.removeprefix(f"{pictures}/") for name in found] == expected


def test_evaluations_name_them(pictures, tmp_path):
    files = [f"--{name}={tmp_path}/{name}.{ending}" for name, ending in (("output", "json"), ("predictions", "csv"))]
    words = [f"--model={MODEL}", f"--data.path={pictures}", "--data.max_broken=0.5", "--data.workers=0"]
    assert main(["evaluate", *words, "--device=cpu", *files]) == 0
    broken = read_json(tmp_path / "output.json", "a result", "")["broken"]
    assert [one["name"].rpartition("/")[2] for one in broken] == [r"\udcfd.png"]
    assert r"\udcff\udcfe.png" in (tmp_path / "predictions.csv").read_text(encoding="utf-8")


def test_a_path_that_no_recipe_can_hold_is_refused(capsys, tmp_path):
    assert main(["finetune", "--data.path=" + os.fsdecode(b"\xff"), f"--run.output={tmp_path}/run"]) == 1
    assert r"--data.path=\udcff is no UTF-8 text" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
