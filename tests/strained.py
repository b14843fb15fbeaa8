"""A kind of model that a test adds by an entry point: a bundled one whose way of asking together is at fault, and says what it did.

Where ``STRAINED`` names a file, each check and each batch adds a line to it: what, which way, how many questions, which process.
The fault: positions after the shared beginning are off. ``STRAINED_SOUND``: there is none. ``STRAINED_DIES``: the process ends
itself at that batch of those asked one by one. ``STRAINED_OTHER``: elsewhere than in the command line's own process, what is asked
one by one is another model. Everything goes by the environment, for worker processes have nothing else of a test.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from palpate.models import _hf_prefix
from palpate.models._hf_model import HFModel
from palpate.models.bundled import BundledKind
from palpate.nouns import Answer, Stimulus
from palpate.parts import Fingerprint, ModelSpec

OFF = 40


class Strained(HFModel):
    """Asked together it answers another question than alone."""

    batches: ClassVar[int] = 0

    def fingerprint(self) -> Fingerprint:
        found = super().fingerprint()
        here = "STRAINED_OTHER" not in os.environ or sys.argv[0].endswith("__main__.py")
        return found if here or self.path != "single" else Fingerprint({**found.identity, "elsewhere": True}, found.environment)

    def check(self, stimuli: Sequence[Stimulus]) -> Mapping[str, Any]:
        with self._strained("check", stimuli):
            return super().check(stimuli)

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        if self.path == "single":
            Strained.batches += 1
            if os.environ.get("STRAINED_DIES") == str(Strained.batches):
                os.kill(os.getpid(), signal.SIGKILL)
        with self._strained("ask", stimuli):
            return super().ask(stimuli)

    @contextmanager
    def _strained(self, what: str, stimuli: Sequence[Stimulus]) -> Iterator[None]:
        if "STRAINED" in os.environ:
            with Path(os.environ["STRAINED"]).open("a", encoding="utf-8") as file:
                file.write(f"{what} {self.path} {sum(len(s.block.trials) for s in stimuli)} {os.getpid()}\n")
        right = _hf_prefix.Repeated.extend
        if "STRAINED_SOUND" not in os.environ:
            _hf_prefix.Repeated.extend = lambda cache, real: right(cache, real) + OFF  # type: ignore[method-assign]
        try:
            yield
        finally:
            _hf_prefix.Repeated.extend = right  # type: ignore[method-assign]


class StrainedKind(BundledKind):
    """The bundled checkpoints, so strained."""

    name: ClassVar[str] = "strained"

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        return {}

    def build(self, spec: ModelSpec) -> Strained:
        built = super().build(spec)
        assert isinstance(built, HFModel)
        return Strained(built.settings, name=built.name, passes=built.passes)


KIND = StrainedKind()
