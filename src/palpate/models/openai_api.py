"""Kind ``endpoint``: any server that speaks OpenAI's chat-completions API, on this machine or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from palpate.models._api_model import EndpointModel
from palpate.models._api_settings import OPTIONS, settings_from
from palpate.nouns import Lineage
from palpate.parts import Model, ModelSpec


class EndpointKind:
    """vLLM, SGLang, ``transformers serve``, llama.cpp, Ollama, OpenAI, Azure … through the official SDK."""

    name: ClassVar[str] = "endpoint"
    options: ClassVar[Mapping[str, str]] = OPTIONS

    def needs(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The modules it takes that the core goes without."""
        return ("openai", "tenacity", "aiolimiter")

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """None: a model is named by what its server calls it."""
        return {}

    def lineages(self) -> Sequence[Lineage]:
        """None."""
        return ()

    def build(self, spec: ModelSpec) -> Model:
        """Raises ModelError for bad options. Nothing is sent, and no key is read."""
        return EndpointModel(settings_from(spec), name=spec.name)


PARTS = (EndpointKind(),)
