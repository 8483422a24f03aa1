"""Parquet files of pictures, one or many."""
