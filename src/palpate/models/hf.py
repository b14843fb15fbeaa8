"""Kind ``hf``: any Hugging Face image-text-to-text checkpoint, from a local folder or the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from palpate.models._hf_model import HFModel
from palpate.models._hf_presets import CARDS, LINEAGES
from palpate.models._hf_settings import OPTIONS, modules, settings_from
from palpate.nouns import Lineage
from palpate.parts import Model, ModelSpec


class HFKind:
    """Loads checkpoints with ``AutoProcessor`` and ``AutoModelForImageTextToText`` and asks through their own chat template."""

    name: ClassVar[str] = "hf"
    options: ClassVar[Mapping[str, str]] = OPTIONS

    def needs(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The modules it takes that the core goes without."""
        return modules(options)

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """The reference study's four models; any other checkpoint is named by its path or hub id."""
        return {name: {"path": card.path, "about": card.about} for name, card in CARDS.items()}

    def lineages(self) -> Sequence[Lineage]:
        """The reference study's two pairs: neither tuned model is trained further from its base."""
        return LINEAGES

    def build(self, spec: ModelSpec) -> Model:
        """Raises ModelError for bad options and for a local folder that does not exist."""
        return HFModel(settings_from(spec), name=spec.name)


PARTS = (HFKind(),)
