"""Training jobs: one loop, and one wiring file per job."""
