"""Folders of which one file is damaged and the others are sound: models, tokenizers, exports, records of runs."""

import hashlib
import io
import json
from pathlib import Path

import datasets
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from beit import BeitConfig, BeitForImageClassification
from beit.cli.pretrain import DESCRIPTION
from beit.cli.training import parse_training
from beit.data import StoredTokens, TokenWriter, open_source
from beit.data.sources.hub.index import HubIndex, _load, _save
from beit.data.sources.parquet.labels import TableLabels
from beit.engine.checkpoints import restore_module
from beit.engine.run_folder import RunFolder
from beit.engine.run_state import read_state
from beit.evaluation.features.kept_features import ModelFeatures, SetFeatures, read_features, write_features
from beit.hub import HubDataset
from beit.hub.repository import included_folder
from beit.inference.exported import load_exported
from beit.models_torch.scene import SceneInference
from beit.settings.pretrain import PretrainJob
from beit.tokenizer import load_tokenizer
from tests.campaigns.target import Target

RELEASED = Path(__file__).parents[1] / "golden" / "dalle"
RECIPE = b"""data: {path: digits:train, max_broken: 0.1}
model: {size: tiny, image_size: 32}
train: {max_steps: 3, batch_size: 8}
run: {output: runs/a, log_every: 5}
tokenizer: {path: null}
"""


def folder_targets(place: Path) -> dict[str, Target]:
    """Return the targets; `place` is for what has to be made by name."""
    return {**models(place), **tokenizers(), **exports(), **collections(place), **records(place)}


def models(place: Path) -> dict[str, Target]:
    """Return the files of models in other containers, of adapters and of scenes."""
    config = BeitConfig(image_size=32, patch_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=8)  # fmt: skip
    model = BeitForImageClassification(config)
    model.save_pretrained(place / "base")
    options, pickled, adapter = (place / "base" / "config.json").read_bytes(), io.BytesIO(), io.BytesIO()
    torch.save(model.state_dict(), pickled)
    prefix = "base_model.model.beit.encoder.layer.0.attention.attention.query.lora_"
    torch.save({f"{prefix}A.weight": torch.ones(2, 8), f"{prefix}B.weight": torch.ones(8, 2)}, adapter)
    settings = {"base_model_name_or_path": str(place / "base"), "peft_type": "LORA", "lora_alpha": 4, "use_dora": False,
                "auto_mapping": {"base_model_class": "BeitForImageClassification"}}  # fmt: skip

    def load(path: Path) -> object:  # an adapter may name a model of the hub, and nothing else may be asked for
        return BeitForImageClassification.from_pretrained(path.parent, local_files_only=True)

    config, kept = json.dumps(settings).encode(), adapter.getvalue()
    SceneInference.from_pretrained(place / "base", (32, 32)).save_pretrained(place / "base")
    scene = (place / "base" / "scene_inference.json").read_bytes()
    return {
        "pickled model": Target("pytorch_model.bin", [pickled.getvalue()], load, {"config.json": options}),
        "adapter": Target("adapter_config.json", [config], load, {"adapter_model.bin": kept}),
        "adapter weights": Target("adapter_model.bin", [kept], load, {"adapter_config.json": config}),
        "scene": Target(
            "scene_inference.json", [scene], lambda path: SceneInference.from_pretrained(path.parent, (32, 32))
        ),
    }


def tokenizers() -> dict[str, Target]:
    """Return the files of tokenizers, ours and the released ones."""
    folder = Path(included_folder("beit/nano-cifar10-tokens") or "")
    config, weights = ((folder / name).read_bytes() for name in ("config.json", "model.safetensors"))

    def load(path: Path) -> object:
        return load_tokenizer(path.parent)

    return {
        "tokenizer": Target("config.json", [config], load, {"model.safetensors": weights}),
        "tokenizer weights": Target("model.safetensors", [weights], load, {"config.json": config}),
        "released tokenizer": Target("encoder.pkl", [(RELEASED / "encoder.pkl").read_bytes()], load),
    }


def exports() -> dict[str, Target]:
    """Return the files of an exported model; that of ONNX has the sum that its description says."""
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["x"], ["a"]), helper.make_node("Flatten", ["a"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 3])],
    )
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    onnx.checker.check_model(onnx.load_from_string(file))
    config = json.dumps({"model_type": "beit", "image_size": 32, "num_labels": 3}).encode()
    described = {"export_version": 1, "format": "onnx", "task": "classify", "image_height": 32, "image_width": 32,
                 "any_size": False, "batch": None, "precision": "fp32"}  # fmt: skip

    def description(content: bytes) -> bytes:
        return json.dumps({**described, "sha256": {"model.onnx": hashlib.sha256(content).hexdigest()}}).encode()

    def load(path: Path) -> object:
        return load_exported(path.parent, 1)(np.zeros((1, 3, 32, 32), np.float32))

    def graph_file(path: Path) -> object:
        (path.parent / "export.json").write_bytes(description(path.read_bytes()))
        return load_exported(path.parent, 1)

    beside = {"config.json": config, "model.onnx": file}
    return {
        "export": Target("export.json", [description(file)], load, beside),
        "graph": Target("model.onnx", [file], graph_file, {"config.json": config}),
    }


def collections(place: Path) -> dict[str, Target]:
    """Return stored tokens, a saved data set and the cached index of one on the hub."""
    writer = TokenWriter(place / "tokens", {"tokenizer": "a"}, (3, 1, 2, 2))
    writer.append(np.arange(12).reshape(3, 2, 2))
    writer.close()
    described, rows = ((place / "tokens" / name).read_bytes() for name in ("facts.json", "tokens.npy"))

    def tokens(path: Path) -> object:
        stored = StoredTokens(path.parent)
        return [stored(picture, 0) for picture in range(3)], stored.counts(64)

    saved = datasets.Dataset.from_dict({"label": [0, 1], "image": [b"", b""]})
    datasets.disable_progress_bars()
    datasets.DatasetDict({"train": saved}).save_to_disk(str(place / "saved"))
    files = {str(path.relative_to(place / "saved")): path.read_bytes() for path in (place / "saved").rglob("*.*")}

    def part(name: str) -> Target:
        beside = {other: content for other, content in files.items() if other != name}
        split = None if "/" in name else "train"  # the folder of all splits, or that of one
        return Target(name, [files[name]], lambda path: open_source(str(path.parent), split=split), beside)

    labels = TableLabels(["x", "y"], np.array([0, 1, 0]))
    index = HubIndex(HubDataset("a/b", "c" * 40), ["a.parquet"], np.array([3]), labels, [])
    _save(place / "index.npz", index)
    return {
        "token description": Target("facts.json", [described], tokens, {"tokens.npy": rows}),
        "token rows": Target("tokens.npy", [rows], tokens, {"facts.json": described}),
        "saved splits": part("dataset_dict.json"),
        "saved state": part("train/state.json"),
        "saved description": part("train/dataset_info.json"),
        "saved rows": part(next(name for name in files if name.endswith(".arrow"))),
        "hub index": Target("a.npz", [(place / "index.npz").read_bytes()], lambda path: _load(path, "a/b")),
    }


def records(place: Path) -> dict[str, Target]:
    """Return the records of runs and benchmarks, and recipes."""
    train, val = (
        SetFeatures([np.ones((4, 3), np.float32) for _ in range(2)], np.arange(4), np.arange(4), []) for _ in range(2)
    )
    write_features(place / "features.safetensors", ModelFeatures(train, val, 5.0))
    state = b'{"format": 2, "step": 5, "data": "x", "sha256": {}}'
    lines = b'{"step": 1, "split": "train", "loss": 2.5, "images_per_second": 5.0}\n'
    return {
        "features": Target("a.safetensors", [(place / "features.safetensors").read_bytes()], read_features),
        "checkpoint state": Target(
            "state.json", [state], lambda path: restore_module(path.parent, torch.nn.Module(), {"data": "x"})
        ),
        "run": Target(
            "recipe.yaml", [RECIPE], lambda path: read_state(RunFolder(path.parent)), {"metrics.jsonl": lines}
        ),
        "recipe": Target(
            "a.yaml",
            [RECIPE],
            lambda path: parse_training(PretrainJob, "beit pretrain", DESCRIPTION, ["--recipe", str(path)]),
        ),
    }
