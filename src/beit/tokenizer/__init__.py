"""Images to visual tokens, and back where a decoder paints pixels: the discrete VAE of DALL-E, and VQ-KD of BEiT v2."""

from beit.tokenizer.config import DiscreteVAEConfig
from beit.tokenizer.encoding import TokenEncoder
from beit.tokenizer.loading import Tokenizer, load_tokenizer, tokenizer_fingerprint
from beit.tokenizer.model import DiscreteVAE, map_pixels, unmap_pixels
from beit.tokenizer.protocol import VisualTokenizer
from beit.tokenizer.tokens import CodebookUsage, codebook_usage, completed_tokens, count_tokens, hide_patches
from beit.tokenizer.vq_kd import VQKD, distillation_loss
from beit.tokenizer.vq_kd_config import VQKDConfig

__all__ = [
    "VQKD",
    "CodebookUsage",
    "DiscreteVAE",
    "DiscreteVAEConfig",
    "TokenEncoder",
    "Tokenizer",
    "VQKDConfig",
    "VisualTokenizer",
    "codebook_usage",
    "completed_tokens",
    "count_tokens",
    "distillation_loss",
    "hide_patches",
    "load_tokenizer",
    "map_pixels",
    "tokenizer_fingerprint",
    "unmap_pixels",
]
