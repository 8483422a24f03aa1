"""Models written as files that run without the code that trained them."""
