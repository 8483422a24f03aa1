"""Training of tokenizers: the discrete VAE and VQ-KD."""
