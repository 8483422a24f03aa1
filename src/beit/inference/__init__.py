"""Trained models at work: predictor, its tasks, jobs over many pictures, exports."""
