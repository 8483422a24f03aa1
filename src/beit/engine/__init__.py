"""Training engine: one loop for all tasks, with its backends, checkpoints, metrics and run folder."""
