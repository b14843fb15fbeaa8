"""Where Blocks are run."""
