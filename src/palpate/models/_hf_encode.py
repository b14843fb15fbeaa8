"""A question into tokens: the checkpoint's own chat template, image before text, and never a second beginning-of-text token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palpate.errors import ModelError
from palpate.models._hf_load import Loaded

if TYPE_CHECKING:
    from PIL.Image import Image

LABELS = "labels"
"""Some processors add training labels; a forward pass with them would compute a loss."""
PER_TOKEN = frozenset(("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"))
"""Inputs with one value per token; all others belong to the images."""
ON_HOST = frozenset(("image_sizes",))
"""Inputs that only Python reads: on a device each reading would wait for it."""
REMEMBERED = 4096
"""Tokenised questions kept: those of one image size are the same for every image."""


class Encoder:
    """Renders and tokenises the questions of one model."""

    def __init__(self, loaded: Loaded, system: str | None) -> None:
        self.loaded, self.system = loaded, system
        self._rendered: dict[tuple[str, bool], str] = {}
        self._ids: dict[tuple[str, ...], list[int]] = {}
        if loaded.template is None and not loaded.causal:
            raise ModelError(
                "the checkpoint has no chat template, and a wrong one would change its answers",
                expected="chat_template.jinja in its folder",
                hint='chat_template = "FILE.jinja", as its model card gives it',
            )

    def render(self, question: str, *, image: bool) -> str:
        """The whole prompt as text, with the template's placeholder where the image goes."""
        key = question, image
        if key not in self._rendered:
            self._rendered[key] = self._render(question, image=image)
        return self._rendered[key]

    def _render(self, question: str, *, image: bool) -> str:
        loaded = self.loaded
        if loaded.template is None:
            return question if self.system is None else f"{self.system}\n{question}"  # a plain language model continues text
        from jinja2 import TemplateError

        def content(said: str, *, shown: bool) -> Any:
            picture = [{"type": "image"}] if shown else []
            return said if loaded.causal else [*picture, {"type": "text", "text": said}]

        messages = [] if self.system is None else [{"role": "system", "content": content(self.system, shown=False)}]
        messages.append({"role": "user", "content": content(question, shown=image)})
        try:
            rendered = loaded.processor.apply_chat_template(
                messages, chat_template=loaded.template, add_generation_prompt=True, tokenize=False
            )
        except (TemplateError, KeyError, TypeError, ValueError) as fault:
            raise ModelError(
                f"its chat template fails: {fault}", hint="a `system` prompt is not allowed by every template"
            ) from fault
        return str(rendered)

    def _special(self, rendered: str) -> dict[str, bool]:
        """Exactly one beginning-of-text token where the tokenizer knows one: the template's, or else the tokenizer's own.

        The rule of transformers' processors in apply_chat_template(tokenize=True), here for text-only models too.
        """
        bos = self.loaded.tokenizer.bos_token
        return {"add_special_tokens": False} if bos and rendered.startswith(bos) else {}

    def batch(self, rendered: Sequence[str], images: Sequence[Image] | None) -> dict[str, Any]:
        """Model inputs as tensors, padded on the left, one row per text; one image per row (None: text only)."""
        common = {"return_tensors": "pt", "padding": True, **self._special(rendered[0])}
        if images is None:
            encoded = self.loaded.tokenizer(list(rendered), **common)
            found = {name: encoded[name] for name in ("input_ids", "attention_mask")}  # no model needs more without an image
        else:
            found = self.loaded.processor(text=list(rendered), images=[[image] for image in images], **common)
        return {name: value for name, value in found.items() if name != LABELS}

    def ids(self, text: str) -> list[int]:
        """Token ids of a text whose image placeholders, if any, are already as long as the image."""
        return list(self.loaded.tokenizer(text, **self._special(text))["input_ids"])

    def shared(self, questions: Sequence[Sequence[str]], images: Sequence[Image] | None) -> Shared:
        """B images, each preprocessed once, and the token ids of all their questions (rendered texts with one placeholder).

        Without images: B sets of questions, each with a beginning of its own.
        """
        first = [asked[0] for asked in questions]
        if images is None:
            return Shared(self.batch(first, None), [[self.ids(text) for text in asked] for asked in questions])
        found = self.loaded.processor(
            text=list(first),
            images=[[image] for image in images],
            return_tensors="pt",
            padding=True,
            return_text_replacement_offsets=True,
            **self._special(first[0]),
        )
        replaced = found.pop("text_replacement_offsets")
        ids = []
        for asked, replacements in zip(questions, replaced, strict=True):
            own = [replacement["replacement"] for replacement in replacements]
            ids.append([self._filled(text, own) for text in asked])
        inputs = {name: value for name, value in found.items() if name != LABELS}
        return Shared(inputs, ids)

    def _filled(self, text: str, replacements: Sequence[str]) -> list[int]:
        """Token ids of the text with its placeholders as long as the image. Images of one size ask the tokenizer once."""
        key = text, *replacements
        if key not in self._ids:
            if len(self._ids) >= REMEMBERED:
                self._ids.clear()
            self._ids[key] = self.ids(self.loaded.processor.get_text_with_replacements([text], list(replacements))[0][0])
        return self._ids[key]


@dataclass(frozen=True, slots=True)
class Shared:
    """``inputs``: of the first question of every image, one row per image. ``ids[b][p]``: of question p on image b.

    Where there are no images, a set of questions stands for one.
    """

    inputs: dict[str, Any]
    ids: list[list[list[int]]]


def on_device(inputs: dict[str, Any], loaded: Any) -> dict[str, Any]:
    """Tensors on the model's device, images in its number format."""
    moved = {}
    for name, value in inputs.items():
        if hasattr(value, "to") and name not in ON_HOST:
            value = sent(value, loaded.device)
            value = value.to(loaded.model.dtype) if value.is_floating_point() else value
        moved[name] = value
    return moved


def sent(tensor: Any, device: str) -> Any:
    """A tensor made on the host, on the device: through pinned memory, for else it waits until the device has nothing to do."""
    if not device.startswith("cuda") or tensor.is_cuda:
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)


def forget_positions(model: Any) -> None:
    """Qwen-VL keeps the last image's position offset on the module: it must not reach the next question."""
    if hasattr(model.base_model, "rope_deltas"):
        model.base_model.rope_deltas = None
