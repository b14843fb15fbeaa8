"""Where Blocks are run."""

from palpate.executors._work import present

__all__ = ["present"]
