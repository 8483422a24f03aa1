"""Fine-tuning for classes, labels and numbers."""
