"""A small VQ-KD."""

from beit.tokenizer.vq_kd_config import VQKDConfig

SMALL = VQKDConfig(
    vocab_size=24,
    code_size=8,
    image_size=32,
    patch_size=8,
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=1,
    intermediate_size=96,
    decoder_layers=1,
    teacher_size=20,
)
