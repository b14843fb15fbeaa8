"""What an installation may lack: modules that the core goes without, and what brings each of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

BROUGHT: Mapping[str, str] = {
    "torch": "local",
    "transformers": "local",
    "sklearn": "local",
    "openai": "api",
    "tenacity": "api",
    "aiolimiter": "api",
    "pydicom": "dicom",
    "nibabel": "nifti",
    "tiffslide": "slides",
    "datasets": "hub",
    "ray": "ray",
    "umap": "umap",
}
"""Module → the extra of Palpate that brings it. Any other module is its own package's."""
PACKAGES: Mapping[str, str] = {
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "flash_attn": "flash-attn",
    "flash_attn.cute": "flash-attn-4",
    "flash_attn_interface": "flash-attn-3",
}
"""Module → its package, where that has another name."""
SHARED = frozenset({"flash_attn", "flash_attn.cute", "flash_attn_interface"})
"""Modules that come with another package too and do not serve then: transformers, too, looks for the package itself. It takes the
same kernels through the package ``kernels`` where that is installed."""


def absent(module: str) -> bool:
    """Whether a module is not installed. Nothing is imported to find out."""
    if module in sys.modules:
        return sys.modules[module] is None
    if module in SHARED:
        return not _installed(package(module)) and absent("kernels")
    return find_spec(module) is None


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def package(module: str) -> str:
    """What a module's package is called."""
    return PACKAGES.get(module, module)


def install_line(modules: Iterable[str]) -> str:
    """What to type so that they are there: ``pip install 'palpate[api,dicom]'``."""
    wanted = list(dict.fromkeys(modules))
    extras = sorted({BROUGHT[m] for m in wanted if m in BROUGHT})
    others = [package(m) for m in wanted if m not in BROUGHT]
    return " ".join(["pip install", *([f"'palpate[{','.join(extras)}]'"] if extras else []), *others])
