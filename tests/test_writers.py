"""Every writer of the package meets a full disk: one clear error, the earlier file as it was, nothing half-written.

`WRITERS` lists them. A file of the package that writes and is not in it, or that writes past `beit.files`, fails here.
"""

import io
import os
import shutil
import stat
from contextlib import redirect_stdout
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import beit
from beit import (
    BeitConfig,
    BeitForImageClassification,
    BeitForSemanticSegmentation,
    BeitImageProcessor,
    FlaxBeitForImageClassification,
)
from beit.data import BrokenPicture, BrokenPictures, TokenWriter, write_labels_and_names
from beit.data.sources.index_cache import load_arrays, save_arrays
from beit.engine.checkpoints import save_checkpoint
from beit.engine.divergence import stop_diverged
from beit.engine.metrics import MetricsLog
from beit.engine.moving_average import MovingAverage
from beit.engine.run_folder import RunFolder, open_run_folder
from beit.errors import BeitError, StorageError
from beit.evaluation.classification.evaluate import evaluate
from beit.evaluation.segmentation.evaluate import evaluate_scenes
from beit.evaluation.tokenizer.evaluate import evaluate_tokenizer
from beit.evaluation.tokenizer.reconstruct import reconstruct_pictures
from beit.files import AppendedFile, atomic_file, atomic_folder, write_bytes, write_json, write_text
from beit.image import Preprocessing
from beit.models_torch.conversion import convert
from beit.models_torch.loading import write_safetensors
from beit.models_torch.scene import SceneInference
from beit.reports.gallery import Gallery
from beit.reports.report import Section, write_report
from beit.settings.evaluate import EvaluateJob
from beit.settings.finetune import FinetuneJob, LoraSettings
from beit.settings.groups import PictureSettings, RunSettings
from beit.settings.segment import LabelMapSettings
from beit.settings.tokenizer import EvaluateTokenizerJob, ReconstructJob
from beit.tasks.finetune.lora import adapt, save_adapter
from beit.tokenizer import VQKD, DiscreteVAE, DiscreteVAEConfig, VQKDConfig
from beit.weights import write_msgpack
from tests.full_disk import full_disk

SOURCE = Path(beit.__file__).parent
ROOM = 8  # bytes of a file that a full disk still takes
SMALL = {"image_size": 32, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2,
         "intermediate_size": 32, "vocab_size": 32, "num_labels": 2, "use_relative_position_bias": True}  # fmt: skip
CONFIG = BeitConfig(**SMALL, out_indices=[1, 2, 3, 4])
CODEBOOK = DiscreteVAEConfig(vocab_size=16, hidden_size=4, blocks_per_group=1, groups=2, decoder_input_size=4)

WRITERS = {}


def writer(*files):
    """Take up a function that makes a writer: given a folder for what it needs, it returns what writes into another."""

    def add(make):
        WRITERS[make.__name__] = (make, files)
        return make

    return add


# The ways to write


@writer("files.py")
def text(_):
    return lambda place: write_text(place / "a.txt", "a text of some length")


@writer("files.py")
def raw_bytes(_):
    return lambda place: write_bytes(place / "a", bytes(100))


@writer("files.py")
def json_values(_):
    return lambda place: write_json(place / "a.json", {"numbers": list(range(100))})


@writer("files.py")
def whole_file(_):
    def write(place):
        with atomic_file(place / "a") as temporary:
            np.save(temporary.open("wb"), np.zeros(100))

    return write


@writer("files.py", "engine/run.py", "engine/early_stop.py", "engine/torch_backend.py", "engine/jax_backend.py")
def whole_folder(_):
    def write(place):
        with atomic_folder(place / "a") as temporary:
            (temporary / "inside").mkdir()
            (temporary / "inside" / "b").write_bytes(bytes(100))

    return write


@writer("files.py")
def library_in_another_language(_):
    def write(place):
        with atomic_file(place / "a") as temporary:
            torch.save(torch.zeros(100), temporary)

    return write


@writer("files.py")
def appended(_):
    def write(place):
        with AppendedFile(place / "a", keep=0) as file:
            file.append(bytes(100))

    return write


@writer("models_torch/loading.py")
def safetensors(_):
    return lambda place: write_safetensors(place / "a.safetensors", {"a": torch.zeros(100)})


@writer("weights/msgpack_file.py")
def msgpack(_):
    return lambda place: write_msgpack(place / "a.msgpack", {"a": np.zeros(100)})


# Folders of models


@writer("config.py")
def config(_):
    return lambda place: CONFIG.save_pretrained(place)


@writer("image/processor.py")
def processor(_):
    return lambda place: BeitImageProcessor().save_pretrained(place)


@writer("image/processor.py")
def view(_):
    return lambda place: Preprocessing((32, 32), 37).save_pretrained(place)


@writer("models_torch/pretrained.py")
def torch_model(_):
    return BeitForImageClassification(CONFIG).save_pretrained


@writer("models_flax/loading.py")
def flax_model(_):
    return FlaxBeitForImageClassification(CONFIG).save_pretrained


@writer("models_flax/loading.py")
def flax_model_as_safetensors(_):
    model = FlaxBeitForImageClassification(CONFIG)
    return lambda place: model.save_pretrained(place, safe_serialization=True)


def converted(to, name):
    def make(folder):
        BeitForImageClassification(CONFIG).save_pretrained(folder)
        return lambda place: convert(folder, place / name, to)

    make.__name__ = f"converted_to_{to}"
    return make


for layout, name in (("hf", ""), ("timm", ""), ("flax", ""), ("unilm", "model.pth")):
    writer("models_torch/conversion.py")(converted(layout, name))


@writer("models_torch/scene.py")
def scene_inference(_):
    return SceneInference().save_pretrained


@writer("tokenizer/files.py")
def discrete_vae(_):
    return DiscreteVAE(CODEBOOK).save_pretrained


@writer("tokenizer/files.py")
def vq_kd(_):
    small = {"vocab_size": 16, "code_size": 4, "image_size": 16, "patch_size": 8, "hidden_size": 64}
    layers = {"num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64, "decoder_layers": 1}
    return VQKD(VQKDConfig(**small, **layers, teacher_size=8)).save_pretrained


# Runs


@writer("engine/run_folder.py")
def recipe(_):
    main = SimpleNamespace(is_main_process=True, main_process_first=lambda: io.StringIO())
    job = FinetuneJob()
    return lambda place: open_run_folder(job, RunSettings(output=str(place)), main)


@writer("engine/run_folder.py")
def result(_):
    return lambda place: RunFolder(place).write_result({"accuracy": 0.5})


@writer("engine/metrics.py")
def metrics(_):
    def write(place):
        with patch("beit.engine.metrics.SummaryWriter"):  # which writes in a thread of its own
            MetricsLog(RunFolder(place), 0).write(1, "train", {"loss": 1.0})

    return write


@writer("engine/checkpoints.py")
def checkpoint(_):
    module = nn.Linear(10, 10)
    return lambda place: save_checkpoint(place, 1, lambda folder: None, module, 1, {"data": "a"})


@writer("engine/moving_average.py")
def moving_average(_):
    average = MovingAverage(nn.Linear(10, 10), 0.9)
    return lambda place: average.save(place, average.gathered(keeps=True))


@writer("tasks/finetune/lora.py")
def adapter(_):
    model = BeitForImageClassification(CONFIG)
    adapt(model, LoraSettings(rank=2))
    return lambda place: save_adapter(model, place)


@writer("engine/divergence.py")
def divergence(_):
    def write(place):
        try:
            stop_diverged(1, [{"name": "a.png"}], place, place, True)
        except BeitError as error:
            if isinstance(error, StorageError):
                raise

    return write


@writer("data/broken.py")
def broken_pictures(_):
    numbers = count()

    def write(place):
        broken = BrokenPicture("a.png", f"it is broken in place {next(numbers)}")
        BrokenPictures(place / "broken.txt", 100, 0.5).add([broken])

    return write


@writer("reports/report.py")
def report(_):
    return lambda place: write_report(place / "report.html", "title", [Section("a", "b")], "recipe: {}")


@writer("reports/gallery.py")
def gallery(_):
    row = torch.rand(2, 3, 8, 8)
    scene = SimpleNamespace(fixed={"picture": row}, predicted=lambda: row)
    return lambda place: Gallery(place, lambda: scene).begin(0)


# Data


@writer("data/tokens.py")
def tokens(_):
    def write(place):
        shutil.rmtree(place, ignore_errors=True)
        TokenWriter(place, {"seed": 0}, (2, 1, 2, 2)).append(np.zeros((2, 2, 2), np.int64))

    return write


@writer("data/tokens.py")
def names(_):
    return lambda place: write_labels_and_names(place, ["a.png", "b\udcff.png"], None)


@writer("data/tokens.py")
def labels(_):
    return lambda place: write_labels_and_names(place, [""], np.zeros(100, np.int64))


# Evaluations


def drawn(folder):
    """Four pictures of two classes, and a mask for each."""
    for number in range(4):
        for kind, mode in (("pictures", "RGB"), ("masks", "L")):
            place = folder / kind / "ab"[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            Image.new(mode, (32, 32), number % 2).save(place / f"{number}.png")
    return PictureSettings(str(folder / "pictures"), workers=0)


def evaluation(option):
    def make(folder):
        BeitForImageClassification(BeitConfig(**SMALL, id2label={0: "a", 1: "b"})).save_pretrained(folder / "model")
        BeitImageProcessor(size=32).save_pretrained(folder / "model")
        data = drawn(folder)
        return lambda place: evaluate(EvaluateJob(str(folder / "model"), data, **{option: str(place / option)}))

    make.__name__ = f"evaluation_{option}"
    return make


def scenes(option):
    def make(folder):
        BeitForSemanticSegmentation(CONFIG).save_pretrained(folder / "model")
        BeitImageProcessor(size=32).save_pretrained(folder / "model")
        data, masks = drawn(folder), LabelMapSettings(str(folder / "masks"))
        return lambda place: evaluate_scenes(
            EvaluateJob(str(folder / "model"), data, masks=masks, **{option: str(place / option)})
        )

    make.__name__ = f"scenes_{option}"
    return make


for name in ("output", "predictions"):
    writer("evaluation/classification/files.py")(evaluation(name))
    writer("evaluation/segmentation/evaluate.py")(scenes(name))


@writer("evaluation/tokenizer/evaluate.py")
def tokenizer_numbers(folder):
    DiscreteVAE(CODEBOOK).save_pretrained(folder / "tokenizer")
    data, tokenizer = drawn(folder), str(folder / "tokenizer")
    return lambda place: evaluate_tokenizer(
        EvaluateTokenizerJob(tokenizer, image_size=16, data=data, output=str(place / "numbers.json"))
    )


@writer("evaluation/tokenizer/reconstruct.py")
def reconstructions(folder):
    DiscreteVAE(CODEBOOK).save_pretrained(folder / "tokenizer")
    data, tokenizer = drawn(folder), str(folder / "tokenizer")
    return lambda place: reconstruct_pictures(
        ReconstructJob(tokenizer, image_size=16, data=data, output=str(place / "shown.png"))
    )


def content(place):
    """Every file below a folder, with what is in it."""
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk(tmp_path, name):
    (tmp_path / "needed").mkdir()
    (tmp_path / "place").mkdir()
    write = WRITERS[name][0](tmp_path / "needed")
    with redirect_stdout(io.StringIO()):
        write(tmp_path / "place")
    before = content(tmp_path / "place")
    assert before
    if name in ("tokens", "appended", "metrics"):  # they go on where they were: here they begin, on the full disk
        shutil.rmtree(tmp_path / "place")
        (tmp_path / "place").mkdir()
        before = {}
    with redirect_stdout(io.StringIO()), full_disk(ROOM), pytest.raises(StorageError) as error:
        write(tmp_path / "place")
    assert str(error.value).startswith(f"cannot write {tmp_path / 'place'}")
    assert "; free space" in str(error.value)
    assert {name: held for name, held in content(tmp_path / "place").items() if held} == before


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
@pytest.mark.parametrize("name", WRITERS)
def test_the_mode_is_that_of_the_umask(tmp_path, name, umask):
    (tmp_path / "needed").mkdir()
    write = WRITERS[name][0](tmp_path / "needed")
    before = os.umask(umask)
    try:
        with redirect_stdout(io.StringIO()):
            write(tmp_path / "place")
    finally:
        os.umask(before)
    written = [tmp_path / "place", *(tmp_path / "place").rglob("*")]
    assert len(written) > 1
    for path in written:
        expected = (0o777 if path.is_dir() else 0o666) & ~umask
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_an_index_that_cannot_be_kept_is_made_again(tmp_path):
    save_arrays(tmp_path / "a.npz", {"a": np.zeros(100)})
    with full_disk(ROOM):
        save_arrays(tmp_path / "a.npz", {"a": np.ones(100)})
    assert load_arrays(tmp_path / "a.npz", ["a"])["a"].sum() == 0
    assert os.listdir(tmp_path) == ["a.npz"]
