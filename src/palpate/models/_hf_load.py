"""A checkpoint into memory: processor and weights through transformers' Auto classes, and nothing left to chance.

Weights that are missing, unexpected or of another shape stop the run: transformers would fill them with random numbers and
only warn. The checkpoint's own sampling defaults are put aside, so that greedy means greedy.
"""

from __future__ import annotations

import inspect
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pickle import UnpicklingError
from types import SimpleNamespace
from typing import Any

from palpate.errors import ModelError
from palpate.models._hf_fuse import Fused, fuse, in_order
from palpate.models._hf_identity import EXTRA, Checkpoint, backend_of, device_of, dtype_of, unrepeated_of
from palpate.models._hf_settings import Settings

CAUSES = (OSError, ValueError, ImportError, RuntimeError, KeyError, AttributeError, TypeError, UnpicklingError)
"""What transformers raises for a checkpoint it cannot make sense of."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to be asked. ``causal``: a language model without a vision tower; ``processor`` is then its tokenizer."""

    model: Any
    processor: Any
    tokenizer: Any
    device: str
    dtype: str
    causal: bool
    family: str
    template: str | None
    eos: frozenset[int]
    pad: int
    unrepeated: bool = False  # how a shared beginning is attended to
    fused: Fused | None = None

    def keeping(self, cache: Any) -> dict[str, Any]:
        """What a pass is given so that it keeps keys and values in ``cache``: transformers 5.24 named the argument anew."""
        taken = inspect.signature(type(self.model).forward).parameters
        return {"cache" if "cache" in taken else "past_key_values": cache, "use_cache": True}

    def current(self) -> AbstractContextManager[Any]:
        """Its GPU is this thread's current one while this lasts: there events are recorded and kernels of our own run."""
        import torch

        return torch.cuda.device(self.device) if self.device.startswith("cuda") else nullcontext()


def load(checkpoint: Checkpoint, settings: Settings) -> Loaded:
    """Raises ModelError where the checkpoint does not load completely."""
    try:
        import torch
        import transformers
    except ImportError as fault:
        raise ModelError(f"{fault.name or fault} is not installed", where=settings.path, expected=EXTRA) from None
    if settings.threads:
        torch.set_num_threads(settings.threads)
    causal = checkpoint.text_only
    device, dtype = _own_gpu(device_of(settings)), dtype_of(settings)
    with _quiet_and_offline():
        processor = _processor(checkpoint, settings, causal=causal)
        auto = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForImageTextToText
        make = _twin if settings.twin == "random" else _model
        model = make(auto, checkpoint, settings, getattr(torch, dtype))
    try:
        # Quantised weights are on their device already and cannot be moved.
        model = (model if settings.quantized else model.to(device)).eval()
    except (RuntimeError, AssertionError) as fault:
        raise ModelError(
            f"cannot be put on {device}: {_first_line(fault)}", where=settings.path, expected="device = 'cpu'"
        ) from None
    tokenizer = getattr(processor, "tokenizer", processor)
    tokenizer.padding_side = "left"
    eos = _eos(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(eos, default=0)
    model.generation_config = transformers.GenerationConfig(eos_token_id=sorted(eos) or None, pad_token_id=pad, do_sample=False)
    own_template = getattr(processor, "chat_template", None) or tokenizer.chat_template
    template = settings.chat_template or own_template or settings.fallback_template
    if settings.vision_attention:
        _attend_in_tower(model, settings)
    in_order(model)
    fused = fuse(model) if settings.compiled else None
    facts = (device, dtype, causal, checkpoint.architecture, template, eos, pad)
    return Loaded(model, processor, tokenizer, *facts, unrepeated_of(settings), fused)


def _attend_in_tower(model: Any, settings: Settings) -> None:
    """The vision tower attends as the study says, the language model as it did. Raises ModelError where that cannot be."""
    wanted, vision = settings.vision_attention, getattr(model.config, "vision_config", None)
    if vision is None:
        raise ModelError(f"vision_attention = {wanted!r}: it has no vision tower", where=settings.path)
    try:
        with _quiet_and_offline():
            model.set_attn_implementation({"vision_config": wanted})
    except CAUSES as fault:
        raise ModelError(f"vision_attention = {wanted!r} cannot be used: {_first_line(fault)}", where=settings.path) from fault
    if vision._attn_implementation != wanted:
        raise ModelError(f"its vision tower does not take vision_attention = {wanted!r}", where=settings.path)


def _own_gpu(device: str) -> str:
    """Where several worker processes share a machine, ``cuda`` is the GPU of the worker's number; they go round."""
    worker = os.environ.get("PALPATE_WORKER")
    if device != "cuda" or worker is None:
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{int(worker) % count}" if count else device


def _processor(checkpoint: Checkpoint, settings: Settings, *, causal: bool) -> Any:
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    common = {"local_files_only": True, "trust_remote_code": settings.trust_remote_code}
    try:
        if causal:
            return _with_pad(AutoTokenizer.from_pretrained(checkpoint.folder, **common))
        with _no_video():
            processor = AutoProcessor.from_pretrained(checkpoint.folder, **common)
        if getattr(processor, "image_processor", None) is None:
            raise ModelError(
                "reads no images: its processor has no image processor",
                where=settings.path,
                expected="a checkpoint that reads images",
            )
        # Given to AutoProcessor, the backend would reach the tokenizer too, where the word means something else.
        processor.image_processor = AutoImageProcessor.from_pretrained(checkpoint.folder, backend=backend_of(settings), **common)
    except CAUSES as fault:
        raise ModelError(f"its processor does not load: {_first_line(fault)}", where=settings.path) from fault
    if getattr(processor, "video_processor", True) is None:
        # Chat templates of this kind read the frame rate even where there is no video.
        processor.video_processor = SimpleNamespace(num_frames=1, fps=1)
    _with_pad(processor.tokenizer)
    return processor


def _with_pad(tokenizer: Any) -> Any:
    """Batches need something to pad with; what it is does not matter, for it is masked."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def _model(auto: Any, checkpoint: Checkpoint, settings: Settings, dtype: Any) -> Any:
    attention = {"attn_implementation": settings.attn_implementation} if settings.attn_implementation else {}
    quantized = _quantization(settings, dtype)
    _refuse_pickles(checkpoint, settings)
    try:
        model, found = auto.from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=settings.trust_remote_code,
            use_safetensors=None if settings.pickled_weights else True,
            weights_only=True,  # of pickled ones: tensors, and nothing that runs
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are listed, below
            **attention,
            **quantized,
        )
    except CAUSES as fault:
        raise ModelError(f"does not load: {_first_line(fault)}", where=settings.path) from fault
    unexpected = [key for key in found["unexpected_keys"] if not any(re.search(p, key) for p in settings.ignore_keys)]
    faults = [
        _listed("missing, and would be random", found["missing_keys"]),
        _listed("of another shape, and would be random", (str(m[0]) for m in found["mismatched_keys"])),
        _listed("unknown to this architecture", unexpected),
        "; ".join(str(message) for message in found.get("error_msgs") or ()),
    ]
    if any(faults):
        raise ModelError(
            "its weights do not fit its config: " + "; ".join(filter(None, faults)),
            where=settings.path,
            expected=f"exactly the weights of {type(model).__name__}",
            hint='ignore_keys = ["…"] for weights known to be unused' if unexpected else "",
        )
    return model


def _refuse_pickles(checkpoint: Checkpoint, settings: Settings) -> None:
    """A pickle may run anything when it is read; torch's reader of weights alone has had holes too."""
    if not settings.pickled_weights and not any(checkpoint.folder.glob("*.safetensors")) and any(checkpoint.folder.glob("*.bin")):
        raise ModelError(
            "has pickled weights (.bin) only, which could run code when they are read",
            where=settings.path,
            expected="weights as safetensors",
            hint="convert them, or take another revision; or pickled_weights = true, where you trust whoever made them",
        )


def _twin(auto: Any, checkpoint: Checkpoint, settings: Settings, dtype: Any) -> Any:
    """The checkpoint's config with random weights, the same for one seed on every machine: what the architecture alone sees."""
    import torch
    from transformers import AutoConfig, GenerationConfig

    attention = {"attn_implementation": settings.attn_implementation} if settings.attn_implementation else {}
    common = {"local_files_only": True, "trust_remote_code": settings.trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(checkpoint.folder, **common)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = auto.from_config(config, dtype=torch.float32, trust_remote_code=settings.trust_remote_code, **attention).to(
                dtype
            )
        if (checkpoint.folder / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(checkpoint.folder, local_files_only=True)
    except CAUSES as fault:
        raise ModelError(f"its twin cannot be made: {_first_line(fault)}", where=settings.path) from fault
    return model


def _quantization(settings: Settings, dtype: Any) -> dict[str, Any]:
    """What transformers is told where weights are to be quantised while loading. Raises ModelError where that is not possible."""
    if settings.quantized is None:
        return {}
    if find_spec("bitsandbytes") is None:
        raise ModelError(
            f"quantized = {settings.quantized!r} needs bitsandbytes, which is not installed",
            where=settings.path,
            expected="pip install bitsandbytes",
            hint='or leave `quantized` out; dtype = "bfloat16" halves the memory of float32 without it',
        )
    from transformers import BitsAndBytesConfig

    bits = {"load_in_8bit": True} if settings.quantized == "int8" else {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    bits |= {} if settings.quantized == "int8" else {"bnb_4bit_compute_dtype": dtype}
    return {"quantization_config": BitsAndBytesConfig(**bits), "device_map": {"": _own_gpu(device_of(settings))}}


def _listed(what: str, keys: Iterable[str]) -> str:
    names = sorted(keys)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{len(names)} {what}: {', '.join(names[:8])}{more}" if names else ""


def _eos(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: the generation config's (else the config's) and the tokenizer's."""
    given = model.generation_config.eos_token_id
    if given is None:
        given = getattr(model.config.get_text_config(), "eos_token_id", None)
    several = given if isinstance(given, list | tuple) else [given]
    return frozenset(token for token in (*several, tokenizer.eos_token_id) if token is not None)


def _first_line(fault: BaseException) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[0] if lines else type(fault).__name__


@contextmanager
def _quiet_and_offline() -> Iterator[None]:
    """No progress bars and no warnings while loading, and no look at the hub: everything is on this disk by now."""
    from huggingface_hub import constants
    from transformers.utils import logging

    level, bars, offline = logging.get_verbosity(), logging.is_progress_bar_enabled(), constants.HF_HUB_OFFLINE
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    constants.HF_HUB_OFFLINE = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _no_video() -> Iterator[None]:
    """Without torchvision a processor that owns a video processor cannot be made; let it be made without one."""
    if find_spec("torchvision") is not None:
        yield
        return
    from transformers import processing_utils
    from transformers.models.auto import video_processing_auto

    class NoVideoProcessor:
        @classmethod
        def from_pretrained(cls, *_: Any, **__: Any) -> None:
            return None

    mixin = processing_utils.ProcessorMixin
    check, auto = mixin.check_argument_for_proper_class, video_processing_auto.AutoVideoProcessor
    mixin.check_argument_for_proper_class = lambda self, name, value: None if value is None else check(self, name, value)
    video_processing_auto.AutoVideoProcessor = NoVideoProcessor
    try:
        yield
    finally:
        mixin.check_argument_for_proper_class = check
        video_processing_auto.AutoVideoProcessor = auto
