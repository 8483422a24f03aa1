"""Evaluation of models that predict classes, labels or numbers of whole pictures."""
