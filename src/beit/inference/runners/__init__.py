"""Models as runners of pixels, and what the predictor's tasks need of them."""
