"""Evaluation of segmentation models."""
