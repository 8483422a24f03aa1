"""The parts of a pre-training: what is checked before it, what it minimises, shows, measures and would cost."""
