"""Checkpoints: names, files, and what has to change for them to fit."""

from beit.weights.adapt import shared_bias_to_layers, with_root
from beit.weights.huggingface import HUGGING_FACE
from beit.weights.report import LoadReport, check_fit
from beit.weights.rules import Layout, Rule
from beit.weights.storage import WEIGHTS_NAME, atomic_file, atomic_folder, discard_leftovers, read_safetensors

__all__ = [
    "HUGGING_FACE",
    "WEIGHTS_NAME",
    "Layout",
    "LoadReport",
    "Rule",
    "atomic_file",
    "atomic_folder",
    "check_fit",
    "discard_leftovers",
    "read_safetensors",
    "shared_bias_to_layers",
    "with_root",
]
