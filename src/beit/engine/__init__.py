"""The training engine: one loop and what it needs; it knows no task."""
