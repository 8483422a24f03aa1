"""Whole scripts, which a user of transformers runs with the import line changed."""
