"""`beit benchmark` on embedded handwritten digits: its table, its files, and what it refuses."""

import csv
import io
import json
import re
import shutil
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from PIL import Image

from beit import BeitConfig, BeitModel
from beit.cli.main import main
from beit.data import open_source
from tests.e2e.small import MODEL
from tests.e2e.test_segment import CLASSES, draw

DIGITS = ["--data.path=digits:train", "--data.val_path=digits:test", "--data.workers=0", "--device=cpu"]
FEW = ["--pictures=300", "--val_pictures=100", "--draws=2", "--attentive_pictures=80"]
BEGINS = "benchmark: counting pictures"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("benchmark")


@pytest.fixture(scope="module")
def model(place):
    config = BeitConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                        image_size=16, patch_size=4, use_shared_relative_position_bias=True)  # fmt: skip
    torch.manual_seed(3)
    BeitModel(config).save_pretrained(place / "model")
    return place / "model"


@pytest.fixture(scope="module")
def folder(place):
    """Some digits as PNG files in class folders, and the same with a file of labels or of several labels."""
    source = open_source("digits:train")
    rows = []
    for index in range(200):
        path = place / "digits" / str(source.labels[index]) / f"{index:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        source.load(index).save(path)
        rows.append((path.relative_to(place / "digits").as_posix(), f"digit {source.labels[index]}"))
    for column in ("label", "labels"):
        with (place / f"{column}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("file_name", column), *rows])
    return place / "digits"


def benchmarked(capsys, *arguments):
    """Run a benchmark; return what it prints."""
    assert main(["benchmark", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def error_of(capsys, *arguments):
    """Run a benchmark in vain; return the one line of the error, before which stands at most what had begun."""
    assert main(["benchmark", *map(str, arguments)]) == 1
    *begun, line = capsys.readouterr().err.strip().splitlines()
    assert all(one == BEGINS or one.endswith((" pictures", " is taken as one label")) for one in begun)
    return line


@pytest.fixture(scope="module")
def shown(place, model):
    """What a benchmark prints that writes into the folder "result"."""
    with redirect_stdout(io.StringIO()) as printed:
        assert main(["benchmark", str(model), *DIGITS, *FEW, f"--output={place / 'result'}"]) == 0
    return printed.getvalue()


def test_what_it_does_is_said_from_the_beginning_where_there_is_no_terminal(model, capsys):
    few = ["--pictures=40", "--val_pictures=20", "--draws=1", "--shots=[]", "--label_shares=[]"]
    assert main(["benchmark", str(model), *DIGITS, *few, "--attentive_pictures=16"]) == 0
    lines = capsys.readouterr().err.splitlines()
    begun = [f"{name}: 60 pictures" for name in ("raw pixels", "random weights", model)]
    assert lines[0] == BEGINS
    assert [line for line in lines if line in begun] == begun
    assert f"{model}, attentive probe: 36 pictures" in lines


def test_its_table_and_files_agree(place, model, shown):
    result = json.loads((place / "result/result.json").read_text())
    assert list(result["numbers"]) == ["raw pixels", "random weights", str(model)]
    assert result["schema"] == 1
    assert result["pictures"] == {"training": 300, "validation": 100}
    assert result["settings"]["data"]["path"] == "digits:train"
    assert result["versions"]["beit"] == "0.1.0"
    assert result["classes"] == list("0123456789")
    pixels, random, measured = result["models"]
    assert [row["kind"] for row in result["models"]] == ["pixels", "random", "model"]
    assert [len(row["layers"]) for row in result["models"]] == [1, 2, 2]
    assert random["parameters"] == measured["parameters"] > 0
    assert pixels["layers"][0]["knn"] > 0.8
    assert pixels["attentive"] is None
    assert [row["attentive"]["pictures"] for row in (random, measured)] == [80, 80]
    header, *rows = (re.split(r" {2,}", line.strip()) for line in shown.splitlines()[1:-2])
    assert header == ["raw pixels", "random weights", str(place / "model")]  # a column each, as measurements are more
    assert next(row for row in rows if row[0] == "attentive")[1] == "-"
    assert {len(row) for row in rows} == {4}
    for row in result["models"]:
        numbers = result["numbers"][row["name"]]
        assert numbers["ridge"] == row["layers"][row["ridge_layer"] - 1]["ridge"] > 0.2
        assert numbers["1_shot_knn"] == row["few_shot"][0]["knn"]
        assert f"{100 * numbers['knn']:.1f} %" in shown
        if row["attentive"] is not None:
            assert numbers["attentive"] == row["attentive"]["accuracy"]
            assert numbers["attentive_layer"] == row["attentive"]["layer"] == row["ridge_layer"]
            assert numbers["attentive_epochs"] == row["attentive"]["epochs"]
    assert shown.startswith("300 training and 100 validation pictures of 10 classes; cpu, fp32\n")
    assert shown.endswith(f"result  {place / 'result/result.json'}\nreport  {place / 'result/report.html'}\n")
    report = (place / "result/report.html").read_text()
    assert all(words in report for words in ("raw pixels", "random weights", "Every layer", "kNN, validation accuracy"))


@pytest.mark.usefixtures("shown")
def test_the_same_command_gives_the_same_numbers_as_json(place, model, capsys):
    first = json.loads((place / "result/result.json").read_text())["numbers"]
    assert json.loads(benchmarked(capsys, model, *DIGITS, *FEW, "--json"))["numbers"] == first
    fewer = json.loads(benchmarked(capsys, model, *DIGITS, *FEW, "--json", "--k=[3]", "--shots=[]",
                                   "--attentive_pictures=0"))["numbers"]  # fmt: skip
    assert fewer[str(model)]["knn_k"] == 3
    assert not any("shot" in name or "attentive" in name for name in fewer[str(model)])
    assert fewer[str(model)]["ridge"] == first[str(model)]["ridge"]


@pytest.mark.usefixtures("shown")
def test_started_again_it_computes_no_features(place, model, capsys, monkeypatch):
    shutil.copytree(place / "result", place / "kept")
    command = ["benchmark", str(model), *DIGITS, *FEW, "--json", f"--output={place / 'kept'}"]
    first = json.loads((place / "kept/result.json").read_text())
    assert len(list((place / "kept" / "features").iterdir())) == 5  # of three rows, two of which have a probe
    monkeypatch.setattr(BeitModel, "forward", None)
    assert main([*command, "--k=[3]", "--shots=[2]"]) == 0
    said = capsys.readouterr()
    again = json.loads(said.out)
    for name in ("raw pixels", "random weights", model):
        assert f"features of {name}: read from {place / 'kept' / 'features'}" in said.err
        assert again["numbers"][str(name)]["ridge"] == first["numbers"][str(name)]["ridge"]
        assert again["numbers"][str(name)]["knn_k"] == 3
    assert [row["attentive"] for row in again["models"]] == [row["attentive"] for row in first["models"]]
    assert [row["speed"] for row in again["models"]] == [row["speed"] for row in first["models"]]


def test_models_are_fine_tuned_with_shares_of_the_labels(place, model, capsys):
    command = ["benchmark", str(model), *DIGITS, "--pictures=300", "--val_pictures=100", "--attentive_pictures=0",
               "--shots=[]", "--draws=1", "--label_shares=[0.1]", "--finetune.steps=12", "--finetune.batch_size=16",
               "--finetune.lr=3e-3", f"--output={place / 'tuned'}", "--json"]  # fmt: skip
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    pixels, random, measured = first["models"]
    assert pixels["finetuned"] == []
    for row in (random, measured):
        assert [(tuned["share"], tuned["pictures"]) for tuned in row["finetuned"]] == [
            (0.1, row["label_shares"][0]["pictures"]), (1.0, 300),
        ]  # fmt: skip
        assert {tuned["lr"] for tuned in row["finetuned"]} == {3e-3}
        numbers = first["numbers"][row["name"]]
        assert numbers["10_percent_finetuned"] == row["finetuned"][0]["accuracy"]
        assert numbers["100_percent_finetuned"] == row["finetuned"][1]["accuracy"] <= 1
        assert numbers["10_percent_ridge"] == row["label_shares"][0]["ridge"] < numbers["ridge"]
    assert "fine-tuned 100 %" in (place / "tuned/report.html").read_text()
    assert main([*command, "--k=[3]"]) == 0
    said = capsys.readouterr()
    assert "steps of 16" not in said.err, "finished trainings are read"
    assert [row["finetuned"] for row in json.loads(said.out)["models"]] == [row["finetuned"] for row in first["models"]]
    before = len(list((place / "tuned/finetuned").iterdir()))
    # on a machine without a GPU the same, which a run folder does not know
    assert main([*command, "--k=[3]", "--device=auto"]) == 0
    trainings = 2 * 2  # of two models, each with two shares
    assert len(list((place / "tuned/finetuned").iterdir())) == before + trainings


@pytest.fixture(scope="module")
def scenes(place):
    """Drawn scenes to train and to validate on, and the options that name them."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("val", 6)):
        for kind in ("pictures", "masks"):
            (place / part / kind).mkdir(parents=True)
        for number in range(count):
            for kind, image in zip(("pictures", "masks"), draw(rng), strict=True):
                image.save(place / part / kind / f"{number:02d}.png")
    (place / "classes.txt").write_text("\n".join(CLASSES))
    return [
        f"--data.path={place}/train/pictures", f"--label_maps.path={place}/train/masks",
        f"--data.val_path={place}/val/pictures", f"--label_maps.val_path={place}/val/masks",
        f"--label_maps.classes={place}/classes.txt", "--label_maps.ignored=[9]", "--data.workers=0", "--device=cpu",
    ]  # fmt: skip


def test_with_label_maps_it_is_one_of_patches(place, model, scenes, capsys, monkeypatch):
    command = ["benchmark", str(model), *scenes, f"--output={place / 'patches'}", "--patches=240"]
    assert main(command) == 0
    said = capsys.readouterr()
    result = json.loads((place / "patches/result.json").read_text())
    counted = "24 training and 6 validation pictures of 3 classes, 240 and 96 patches of them"
    assert said.out.startswith(f"{counted}; cpu, fp32\n")
    lines = said.out.splitlines()[2:]
    assert [line.split("  ")[0] for line in lines[:4]] == ["kNN", "kNN mIoU", "ridge", "ridge mIoU"]
    assert result["pictures"] == {"training": 24, "validation": 6}
    for row in result["models"]:
        numbers = result["numbers"][row["name"]]
        assert row["patches"] == {"training": 240, "validation": 96}
        assert row["few_shot"] == []
        assert row["attentive"] is None
        assert numbers["ridge"] == row["layers"][row["ridge_layer"] - 1]["ridge"]
        assert numbers["ridge_mean_iou"] == row["layers"][row["ridge_layer"] - 1]["ridge_mean_iou"]
        assert f"{100 * numbers['knn_mean_iou']:.1f} %" in said.out
    assert result["numbers"]["raw pixels"]["ridge"] > 0.6
    report = (place / "patches/report.html").read_text()
    assert "240 and 96 patches of them" in report
    assert "ridge mIoU" in report
    monkeypatch.setattr(BeitModel, "forward", None)
    assert main([*command, "--k=[3]"]) == 0
    assert capsys.readouterr().err.count("read from") == 3
    again = json.loads((place / "patches/result.json").read_text())
    assert again["numbers"][str(model)]["ridge"] == result["numbers"][str(model)]["ridge"]


def test_label_maps_that_cannot_be_measured_are_refused(place, model, scenes, capsys):
    def refused(*more):
        return error_of(capsys, model, *scenes, *more)

    assert "label_maps.classes is missing; expected a text file" in error_of(capsys, model, *scenes[:4])
    assert "settings of label_maps without label_maps.path" in error_of(capsys, model, scenes[0], scenes[4])
    assert "shots is [1] and there are label maps" in refused("--shots=[1]")
    assert "label_shares is [0.1] and there are label maps" in refused("--label_shares=[0.1]")
    assert "finetune.steps is 9 and there are label maps" in refused("--finetune.steps=9")
    assert "label maps hold the classes: leave it out" in refused("--data.per_class=3")
    assert "expected both, or neither" in error_of(capsys, model, *scenes[:3], *scenes[4:])
    ignored = refused("--label_maps.ignored=[0, 1, 2, 9]")
    assert "no patch of the training pictures has a class" in ignored
    assert "correct label_maps.ignored" in ignored
    one = refused("--label_maps.mapping={0: 1, 1: 1, 2: 1}")
    assert "are all of class 'square'; expected patches of 2 or more classes" in one
    assert "k is 400 and there are" in refused("--k=[400]", "--patches=48")


def test_class_folders_and_label_files_are_the_same_pictures(place, folder, capsys):
    random = ["random", *MODEL, "--data.workers=0", "--device=cpu", "--json", f"--data.path={folder}", "--draws=1"]
    by_folder = json.loads(benchmarked(capsys, *random))
    by_file = json.loads(benchmarked(capsys, *random, f"--data.labels={place / 'label.csv'}"))
    assert by_folder["numbers"] == by_file["numbers"]
    assert by_folder["pictures"]["validation"] == 10  # one of every class is held out
    assert by_file["classes"][0] == "digit 0"


def test_broken_pictures_are_left_out_and_named(place, folder, capsys):
    shown = ["random", *MODEL, "--data.workers=0", "--device=cpu", f"--data.path={folder}", "--draws=1", "--json"]
    picture = folder / "3" / "zzz.png"
    picture.write_bytes(b"no picture")
    try:
        result = json.loads(benchmarked(capsys, *shown, "--data.max_broken=0.1"))
        assert [broken["name"] for broken in result["broken"]] == [str(picture)]
        assert "more than" in error_of(capsys, *shown, "--data.max_broken=0")
    finally:
        picture.unlink()


def test_what_cannot_be_measured_is_refused(place, model, folder, capsys, monkeypatch):
    monkeypatch.setattr("beit.models_torch.BeitModel.from_checkpoint", None)  # nothing is loaded
    given = [model, "--data.workers=0", f"--data.path={folder}"]
    assert "no/such/folder does not exist" in error_of(capsys, "no/such/folder", *given[1:])
    assert "'/nowhere' does not exist" in error_of(capsys, model, "--data.path=/nowhere")
    assert "k is 500 and there are" in error_of(capsys, *given, "--k=[500]")
    assert "training pictures to draw from and shots is 90" in error_of(capsys, *given, "--shots=[90]")
    assert "expected different shares above 0 and up to 0.5" in error_of(capsys, *given, "--label_shares=[0.6]")
    assert "rarest class has" in error_of(capsys, *given, "--label_shares=[0.001]")
    several = error_of(capsys, *given, f"--data.labels={place / 'labels.csv'}")
    assert "have labels of the kind 'labels'; expected one class per picture" in several
    assert "data.shuffle_window is the order of a training" in error_of(capsys, *given, "--data.shuffle_window=5")
    assert "expected them for random alone" in error_of(capsys, *given, "--model.size=tiny")
    assert "a file; expected a folder for result.json" in error_of(capsys, *given, f"--output={place / 'label.csv'}")
    assert "expected each only once" in error_of(capsys, model, *given)
    assert "expected numbers from 1" in error_of(capsys, *given, "--k=[0]")
    assert "attentive_pictures is 3; expected 8 or more" in error_of(capsys, *given, "--attentive_pictures=3")
    for name in ("flat", "single/cat"):
        (place / name).mkdir(parents=True)
        for number in range(9):
            Image.new("RGB", (16, 16), (number, 0, 0)).save(place / name / f"{number}.png")
    flat = error_of(capsys, model, f"--data.path={place / 'flat'}")
    assert "have no labels; expected one class per picture: put them into one folder per class" in flat
    assert "are of 1 class; expected 2 or more" in error_of(capsys, model, f"--data.path={place / 'single'}")
