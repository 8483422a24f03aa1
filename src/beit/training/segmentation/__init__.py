"""The parts of a segmentation training: its scenes, its model, its objective and its scores."""
