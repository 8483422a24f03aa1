"""A hash that tells one tokenizer from another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

import torch
from torch import Tensor, nn

from beit.tokenizer.model import DiscreteVAE
from beit.tokenizer.protocol import VisualTokenizer
from beit.tokenizer.vq_kd import VQKD

# options that do not change the tokens of given pixels
_IMMATERIAL = {"has_decoder", "decoder_input_size", "decoder_layers", "teacher_size", "image_size"}


def tokenizer_fingerprint(tokenizer: VisualTokenizer) -> str:
    """Return a SHA-256 of everything that decides the tokens: the options and every tensor but the decoder's.

    Of a tokenizer of another kind it is made of its class, its two numbers, and its tensors if it is a torch module.
    """
    if not isinstance(tokenizer, DiscreteVAE | VQKD):
        tensors = tokenizer.state_dict() if isinstance(tokenizer, nn.Module) else {}
        about = f"{type(tokenizer).__qualname__} {tokenizer.vocab_size} {tokenizer.stride}"
        return tensors_fingerprint(tensors, about)
    saved = tokenizer.saved_tensors() if isinstance(tokenizer, VQKD) else tokenizer.state_dict()
    options = {name: value for name, value in asdict(tokenizer.config).items() if name not in _IMMATERIAL}
    tensors = {
        name: tensor
        for name, tensor in saved.items()
        if not name.startswith(("decoder.", "to_features.", "quantiser.cluster_size"))
    }
    return tensors_fingerprint(tensors, json.dumps(options, sort_keys=True))


def tensors_fingerprint(tensors: Mapping[str, Tensor], options: str = "") -> str:
    """Return a SHA-256 of named tensors, their types and shapes, and a text that goes with them."""
    digest = hashlib.sha256(options.encode())
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + values.numpy().tobytes())
    return digest.hexdigest()
