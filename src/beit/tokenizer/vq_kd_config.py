"""Config of VQ-KD: the size of a tokenizer that distils a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from beit.config import BeitConfig, check_divisible
from beit.tokenizer.base import TokenizerConfig


@dataclass(frozen=True)
class VQKDConfig(TokenizerConfig):
    """Size of a VQ-KD tokenizer; the defaults are those of `vqkd_encoder_base_decoder_3x768x12_clip`.

    Attributes:
        vocab_size: Codebook size V.
        code_size: Channels E of a code.
        image_size: Height and width in pixels that the positions are for; others are resampled.
        patch_size: Pixels per visual token, along each side.
        hidden_size: Width D of encoder and decoder; a multiple of `num_attention_heads`.
        num_hidden_layers: Encoder layers.
        num_attention_heads: Attention heads per layer.
        intermediate_size: Width of the feed-forward network inside a layer.
        decoder_layers: Decoder layers.
        teacher_size: Channels of the teacher's features: 512 CLIP ViT-B/16, 768 DINO ViT-B/16.
        channels: Colour channels.

    Raises:
        ConfigError: If an option has a value that no tokenizer can be built from.

    Source: microsoft/unilm `beit2/modeling_vqkd.py` (arXiv 2208.06366, section 2.2 and appendix).
    """

    vocab_size: int = 8192
    code_size: int = 32
    image_size: int = 224
    patch_size: int = 16
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    decoder_layers: int = 3
    teacher_size: int = 512
    channels: int = 3

    model_type: ClassVar[str] = "beit-vqkd"

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built, or do not fit together."""
        super().__post_init__()
        check_divisible((self.image_size, self.image_size), (self.patch_size, self.patch_size))
        self.encoder_config()  # they refuse what does not fit together: patches, heads
        self.decoder_config()

    @property
    def grid_side(self) -> int:
        """Visual tokens along each side of a picture of `image_size`."""
        return self.image_size // self.patch_size

    def encoder_config(self) -> BeitConfig:
        """Return the options of the encoder, which sees pixels."""
        return self._coder(self.image_size, self.patch_size, self.channels, self.num_hidden_layers)

    def decoder_config(self) -> BeitConfig:
        """Return the options of the decoder, which sees a grid of codes."""
        return self._coder(self.grid_side, 1, self.code_size, self.decoder_layers)

    def _coder(self, image_size: int, patch_size: int, channels: int, layers: int) -> BeitConfig:
        """Return a plain vision transformer: absolute positions, no relative bias, layer scale or drop path."""
        return BeitConfig(
            hidden_size=self.hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
            layer_norm_eps=1e-6,
            image_size=image_size,
            patch_size=patch_size,
            num_channels=channels,
            use_absolute_position_embeddings=True,
            layer_scale_init_value=0.0,
            drop_path_rate=0.0,
            use_mean_pooling=True,
        )
