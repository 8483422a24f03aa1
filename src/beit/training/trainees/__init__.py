"""What the loop trains, in torch or in JAX, with everything that a checkpoint holds."""
