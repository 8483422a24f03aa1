"""Encoder of a job: its tokenizer on its device, with the size of the input."""

from __future__ import annotations

from beit.models_torch.device import pick_device
from beit.settings.channels import check_channels
from beit.settings.tokenizer import TokenizerUse
from beit.tokenizer import TokenEncoder, Tokenizer, load_tokenizer
from beit.tokenizer.base import check_side


def load_encoder(job: TokenizerUse) -> tuple[Tokenizer, TokenEncoder, int]:
    """Return the tokenizer of a job, the same ready to encode, and the side of its input in pixels."""
    tokenizer, device = load_tokenizer(job.tokenizer), pick_device(job.device)
    check_channels(job.data, tokenizer.config.channels, job.tokenizer)
    encoder = TokenEncoder(tokenizer, device, job.precision, job.compile)
    return tokenizer, encoder, encoder_side(encoder, job.image_size)


def encoder_side(encoder: TokenEncoder, wanted: int | None) -> int:
    """Return the side of a tokenizer's input in pixels: what is wanted, else what it was trained on.

    Raises:
        ConfigError: If no whole number of tokens covers it.
    """
    side = wanted or encoder.tokenizer.image_size
    check_side(side, encoder.tokenizer.stride)
    return side
