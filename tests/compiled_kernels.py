"""Our GPU kernels compiled for GPUs that are not there: how much shared memory a program takes, as JSON lines.

    TRITON_INTERPRET=0 python tests/compiled_kernels.py 80 86 120

Every kernel as ``_hf_kernels`` launches it, for queries and sizes that are hard on memory.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from palpate.models import _hf_kernels, _hf_triton

POINTERS = {torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.int32: "*i32", torch.int64: "*i64"}
SHAPES = [(256, 2, 12), (256, 2, 32), (128, 4, 12)]
"""Size of a head, query heads of a group, questions of an image."""


class Recorded:
    """In a kernel's place: remembers what it is launched with."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.given, self.options = kernel, (), {}

    def __getitem__(self, grid: Any) -> Any:
        return self.launch

    def launch(self, *given: Any, **options: Any) -> None:
        self.given, self.options = given, options

    def compiled(self, capability: int) -> Any:
        """The kernel for a GPU of that compute capability, 80 for 8.0."""
        names = self.kernel.arg_names
        constants = {name: value for name, value in self.options.items() if name in names}
        signature, attributes = dict.fromkeys(constants, "constexpr"), {}
        for place, (name, value) in enumerate(zip(names, self.given, strict=False)):
            tensor = isinstance(value, torch.Tensor)
            signature[name] = POINTERS[value.dtype] if tensor else "fp32" if isinstance(value, float) else "i32"
            if tensor or (isinstance(value, int) and value % 16 == 0):
                attributes[place,] = [["tt.divisibility", 16]]
        ordered = {name: signature[name] for name in names}
        source = ASTSource(self.kernel, ordered, {(names.index(name),): value for name, value in constants.items()}, attributes)
        options = {name: self.options[name] for name in ("num_warps", "num_stages")}
        return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def launches(size: int, group: int, questions: int) -> dict[str, Recorded]:
    """Kernel → how it is launched for two images."""
    kv, length, steps, rows = 2, 300, 32, 2 * questions
    found = {name: Recorded(getattr(_hf_triton, name)) for name in ("decode_kernel", "own_kernel")}
    for name, recorded in found.items():
        setattr(_hf_triton, name, recorded)

    def made(*shape: int) -> torch.Tensor:
        return torch.zeros(*shape, dtype=torch.bfloat16)

    prefix, own = ((made(2, kv, length, size),) * 2, (made(rows, kv, steps, size),) * 2)
    counted = torch.zeros(rows, dtype=torch.int32)
    table = torch.arange(rows, dtype=torch.int32).view(2, questions)
    _hf_kernels.decode(made(rows, kv * group, 1, size), prefix, counted[:2], own, counted, table, counted[:1], 0.1)
    part = made(2, kv, questions, group, steps, size), torch.zeros(2, kv, questions, group, steps)
    _hf_kernels.go_on(made(rows, kv * group, steps, size), part, own, counted, torch.arange(rows), None, 0.1)
    for name, recorded in found.items():
        setattr(_hf_triton, name, recorded.kernel)
    return found


if __name__ == "__main__":
    for shape in SHAPES:
        for name, recorded in launches(*shape).items():
            for capability in map(int, sys.argv[1:]):
                shared = recorded.compiled(capability).metadata.shared
                print(json.dumps({"kernel": name, "shape": shape, "capability": capability, "shared": shared}), flush=True)
