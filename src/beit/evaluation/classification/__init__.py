"""Evaluation of models of classes, labels and numbers."""
