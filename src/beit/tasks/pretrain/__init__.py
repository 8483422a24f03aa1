"""Pre-training by masked image modelling."""
