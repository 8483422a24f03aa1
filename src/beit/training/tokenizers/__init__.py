"""The parts of both trainings of a tokenizer, and what a tokenizer is measured by."""
