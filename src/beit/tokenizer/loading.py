"""Any tokenizer, by what its folder or file holds."""

from __future__ import annotations

from pathlib import Path

from beit.errors import ConfigError
from beit.hub import HubOptions
from beit.tokenizer.config import MODEL_TYPE as DISCRETE_VAE
from beit.tokenizer.files import read_model_type
from beit.tokenizer.model import DiscreteVAE
from beit.tokenizer.vq_kd import VQKD
from beit.tokenizer.vq_kd_config import MODEL_TYPE as VQ_KD
from beit.weights import locate_dalle, locate_vqkd

Tokenizer = DiscreteVAE | VQKD


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
    if locate_dalle(source, hub) is not None:
        return DiscreteVAE.from_pretrained(source, hub)
    if locate_vqkd(source, hub) is not None:
        return VQKD.from_pretrained(source, hub)
    if not Path(source).exists():
        raise ConfigError(f"{source} does not exist; expected a folder, a file, or a published name (`beit models`)")
    kinds = {DISCRETE_VAE: DiscreteVAE, VQ_KD: VQKD}
    kind = read_model_type(source)
    if kind not in kinds:
        raise ConfigError(f"{source} holds a model of type {kind!r}; expected a tokenizer, one of {list(kinds)}")
    return kinds[kind].from_pretrained(source)
