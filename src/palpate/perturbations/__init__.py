"""Changes of the image: each file is one family."""
