"""Every way to load a model opens each file of weights once, and interprets a pickle once."""

import json
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from beit import (
    BeitConfig,
    BeitForImageClassification,
    BeitForMaskedImageModeling,
    BeitModel,
    FlaxBeitForImageClassification,
    Predictor,
)
from beit.geometry import Grid
from beit.image import BeitImageProcessor
from beit.models_torch.conversion import convert
from beit.settings.finetune import FinetuneJob
from beit.settings.groups import DataSettings
from beit.settings.segment import SegmentJob, TrainingLabelMapSettings
from beit.tasks.finetune.model import starting_model
from beit.tasks.segment.model import starting_segmenter
from beit.tokenizer import VQKD, DiscreteVAE, VQKDConfig, load_tokenizer
from beit.tokenizer.teacher import BeitTeacher
from beit.weights import VQ_KD
from beit.weights.pickles import files as pickles
from tests.conftest import GOLDEN

CONFIG = BeitConfig(image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
                    intermediate_size=32, num_labels=2, use_relative_position_bias=True)  # fmt: skip
DATA = DataSettings("pictures")
MAPS = TrainingLabelMapSettings("maps", "classes.txt")
CLASSES = ["ant", "bee", "cat"]
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt", ".pkl", ".msgpack")
_watching = []  # an audit hook cannot be taken away: it writes where somebody listens


def _listen(event, arguments):
    if event == "open" and _watching and str(arguments[0]).endswith(SUFFIXES):
        _watching[-1].append(Path(arguments[0]).name)


sys.addaudithook(_listen)


@contextmanager
def opened():
    """Yield the names of the files of weights that are opened meanwhile."""
    _watching.append([])
    try:
        yield _watching[-1]
    finally:
        _watching.pop()


def folder_with(tmp_path, kind):
    """A folder of a classifier with one kind of files of weights, and their names."""
    source, place = tmp_path / "source", tmp_path / kind
    BeitForImageClassification(CONFIG).save_pretrained(source)
    BeitImageProcessor(size=32).save_pretrained(place)
    if kind == "flax_model.msgpack":
        convert(source, place, "flax")
        return place, [kind]
    shutil.copy(source / "config.json", place)
    if kind == "model.safetensors":
        shutil.copy(source / kind, place)
        return place, [kind]
    tensors = load_file(source / "model.safetensors")
    if kind != "shards":
        torch.save(tensors, place / "pytorch_model.bin", _use_new_zipfile_serialization=kind != "legacy")
        return place, ["pytorch_model.bin"]
    names = sorted(tensors)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, held in halves.items():
        save_file({name: tensors[name] for name in held}, place / file, metadata={"format": "pt"})
    index = {"weight_map": {name: file for file, held in halves.items() for name in held}}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))
    return place, sorted(halves)


KINDS = ["model.safetensors", "shards", "pytorch_model.bin", "legacy", "flax_model.msgpack"]
LOADERS = {
    "from_pretrained": BeitForImageClassification.from_pretrained,
    "another task": BeitForMaskedImageModeling.from_pretrained,
    "another size": lambda place: BeitForImageClassification.from_pretrained(place, image_size=64),
    "Flax": FlaxBeitForImageClassification.from_pretrained,
    "Predictor": lambda place: Predictor.from_pretrained(place, device="cpu"),
    "fine-tuning": lambda place: starting_model(FinetuneJob(DATA, checkpoint=str(place)), CLASSES),
    "segmentation": lambda place: starting_segmenter(SegmentJob(DATA, MAPS, checkpoint=str(place)), CLASSES),
    "teacher": lambda place: BeitTeacher.from_pretrained(str(place), Grid(4, 4)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.e2e
def test_every_way_and_every_kind_of_file(tmp_path, monkeypatch, loader, kind):
    place, files = folder_with(tmp_path, kind)
    interpreted = []
    run = pickles.run_pickle
    monkeypatch.setattr(pickles, "run_pickle", lambda *given: interpreted.append(1) or run(*given))
    with opened() as found:
        LOADERS[loader](place)
    assert sorted(found) == files
    # the older format of torch.save is four small pickles around that of the tensors
    assert len(interpreted) == {"pytorch_model.bin": 1, "legacy": 5}.get(kind, 0)


@pytest.mark.parametrize("to", ["hf", "timm", "unilm", "flax"])
def test_convert(tmp_path, to):
    place, files = folder_with(tmp_path, "pytorch_model.bin")
    with opened() as found:
        convert(place, tmp_path / "out", to)
    assert [name for name in found if name in files] == files


@pytest.mark.parametrize("name", ["unilm/pretrain", "unilm/finetune", "unilm/segment"])
def test_original_files(name):
    with opened() as found:
        BeitModel.from_pretrained(GOLDEN / name / "checkpoint.pth")
    assert found == ["checkpoint.pth"]


def test_tokenizers(tmp_path):
    with opened() as found:
        load_tokenizer(GOLDEN / "dalle")
    assert sorted(found) == ["decoder.pkl", "encoder.pkl"]
    small = VQKDConfig(vocab_size=16, code_size=4, image_size=16, patch_size=8, hidden_size=64, num_hidden_layers=1,
                       num_attention_heads=1, intermediate_size=64, decoder_layers=1, teacher_size=8)  # fmt: skip
    model = VQKD(small)
    model.save_pretrained(tmp_path / "ours")
    with opened() as found:
        load_tokenizer(tmp_path / "ours")
    assert found == ["model.safetensors"]
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "quantiser.initialised"}
    torch.save({"model": VQ_KD.from_canonical(state)}, tmp_path / "vqkd.pth")
    with opened() as found:
        load_tokenizer(tmp_path / "vqkd.pth")
    assert found == ["vqkd.pth"]
    DiscreteVAE.from_pretrained(GOLDEN / "dalle").save_pretrained(tmp_path / "dvae")
    with opened() as found:
        load_tokenizer(tmp_path / "dvae")
    assert found == ["model.safetensors"]


def test_load_weights():
    model = BeitForImageClassification.from_pretrained(GOLDEN / "hf_v4/classify_single")
    with opened() as found:
        model.load_weights(GOLDEN / "hf_v4/classify_single")
    assert found == ["model.safetensors"]
