"""Storage of tensors: bounded reading of bytes, and arrays without copies."""
