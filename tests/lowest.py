"""Writes a constraints file that holds every declared package at its lower bound: what ``make test-lowest`` installs with.

python tests/lowest.py pyproject.toml xlsx … > lowest.txt
"""

from __future__ import annotations

import re
import sys
import tomllib
from itertools import chain
from pathlib import Path


def lowest(pyproject: Path, extras: list[str]) -> list[str]:
    """``package==bound`` of the core and those extras, each once."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    more = chain.from_iterable(project["optional-dependencies"][extra] for extra in extras)
    bounds = (re.sub(r"(\[[\w,]+\])?>=", "==", requirement) for requirement in (*project["dependencies"], *more))
    return list(dict.fromkeys(bounds))


if __name__ == "__main__":
    print("\n".join(lowest(Path(sys.argv[1]), sys.argv[2:])))
