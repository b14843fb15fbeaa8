"""A model and images that say what they are at and go on when they are let, by files in a folder: for worker processes.

``opened CASE PID`` is there once an image is open, ``asked CASE PID`` once the model is at it, ``answered CASE PID`` when it is
done. The model waits at a case while there is a file ``wait CASE``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from PIL.Image import Image

from palpate.models.scripted import Plan, ScriptedKind, ScriptedModel
from palpate.nouns import Answer, Block, ImageRef, Stimulus
from palpate.parts import ModelSpec

PATIENCE = 60


@dataclass(frozen=True)
class Noted:
    """An image that notes who opens it."""

    ref: ImageRef
    case: str
    folder: Path

    def open(self) -> Image:
        image = self.ref.open()
        (self.folder / f"opened {self.case} {os.getpid()}").touch()
        return image


class Gated(ScriptedModel):
    """Waits where it is told to."""

    def __init__(self, plan: Plan, seed: int, folder: Path) -> None:
        super().__init__(plan, seed, 1)
        self.folder = folder

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        cases = [stimulus.block.case.id for stimulus in stimuli]
        for case in cases:
            (self.folder / f"asked {case} {os.getpid()}").touch()
        until(lambda: not any((self.folder / f"wait {case}").exists() for case in cases))
        given = super().ask(stimuli)
        for case in cases:
            (self.folder / f"answered {case} {os.getpid()}").touch()
        return given


class GatedKind(ScriptedKind):
    """``folder``: where the files are."""

    name: ClassVar[str] = "gated"

    def build(self, spec: ModelSpec) -> Gated:
        """The scripted model of the other options."""
        built = super().build(replace(spec, options={k: v for k, v in spec.options.items() if k != "folder"}))
        return Gated(built.plan, built.seed, Path(str(spec.options["folder"])))


KIND = GatedKind()


def until(true: Callable[[], object]) -> None:
    """Wait for it; fails after a minute."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.005)


def noted(block: Block, folder: Path) -> Block:
    """The Block with an image that notes who opens it."""
    return replace(block, case=replace(block.case, image=Noted(block.case.image, block.case.id, folder)))


def said(folder: Path, what: str) -> list[tuple[str, int]]:
    """(case, process) of everything that was ``opened``, ``asked`` or ``answered``."""
    return sorted((case, int(pid)) for _, case, pid in (path.name.split() for path in folder.glob(f"{what} *")))
