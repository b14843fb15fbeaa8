"""A seeded draw of cases, the same on every machine: it depends on the names and the seed, not on the order on disk.

Names are put in an order given by a hash of (seed, name); the first k are a simple random sample of size k. Samples are
nested: taking 50 per class keeps all 20 that were taken before, so their answers are in the ledger already.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Mapping

from palpate.parts import Sample


def shuffled(names: Iterable[str], seed: int) -> list[str]:
    """The names in the seed's order."""

    def rank(name: str) -> tuple[bytes, str]:
        # Some file systems store é as one character, some as two: the sample must not depend on that.
        text = f"{seed}\n{unicodedata.normalize('NFC', name)}"
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest(), name

    return sorted(names, key=rank)


def draw(names_by_label: Mapping[int, Iterable[str]], sample: Sample, usable: Callable[[str], bool]) -> list[str]:
    """At most ``sample.per_class`` usable names of each label, sorted by name; all of them where it is None.

    ``usable`` is asked about one name after the other, in the seed's order, until enough are found: an unusable image
    is replaced by the next one, and images that are not needed are never opened.
    """
    chosen: list[str] = []
    for _, names in sorted(names_by_label.items()):
        left = sample.per_class
        for name in shuffled(names, sample.seed) if left is not None else sorted(names):
            if left == 0:
                break
            if usable(name):
                chosen.append(name)
                left = None if left is None else left - 1
    return sorted(chosen)
