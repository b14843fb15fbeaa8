"""The options of a Hugging Face model, checked once and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from palpate.errors import ModelError
from palpate.models._hf_presets import BY_PATH, PROTOCOLS, protocol_options
from palpate.models._options import check_names, number, one_of, text, whole
from palpate.nouns import Form
from palpate.parts import TRUST_CODE, ModelSpec, code_is_trusted

DTYPES = ("auto", "float32", "bfloat16", "float16")
LIMIT = 1_000_000
OWN = "own"
"""As chat_template: the checkpoint's own, where a protocol would set another."""

FLASH: Mapping[str, str] = {
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
    "flash_attention_4": "flash_attn.cute",
}
"""Way of attending → the module of the package that brings it."""

OPTIONS: Mapping[str, str] = {
    "path": "the checkpoint: a local folder, or a hub id such as org/name",
    "revision": "hub branch, tag or commit (default: main)",
    "dtype": "auto (float32 on CPU, bfloat16 on CUDA), float32, bfloat16 or float16",
    "device": "auto (CUDA where there is one, else CPU), or a torch device such as cuda:1",
    "attn_implementation": "eager, sdpa, flash_attention_2… (default: what transformers chooses)",
    "vision_attention": "the same for the vision tower alone: flash_attention_4, of the package flash-attn-4, is faster for SigLIP "
    "on GPUs from Hopper on (default: that of attn_implementation)",
    "trust_remote_code": "run Python code that comes with the checkpoint; also needs PALPATE_TRUST_CODE=1 (default false)",
    "pickled_weights": "true: read weights of the old kind (.bin), a pickle, where there are no safetensors (default false)",
    "text_only": "true: never show it an image, also where it could see one (default: true for a language model, else false)",
    "system": "system prompt, put before the question in the checkpoint's chat template (default none)",
    "chat_template": "Jinja chat template, or a file that holds one; own: the checkpoint's own, whatever a protocol says",
    "image_backend": "pil, the same pixels on every machine, or torchvision (default pil)",
    "max_new_tokens": "longest answer, in tokens (default 32 for closed questions, 256 for descriptions and open ones)",
    "max_new_tokens_open": "longest answer to a description or open question, where it differs from max_new_tokens",
    "min_new_tokens": "shortest answer, in tokens (default 0)",
    "temperature": "0 is greedy decoding (default); above 0 draws each token, seeded by the trial",
    "top_p": "with a temperature: the nucleus, the smallest set of tokens of at least this probability (default 1)",
    "inference": "auto, prefix (each image is read once for all its questions), encoder (its tower runs once), "
    "plain (each block one batch) or single (each question by itself)",
    "attend": "auto (unrepeated on CUDA, else repeated): one copy of an image's keys and values for all its questions, or one each",
    "compiled": "true: norms, feed-forward parts and rotary positions through torch.compile; pays from some ten thousand questions "
    "(default false)",
    "images_at_once": "images per batch (default 1 on CPU; on CUDA what the GPU's memory has room for, 1 to 256)",
    "twin": "trained (default), or random: the checkpoint's architecture with random weights, a baseline for what it sees",
    "threads": "CPU threads torch may use (default: torch's own choice)",
    "quantized": "int8 or nf4: weights through bitsandbytes, on CUDA (default none)",
    "protocol": "own (default), or fragility-2026: this model's settings and template as the reference study had them",
    "ignore_keys": "regular expressions of checkpoint weights that this architecture may leave unused (default none)",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How to load a checkpoint and how to ask it. ``max_new_tokens``: (closed forms, other forms)."""

    path: str
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    attn_implementation: str | None = None
    vision_attention: str | None = None
    trust_remote_code: bool = False
    pickled_weights: bool = False
    text_only: bool | None = None
    system: str | None = None
    chat_template: str | None = None
    image_backend: str = "pil"
    max_new_tokens: tuple[int, int] = (32, 256)
    min_new_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    inference: str = "auto"
    images_at_once: int | None = None
    twin: str = "trained"
    attend: str = "auto"
    compiled: bool = False
    quantized: str | None = None
    protocol: str = "own"
    own_template: bool = False
    fallback_template: str | None = None
    threads: int | None = None
    ignore_keys: tuple[str, ...] = ()
    seed: int = 0
    folder: str = ""  # the study file's own: only for what to suggest where ``path`` is not there

    def budget(self, form: Form) -> int:
        """The most new tokens an answer of that form may have."""
        return self.max_new_tokens[0 if form.closed else 1]

    @property
    def generation(self) -> Mapping[str, object]:
        """The settings that decide which tokens are chosen. The seed matters only where tokens are drawn."""
        fixed = {
            "max_new_tokens": list(self.max_new_tokens),
            "min_new_tokens": self.min_new_tokens,
            "temperature": self.temperature,
        }
        return fixed if self.temperature == 0 else fixed | {"top_p": self.top_p, "seed": self.seed}


def settings_from(spec: ModelSpec) -> Settings:
    """Raises ModelError for unknown options and values out of range."""
    check_names(spec, OPTIONS)
    path = text(spec, "path")
    if not path:
        raise ModelError(f"model {spec.name!r} has no path", expected="path = a checkpoint's folder, or a hub id such as org/name")
    protocol = one_of(spec, "protocol", tuple(PROTOCOLS))
    spec = replace(spec, options={**protocol_options(protocol, path), **spec.options})
    template = text(spec, "chat_template")
    card = BY_PATH.get(path)
    closed = whole(spec, "max_new_tokens", 32, (1, LIMIT))
    open_form = whole(spec, "max_new_tokens_open", closed if "max_new_tokens" in spec.options else 256, (1, LIMIT))
    return Settings(
        path=path,
        revision=text(spec, "revision"),
        dtype=one_of(spec, "dtype", DTYPES),
        device=text(spec, "device") or "auto",
        attn_implementation=text(spec, "attn_implementation"),
        vision_attention=text(spec, "vision_attention"),
        trust_remote_code=_trusted(spec),
        pickled_weights=one_of(spec, "pickled_weights", (False, True)),
        text_only=one_of(spec, "text_only", (False, True)) if "text_only" in spec.options else None,
        system=text(spec, "system"),
        chat_template=None if template == OWN else _template(template, spec.name),
        image_backend=one_of(spec, "image_backend", ("pil", "torchvision")),
        max_new_tokens=(closed, open_form),
        min_new_tokens=whole(spec, "min_new_tokens", 0, (0, LIMIT)),
        temperature=number(spec, "temperature", 0.0, (0.0, 100.0)),
        top_p=number(spec, "top_p", 1.0, (1e-6, 1.0)),
        inference=one_of(spec, "inference", ("auto", "prefix", "encoder", "plain", "single")),
        images_at_once=_optional(spec, "images_at_once"),
        twin=one_of(spec, "twin", ("trained", "random")),
        threads=_optional(spec, "threads"),
        attend=one_of(spec, "attend", ("auto", "unrepeated", "repeated")),
        compiled=one_of(spec, "compiled", (False, True)),
        quantized=one_of(spec, "quantized", ("int8", "nf4")) if "quantized" in spec.options else None,
        protocol=protocol,
        own_template=template == OWN,
        fallback_template=card.template if card else None,
        ignore_keys=tuple(map(str, spec.options.get("ignore_keys", ()))),
        seed=spec.seed,
        folder=spec.folder,
    )


def modules(options: Mapping[str, object]) -> tuple[str, ...]:
    """What loading a checkpoint takes beside the core."""
    attending = (FLASH.get(str(options.get(key))) for key in ("attn_implementation", "vision_attention"))
    flash = dict.fromkeys(module for module in attending if module)
    return ("torch", "transformers", *(("bitsandbytes",) if options.get("quantized") else ()), *flash)


def _trusted(spec: ModelSpec) -> bool:
    """Whether the checkpoint's own code runs: where the study names it, and whoever runs the study allows code."""
    wanted = one_of(spec, "trust_remote_code", (False, True))
    if wanted and not code_is_trusted():
        raise ModelError(
            f"model {spec.name!r} wants to run code that comes with its checkpoint, and a study file alone runs none",
            expected=f"{TRUST_CODE}=1 in the environment, where you know the study and the checkpoint's code",
        )
    return wanted


def _optional(spec: ModelSpec, key: str) -> int | None:
    return whole(spec, key, 1, (1, LIMIT)) if key in spec.options else None


def _template(given: str | None, model: str) -> str | None:
    if given is None or "{" in given or "\n" in given:
        return given
    try:
        return Path(given).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise ModelError(f"model {model!r}: chat_template {given!r} cannot be read: {fault}") from None
