"""`beit evaluate` on embedded handwritten digits: every kind of data and model, and every file it writes."""

import csv
import json

import datasets
import numpy as np
import pytest
from PIL import Image

from beit.cli.main import main
from beit.data import open_source
from tests.conftest import GOLDEN
from tests.e2e.small import FINETUNE, beit
from tests.shards import write_tar

TEST = ["--data.path=digits:test", "--data.workers=0"]
SHOWN = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def run(place):
    options = ["--train.max_steps=120", "--train.batch_size=64", "--data.val_path=digits:test"]
    assert main(["finetune", f"--run.output={place / 'run'}", *FINETUNE, *options]) == 0
    return place / "run"


@pytest.fixture(scope="module")
def folder(place):
    """Some test digits as PNG files in folders with other names than the model's, in the same order."""
    source = open_source("digits:test")
    for index in range(SHOWN):
        path = place / "digits" / f"digit_{source.labels[index]}" / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        source.load(index).save(path)
    return place / "digits"


def evaluated(place, model, *options):
    """Evaluate; return the JSON."""
    output = place / "result.json"
    assert main(["evaluate", f"--model={model}", f"--output={output}", *options]) == 0
    return json.loads(output.read_text())


def error_of(capsys, *options):
    """Evaluate in vain; return the one line."""
    assert main(["evaluate", *map(str, options)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_all_files_agree_with_the_run(run, place, capsys):
    report, predictions = place / "report.html", place / "predictions.csv"
    result = evaluated(place, run / "model", *TEST, f"--report={report}", f"--predictions={predictions}")
    assert result["numbers"] == pytest.approx(json.loads((run / "result.json").read_text()), abs=1e-6)
    assert result["numbers"]["accuracy"] > 0.3
    printed = capsys.readouterr().out
    assert f"calibration_error   {100 * result['numbers']['calibration_error']:.2f} %" in printed
    assert f"parameters          {result['model']['parameters']:,}" in printed
    with predictions.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [str(label) for label in open_source("digits:test").labels]
    assert sum(row["label"] == row["predicted"] for row in rows) / 500 == result["numbers"]["accuracy"]
    worst = result["per_class"][0]
    mine = [row["predicted"] for row in rows if row["label"] == worst["name"]]
    assert mine.count(worst["name"]) / len(mine) == worst["accuracy"]
    page = report.read_text()
    titles = ("Result", "Model", "Classes", "Calibration", "Confusion matrix", "Wrong predictions")
    assert [page.count(f"<h2>{title}</h2>") for title in titles] == [1] * 6
    assert "<h2>Calibration</h2>" in (run / "report.html").read_text(), "a fine-tuning ends with the same sections"


def test_flips_limit_and_batches(run, place):
    flags = ("--limit=50", "--flips")
    once = evaluated(place, run / "model", *TEST, *flags, "--batch_size=50")
    again = evaluated(place, run / "model", *TEST, *flags, "--batch_size=7", "--data.workers=2")
    assert once["numbers"] == pytest.approx(again["numbers"], abs=1e-5)
    assert once["numbers"]["pictures"] == 50
    assert once["settings"]["flips"] is True
    plain = evaluated(place, run / "model", *TEST, "--limit=50", "--flips=false")
    assert plain["numbers"]["loss"] != once["numbers"]["loss"]


def test_a_folder_and_shards_give_the_same(run, folder, place):
    by_order = evaluated(place, run / "model", f"--data.path={folder}", "--data.workers=0", "--match=order")
    assert by_order["model"]["matched"] == "order"
    files = []
    for path in sorted(folder.rglob("*.png")):
        label = path.parent.name.removeprefix("digit_")
        files += [(f"{path.stem}.png", path.read_bytes()), (f"{path.stem}.cls", label.encode())]
    tar = evaluated(place, run / "model", f"--data.path={write_tar(place / 'd.tar', files)}", "--data.workers=0")
    assert tar["model"]["matched"] == "name"
    assert tar["numbers"] == pytest.approx(by_order["numbers"], abs=1e-6)
    assert tar["numbers"]["pictures"] == SHOWN


def test_parquet_with_a_secret_label_is_refused(run, folder, place, capsys):
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=[str(digit) for digit in range(10)])}
    )
    images = [{"bytes": path.read_bytes(), "path": None} for path in sorted(folder.rglob("*.png"))[:4]]
    for name, labels in (("known", [0, 1, 2, 3]), ("secret", [0, -1, 2, -1])):
        table = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
        table.to_parquet(str(place / f"{name}.parquet"))
    result = evaluated(place, run / "model", f"--data.path={place / 'known.parquet'}", "--data.workers=0")
    assert sum(cell["pictures"] for cell in result["confusion"]) == 4
    assert {cell["label"] for cell in result["confusion"]} == {0, 1, 2, 3}
    capsys.readouterr()
    line = error_of(capsys, f"--model={run / 'model'}", f"--data.path={place / 'secret.parquet'}")
    assert "holds -1 in row 1, and others than its 10 named classes, 0 to 9, in 2 of 4 rows" in line


def test_classes_that_do_not_match_say_what_to_do(run, folder, capsys):
    line = error_of(capsys, f"--model={run / 'model'}", f"--data.path={folder}")
    assert "the model does not know 10 of the pictures' 10 classes, such as ['digit_0', 'digit_1'" in line
    assert "add --match order" in line


def test_a_file_and_other_layouts(run, folder, place):
    """A file beside its config is the model of its folder, with its preprocessor; the original layout has neither."""
    whole = evaluated(place, run / "model", *TEST, "--limit=20")
    file = evaluated(place, run / "model" / "model.safetensors", *TEST, "--limit=20")
    assert file["numbers"] == whole["numbers"]
    pictures = place / "large" / "3"
    pictures.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(pictures / "noise.png")
    data = (f"--data.path={place / 'large'}", "--data.workers=0")
    original = evaluated(place, GOLDEN / "unilm/finetune/checkpoint.pth", *data)
    assert original["model"]["matched"] == "index"
    assert original["model"]["view_from"] == "the published evaluation"
    side = original["model"]["view"]["image_size"][0]
    assert original["model"]["view"]["resize"] == round(side / 0.875)
    timm = evaluated(place, GOLDEN / "timm/beit", *data)
    assert timm["model"]["view_from"] == "the model's config.json (timm)"
    assert timm["model"]["view"]["resize"] == 35, "floor(32 / 0.9), its crop_pct"
    cropped = evaluated(place, GOLDEN / "timm/beit", *data, "--crop_share=0.5")
    assert cropped["model"]["view"]["resize"] == 2 * cropped["model"]["view"]["image_size"][0]


def test_bf16_and_what_a_terminal_sees(run, place):
    """Nothing but the numbers goes to standard output, and no bar where there is no terminal."""
    done = beit("evaluate", f"--model={run / 'model'}", *TEST, "--limit=20", "--precision=bf16", "--device=cpu")
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == [
        "accuracy", "top5_accuracy", "mean_class_accuracy", "loss", "calibration_error", "pictures", "parameters",
        "images_per_second",
    ]  # fmt: skip


def test_a_multi_label_model_needs_several_labels(folder, capsys):
    line = error_of(capsys, f"--model={GOLDEN / 'hf_v4/classify_multi'}", f"--data.path={folder}")
    assert "the model is for multi_label_classification, but the pictures have one class each" in line
    assert "name in data.labels a file with the columns `file_name` and `labels`" in line
