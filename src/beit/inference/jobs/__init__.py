"""Prediction jobs over any number of pictures: bounded memory, and chunks that a killed job need not repeat."""
