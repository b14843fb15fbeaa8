"""Where Blocks are run: in this process and others on this machine (``local``), or on a cluster (``ray_pool``)."""

from palpate.executors._contract import Executor
from palpate.executors._work import present

__all__ = ["Executor", "present"]
