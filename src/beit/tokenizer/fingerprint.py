"""A hash that tells one tokenizer from another."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import torch

from beit.tokenizer.loading import Tokenizer

# options that do not change the tokens of given pixels
_IMMATERIAL = {"has_decoder", "decoder_input_size", "decoder_layers", "teacher_size", "image_size"}


def tokenizer_fingerprint(tokenizer: Tokenizer) -> str:
    """Return a SHA-256 of everything that decides the tokens: the options and every tensor but the decoder's."""
    options = {name: value for name, value in asdict(tokenizer.config).items() if name not in _IMMATERIAL}
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for name, tensor in sorted(tokenizer.state_dict().items()):
        if not name.startswith(("decoder.", "to_features.", "quantiser.cluster_size")):
            values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + values.numpy().tobytes())
    return digest.hexdigest()
