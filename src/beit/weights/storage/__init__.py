"""Tensors as they are stored: bounded reading of bytes, and arrays without copies."""
