"""`beit evaluate` on models of several labels and of numbers that `beit finetune` trained, and all that it writes."""

import csv
import json
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from beit import BeitConfig, BeitForSemanticSegmentation, BeitImageProcessor
from beit.cli.main import main
from beit.data import open_source
from tests.e2e.small import MODEL

KINDS = {"labels": lambda digit: f"{'odd' if digit % 2 else 'even'}{';large' * (digit > 4)}", "value": str}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Digits in one folder, and files with labels for 60 of them to train on and 60 others to measure on."""
    place = tmp_path_factory.mktemp("kinds")
    source = open_source("digits:test")
    (place / "digits").mkdir()
    for index in range(120):
        source.load(index).save(place / "digits" / f"{index:03d}.png")
    for kind, cell in KINDS.items():
        for split, numbers in (("train", range(60)), ("val", range(60, 120))):
            rows = [f"{index:03d}.png,{cell(int(source.labels[index]))}" for index in numbers]
            (place / f"{kind}_{split}.csv").write_text("\n".join([f"file_name,{kind}", *rows]))
    return place


@pytest.fixture(scope="module", params=KINDS)
def run(request, place):
    output, data = place / request.param, place / "digits"
    options = [
        *MODEL, f"--data.path={data}", f"--data.labels={place / f'{request.param}_train.csv'}", "--data.workers=0",
        f"--data.val_path={data}", f"--data.val_labels={place / f'{request.param}_val.csv'}", "--augment.flip=0",
        "--optim.warmup_steps=2", "--optim.lr=1e-2", "--optim.layer_decay=1.0", "--train.max_steps=30",
        "--train.batch_size=20", f"--run.output={output}",
    ]  # fmt: skip
    assert main(["finetune", *options]) == 0
    return request.param, output


def evaluated(place, run, *options):
    """Evaluate on the pictures that the run was measured on; return the JSON."""
    kind, folder = run
    output = place / "result.json"
    data = [f"--data.path={place / 'digits'}", f"--data.labels={place / f'{kind}_val.csv'}", "--data.workers=0"]
    assert main(["evaluate", f"--model={folder / 'model'}", *data, f"--output={output}", *options]) == 0
    return json.loads(output.read_text())


def test_all_files_agree_with_the_run(place, run, capsys):
    kind, folder = run
    report, predictions = place / "report.html", place / "predictions.csv"
    result = evaluated(place, run, f"--report={report}", f"--predictions={predictions}")
    assert result["numbers"] == pytest.approx(json.loads((folder / "result.json").read_text()), abs=1e-5)
    printed = capsys.readouterr().out
    main_number = "mean_average_precision" if kind == "labels" else "mean_absolute_error"
    number = result["numbers"][main_number]
    shown = f"{100 * number:.2f} %" if kind == "labels" else f"{number:.4g}"
    assert f"{main_number} {shown}" in " ".join(printed.split())
    with predictions.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    titles = ["Result", "Model", *(["Labels"] if kind == "labels" else ["Numbers", "Largest errors"])]
    assert [report.read_text().count(f"<h2>{title}</h2>") for title in titles] == [1] * len(titles)
    assert f"<h2>{titles[2]}</h2>" in (folder / "report.html").read_text(), "a fine-tuning ends with the same sections"
    if kind == "labels":
        pairs = [({*row["labels"].split(";")} - {""}, {*row["predicted"].split(";")} - {""}) for row in rows]
        right, both = sum(len(a & b) for a, b in pairs), sum(len(a) + len(b) for a, b in pairs)
        assert 2 * right / both == pytest.approx(result["numbers"]["f1"])
        assert {each["name"] for each in result["per_label"]} == {"even", "large", "odd"}
        assert result["numbers"]["mean_average_precision"] > 0.6, "something is learnt"
    else:
        errors = [float(row["predicted_value"]) - float(row["value"]) for row in rows]
        assert np.abs(errors).mean() == pytest.approx(result["numbers"]["mean_absolute_error"], abs=1e-4)
        assert result["per_value"][0]["r2"] == pytest.approx(result["numbers"]["r2"])


def test_limit_flips_crops_and_batches(place, run):
    options = ("--limit=30", "--flips", "--crop_share=0.8")
    once = evaluated(place, run, *options, "--batch_size=30")
    again = evaluated(place, run, *options, "--batch_size=7", "--data.workers=1")
    assert once["numbers"] == pytest.approx(again["numbers"], abs=1e-4)
    assert once["numbers"]["pictures"] == 30
    assert once["model"]["view_from"] == "crop_share"
    assert once["speed"]["model"] > 0
    plain = evaluated(place, run, "--limit=30", "--crop_share=0.8")
    assert plain["numbers"]["loss"] != once["numbers"]["loss"]


def test_bf16_and_what_is_printed(place, run, capsys):
    result = evaluated(place, run, "--limit=20", "--precision=bf16", "--device=cpu")
    assert result["model"]["precision"] == "bf16"
    left_out, *lines = capsys.readouterr().out.splitlines()
    assert left_out.startswith("60 of 120 pictures"), "they are to train on, and have no row in the file"
    numbers = {
        "labels": ["loss", "mean_average_precision", "f1", "mean_label_f1"],
        "value": ["loss", "mean_squared_error", "mean_absolute_error", "r2"],
    }
    names = [*numbers[run[0]], "pictures", "parameters", "images_per_second", "output"]
    assert [line.split()[0] for line in lines] == names
    assert len({len(line) - len(line.split(maxsplit=1)[1]) for line in lines}) == 1, "one column of values"


def test_the_other_kind_is_refused_in_one_line(place, run, capsys):
    kind, folder = run
    other = "value" if kind == "labels" else "labels"
    data = [f"--data.path={place / 'digits'}", f"--data.labels={place / f'{other}_val.csv'}"]
    assert main(["evaluate", f"--model={folder / 'model'}", *data]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    needed = {"labels": "expected several labels: name", "value": "expected a number: name"}
    assert needed[kind] in line


@pytest.mark.parametrize("kind", ["classes", "scenes", "tokenizer"])
def test_pictures_that_go_before_the_report_cost_no_number(kind, tmp_path, monkeypatch, capsys):
    """They were measured: the report says why it does not show them."""
    pictures, maps = tmp_path / "pictures", tmp_path / "maps"
    for number in range(4):
        for place in (pictures / ("cat", "dog")[number % 2], maps / ("cat", "dog")[number % 2]):
            place.mkdir(parents=True, exist_ok=True)
            Image.new("L", (32, 32), number % 2).save(place / f"{number}.png")
    command, written = {
        "classes": (["evaluate", "--model=beit/nano-cifar10-classifier", f"--data.path={pictures}"],
                    "beit.evaluation.classification.evaluate.write_result"),
        "scenes": (["evaluate", f"--model={tmp_path}/model", f"--data.path={pictures}", f"--label_maps.path={maps}"],
                   "beit.evaluation.segmentation.evaluate.write_result"),
        "tokenizer": (["tokenizer", "evaluate", "--tokenizer=beit/nano-cifar10-tokens", f"--data.path={pictures}"],
                      "beit.evaluation.tokenizer.evaluate.write_json"),
    }[kind]  # fmt: skip
    if kind == "scenes":
        sizes = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
        config = BeitConfig(**sizes, image_size=32, patch_size=16, out_indices=[1, 2, 3, 4], id2label={0: "a", 1: "b"})
        BeitForSemanticSegmentation(config).save_pretrained(tmp_path / "model")
        BeitImageProcessor(size=32, crop_size=32).save_pretrained(tmp_path / "model")
    measured = [*command, "--data.workers=0", f"--output={tmp_path}/numbers.json"]
    write = import_module(written.rpartition(".")[0]).__dict__[written.rpartition(".")[2]]

    def write_and_move(*given):
        write(*given)
        pictures.rename(tmp_path / "away")

    monkeypatch.setattr(written, write_and_move)
    for name in ("numbers.json", "report.html"):
        (tmp_path / f".{name}.99999999.tmp").touch()  # of a command that was killed
    assert main([*measured, f"--report={tmp_path}/report.html"]) == 0, capsys.readouterr().err
    page = (tmp_path / "report.html").read_text()
    assert "Some cannot be shown: " in page
    assert "was there when it was listed and cannot be read any more" in page
    assert (tmp_path / "numbers.json").exists()
    assert not list(tmp_path.glob(".*.tmp"))
