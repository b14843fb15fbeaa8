"""A decoding step in buffers that stay where they are, so that a GPU can replay it instead of being told every kernel anew.

Launching a step's thousand kernels one by one takes a processor longer than a GPU needs to run them. A CUDA graph is launched as
one. It needs the same shapes every time: keys and values are written into room that is there already, how far it is written stands
in a tensor, and rows that have ended stay until half have.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

from palpate.models import _hf_kernels

if TYPE_CHECKING:
    from palpate.models._hf_attend import Unrepeated
    from palpate.models._hf_fuse import Fused

WORTH = 12
"""The fewest tokens left for which a step is captured: telling a GPU every kernel once and capturing them take as long."""


def worth(state: Unrepeated, left: int) -> bool:
    """Whether the steps to come are worth capturing: at most ``left`` of them, and no window to reach during them."""
    layers = state.suffix.layers
    if state.loaded.fused is None or left < WORTH or not layers or layers[0].room is None:
        return False
    slots, capacity = state.suffix_positions.shape[1], layers[0].room[0].shape[-2]
    window = getattr(state.loaded.model.config.get_text_config(), "sliding_window", None)
    return capacity - slots >= WORTH and (window is None or state.longest + capacity <= window)


class Step:
    """One token for every row of ``state``, as often as there is room."""

    def __init__(self, state: Unrepeated, inputs: dict[str, Any]) -> None:
        """``inputs``: of the first step, already announced to the state."""
        import torch

        self.state, self.fused = state, cast("Fused", state.loaded.fused)
        layers, keys = state.suffix.layers, state.suffix.layers[0].room[0]
        self.capacity = keys.shape[-2]
        slots = state.suffix_valid.shape[1]
        self.slot = torch.tensor([slots - 1], device=keys.device)
        self.used = torch.tensor([slots], dtype=torch.int32, device=keys.device)
        self.allowed, self.bias = cast("Any", None), cast("Any", None)
        if not state.kernels:
            self._masked(slots, keys)
        self.inputs = {name: value.clone() if hasattr(value, "clone") else value for name, value in inputs.items()}
        self.graph: Any = None
        self.replays, self.ran = self.slot.is_cuda, self.fused.captured
        self.out: Any = None
        for layer in layers:
            layer.slot = self.slot

    def _masked(self, slots: int, keys: Any) -> None:
        """Which of a row's places its query sees, where attention takes a mask: (R, 1, G, capacity)."""
        import torch

        from palpate.models._hf_attend import bias_of

        group = self.state.loaded.model.config.get_text_config().num_attention_heads // keys.shape[1]
        self.allowed = torch.zeros(len(keys), 1, group, self.capacity, dtype=torch.bool, device=keys.device)
        self.allowed[..., :slots] = self.state.suffix_valid[:, None, None]
        self.bias = bias_of(self.allowed, keys.dtype) if _hf_kernels.half_on_gpu(keys) else None

    def __call__(self, inputs: dict[str, Any]) -> Any:
        """What the model gives for the tokens announced last; on a GPU, from the second time on, the same tensors every time."""
        at = self.state.suffix_valid.shape[1] - 1
        for name, value in inputs.items():
            if hasattr(value, "copy_"):
                self.inputs[name].copy_(value)
        self.slot.fill_(at)
        self.used.fill_(at + 1)
        if self.allowed is not None:
            self.allowed[..., at] = True
        if self.bias is not None:
            self.bias[..., at] = 0.0
        if self.graph is None and self.replays and self.ran:
            try:
                self._capture()
                self.fused.captured = True
            except RuntimeError:  # something in this family's step asks the device: it is run, as it would have been
                self.graph, self.replays, self.fused.captured = None, False, False
        if self.graph is None:
            self.ran = True  # what is compiled or tuned at the first call must not be captured
            return self._run()
        self.graph.replay()
        return self.out

    def end(self) -> None:
        """Back to a cache that grows; what was captured is let go."""
        self.graph = self.out = None
        length = self.state.suffix_valid.shape[1]
        for layer in self.state.suffix.layers:
            layer.settle(length)

    def _run(self) -> Any:
        return self.state.loaded.model(**self.state.loaded.keeping(self.state.suffix), **self.inputs)

    def _capture(self) -> None:
        import torch

        graph, device = torch.cuda.CUDAGraph(), self.slot.device
        # "thread_local": threads that prepare images allocate meanwhile, which else is an error there, and of the capture.
        captured = torch.cuda.graph(graph, stream=_aside(device), capture_error_mode="thread_local")
        with torch.cuda.stream(torch.cuda.current_stream(device)), captured:  # one that fails leaves its stream the current one
            self.out = self._run()
        self.graph = graph


@cache
def _aside(device: Any) -> Any:
    """The stream on which a GPU's steps are captured: PyTorch's own is of whichever GPU captured first in this process.

    One for all models: the libraries keep 32 MB to work in for every stream they were called on.
    """
    import torch

    return torch.cuda.Stream(device)
