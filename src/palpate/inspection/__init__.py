"""What a set of images is like, before a model sees it: the data card, and the faults it names."""
