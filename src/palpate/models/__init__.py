"""Kinds of model: each public file is one way to reach a vision-language model."""
