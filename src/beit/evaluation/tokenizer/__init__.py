"""Evaluation of tokenizers."""
