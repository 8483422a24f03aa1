"""Checkpoints: names, files, layouts, and what has to change for them to fit."""

from beit.weights.adapt import fitted, shared_bias_to_layers, with_root
from beit.weights.checkpoint import CONFIG_KEY, Checkpoint, open_checkpoint
from beit.weights.dalle import DALLE, dalle_options, locate_dalle, open_dalle
from beit.weights.entry import Entry
from beit.weights.fit import file_facts, fit
from beit.weights.flax import FLAX, flax_tree
from beit.weights.huggingface import HUGGING_FACE, HUGGING_FACE_NATIVE
from beit.weights.layouts import LAYOUTS
from beit.weights.locate import FLAX_FILE, WEIGHT_FILES
from beit.weights.msgpack_file import write_msgpack
from beit.weights.original import ORIGINAL_CLASSIFICATION, ORIGINAL_PRETRAINING, ORIGINAL_SEGMENTATION, TIMM
from beit.weights.overrides import PublishedArguments, check_overrides
from beit.weights.report import LoadReport, check_fit
from beit.weights.rules import Layout, Rule
from beit.weights.storage import WEIGHTS_NAME, atomic_file, atomic_folder, discard_leftovers, read_safetensors
from beit.weights.timm_config import timm_config
from beit.weights.vqkd import VQ_KD, VQ_KD_FOLDER, locate_vqkd, open_vqkd, vqkd_options

__all__ = [
    "CONFIG_KEY",
    "DALLE",
    "FLAX",
    "FLAX_FILE",
    "HUGGING_FACE",
    "HUGGING_FACE_NATIVE",
    "LAYOUTS",
    "ORIGINAL_CLASSIFICATION",
    "ORIGINAL_PRETRAINING",
    "ORIGINAL_SEGMENTATION",
    "TIMM",
    "VQ_KD",
    "VQ_KD_FOLDER",
    "WEIGHTS_NAME",
    "WEIGHT_FILES",
    "Checkpoint",
    "Entry",
    "Layout",
    "LoadReport",
    "PublishedArguments",
    "Rule",
    "atomic_file",
    "atomic_folder",
    "check_fit",
    "check_overrides",
    "dalle_options",
    "discard_leftovers",
    "file_facts",
    "fit",
    "fitted",
    "flax_tree",
    "locate_dalle",
    "locate_vqkd",
    "open_checkpoint",
    "open_dalle",
    "open_vqkd",
    "read_safetensors",
    "shared_bias_to_layers",
    "timm_config",
    "vqkd_options",
    "with_root",
    "write_msgpack",
]
