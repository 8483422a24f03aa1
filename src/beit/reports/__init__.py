"""Reports, charts and tables."""
