"""Typed settings of every command, and what they describe."""
