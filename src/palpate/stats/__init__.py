"""Statistics: arrays in, numbers out. Knows nothing of models, prompts or images."""
