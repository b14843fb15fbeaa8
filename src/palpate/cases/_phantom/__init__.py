"""Procedural medical images with planted disease: one file a modality, the latent draw, and shared drawing primitives."""
