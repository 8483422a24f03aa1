"""Collections of pictures, one file or folder per kind of storage."""
