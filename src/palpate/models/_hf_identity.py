"""What a checkpoint is, found out without torch and without loading weights: where it lies, a digest of its content, its template.

The identity of a local folder is its content, never its path or its dates: the same folder elsewhere is the same model.
The identity of a hub checkpoint is its id and the commit.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from palpate.errors import ModelError
from palpate.models._hf_settings import Settings

ADAPTER_VERSION = 1
"""Raised whenever this adapter changes what a model answers or how margins are computed."""
SPELLINGS_VERSION = 1
"""Raised whenever another choice of answer tokens would change margin or mass."""

TEXT_FILES = (".json", ".jinja", ".model", ".txt", ".py", ".tiktoken")
WEIGHTS = (".safetensors", ".bin")
NOT_THE_MODEL = re.compile(
    r"^(README.*|training.*|trainer_state\.json|all_results\.json|optimizer\..*|.*_log\.json)$", re.IGNORECASE
)
WHOLE_UP_TO = 256 * 2**20
"""Weights up to this many bytes in all are hashed in full; larger ones by size, header and samples."""
SAMPLE, SAMPLES = 2**20, 16
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this disk. ``hub``: (id, commit) where it came from the hub."""

    folder: Path
    hub: tuple[str, str] | None = None

    def json(self, name: str) -> Mapping[str, Any]:
        """One of its JSON files; empty where it has none. Raises ModelError where it is not JSON."""
        file = self.folder / name
        if not file.is_file():
            return {}
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as fault:
            raise ModelError(f"{name} cannot be read: {fault}", where=str(self.folder)) from None
        return found if isinstance(found, dict) else {}

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """``config.json``. Raises ModelError where there is none: then the folder is no checkpoint."""
        found = self.json("config.json")
        if not found:
            raise ModelError(
                "is no checkpoint: it has no config.json", where=str(self.folder), expected="config.json beside the weights"
            )
        return found

    @property
    def text_only(self) -> bool:
        """True for a causal language model without a vision tower."""
        causal = any(name.endswith("ForCausalLM") for name in self.config.get("architectures") or ())
        return causal and not any("vision" in key for key in self.config)

    @property
    def architecture(self) -> str:
        """``model_type`` of its config."""
        return str(self.config.get("model_type", "unknown"))

    @property
    def chat_template(self) -> str | None:
        """The checkpoint's own chat template, as transformers would take it."""
        file = self.folder / "chat_template.jinja"
        if file.is_file():
            return file.read_text(encoding="utf-8")
        for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
            template = self.json(name).get("chat_template")
            if isinstance(template, list):  # several named ones
                template = next((t["template"] for t in template if t.get("name") == "default"), None)
            if isinstance(template, str):
                return template
        return None

    @property
    def image_settings(self) -> Mapping[str, Any]:
        """What its files say of how images are prepared."""
        nested = self.json("processor_config.json").get("image_processor")
        return {**self.json("preprocessor_config.json"), **(nested if isinstance(nested, dict) else {})}

    @property
    def image_processor(self) -> str | None:
        """Class name of its image processor, as its files name it."""
        found = self.image_settings
        name = found.get("image_processor_type") or found.get("processor_class")
        return str(name) if name else None

    @cached_property
    def digest(self) -> str:
        """128-bit BLAKE2b over the files that make the model: names and content, in the order of the names."""
        total = hashlib.blake2b(digest_size=16)
        weights = [file for file in self._files() if file.suffix in WEIGHTS]
        whole = sum(file.stat().st_size for file in weights) <= WHOLE_UP_TO
        for file in self._files():
            part = _digest_file(file, whole=whole or file.suffix not in WEIGHTS)
            total.update(f"{file.name}\0{part}\0".encode())
        return total.hexdigest()

    def _files(self) -> list[Path]:
        safetensors = any(self.folder.glob("*.safetensors"))
        kinds = (*TEXT_FILES, ".safetensors" if safetensors else ".bin")
        kept = (f for f in self.folder.iterdir() if f.is_file() and f.suffix in kinds and not NOT_THE_MODEL.match(f.name))
        return sorted(kept, key=lambda file: file.name)


def _digest_file(file: Path, *, whole: bool) -> str:
    found = hashlib.blake2b(digest_size=16)
    for chunk in _all(file) if whole else _sampled(file):
        found.update(chunk)
    return found.hexdigest()


def _all(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(SAMPLE):
            yield chunk


def _sampled(file: Path) -> Iterator[bytes]:
    """Size, first MiB (the safetensors header: names, types, shapes) and evenly spaced MiBs up to the last one."""
    size = file.stat().st_size
    yield str(size).encode()
    with file.open("rb") as opened:
        for i in range(SAMPLES):
            opened.seek(max(size - SAMPLE, 0) * i // (SAMPLES - 1))
            yield opened.read(SAMPLE)


# ---------------------------------------------------------------- where it lies


def looks_local(path: str) -> bool:
    """True where the path can only mean a folder: it is written like one, or is no ``org/name``."""
    return path.startswith((".", "/", "~")) or "\\" in path or not HUB_ID.match(path)


def check_local(path: str) -> Path | None:
    """The folder, or None for a hub id. Raises ModelError at once for a folder that does not exist."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise ModelError(f"{path} is a file", expected="a checkpoint's folder", hint=f"path = {str(folder.parent)!r}")
    if looks_local(path):
        raise ModelError(f"no folder {path}", expected="a checkpoint's folder, or a hub id such as org/name", hint=_nearest(folder))
    return None


def _nearest(folder: Path) -> str:
    """The nearest existing folder: the deepest one on the way, and names in it like the one that is missing."""
    there = folder
    while not there.is_dir() and there != there.parent:
        missing, there = there.name, there.parent
    names = sorted(child.name for child in there.iterdir() if child.is_dir()) if there.is_dir() else []
    near = difflib.get_close_matches(missing, names, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(str(there / name) for name in near) + "?"
    return f"the nearest folder that exists is {there.resolve()}"


def _in_place_of(hub_id: str, study: str) -> str:
    """What to try where a path that was taken for a hub id is not to be had: a folder of nearly that name beside the study file or
    here, ``./`` before it where its first part is a folder, and otherwise what a gated checkpoint wants."""
    parent, _, name = hub_id.partition("/")
    there = [base / parent for base in (Path(study), Path()) if (base / parent).is_dir()]
    names = sorted({child.name for folder in there for child in folder.iterdir() if child.is_dir()})
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(f"{parent}/{found}" for found in near) + "?"
    if there:
        return f'path = "./{hub_id}" where a folder is meant: then the hub is not asked'
    gated = "where the checkpoint is gated, accept the licence on its page, then `hf auth login`, or HF_TOKEN in the environment"
    told = [OFFLINE, gated] if _offline() else [gated]
    return "; ".join([*told, f'or path = "./{hub_id}" where a folder is meant'])


OFFLINE = "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set, and nothing is fetched: unset it"


def _offline() -> bool:
    """Whether this process was told to ask no hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def find(settings: Settings, *, weights: bool) -> Checkpoint:
    """The checkpoint on this disk; a hub id is fetched where it is not in the cache (``weights`` False: only its small files)."""
    folder = check_local(settings.path)
    if folder is not None:
        return Checkpoint(folder)
    snapshot = _snapshot(settings, weights=weights)
    return Checkpoint(snapshot, (settings.path, snapshot.name))


def _snapshot(settings: Settings, *, weights: bool) -> Path:
    """The checkpoint's folder in the hub cache; pickled weights (``bin``) only where the study allows them."""
    hub_id, revision = settings.path, settings.revision
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise ModelError(f"{hub_id} needs huggingface_hub", expected=EXTRA) from None

    def complete(folder: Path) -> bool:
        return (folder / "config.json").is_file() and (not weights or any(any(folder.glob(f"*{kind}")) for kind in WEIGHTS))

    try:
        cached = Path(snapshot_download(hub_id, revision=revision, local_files_only=True))
        if complete(cached):
            return cached
    except (LocalEntryNotFoundError, OSError):
        pass  # not in the cache: fetch it
    small = [f"*{kind}" for kind in TEXT_FILES]
    try:
        found = Path(snapshot_download(hub_id, revision=revision, allow_patterns=small))
        for kind in WEIGHTS if settings.pickled_weights else WEIGHTS[:1]:
            if weights and not complete(found):
                found = Path(snapshot_download(hub_id, revision=revision, allow_patterns=[*small, f"*{kind}"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as fault:
        first = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        raise ModelError(
            f"no folder {hub_id} beside the study file or in {Path.cwd()}, so it was taken for a hub id; "
            f"as one it is not in the local cache, and could not be fetched: {first}",
            expected="a checkpoint's folder, or a hub id (org/name) that exists and may be read",
            hint=_in_place_of(hub_id, settings.folder),
        ) from None
    return found


EXTRA = "the packages of the extra `local`: pip install 'palpate[local]'"


# ---------------------------------------------------------------- what it runs on


def device_of(settings: Settings) -> str:
    """The device, without importing torch where torch cannot have a GPU."""
    if settings.device != "auto":
        return settings.device
    if "+cpu" in _version("torch") or (sys.platform == "linux" and not Path("/dev/nvidiactl").exists()) or sys.platform == "darwin":
        return "cpu"
    try:
        import torch
    except ImportError:
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "cpu"


def memory_of(device: str) -> int | None:
    """Bytes of memory a GPU has in all, used or not, so that it is one number on one machine; None where there is none to be asked.

    ``cuda`` is the first one.
    """
    if "+cpu" in _version("torch"):
        return None
    try:
        import torch

        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory) if torch.cuda.is_available() else None
    except (ImportError, RuntimeError, AssertionError, ValueError):  # no such GPU: loading will say so
        return None


def dtype_of(settings: Settings) -> str:
    """The name of the number format the weights are computed in."""
    if settings.dtype != "auto":
        return settings.dtype
    return "bfloat16" if device_of(settings).startswith("cuda") else "float32"


def unrepeated_of(settings: Settings) -> bool:
    """True where a shared beginning is attended without repeating it: on a GPU, unless the study says otherwise."""
    return device_of(settings).startswith("cuda") if settings.attend == "auto" else settings.attend == "unrepeated"


def backend_of(settings: Settings) -> str:
    """``pil``, or ``torchvision`` where it is asked for. Raises ModelError where it is asked for and absent."""
    if settings.image_backend == "torchvision" and find_spec("torchvision") is None:
        raise ModelError("image_backend = 'torchvision', and torchvision is not installed", expected="image_backend = 'pil'")
    return settings.image_backend


MISSING = "not installed"


def versions() -> dict[str, str]:
    """Versions of the packages an answer passes through; of those with kernels for a GPU, where they are installed."""
    always = {name: _version(name) for name in ("torch", "transformers", "tokenizers", "pillow", "numpy")}
    kernels = {name: _version(name) for name in ("triton", "flash-attn-4", "bitsandbytes")}
    return always | {name: found for name, found in kernels.items() if found != MISSING}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING
