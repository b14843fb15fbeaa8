"""Press on a medical vision-language model and see where it gives."""

__version__ = "0.1.0"
