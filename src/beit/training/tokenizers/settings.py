"""The groups of settings that only tokenizers have; see `settings.py`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from beit.training.settings import STRICT


@dataclass(frozen=True, config=STRICT)
class EncodingSettings:
    """How a tokenizer computes tokens; none of it trains anything."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Autocast; auto takes bf16 on a GPU that supports it, else fp32. bf16 changes a few tokens in a hundred."""
    compile: bool = False
    """Compile the encoder: some seconds or minutes at the start, faster afterwards."""


@dataclass(frozen=True, config=STRICT)
class CodebookSettings:
    """The size of the discrete VAE; the defaults are OpenAI's."""

    vocab_size: int = Field(default=8192, ge=2)
    """Visual tokens in the codebook."""
    hidden_size: int = Field(default=256, ge=4)
    """Channels of the first group of blocks."""
    blocks_per_group: int = Field(default=2, ge=1)
    """Residual blocks per group."""
    groups: int = Field(default=4, ge=1)
    """Groups; a token stands for 2 ** (groups - 1) pixels on each side."""
    decoder_input_size: int = Field(default=128, ge=1)
    """Channels at the decoder's entrance."""


@dataclass(frozen=True, config=STRICT)
class CodebookLossSettings:
    """The loss of the discrete VAE, and how it changes over the run."""

    reconstruction: Literal["logit_laplace", "l1", "l2"] = "logit_laplace"
    """Reconstruction loss."""
    temperature: tuple[float, float] = (1.0, 0.0625)
    """Gumbel-softmax temperature, at the start and after annealing (cosine)."""
    anneal_share: float = Field(default=0.75, gt=0, le=1)
    """Share of the run after which the temperature has reached its end."""
    kl_weight: tuple[float, float] = (0.0, 6.6)
    """Weight of the KL to uniform, per token, relative to the reconstruction summed over the picture: at the start and
    after its ramp (cosine). A falling one spreads the tokens over the codebook first and sharpens them later."""
    kl_ramp_share: float = Field(default=0.1, gt=0, le=1)
    """Share of the run after which that weight has reached its end."""
    balance_weight: float = Field(default=0.0, ge=0)
    """Weight, per token too, of the KL to uniform of a batch's mean token: evens out the codes, blurs no token."""
    dead_after: int = Field(default=200, ge=1)
    """Steps without a single use after which a code counts as dead."""

    def __post_init__(self) -> None:
        """Check the temperatures."""
        if min(self.temperature) <= 0:
            raise ValueError(f"temperature is {list(self.temperature)}; expected numbers above 0")
        if min(self.kl_weight) < 0:
            raise ValueError(f"kl_weight is {list(self.kl_weight)}; expected numbers of at least 0")


@dataclass(frozen=True, config=STRICT)
class DistilledTokenizerSettings:
    """The size of VQ-KD; the defaults are those of BEiT v2."""

    vocab_size: int = Field(default=8192, ge=2)
    """Visual tokens in the codebook."""
    code_size: int = Field(default=32, ge=1)
    """Numbers per code."""
    patch_size: int = Field(default=16, ge=1)
    """Side of the patch that a token stands for, in pixels."""
    hidden_size: int = Field(default=768, ge=1)
    """Width of encoder and decoder."""
    num_hidden_layers: int = Field(default=12, ge=1)
    """Layers of the encoder."""
    num_attention_heads: int = Field(default=12, ge=1)
    """Attention heads per layer."""
    intermediate_size: int = Field(default=3072, ge=1)
    """Width of the feed-forward networks."""
    decoder_layers: int = Field(default=3, ge=1)
    """Layers of the decoder, which predicts the teacher's features."""


@dataclass(frozen=True, config=STRICT)
class QuantiserSettings:
    """How the codebook of VQ-KD follows the features."""

    decay: float = Field(default=0.99, gt=0, lt=1)
    """Share of a code that one step keeps."""
    commitment: float = Field(default=1.0, ge=0)
    """Weight of pulling features to their codes."""
    revive_below: float = Field(default=0.01, ge=0, lt=1)
    """A code used less than this share of an even share is put where features are; 0 never does."""
    dead_after: int = Field(default=200, ge=1)
    """Steps without a single use after which a code counts as dead in the metrics."""
