"""Checkpoints: files, parameter names by layout, and matching with a model."""

from beit.weights.adaptation import adapt_tensors, shared_bias_to_layers, with_root
from beit.weights.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, with_names_of
from beit.weights.arguments import FLAX_FILE, WEIGHT_FILES, WEIGHTS_NAME, PublishedArguments, check_arguments, locate
from beit.weights.checkpoint import Checkpoint, held_checkpoint, open_adapter, open_checkpoint
from beit.weights.dalle import DALLE, dalle_options, locate_dalle, open_dalle
from beit.weights.flax import FLAX, flax_tree
from beit.weights.huggingface import HUGGING_FACE, HUGGING_FACE_NATIVE
from beit.weights.layouts import LAYOUTS
from beit.weights.match import (
    LoadReport,
    check_heads,
    check_shapes,
    check_type,
    file_metadata,
    match_tensors,
    not_finite,
)
from beit.weights.msgpack_file import write_msgpack
from beit.weights.original import ORIGINAL_CLASSIFICATION, ORIGINAL_PRETRAINING, ORIGINAL_SEGMENTATION, TIMM
from beit.weights.rules import Entry, Layout, Rule
from beit.weights.state_dict import CONFIG_KEY, without_wrappers
from beit.weights.storage.held_tensor import HeldTensor
from beit.weights.storage.lazy_tensor import LazyTensor, open_safetensors
from beit.weights.timm_config import timm_config
from beit.weights.vqkd import VQ_KD, VQ_KD_FOLDER, locate_vqkd, open_vqkd, vqkd_options

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
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
    "HeldTensor",
    "Layout",
    "LazyTensor",
    "LoadReport",
    "PublishedArguments",
    "Rule",
    "adapt_tensors",
    "check_arguments",
    "check_heads",
    "check_shapes",
    "check_type",
    "dalle_options",
    "file_metadata",
    "flax_tree",
    "held_checkpoint",
    "locate",
    "locate_dalle",
    "locate_vqkd",
    "match_tensors",
    "not_finite",
    "open_adapter",
    "open_checkpoint",
    "open_dalle",
    "open_safetensors",
    "open_vqkd",
    "shared_bias_to_layers",
    "timm_config",
    "vqkd_options",
    "with_names_of",
    "with_root",
    "without_wrappers",
    "write_msgpack",
]
