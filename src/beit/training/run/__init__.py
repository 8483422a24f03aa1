"""A run as seen from outside its loop: its folder, its numbers, its processes, and how it ends."""
