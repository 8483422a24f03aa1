"""Inference with trained models: predictor and its tasks, jobs over many pictures, exports."""
