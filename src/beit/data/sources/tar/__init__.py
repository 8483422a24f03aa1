"""Tar shards of pictures, as WebDataset packs them."""
