"""Builders of hostile files, which run code, fill the memory or never end, each with the reason to refuse it."""

from tests.weights.hostile import msgpack_files, pickles, safetensors_files, torch_files
from tests.weights.hostile.builders import HOSTILE, REASONS

__all__ = ["HOSTILE", "REASONS", "msgpack_files", "pickles", "safetensors_files", "torch_files"]
