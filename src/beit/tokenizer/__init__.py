"""Images to visual tokens and back: the discrete VAE of DALL-E."""

from beit.tokenizer.config import DiscreteVAEConfig
from beit.tokenizer.model import DiscreteVAE, map_pixels, unmap_pixels
from beit.tokenizer.usage import CodebookUsage, codebook_usage, count_tokens

__all__ = [
    "CodebookUsage",
    "DiscreteVAE",
    "DiscreteVAEConfig",
    "codebook_usage",
    "count_tokens",
    "map_pixels",
    "unmap_pixels",
]
