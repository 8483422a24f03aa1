"""Typed settings of every command, and the data and models that they describe."""
