"""Source ``phantom``: procedural images with planted disease, whose best possible accuracy is known exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from palpate.cases._phantom.latent import CONSPICUITY, STREAM_VERSION, Latent, best_accuracy, draw_latent
from palpate.cases._phantom.primitives import Drawing
from palpate.errors import SourceError, unknown_name
from palpate.nouns import Case, CaseSet
from palpate.parts import Labels, Sample

MODALITIES = tuple(CONSPICUITY)
D_PRIME: Mapping[str, float] = {"brain_mri": 3.92, "chest_xray": 2.81, "skin_lesion": 1.99, "breast_histology": 1.29}
"""Modality → separation of the latent evidence of diseased and healthy, in standard deviations."""

GENERATOR_VERSION = f"1.{STREAM_VERSION}"
"""Part of every phantom's digest: bump it whenever a pixel may change."""

PER_CLASS = 100
WINDOW = 1_000_000  # images between the starts of two samples
SEEDS = 2**32  # of samples, before they repeat
BALANCED = 4  # images: two patients of opposite labels, two images each
RENDERERS = {"brain_mri": "brain", "chest_xray": "chest", "skin_lesion": "skin", "breast_histology": "histology"}


@dataclass(frozen=True, slots=True)
class Phantom:
    """One drawn phantom: ``image`` (size, size, 3) uint8, ``mask`` (size, size) bool, all False where no lesion can be seen."""

    modality: str
    index: int
    patient: str
    label: int
    evidence: float
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    metadata: Mapping[str, str | int | float | bool | None]


def draw(modality: str, index: int, *, split: str = "test", seed: int = 0, size: int = 96, d_prime: float | None = None) -> Phantom:
    """Draw one phantom: a pure function of its arguments. Splits and seeds are disjoint streams; two images to a patient.

    Raises UnknownName for a modality there is none of.
    """
    if modality not in CONSPICUITY:
        raise unknown_name(modality, MODALITIES, noun="modality", where="modality")
    latent = draw_latent(modality, index, split, seed, D_PRIME[modality] if d_prime is None else d_prime)
    drawing = render(latent, size)
    image = (np.clip(drawing.image, 0, 1) * 255 + 0.5).astype(np.uint8)
    metadata = {**drawing.facts, **known(latent)}
    return Phantom(modality, index, latent.patient, latent.label, latent.evidence, image, drawing.lesion > VISIBLE_COVER, metadata)


VISIBLE_COVER = 0.5  # a pixel is lesion where the lesion covers at least half of it


def render(latent: Latent, size: int) -> Drawing:
    """The drawing of a latent: all of its disease comes from ``latent.conspicuity``."""
    module = import_module(f"palpate.cases._phantom.{RENDERERS[latent.modality]}")
    drawing: Drawing = module.render(latent, size)
    return drawing


def known(latent: Latent) -> dict[str, str | int | float | bool | None]:
    """Facts of a phantom that need no drawing."""
    return {"evidence": latent.evidence, "conspicuity": latent.conspicuity, "difficulty": latent.difficulty}


@dataclass(frozen=True, slots=True)
class PhantomImage:
    """A phantom that is drawn when it is opened."""

    modality: str
    index: int
    split: str
    seed: int
    size: int
    d_prime: float

    def phantom(self) -> Phantom:
        """The drawn phantom, with its mask and all its metadata."""
        return _drawn(self)

    def open(self) -> Image.Image:
        """The image, RGB."""
        return Image.fromarray(self.phantom().image)

    def mask(self) -> NDArray[np.bool_]:
        """(size, size) where the lesion is."""
        return self.phantom().mask

    @property
    def digest(self) -> str:
        """Content identity without drawing: what the pixels are a function of."""
        text = "\x1f".join(map(str, (GENERATOR_VERSION, self.modality, self.index, self.split, self.seed, self.size, self.d_prime)))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=8)
def _drawn(of: PhantomImage) -> Phantom:
    """Drawn once for all that is asked of an image in a row: as it is, its mask, its perturbations. Not to be written to."""
    made = draw(of.modality, of.index, split=of.split, seed=of.seed, size=of.size, d_prime=of.d_prime)
    made.image.setflags(write=False)
    made.mask.setflags(write=False)
    return made


class PhantomFacts(Mapping[str, Any]):
    """A phantom's metadata, drawn when a fact is asked for that only the drawing knows: listing cases draws nothing."""

    def __init__(self, image: PhantomImage, latent: Latent) -> None:
        self._image, self._known = image, known(latent)

    @cached_property
    def _facts(self) -> Mapping[str, Any]:
        return self._image.phantom().metadata

    def __getitem__(self, key: str) -> Any:
        return self._known[key] if key in self._known else self._facts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __repr__(self) -> str:
        return repr(dict(self))


class PhantomSource:
    """Procedural phantoms with balanced labels; two images to a patient, whose label and anatomy they share."""

    name: ClassVar[str] = "phantom"
    options: ClassVar[Mapping[str, str]] = {
        "modality": "one of " + ", ".join(MODALITIES),
        "size": "pixels a side (96)",
        "split": "name of the stream; any two names are disjoint (test)",
        "seed": "seed of the drawing (0); the study's seed only chooses among the drawn",
        "cases": "how many to draw before sampling, a multiple of 4 (as many as the sample needs)",
        "d_prime": "separation of the evidence, which sets the best possible accuracy Φ(d′/2) (by modality)",
    }

    def load(self, options: Mapping[str, Any], labels: Labels, sample: Sample) -> CaseSet:
        """Draw the cases; ``labels`` is not used: they are planted. Raises SourceError or UnknownName for bad options."""
        settings, drawn = _settings(options), _cases(options)
        per_class = PER_CLASS if sample.per_class is None else sample.per_class
        if drawn is not None:
            per_class = drawn // 2 if sample.per_class is None else min(per_class, drawn // 2)
        first = WINDOW * (sample.seed % SEEDS)  # another seed of the study draws other patients; more per class keeps the fewer
        cases: list[Case] = []
        taken = [0, 0]
        index = first
        while min(taken) < per_class:
            latent = draw_latent(settings["modality"], index, settings["split"], settings["seed"], settings["d_prime"])
            if taken[latent.label] < per_class:
                taken[latent.label] += 1
                image = PhantomImage(index=index, **settings)
                identity = f"{latent.modality}-{latent.split}-{index:06d}"
                facts = PhantomFacts(image, latent)
                cases.append(Case(identity, latent.label, latent.patient, image.digest, image, metadata=facts))
            index += 1
        return CaseSet(tuple(cases), best_accuracy=best_accuracy(settings["d_prime"]))


def _cases(options: Mapping[str, Any]) -> int | None:
    cases = options.get("cases")
    if cases is None:
        return None
    if not isinstance(cases, int) or isinstance(cases, bool) or not BALANCED <= cases <= WINDOW or cases % BALANCED:
        expected = f"a multiple of {BALANCED} (two patients of opposite labels, two images each), {BALANCED} to {WINDOW}"
        raise SourceError(f"{cases!r} is no number of cases", where="source.cases", expected=expected)
    return cases


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    for key in options:
        if key not in PhantomSource.options:
            raise unknown_name(key, PhantomSource.options, noun="option", where="source")
    modality = options.get("modality")
    if not isinstance(modality, str) or modality not in CONSPICUITY:
        raise unknown_name(str(modality), MODALITIES, noun="modality", where="source.modality")
    size, split, seed = options.get("size", 96), options.get("split", "test"), options.get("seed", 0)
    d_prime = options.get("d_prime", D_PRIME[modality])
    if not isinstance(size, int) or isinstance(size, bool) or not 32 <= size <= 1024:
        raise SourceError(f"{size!r} is no size", where="source.size", expected="whole pixels, 32 to 1024")
    if not isinstance(split, str) or not split.replace("-", "").isalnum():
        raise SourceError(f"{split!r} is no split", where="source.split", expected="a word, e.g. test")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise SourceError(f"{seed!r} is no seed", where="source.seed", expected="a whole number")
    if isinstance(d_prime, bool) or not isinstance(d_prime, (int, float)) or not 0 <= d_prime <= 10:
        raise SourceError(f"{d_prime!r} is no d′", where="source.d_prime", expected="a number from 0 to 10")
    return {"modality": modality, "split": split, "seed": seed, "size": size, "d_prime": float(d_prime)}


PARTS = (PhantomSource(),)
