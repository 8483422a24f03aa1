"""The parts of a fine-tuning for classes, labels or numbers."""
