"""Tiny models, as for the predictor."""

from tests.inference.conftest import classifier, pretrained

__all__ = ["classifier", "pretrained"]
