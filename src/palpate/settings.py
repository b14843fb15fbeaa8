"""What a study's smaller tables come to: how models are asked, which inner states are kept, what is shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AskSettings:
    """``workers``: processes that run a model side by side; None: one, on a Ray cluster as many as it has room for.

    ``attempts``: how often a failed question is asked in one run. ``executor``: ``local`` or ``ray``. ``address``: of the Ray
    cluster; None starts one on this machine. ``cpus``, ``gpus``: what one of its workers takes.
    """

    workers: int | None = None
    attempts: int = 3
    executor: str = "local"
    address: str | None = None
    cpus: float = 1.0
    gpus: float | None = None


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """Which inner states are kept. None: every model that can be looked into, every layer, the first wording of each cell."""

    models: tuple[str, ...] | None = None
    layers: tuple[int, ...] | None = None
    pooling: tuple[str, ...] = ("mean",)
    prompts: tuple[str, ...] | None = None
    pictures: tuple[str, ...] = ()  # kinds of flat picture of them to draw: tsne, umap


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """``images``: put example images (pixels!) into the report. ``examples``: how many cases to show per task."""

    images: bool = False
    examples: int = 3


@dataclass(frozen=True, slots=True)
class DataSettings:
    """``inspect``: look at the images before the first question. ``on_fault``: ``warn`` of faults in them, or ``stop``."""

    inspect: bool = True
    on_fault: str = "warn"
