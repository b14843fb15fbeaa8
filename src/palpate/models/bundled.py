"""Kind ``bundled``: the tiny trained checkpoints that come with Palpate, in real architectures, in the folder beside this file.

They are loaded and asked exactly like any other Hugging Face checkpoint. They have only ever seen phantoms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from palpate.errors import ModelError, unknown_name
from palpate.models._hf_model import HFModel
from palpate.models._hf_settings import OPTIONS, modules, settings_from
from palpate.models._options import check_names, text
from palpate.nouns import Lineage
from palpate.parts import Model, ModelSpec

FOLDER = Path(__file__).with_suffix("")

CHECKPOINTS: Mapping[str, str] = {
    "phantom-llava": "LLaVA architecture, briefly trained on phantoms: the base of the first pair",
    "phantom-llava-med": "phantom-llava, trained further on medical phantoms",
    "phantom-gemma": "Gemma 3 architecture, briefly trained on phantoms: the base of the second pair",
    "phantom-medgemma": "phantom-gemma, trained further on medical phantoms",
    "phantom-reader": "text-only language model that reads descriptions of phantoms",
}
IMAGES_AT_ONCE, PASSES = 8, 4
FIXED = frozenset({"path", "revision", "trust_remote_code", "pickled_weights", "text_only", "chat_template", "ignore_keys"})
"""What is decided by the checkpoint itself."""


class BundledKind:
    """Five checkpoints of at most 4 MB each."""

    name: ClassVar[str] = "bundled"
    options: ClassVar[Mapping[str, str]] = {
        "checkpoint": f"one of {', '.join(CHECKPOINTS)} (default: the model's name)",
        **{name: about for name, about in OPTIONS.items() if name not in FIXED},
    }

    def needs(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The modules it takes that the core goes without."""
        return modules(options)

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Each checkpoint by its own name."""
        return {name: {"checkpoint": name, "about": about} for name, about in CHECKPOINTS.items()}

    def lineages(self) -> Sequence[Lineage]:
        """The two pairs: the tuned model really is the base one, trained further."""
        return (
            Lineage("phantom-llava", "phantom-llava-med", "parent"),
            Lineage("phantom-gemma", "phantom-medgemma", "parent"),
        )

    def build(self, spec: ModelSpec) -> Model:
        """Raises ModelError for bad options, UnknownName for another checkpoint's name."""
        check_names(spec, self.options)
        checkpoint = text(spec, "checkpoint") or spec.name
        if checkpoint not in CHECKPOINTS:
            raise unknown_name(checkpoint, CHECKPOINTS, noun="model")
        folder = FOLDER / checkpoint
        if not (folder / "config.json").is_file():
            raise ModelError(f"the weights of {checkpoint} are not in this installation", expected=f"the folder {folder}")
        # So small a model spends its time on calls, not on arithmetic: eight images to a pass are twice as fast, on a CPU too.
        rest = {"images_at_once": IMAGES_AT_ONCE, **{key: value for key, value in spec.options.items() if key != "checkpoint"}}
        return HFModel(
            settings_from(ModelSpec(spec.name, "hf", {**rest, "path": str(folder)}, spec.seed)), name=spec.name, passes=PASSES
        )


PARTS = (BundledKind(),)
