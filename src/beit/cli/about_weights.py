"""Accounts of models in any layout, of exported models and of tokenizers."""

from __future__ import annotations

from math import prod
from pathlib import Path

from beit.catalog import PUBLIC_TOKENIZERS, public_checkpoint
from beit.cli.about import About, Rows, listed, word
from beit.config import CONFIG_NAME, BeitConfig, problem_of
from beit.errors import BeitError, CheckpointError
from beit.files import read_json
from beit.hub import included_folder, is_hub_name
from beit.image import COLOURS
from beit.image.model_view import saved_view
from beit.weights import open_checkpoint
from beit.weights.adapter import ADAPTER_FILES
from beit.weights.arguments import FILE_SUFFIXES, WEIGHT_FILES

TOKENIZERS = ("beit-dvae", "beit-kmeans", "beit-vqkd")  # beit.tokenizer.loading.KINDS, which takes torch
_SCENES = "--data.path pictures/ --label_maps.path label_maps/ --label_maps.classes NAMES"
_WITH_CLASSES = ("BeitForImageClassification", "BeitForSemanticSegmentation")


def is_tokenizer(path: str) -> bool:
    """Return whether a path holds a tokenizer, or is the name of one."""
    if any(path == known.name for known in PUBLIC_TOKENIZERS):
        return True
    config = (included_folder(path) or Path(path)) / CONFIG_NAME
    if config.is_file():
        return read_json(config, "the config.json of a model or a tokenizer").get("model_type") in TOKENIZERS
    return Path(path).is_dir() and any((Path(path) / name).is_file() for name in ("encoder.pkl", "decoder.pkl"))


def about_tokenizer(path: str) -> About:
    """Return the account of a tokenizer."""
    from beit.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(path)
    pixels, stride = tokenizer.image_size, tokenizer.stride
    rows = [
        ("codebook", f"{tokenizer.vocab_size:,} visual tokens"),
        ("input", f"{pixels} x {pixels} pixels, or other multiples of {stride}"),
        ("tokens", f"{pixels // stride} x {pixels // stride}, one for {stride} x {stride} pixels"),
        ("decoder", "paints pixels" if tokenizer.decodes_pixels else "paints no pixels"),
        ("values", f"{sum(value.numel() for value in tokenizer.state_dict().values()):,}"),
    ]
    steps = [f"beit tokenizer evaluate --tokenizer {word(path)} --data.path my_pictures/"]
    if tokenizer.decodes_pixels:
        steps.append(f"beit tokenizer reconstruct --tokenizer {word(path)} --data.path my_pictures/")
    steps.append(f"beit pretrain --data.path my_pictures/ --tokenizer.path {word(path)}")
    return About(f"a tokenizer ({type(tokenizer).__name__})", rows, steps)


def is_model(path: str) -> bool:
    """Return whether a path holds weights, or is a name on the hub or that of a published checkpoint."""
    place = included_folder(path) or Path(path)
    if place.is_dir():
        names = (*WEIGHT_FILES, *ADAPTER_FILES)
        return any((place / name).is_file() for name in names)
    if place.exists():
        return place.suffix in FILE_SUFFIXES
    return public_checkpoint(path) is not None or is_hub_name(path)


def about_model(path: str) -> About:
    """Return the account of a model; a file of weights may also be a tokenizer of VQ-KD.

    Raises:
        CheckpointError: If it is neither, or damaged.
    """
    try:
        checkpoint = open_checkpoint(path)
    except CheckpointError as error:
        try:
            return about_tokenizer(path)
        except BeitError:
            raise error from None
    kind, config = checkpoint.architecture, BeitConfig.from_dict(checkpoint.options)
    (height, width), (patch_height, patch_width) = config.image_hw, config.patch_hw
    numbers = sum(prod(entry.shape) for entry in checkpoint.tensors.values() if "float" in entry.dtype)
    rows = [
        ("layout", checkpoint.layout.name),
        ("parameters", f"{numbers:,} of {checkpoint.dtype}"),
        ("encoder", f"{config.num_hidden_layers} layers of {config.hidden_size}, {config.num_attention_heads} heads"),
        ("input", f"{height} x {width} pixels, {config.num_channels} channels"),
        ("patches", f"{height // patch_height} x {width // patch_width} of {patch_height} x {patch_width} pixels"),
        *_head(kind, config),
        *(("changed", change) for change in checkpoint.changes),
    ]
    return About(f"a model ({kind})", rows, _uses(kind, word(path), config, _reading(path, config)))


def about_exported(path: str) -> About:
    """Return the account of a folder that `beit export` wrote."""
    from beit.inference.exported import read_description

    found = read_description(Path(path))
    others = ", or others that patches tile" if found["any_size"] else ""
    rows = [
        ("task", found["task"]),
        ("input", f"{found['image_height']} x {found['image_width']} pixels{others}"),
        ("batch", "of any size" if found["batch"] is None else f"{found['batch']}"),
        ("precision", found["precision"]),
    ]
    if found["task"] in ("classify", "segment"):
        rows.append(("classes", listed(BeitConfig.from_json_file(Path(path) / CONFIG_NAME).class_names)))
    return About(f"an exported model ({found['format']})", rows, [f"beit predict {word(path)} picture.jpg"])


def _head(kind: str, config: BeitConfig) -> Rows:
    if kind in _WITH_CLASSES:
        return [("classes", listed(config.class_names))]
    return [("predicts", f"{config.vocab_size:,} visual tokens")] * (kind == "BeitForMaskedImageModeling")


def _labelled(kind: str, config: BeitConfig) -> str:
    """Return the settings of pictures that a model with classes is measured on."""
    if kind == "BeitForSemanticSegmentation":
        return _SCENES
    if problem_of(config) == "single_label_classification":
        return "--data.path my_classes/"
    return "--data.path my_pictures/ --data.labels LABELS.csv"


def _reading(path: str, config: BeitConfig) -> str:
    """Return the settings without which pictures are read otherwise than a model takes them; "" for RGB."""
    try:
        view = saved_view(path) if Path(path).exists() else None
    except BeitError:  # one that is not understood is no reason to say nothing of the weights
        view = None
    span, frame = (None, None) if view is None else (view.value_range, view.frame)
    options = {
        "channels": config.num_channels if config.num_channels != COLOURS else None,
        "value_range": span if span is None or isinstance(span, str) else word(list(span)),
        "frame": frame,
    }
    return "".join(f" --data.{name} {value}" for name, value in options.items() if value is not None)


def _uses(kind: str, path: str, config: BeitConfig, reading: str) -> list[str]:
    """Return commands that take a model, whose path is a word of them, and whose pictures are read as it has learnt."""
    if kind in _WITH_CLASSES:
        return [
            f"beit predict {path} picture.jpg",
            f"beit evaluate --model {path} {_labelled(kind, config)}{reading}",
            f"beit serve {path}",
            f"beit export {path} --to onnx --output exported/",
        ]
    return [
        f"beit finetune --checkpoint {path} --data.path my_classes/{reading}",
        f"beit benchmark {path} --data.path my_classes/{reading}",
        f"beit predict {path} my_pictures/ --task embed --output embeddings.parquet",
    ]
