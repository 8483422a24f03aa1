"""Visual tokenizers: images to visual tokens, and back where pixels are painted (discrete VAE, VQ-KD, k-means)."""

from beit.tokenizer.dvae import DiscreteVAE, DiscreteVAEConfig, map_pixels, unmap_pixels
from beit.tokenizer.encoding import (
    CodebookUsage,
    TokenEncoder,
    codebook_usage,
    completed_tokens,
    count_tokens,
    hide_patches,
)
from beit.tokenizer.kmeans import KMeansConfig, KMeansTokenizer, picture_windows
from beit.tokenizer.kmeans_fit import fit_kmeans
from beit.tokenizer.loading import Tokenizer, load_tokenizer, tokenizer_fingerprint
from beit.tokenizer.protocol import VisualTokenizer
from beit.tokenizer.vq_kd import VQKD, distillation_loss
from beit.tokenizer.vq_kd_config import VQKDConfig

__all__ = [
    "VQKD",
    "CodebookUsage",
    "DiscreteVAE",
    "DiscreteVAEConfig",
    "KMeansConfig",
    "KMeansTokenizer",
    "TokenEncoder",
    "Tokenizer",
    "VQKDConfig",
    "VisualTokenizer",
    "codebook_usage",
    "completed_tokens",
    "count_tokens",
    "distillation_loss",
    "fit_kmeans",
    "hide_patches",
    "load_tokenizer",
    "map_pixels",
    "picture_windows",
    "tokenizer_fingerprint",
    "unmap_pixels",
]
