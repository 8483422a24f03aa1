"""`beit info` knows whatever the package reads or writes."""

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from beit import BeitForImageClassification, BeitForMaskedImageModeling, preset
from beit.cli.about_weights import TOKENIZERS
from beit.cli.main import main
from beit.cli.parser import parse_job
from beit.data import TokenWriter
from beit.engine.run_folder import RunFolder
from beit.files import locked
from beit.image import Preprocessing
from beit.settings.groups import AugmentSettings, PictureSettings
from beit.settings.pretrain import PretrainJob
from beit.settings.tokenizer import EncodeJob
from beit.tasks.tokenizer.token_identity import token_identity
from beit.tokenizer.loading import KINDS
from tests.cli.test_main import error_of
from tests.conftest import GOLDEN, TINY_MODEL
from tests.e2e.small import FINETUNE, beit
from tests.image.deep_files import tiff
from tests.inference.exports import model_of


@pytest.fixture
def info(capsys):
    def ask(path):
        assert main(["info", str(path)]) == 0
        what, *lines = capsys.readouterr().out.rstrip().splitlines()
        rows = dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in lines[: lines.index("next")])
        return what.removeprefix(f"{path}: "), rows, [line.strip() for line in lines[lines.index("next") + 1 :]]

    return ask


@pytest.mark.parametrize(
    ("path", "kind", "layout"),
    [
        ("hf_v4/segment", "BeitForSemanticSegmentation", "Hugging Face"),
        ("hf_v5/classify_native_names", "BeitForImageClassification", "Hugging Face 5 native"),
        ("hf_flax/mim_shared", "BeitForMaskedImageModeling", "Flax"),
        ("timm/beit", "BeitForImageClassification", "timm"),
        ("unilm/pretrain/checkpoint.pth", "BeitForMaskedImageModeling", "original (pre-training)"),
        ("unilm/segment/checkpoint.pth", "BeitForSemanticSegmentation", "original (segmentation)"),
        ("hf_v4/model_mean/model.safetensors", "BeitModel", "Hugging Face"),
    ],
)
def test_models_of_every_layout(info, path, kind, layout):
    what, rows, next_steps = info(GOLDEN / path)
    assert (what, rows["layout"]) == (f"a model ({kind})", layout)
    assert rows["encoder"].endswith(" heads")
    assert re.match(r"\d+ x \d+ pixels, 3 channels", rows["input"])
    assert ("classes" in rows) == (kind in ("BeitForImageClassification", "BeitForSemanticSegmentation"))
    assert all(str(GOLDEN / path) in step for step in next_steps)


def test_the_size_of_a_model(info, tmp_path):
    model = model_of("classify")
    model.save_pretrained(tmp_path / "model")
    _, rows, _ = info(tmp_path / "model")
    assert rows["parameters"] == f"{sum(one.numel() for one in model.parameters()):,} of float32"
    assert rows["patches"] == "4 x 4 of 8 x 8 pixels"
    assert rows["classes"] == "3: cat, dog, eel"


def test_tokenizers(info):
    assert set(TOKENIZERS) == set(KINDS)
    what, rows, next_steps = info(GOLDEN / "dalle")
    assert (what, rows["codebook"]) == ("a tokenizer (DiscreteVAE)", "64 visual tokens")
    assert any(step.startswith("beit tokenizer reconstruct") for step in next_steps)
    what, rows, _ = info("beit/nano-cifar10-tokens")
    assert (what, rows["tokens"]) == ("a tokenizer (KMeansTokenizer)", "8 x 8, one for 4 x 4 pixels")


def test_stored_tokens(info, tmp_path):
    writer = TokenWriter(tmp_path, {"tokenizer": "abc", "random_views": {"count": 2}}, (3, 2, 4, 4))
    writer.append(np.zeros((2, 4, 4), np.int64))
    writer.close()
    what, rows, next_steps = info(tmp_path)
    assert (what, rows["finished"]) == ("visual tokens, not all of them yet", "2 of 6 views")
    writer = TokenWriter(tmp_path, {"tokenizer": "abc", "random_views": {"count": 2}}, (3, 2, 4, 4))
    writer.append(np.zeros((4, 4, 4), np.int64))
    writer.close()
    what, rows, next_steps = info(tmp_path)
    assert (what, rows["views"]) == ("stored visual tokens", "2 random ones of each")
    assert next_steps[0].endswith(f"--tokenizer.tokens {tmp_path} --fixed_views 2")


@pytest.mark.parametrize(
    ("job", "options"),
    [
        ({"views": 2}, ["--fixed_views=2"]),
        ({"views": 1, "seed": 3, "augment": AugmentSettings(crop_scale=(0.5, 1.0), flip=0.0)}, ["--fixed_views=1"]),
    ],
)
def test_the_command_for_stored_tokens_takes_them(info, tmp_path, job, options):
    given = EncodeJob(tokenizer="t", data=PictureSettings("p"), **job)
    identity = token_identity("abc", "def", (16, 16), given.views, given.augment, given.seed)
    writer = TokenWriter(tmp_path, identity, (3, given.views, 4, 4))
    writer.append(np.zeros((3 * given.views, 4, 4), np.int64))
    writer.close()
    command = shlex.split(info(tmp_path)[2][0])
    trained = parse_job(PretrainJob, "beit pretrain", "", command[2:])
    random = token_identity("abc", "def", (16, 16), trained.fixed_views, trained.augment, trained.run.seed)
    assert (random, trained.tokenizer.tokens) == (identity, str(tmp_path))


def test_tokens_of_what_evaluation_sees_are_not_for_a_pretraining(info, tmp_path):
    writer = TokenWriter(tmp_path, {"tokenizer": "abc", "random_views": None}, (3, 1, 4, 4))
    writer.append(np.zeros((3, 4, 4), np.int64))
    writer.close()
    assert info(tmp_path)[2][0].startswith(f"numpy.load('{tmp_path}/tokens.npy')")


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({}, "--data.path my_classes/"),
        ({"num_channels": 1}, "--data.path my_classes/ --data.channels 1"),
        ({"problem_type": "regression"}, "--data.path my_pictures/ --data.labels LABELS.csv"),
        ({"problem_type": "multi_label_classification"}, "--data.path my_pictures/ --data.labels LABELS.csv"),
    ],
)
def test_the_evaluation_of_a_model_is_of_pictures_as_it_takes_them(info, tmp_path, options, given):
    BeitForImageClassification(preset("tiny", **TINY_MODEL, **options)).save_pretrained(tmp_path)
    assert f"beit evaluate --model {tmp_path} {given}" in info(tmp_path)[2]


def test_a_range_of_values_goes_along(info, tmp_path):
    BeitForMaskedImageModeling(preset("tiny", **TINY_MODEL, num_channels=2)).save_pretrained(tmp_path)
    Preprocessing(
        (32, 32), (32, 32), mean=(0.5, 0.5), std=(0.5, 0.5), value_range=(0.0, 4000.0), frame=3
    ).save_pretrained(tmp_path)
    words = shlex.split(info(tmp_path)[2][0])
    assert words[-6:] == ["--data.channels", "2", "--data.value_range", "[0.0, 4000.0]", "--data.frame", "3"]


def test_a_preprocessing_that_is_not_understood_does_not_matter(info, tmp_path):
    model_of("classify").save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    assert info(tmp_path)[0] == "a model (BeitForImageClassification)"


@pytest.mark.parametrize("name", ["my runs", "it's", "a&b"])
def test_paths_are_one_word_of_the_commands(info, tmp_path, name):
    place = tmp_path / name / "model"
    model_of("classify").save_pretrained(place)
    steps = [shlex.split(step) for step in info(place)[2]]
    assert steps
    assert all(str(place) in words for words in steps)


def test_pictures(info):
    what, rows, next_steps = info("digits:train")
    assert (what, rows) == ("pictures", {"pictures": "1,297", "classes": "10: 0, 1, 2, 3, 4, 5, 6, 7, ..."})
    assert next_steps[0].startswith("beit finetune --checkpoint ")
    picture = GOLDEN / "processor" / "images" / "rgba.png"
    what, rows, _ = info(picture)
    assert what == "a picture"
    assert re.fullmatch(r"\d+ x \d+ pixels", rows["height x width"])
    _, rows, next_steps = info(picture.parent)
    assert rows["classes"].startswith("none")
    assert not any("finetune" in step for step in next_steps)


def test_exported_models(info, tmp_path):
    model_of("classify").config.save_pretrained(tmp_path)
    size = {"image_height": 32, "image_width": 32, "any_size": False, "batch": None}
    about = {"export_version": 1, "format": "onnx", "task": "classify", "precision": "int8", "sha256": {}, **size}
    (tmp_path / "export.json").write_text(json.dumps(about))
    what, rows, _ = info(tmp_path)
    assert (what, rows["precision"], rows["batch"]) == ("an exported model (onnx)", "int8", "of any size")
    assert rows["classes"] == "3: cat, dog, eel"


@pytest.mark.e2e
def test_a_run(info, tmp_path):
    run = tmp_path / "run"
    done = beit(
        "finetune", *FINETUNE, "--train.max_steps=6", "--train.batch_size=32", f"--run.output={run}", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    what, rows, next_steps = info(run)
    assert (what, rows["step"], rows["model"]) == ("a run of beit finetune", "6 of 6", str(run / "model"))
    assert "held-out accuracy" in rows
    assert next_steps == [f"beit info {run / 'model'}"]


@pytest.mark.parametrize("path", ["pretrain_small", "recipes/pretrain_small.yaml"])
def test_a_recipe_of_the_package(info, path):
    what, rows, next_steps = info(path)
    assert what == "a recipe of beit pretrain"
    assert rows["about"].startswith("Pre-training of a small BEiT")
    assert next_steps[0] == f"beit pretrain {path} --dry-run"
    assert next_steps[-1] == "beit recipes pretrain_small > mine.yaml"


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("label_maps: {classes: camvid}", "a recipe of beit segment"),
        ("{model: run/model, label_maps: {classes: camvid}}", "a recipe of beit evaluate"),
        ("{models: [run/model], label_maps: {classes: camvid}}", "a recipe of beit benchmark"),
        ("clustering: {windows: 10}", "a recipe of beit tokenizer cluster"),
        ("data: {path: scenes, channels: 4}", "a recipe: settings that several commands take"),
    ],
)
def test_a_recipe_of_ones_own(info, tmp_path, text, command):
    (tmp_path / "mine.yml").write_text(text)
    what, rows, next_steps = info(tmp_path / "mine.yml")
    assert (what, "about" in rows) == (command, False)
    assert next_steps[0].endswith(f"{tmp_path / 'mine.yml'} --print_config")


@pytest.mark.parametrize(
    ("text", "labels", "names"),
    [
        ("file_name,label\na.png,cat\nb.png,dog\n", "a class for each", "2: cat, dog"),
        ("file_name,labels\na.png,cat;dog\nb.png,\n", "several for each", "2: cat, dog"),
        ("file_name,value\na.png,1.5\nb.png,2\n", "a number for each", None),
    ],
)
def test_labels(info, tmp_path, text, labels, names):
    (tmp_path / "labels.csv").write_text(text)
    what, rows, next_steps = info(tmp_path / "labels.csv")
    assert (what, rows["pictures"]) == ("labels of pictures", "2, in the column 'file_name'")
    assert (rows["labels"], rows.get("classes")) == (labels, names)
    assert next_steps[0].endswith(f"--data.labels {tmp_path / 'labels.csv'}")


def _regions(path, numbers=(0, 3, 11)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.repeat(np.repeat(np.uint8([[*numbers]]), 40, 0), 20, 1)).save(path)


def test_label_maps_and_pictures_beside_them(info, tmp_path):
    for split, count in (("train", 3), ("val", 1)):
        for number in range(count):
            _regions(tmp_path / split / "masks" / f"{number}.png")
            noise = np.random.default_rng(number).integers(0, 256, (40, 60), np.uint8)
            Image.fromarray(noise).save(_made(tmp_path / split / "images") / f"{number}.png")
    what, rows, next_steps = info(tmp_path / "train" / "masks")
    assert what == "label maps, as it seems: the class of every pixel"
    assert (rows["label maps"], rows["numbers"]) == ("3", "3: 0, 3, 11 (of the first files)")
    assert "label_maps.ignored" in rows["no class"]
    assert info(tmp_path / "train" / "masks" / "0.png")[0] == "a label map, as it seems: the class of every pixel"
    assert info(tmp_path / "train" / "images")[0] == "pictures"
    what, rows, next_steps = info(tmp_path)
    assert what == "pictures and their label maps"
    assert rows["train"].startswith("3 in ")
    assert f"--data.path {tmp_path}/train/images --label_maps.path {tmp_path}/train/masks" in next_steps[0]
    assert f"--label_maps.val_path {tmp_path}/val/masks" in next_steps[0]


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_boxes_in_text_are_no_label_maps(info, tmp_path):
    for split in ("train", "val"):
        for folder in ("images", "labels"):
            (tmp_path / folder / split).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "images" / split / "1.png")
        (tmp_path / "labels" / split / "1.txt").write_text("0 .5 .5 .1 .1")
    what, rows, steps = info(tmp_path)
    assert (what, rows["split train"], rows["split val"]) == ("pictures", "1", "1")
    assert not [step for step in steps if step.startswith("beit finetune")]


def test_a_folder_around_all_pictures_is_no_class_and_tables_beside_it_are_named(info, tmp_path):
    (tmp_path / "train_images").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "train_images" / "1.png")
    (tmp_path / "train.csv").write_text("id,label\n1,cat\n")
    _, rows, _ = info(tmp_path)
    assert rows["classes"] == f"none; labels may stand in {tmp_path}/train.csv: data.labels"


def test_splits_inside_of_the_folders_of_pictures_and_maps(info, tmp_path):
    for split in ("training", "validation"):
        _regions(tmp_path / "annotations" / split / "0.png")
        _regions(tmp_path / "images" / split / "0.png")
    _, rows, next_steps = info(tmp_path)
    assert set(rows) == {"training", "validation"}
    assert f"--data.val_path {tmp_path}/images/validation" in next_steps[0]


def test_arrays_of_many_channels(info, tmp_path):
    np.save(_made(tmp_path / "scenes" / "field") / "0.npy", np.full((8, 6, 4), 900, np.uint16))
    what, rows, next_steps = info(tmp_path / "scenes")
    assert (what, rows["the first"]) == ("pictures as arrays", "8 x 6 pixels, 4 channels of uint16")
    assert rows["its values"] == "900 to 900"
    assert next_steps[0].startswith(f"beit statistics --data.path {tmp_path / 'scenes'} --data.channels 4")
    assert info(tmp_path / "scenes" / "field" / "0.npy")[0] == "a picture as an array"


def test_tiff_of_many_bands(info, tmp_path):
    place = _made(tmp_path / "scenes" / "field") / "0.tif"
    place.write_bytes(tiff(np.full((8, 6, 12), 900, np.uint16), photometric="minisblack", planarconfig="contig"))
    what, rows, next_steps = info(tmp_path / "scenes")
    assert (what, rows) == (
        "pictures of many bands",
        {"pictures": "1", "the first": "8 x 6 pixels, 12 bands of uint16"},
    )
    assert next_steps[0].startswith(f"beit statistics --data.path {tmp_path / 'scenes'} --data.channels 12")
    assert info(place)[::2] == ("a picture of many bands", [f"beit predict MODEL {place}"])
    place.write_bytes(place.read_bytes()[:40])
    assert info(tmp_path / "scenes")[0] == "pictures", "as of any broken file"


def test_a_page(info, tmp_path):
    model = {"name": "fp32 (7.3 MB)", "title": "pets", "image_height": 32, "image_width": 32, "classes": ["cat", "dog"]}
    page = {"models": [model], "tasks": [{"name": "classify", "tab": {"title": "Classify"}}]}
    (tmp_path / "page.json").write_text(json.dumps(page))
    (tmp_path / "index.html").write_text("")
    for path in (tmp_path, tmp_path / "index.html"):
        assert main(["info", str(path)]) == 0
    what, rows, next_steps = info(tmp_path)
    assert (what, rows["tabs"], rows["classes"]) == (
        "a page that runs a model in the browser",
        "Classify",
        "2: cat, dog",
    )
    assert next_steps[0].startswith("python -m http.server")


def test_a_file_of_an_exported_folder_is_answered_for_the_folder(info, tmp_path):
    test_exported_models(info, tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"")
    assert info(tmp_path / "model.onnx")[0] == "an exported model (onnx)"


def test_an_onnx_file_of_others(info, tmp_path):
    helper = pytest.importorskip("onnx").helper
    ports = [helper.make_tensor_value_info(name, 1, ["batch", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ports[:1], ports[1:])
    (tmp_path / "relu.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    what, rows, _ = info(tmp_path / "relu.onnx")
    assert what.startswith("an ONNX file")
    assert (rows["inputs"], rows["outputs"]) == ("x (batch, 3)", "y (batch, 3)")


def test_a_film(info, tmp_path):
    (tmp_path / "ride.mp4").write_bytes(b"0")
    assert info(tmp_path / "ride.mp4")[2] == [f"beit predict MODEL {tmp_path / 'ride.mp4'}"]


def test_runs(info, tmp_path):
    for name in ("one", "two"):
        _made(tmp_path / name).joinpath("recipe.yaml").write_text("clustering: {windows: 10}\ndata: {path: x}\n")
    (tmp_path / "one" / "result.json").write_text("{}")
    what, rows, next_steps = info(tmp_path)
    assert what == "runs (2)"
    assert rows == {"one": "beit tokenizer cluster: finished", "two": "beit tokenizer cluster: not finished"}
    assert next_steps[0].startswith(f"beit info {tmp_path}/")


def test_a_run_that_was_killed_is_said_at_once(info, tmp_path):
    recipe = "{data: {path: x}, mask: {}, train: {max_steps: 9, batch_size: 2}, run: {save_every: 5, log_every: 1}}"
    (tmp_path / "recipe.yaml").write_text(recipe)
    lock = RunFolder(tmp_path).lock
    with locked(lock, tmp_path, "wait"):
        assert info(tmp_path)[1]["state"] == "at work, no finished steps yet"
    script = (
        "import pathlib, sys, os; from beit.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), 'x', 'y'): os._exit(1)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(lock)], check=False).returncode == 1
    assert re.fullmatch(
        r"not at work: its process \(\d+\) was killed; the same command starts it again", info(tmp_path)[1]["state"]
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("README.md", "README.md is a .md file that no command takes; expected a model, run"),
        ("pretrain_smal", "; did you mean pretrain_small?"),
        ("/nowhere", "data path '/nowhere' does not exist"),
        (GOLDEN / "bad/truncated", "model.safetensors is damaged"),
        ("docs/reference", "there are no pictures in"),
    ],
)
def test_what_is_nothing_is_said_in_one_line(capsys, path, message):
    assert message in error_of(capsys, ["info", str(path)])


def test_archives_are_to_be_unpacked(capsys, tmp_path):
    (tmp_path / "set").mkdir()
    for name in ("a.zip", "set/a.zip", "set/b.rar"):
        (tmp_path / name).write_bytes(b"PK")
    assert error_of(capsys, ["info", str(tmp_path / "a.zip")]).endswith("unpack it, and name the folder")
    message = error_of(capsys, ["info", str(tmp_path / "set")])
    assert "2 files passed over: 1 .zip, 1 .rar" in message
    assert message.endswith(".webp: unpack them")


def test_a_file_of_several_arrays_is_no_picture(capsys, tmp_path):
    np.savez(tmp_path / "a.npz", train_images=np.zeros((2, 8, 8)), train_labels=np.zeros((2, 1)))
    message = error_of(capsys, ["info", str(tmp_path / "a.npz")])
    assert "holds 2 arrays (train_images, train_labels); expected one of (height, width, channels)" in message
