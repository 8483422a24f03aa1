"""Loading of tokenizers by name, and their fingerprints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from beit.catalog import nearest_published
from beit.config import CONFIG_NAME
from beit.errors import ConfigError
from beit.files import check_path
from beit.hub import HubOptions, included_folder
from beit.tokenizer.base import read_model_type
from beit.tokenizer.dvae import DiscreteVAE, DiscreteVAEConfig
from beit.tokenizer.kmeans import KMeansConfig, KMeansTokenizer
from beit.tokenizer.protocol import VisualTokenizer
from beit.tokenizer.vq_kd import VQKD
from beit.tokenizer.vq_kd_config import VQKDConfig
from beit.weights import locate_dalle, locate_vqkd

Tokenizer = DiscreteVAE | KMeansTokenizer | VQKD
KINDS: dict[str, type[Tokenizer]] = {
    DiscreteVAEConfig.model_type: DiscreteVAE,
    KMeansConfig.model_type: KMeansTokenizer,
    VQKDConfig.model_type: VQKD,
}

# options that do not change the tokens of given pixels
_IMMATERIAL = {"has_decoder", "decoder_input_size", "decoder_layers", "teacher_size", "image_size"}
# beginnings of the names of tensors that do not either
_UNSEEN = ("decoder.", "to_features.", "quantiser.cluster_size", "patches")


def load_tokenizer(source: str | Path, hub: HubOptions | None = None) -> Tokenizer:
    """Load a tokenizer of any kind, in evaluation mode.

    Args:
        source: A folder that `save_pretrained` wrote; a folder with OpenAI's `encoder.pkl` and `decoder.pkl`; a
            published VQ-KD file; or the name of a published tokenizer (`beit models` lists them).
        hub: Cache folder and network options of a download.

    Raises:
        ConfigError: If there is no tokenizer.
        CheckpointError: If its weights are missing, damaged, unsafe, or do not fit.
    """
    hub = hub or HubOptions()
    check_path(source, "a tokenizer's folder, a file or a published name", ConfigError)
    if not Path(source).exists():
        source = included_folder(source) or source
    if (Path(source) / CONFIG_NAME).is_file() and (kind := read_model_type(source)) in [*KINDS]:
        return KINDS[kind].from_pretrained(source)
    if locate_dalle(source, hub) is not None:
        return DiscreteVAE.from_pretrained(source, hub)
    if locate_vqkd(source, hub) is not None:
        return VQKD.from_pretrained(source, hub)
    if not Path(source).exists():
        raise ConfigError(
            f"{source} does not exist; expected a folder, a file, or a published name (`beit models`)"
            f"{nearest_published(str(source))}"
        )
    raise ConfigError(
        f"{source} holds a model of type {read_model_type(source)!r}; expected a tokenizer, one of {list(KINDS)}"
    )


def tokenizer_fingerprint(tokenizer: VisualTokenizer) -> str:
    """Return a SHA-256 of everything that decides the tokens: the options and every tensor but the decoder's.

    Of a tokenizer of another kind it is made of its class, its two numbers, and its tensors if it is a torch module.
    """
    if not isinstance(tokenizer, Tokenizer):
        tensors = tokenizer.state_dict() if isinstance(tokenizer, nn.Module) else {}
        about = f"{type(tokenizer).__qualname__} {tokenizer.vocab_size} {tokenizer.stride}"
        return tensors_fingerprint(tensors, about)
    options = {name: value for name, value in asdict(tokenizer.config).items() if name not in _IMMATERIAL}
    tensors = {name: tensor for name, tensor in tokenizer.saved_tensors().items() if not name.startswith(_UNSEEN)}
    return tensors_fingerprint(tensors, json.dumps(options, sort_keys=True))


def tensors_fingerprint(tensors: Mapping[str, Tensor], options: str = "") -> str:
    """Return a SHA-256 of named tensors, their types and shapes, and a text that goes with them."""
    digest = hashlib.sha256(options.encode())
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + values.numpy().tobytes())
    return digest.hexdigest()
