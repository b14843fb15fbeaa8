"""Kind ``imported``: a model whose answers were made elsewhere. It is known by them alone, and cannot be asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from palpate.errors import ModelError
from palpate.models._options import check_names, text
from palpate.nouns import Answer, Lineage, Stimulus
from palpate.parts import Fingerprint, Model, ModelSpec


class ImportedModel:
    """Holds nothing: its answers are in the ledger."""

    blocks_at_once = 1

    def __init__(self, name: str, identity: Mapping[str, Any]) -> None:
        self._name, self._identity = name, identity

    def fingerprint(self) -> Fingerprint:
        """The files its answers came from, and what it was called in them."""
        return Fingerprint(self._identity)

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        """Raises ModelError: there is no model here."""
        if not stimuli:
            return []
        raise ModelError(
            f"the answers of {self._name!r} were imported: there is no model to ask",
            hint="read, measure, report and gate work on what was imported; to ask more, give the model another kind",
        )

    def close(self) -> None:
        """Nothing to free."""


class ImportedKind:
    """Written into a run's study by ``palpate import``."""

    name: ClassVar[str] = "imported"
    internal: ClassVar[bool] = True
    options: ClassVar[Mapping[str, str]] = {
        "answers": "digest of the files the answers came from",
        "called": "what the model is called in them (default: its name)",
    }

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """None."""
        return {}

    def lineages(self) -> Sequence[Lineage]:
        """None."""
        return ()

    def build(self, spec: ModelSpec) -> Model:
        """Raises ModelError for bad options."""
        check_names(spec, self.options)
        identity = {"kind": self.name, "answers": text(spec, "answers") or "", "model": text(spec, "called") or spec.name}
        return ImportedModel(spec.name, identity)


PARTS = (ImportedKind(),)
