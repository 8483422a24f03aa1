"""Training of tokenizers: the discrete VAE, VQ-KD and k-means."""
