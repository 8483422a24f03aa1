"""Measurements of frozen features: nearest neighbours, ridge probe, effective rank, spread over positions."""
