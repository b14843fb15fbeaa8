"""Images into tensors in a process of its own: there no Python stops the thread that feeds the GPU.

The process is given the processor once, then for every image its bytes and its questions, and answers with the tensors, over a
socket pair that carries plain bytes. It ends when the socket does, whatever became of the one who started it.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from socket import MSG_WAITALL, SHUT_RDWR, SO_RCVTIMEO, SO_SNDTIMEO, SOL_SOCKET, socket, socketpair
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from palpate.models._hf_encode import ON_HOST, PER_TOKEN, Encoder, Shared
from palpate.models._hf_tables import hasten

if TYPE_CHECKING:
    from PIL.Image import Image

PATIENCE, LOADING = 60, 300
"""Seconds after which a process that says nothing is taken for dead: asked about an image, and while it loads its libraries."""
LOOK_ROUND = 5
"""Seconds after which a process that is asked nothing looks whether the one who started it is still there."""
MODES = frozenset(("1", "L", "LA", "RGB", "RGBA", "I", "I;16", "F"))
"""Kinds of images whose bytes and transparency are all there is. Others have a palette and are prepared here."""
SLOTS = 256
"""Token ids of so many kinds of images and questions are kept on both sides, and sent once."""
ALIGNED = 64
HEAD = struct.Struct("<QQ")
REFUSED = (ValueError, RuntimeError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError, OSError, ImportError)
"""What a processor raises for an image it cannot take; it is then prepared here, where the error is seen."""
LOST = (OSError, EOFError, pickle.UnpicklingError, RuntimeError, MemoryError)
"""What is seen of a process that died or got out of step."""
QUIET = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


class Apart:
    """A process that prepares images, for one thread at a time."""

    def __init__(self, ours: socket, process: subprocess.Popen[bytes] | None) -> None:
        """``ours``: what it is talked to through. ``close`` ends it, at the latest when this process ends."""
        _patient(ours, PATIENCE)
        self._socket, self.process = ours, process
        self._ids: dict[int, list[list[int]]] = {}
        self.close = weakref.finalize(self, _end, ours, process)

    def teach(self, pickled: bytes) -> None:
        """Gives it its processor. Raises one of LOST, as the others do."""
        _patient(self._socket, LOADING)
        _send(self._socket, None, pickled)

    def wait(self) -> None:
        """Until it has loaded its processor."""
        _receive(self._socket, bytearray)
        _patient(self._socket, PATIENCE)

    def prepare(self, questions: Sequence[str], image: Image, empty: Callable[[int], Any]) -> Prepared | None:
        """``Encoder.shared`` of one image in the model's number format, in memory that ``empty`` gives, or None: not here.

        Raises one of LOST where the process is dead, or silent for PATIENCE seconds.
        """
        if image.mode not in MODES:
            return None
        try:
            data = image.tobytes()
        except REFUSED:
            return None
        _send(self._socket, (list(questions), image.mode, image.size, image.info.get("transparency"), len(data)), data)
        head, memory = _receive(self._socket, empty)
        if head is None:
            return None
        found, others, slot, ids = head
        if ids is not None:
            self._ids[slot] = ids
        return Prepared(memory, found, others, self._ids[slot])


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came back: one memory, and where in it the tensors are. A torch call in a thread is one more turn for it to wait for."""

    memory: Any
    found: dict[str, tuple[int, Any, tuple[int, ...], int] | None]
    others: dict[str, Any]
    ids: list[list[int]]

    def shared(self) -> Shared:
        """The tensors, without a copy."""
        import torch

        inputs = {}
        for name, where in self.found.items():
            if where is None:
                own = self.others[name]
                inputs[name] = torch.from_numpy(own) if isinstance(own, np.ndarray) else own
            else:
                offset, dtype, shape, size = where
                inputs[name] = self.memory[offset : offset + size].view(dtype).view(shape)
        return Shared(inputs, [self.ids])


def launch() -> Apart:
    """A new process. Raises OSError or ValueError where none can be started."""
    ours, theirs = socketpair()
    environment = {**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command, no = [sys.executable, "-m", __name__, str(theirs.fileno()), str(os.getpid())], subprocess.DEVNULL
    try:
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), env=environment, stdin=no, stdout=no, stderr=no)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return Apart(ours, process)


def start(encoder: Encoder, count: int, free: SimpleQueue[Apart]) -> list[Apart]:
    """Starts so many processes and returns at once; each is put among the free when it is ready. Fewer where they cannot be."""
    made: list[Apart] = []
    if not count:
        return made
    dtype = str(encoder.loaded.model.dtype).removeprefix("torch.")
    try:
        pickled = pickle.dumps((replace(encoder.loaded, model=None, fused=None), encoder.system, dtype), 5)
        made += (launch() for _ in range(count))
    except (pickle.PicklingError, RecursionError, TypeError, AttributeError, OSError, ValueError):
        pass  # a checkpoint's own code, say, or a system that has no such sockets
    if made:
        Thread(target=_teach, args=(pickled, made, free), name="palpate-images-start", daemon=True).start()
    return made


def _teach(pickled: bytes, made: Sequence[Apart], free: SimpleQueue[Apart]) -> None:
    """All are given the processor before the first is waited for."""
    taught = []
    for one in made:
        try:
            one.teach(pickled)
        except LOST:
            one.close()
        else:
            taught.append(one)
    for one in taught:
        try:
            one.wait()
        except LOST:
            one.close()
        else:
            free.put(one)


def rounded(shared: Shared, dtype: Any) -> Shared:
    """Images in the model's number format, rounded as the device would."""
    inputs = shared.inputs.items()
    floating = {name for name, value in inputs if hasattr(value, "is_floating_point") and value.is_floating_point()}
    return Shared({name: value.to(dtype) if name in floating else value for name, value in inputs}, shared.ids)


def memory(size: int, *, pinned: bool) -> Any:
    """So many bytes, from which a GPU can copy while it goes on with something else if they are pinned."""
    import torch

    return torch.empty(size, dtype=torch.uint8, pin_memory=pinned)


# ---------------------------------------------------------------- what goes over the socket


def _send(to: socket, head: Any, *parts: Any) -> None:
    """As few calls as can be: after every one a thread waits for its turn to run Python, and the others for theirs."""
    views, said = [memoryview(part).cast("B") for part in parts], pickle.dumps(head, 5)
    views = [memoryview(HEAD.pack(len(said), sum(map(len, views)))), *views, memoryview(said)]
    gone = to.sendmsg(views)
    for view in views:  # what was cut off, by a signal, say
        if gone < len(view):
            to.sendall(view[gone:])
        gone = max(0, gone - len(view))


def _receive(whence: socket, empty: Callable[[int], Any], *, idle: Callable[[], None] | None = None) -> tuple[Any, Any]:
    """(head, memory with what came along)."""
    size, more = HEAD.unpack(_filled(whence, bytearray(HEAD.size), idle))
    memory = empty(more + size)
    view = memoryview(memory.numpy() if hasattr(memory, "numpy") else memory)
    _filled(whence, view)
    return pickle.loads(view[more:]), memory  # from a process we started, or were started by


def _filled(whence: socket, buffer: Any, idle: Callable[[], None] | None = None) -> Any:
    left = memoryview(buffer)
    while left:
        try:
            got = whence.recv_into(left, len(left), MSG_WAITALL)
        except BlockingIOError:
            if idle is None:
                raise
            idle()
            continue
        if not got:
            raise EOFError("the other side is gone")
        left = left[got:]
    return buffer


def _patient(which: socket, seconds: int, ways: Sequence[int] = (SO_RCVTIMEO, SO_SNDTIMEO)) -> None:
    """How long it waits for the other side. Python's own timeout would ask the system for every piece of an image."""
    for way in ways:
        which.setsockopt(SOL_SOCKET, way, struct.pack("ll", seconds, 0))


def _end(ours: socket, process: subprocess.Popen[bytes] | None) -> None:
    with suppress(OSError):  # it is gone already
        ours.shutdown(SHUT_RDWR)  # a thread that waits for it wakes up
    ours.close()
    if process is None:
        return
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# ---------------------------------------------------------------- the other process


def serve(ours: socket, parent: int) -> None:
    """Prepares images until the socket ends or nobody is left who could ask."""
    import torch

    def look_round() -> None:
        if os.getppid() != parent:
            raise EOFError("nobody is left who could ask")

    _patient(ours, LOOK_ROUND, [SO_RCVTIMEO])
    _, pickled = _receive(ours, bytearray, idle=look_round)
    loaded, system, dtype = pickle.loads(pickled)
    hasten(loaded.processor)
    encoder, sent = Encoder(loaded, system), _Sent()
    _send(ours, None)
    while True:
        asked, data = _receive(ours, bytearray, idle=look_round)
        try:
            shared = rounded(_prepared(encoder, asked, data), getattr(torch, dtype))
        except REFUSED:
            _send(ours, None)
            continue
        _answer(ours, shared, sent)


def _prepared(encoder: Encoder, asked: Any, data: bytearray) -> Shared:
    from PIL import Image

    questions, mode, size, transparency, count = asked
    image = Image.frombytes(mode, size, bytes(memoryview(data)[:count]))
    if transparency is not None:
        image.info["transparency"] = transparency
    return encoder.shared([questions], [image])


class _Sent:
    """Which token ids the other side has, by place. The lists are the encoder's own and are known by their identity."""

    def __init__(self) -> None:
        self.slots: dict[tuple[int, ...], tuple[int, list[list[int]]]] = {}
        self.count = 0

    def place(self, ids: list[list[int]]) -> tuple[int, list[list[int]] | None]:
        """(their slot, the ids if the other side has not got them)."""
        key = tuple(map(id, ids))
        if key in self.slots:
            return self.slots[key][0], None
        slot = self.count % SLOTS
        self.count += 1
        self.slots = {k: v for k, v in self.slots.items() if v[0] != slot}
        self.slots[key] = slot, ids
        return slot, ids


def _answer(ours: socket, shared: Shared, sent: _Sent) -> None:
    import torch

    found: dict[str, Any] = {}
    others, parts, at = {}, [], 0
    for name, value in shared.inputs.items():
        if not torch.is_tensor(value) or name in PER_TOKEN | ON_HOST:  # the memory is all that goes on to a device
            found[name], others[name] = None, value.numpy() if torch.is_tensor(value) else value
            continue
        data = value.contiguous().view(-1).view(torch.uint8).numpy()
        found[name] = at, value.dtype, tuple(value.shape), len(data)
        gap = -len(data) % ALIGNED
        parts += [data, bytes(gap)]
        at += len(data) + gap
    slot, ids = sent.place(shared.ids[0])
    _send(ours, (found, others, slot, ids), *parts)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the one who started it
    with suppress(*LOST):
        serve(socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
