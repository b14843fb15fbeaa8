"""Images prepared in another process are what this one makes of them, bit for bit; one that dies is done without."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from socket import socketpair

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from palpate.executors._processes import WORKERS  # noqa: E402
from palpate.models import _hf_ahead, _hf_apart  # noqa: E402
from palpate.models._hf_ahead import PROCESSES, Ahead  # noqa: E402
from palpate.models._hf_apart import LOST, SLOTS, Apart, memory, rounded, serve, start  # noqa: E402

pytestmark = [pytest.mark.local, pytest.mark.skipif(os.name != "posix", reason="elsewhere threads prepare the images")]

FAMILIES = (
    *("llava", "llava_next", "llava_onevision", "gemma3", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
    *("idefics3", "smolvlm", "internvl"),
)
RNG = np.random.default_rng(8)
EMPTY = partial(memory, pinned=False)


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    values = RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values[..., 0] if channels == 1 else values)


def see_through() -> Image.Image:
    image = noise(40, 31)
    image.info["transparency"] = image.getpixel((3, 4))
    return image


IMAGES = {
    "odd": noise(61, 47),
    "the size the model sees": noise(32, 32),
    "grey": noise(40, 50, 1),
    "with alpha": noise(33, 35, 4),
    "one colour is see-through": see_through(),
    "16 bit": Image.fromarray(RNG.integers(0, 65536, (40, 50), dtype=np.uint16)),
    "two values": noise(50, 40, 1).convert("1"),
}


@contextmanager
def served(encoder, dtype: str):
    """The other side in a thread of this process, with a processor that went through a pickle."""
    ours, theirs = socketpair()
    ended = []

    def run() -> None:
        try:
            serve(theirs, os.getppid())
        except LOST as fault:
            ended.append(fault)
        theirs.close()

    thread = threading.Thread(target=run)
    thread.start()
    apart = Apart(ours, None)
    apart.teach(pickle.dumps((replace(encoder.loaded, model=None, fused=None), encoder.system, dtype)))
    apart.wait()
    try:
        yield apart
    finally:
        apart.close()
        thread.join(10)
        assert not thread.is_alive(), "it goes on though nobody can ask any more"
        assert isinstance(ended[0], EOFError | OSError)


def same(found, expected) -> None:
    assert found.ids == expected.ids
    assert found.inputs.keys() == expected.inputs.keys()
    for name, value in expected.inputs.items():
        if torch.is_tensor(value):
            assert found.inputs[name].dtype == value.dtype
            assert torch.equal(found.inputs[name], value), name
        else:
            assert found.inputs[name] == value, name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_image_comes_back_bit_for_bit(family, dtype, build) -> None:
    encoder = build(family)._loaded().encoder
    questions = [encoder.render(question, image=True) for question in ("Is it?", "Is it not, after all?")]
    taken = 0
    with served(encoder, dtype) as apart:
        for name, image in IMAGES.items():
            for _ in range(2):
                found = apart.prepare(questions, image, EMPTY)
                try:
                    expected = encoder.shared([questions], [image])
                except (ValueError, TypeError, IndexError):
                    assert found is None, name
                    continue
                shared = found.shared()
                same(shared, rounded(expected, getattr(torch, dtype)))
                assert shared.inputs["pixel_values"].dtype == getattr(torch, dtype)
                assert shared.inputs["input_ids"].dtype == torch.long
                taken += 1
    assert taken > len(IMAGES), "hardly any image is taken: the comparison says little"


@pytest.fixture
def llava(build):
    encoder = build("llava", attend="unrepeated", images_at_once=4, max_new_tokens=2)._loaded().encoder
    return encoder, [encoder.render(question, image=True) for question in ("Is it?", "Is it not?")]


def test_token_ids_are_sent_once_for_every_kind_of_question(llava, monkeypatch) -> None:
    encoder, questions = llava
    sent, send = [], _hf_apart._send
    monkeypatch.setattr(_hf_apart, "_send", lambda to, head, *parts: (sent.append(head), send(to, head, *parts))[1])
    monkeypatch.setattr(_hf_apart, "SLOTS", 2)
    sets = [questions, questions[:1], questions[1:]]
    with served(encoder, "float32") as apart:
        for asked in (0, 0, 1, 1, 0, 2, 0, 2, 1):
            found = apart.prepare(sets[asked], IMAGES["odd"], EMPTY)
            assert found.shared().ids == encoder.shared([sets[asked]], [IMAGES["odd"]]).ids
    answers = [head for head in sent if head and len(head[0]) > 2]
    new = [head[3] is not None for head in answers]
    assert new == [True, False, True, False, False, True, True, False, True], "two places: the third kind takes the first's"
    assert SLOTS > 2


def test_an_image_with_a_palette_is_prepared_here(llava) -> None:
    """Its palette may hold more than Pillow hands over; nothing is sent."""
    _, questions = llava
    ours, theirs = socketpair()
    apart = Apart(ours, None)
    assert apart.prepare(questions, IMAGES["odd"].quantize(8), EMPTY) is None
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)
    apart.close()
    theirs.close()


def test_an_image_that_cannot_be_read_says_so_here(llava, tmp_path) -> None:
    """The file ends too early: the process lives on, and whoever prepares it here sees why."""
    encoder, questions = llava
    path = tmp_path / "cut.png"
    noise(64, 64).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with served(encoder, "float32") as apart:
        with Image.open(path) as cut:
            assert apart.prepare(questions, cut, EMPTY) is None
        assert apart.prepare(questions, IMAGES["odd"], EMPTY) is not None


@pytest.fixture(autouse=True)
def small_first_part(monkeypatch) -> None:
    monkeypatch.setattr(_hf_ahead, "FIRST", 2)


def with_one(encoder, apart) -> Ahead:
    ahead = Ahead(encoder, processes=0)
    ahead._apart = [apart]
    ahead._free.put(apart)
    return ahead


def test_threads_go_on_where_a_process_has_died(llava) -> None:
    encoder, questions = llava
    shown = [noise(40, 50) for _ in range(5)]
    ours, theirs = socketpair()
    ahead = with_one(encoder, Apart(ours, None))
    theirs.close()
    parts = list(ahead.parts([questions] * 5, shown))
    assert ahead._free.empty(), "it would be asked again"
    assert [len(part.ids) for part in parts] == [2, 3]
    same(parts[0], encoder.shared([questions] * 2, shown[:2]))
    same(parts[1], encoder.shared([questions] * 3, shown[2:]))
    ahead.close()


def test_a_process_that_says_nothing_is_taken_for_dead(llava, monkeypatch) -> None:
    encoder, questions = llava
    monkeypatch.setattr(_hf_apart, "PATIENCE", 1)
    ours, theirs = socketpair()
    ahead = with_one(encoder, Apart(ours, None))
    started = time.monotonic()
    (part,) = ahead.parts([questions], [IMAGES["odd"]])
    assert 0.9 < time.monotonic() - started < 30
    same(part, encoder.shared([questions], [IMAGES["odd"]]))
    assert ahead._free.empty()
    ahead.close()
    theirs.close()


def test_a_process_that_answers_nonsense_is_done_without(llava) -> None:
    encoder, questions = llava
    ours, theirs = socketpair()
    ahead = with_one(encoder, Apart(ours, None))
    theirs.sendall(_hf_apart.HEAD.pack(3, 0) + b"???")
    (part,) = ahead.parts([questions], [IMAGES["odd"]])
    same(part, encoder.shared([questions], [IMAGES["odd"]]))
    assert ahead._free.empty()
    ahead.close()
    theirs.close()


def test_it_is_used_again_after_an_image_it_would_not_take(llava) -> None:
    encoder, questions = llava
    with served(encoder, "float32") as apart:
        ahead = with_one(encoder, apart)
        shown = [IMAGES["odd"].quantize(8), IMAGES["odd"]]
        (part,) = ahead.parts([questions] * 2, shown)
        same(part, encoder.shared([questions] * 2, shown))
        assert ahead._free.get_nowait() is apart
        ahead.close()


def test_closing_does_not_wait_for_a_process_that_says_nothing(llava) -> None:
    encoder, questions = llava
    ours, theirs = socketpair()
    ahead = with_one(encoder, Apart(ours, None))
    asked = ahead._submitted([questions], [IMAGES["odd"]])
    theirs.recv(1)  # it was asked
    started = time.monotonic()
    ahead.close()
    assert time.monotonic() - started < _hf_apart.PATIENCE / 4
    same(asked[0].result(0), rounded(encoder.shared([questions], [IMAGES["odd"]]), torch.float32))
    theirs.close()


def test_one_whose_starter_is_gone_ends(llava, monkeypatch) -> None:
    """Even where something else still holds the socket: it looks who its parent is."""
    monkeypatch.setattr(_hf_apart, "LOOK_ROUND", 1)
    ours, theirs = socketpair()
    with pytest.raises(EOFError, match="nobody is left"):
        serve(theirs, os.getppid() + 1)
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("cores", "workers", "processes"),
    [(1, None, 1), (4, None, 1), (11, None, 2), (16, None, 4), (128, None, PROCESSES), (16, "2", 2), (16, "8", 1), (128, "8", 4)],
)
def test_processes_are_for_a_gpu_and_as_many_as_cores_allow(cores, workers, processes, llava, monkeypatch) -> None:
    encoder, _ = llava
    monkeypatch.delenv(WORKERS, raising=False)
    if workers is not None:
        monkeypatch.setenv(WORKERS, workers)
    asked = []
    monkeypatch.setattr(_hf_ahead, "start", lambda encoder, count, free: (asked.append(count), [])[1])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    for device in ("cpu", "cuda", "cuda:1"):
        ahead = Ahead(type(encoder)(replace(encoder.loaded, device=device), None))
        ahead.close()
    assert asked == [0, processes, processes]


def test_every_process_is_asked_at_once(llava, monkeypatch) -> None:
    """As many threads as processes: each waits for one of them."""
    encoder, questions = llava
    together = threading.Barrier(3)

    class Waits:
        def prepare(self, *_):
            together.wait(10)  # raises if the other two are not asked meanwhile

        def close(self) -> None:
            together.abort()

    three = [Waits() for _ in range(3)]
    monkeypatch.setattr(_hf_ahead, "start", lambda encoder, count, free: ([free.put(one) for one in three], three)[1])
    ahead = Ahead(encoder, processes=3)
    list(ahead.parts([questions] * 3, [noise(40, 50) for _ in range(3)]))
    assert not together.broken
    ahead.close()


def test_where_no_process_can_be_started_there_is_none(llava, monkeypatch) -> None:
    encoder, questions = llava

    def refuse(*_, **__):
        raise OSError("no more processes")

    monkeypatch.setattr(_hf_apart.subprocess, "Popen", refuse)
    ahead = Ahead(encoder, processes=2)
    assert ahead._apart == []
    (part,) = ahead.parts([questions], [IMAGES["odd"]])
    same(part, encoder.shared([questions], [IMAGES["odd"]]))
    ahead.close()


def test_a_processor_that_cannot_be_pickled_starts_none(llava, monkeypatch) -> None:
    encoder, _ = llava
    monkeypatch.setattr(_hf_apart, "launch", lambda: pytest.fail("it could not be taught"))
    unlike = replace(encoder.loaded, processor=lambda: None)
    assert start(type(encoder)(unlike, None), 2, SimpleQueue()) == []


def gone(process: subprocess.Popen, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
    return process.poll() is not None


def test_a_real_process_prepares_dies_and_is_not_missed(llava) -> None:
    encoder, questions = llava
    ahead = Ahead(encoder, processes=2)
    first, second = ahead._apart
    ready = {id(ahead._free.get(timeout=120)) for _ in range(2)}
    assert ready == {id(first), id(second)}
    first.process.send_signal(signal.SIGINT)  # as a terminal sends it to all: it ends with its starter, not before
    for one in (first, second):
        same(one.prepare(questions, IMAGES["odd"], EMPTY).shared(), encoder.shared([questions], [IMAGES["odd"]]))
        ahead._free.put(one)
    first.process.kill()
    first.process.wait()
    shown = [noise(40, 50) for _ in range(6)]
    for part, (begin, end) in zip(ahead.parts([questions] * 6, shown), ((0, 2), (2, 6)), strict=True):
        same(part, encoder.shared([questions] * (end - begin), shown[begin:end]))
    assert ahead._free.get_nowait() is second
    assert ahead._free.empty()
    ahead.close()
    assert gone(second.process, 1)


ORPHAN = """
import os, sys
from palpate.models._hf_apart import launch
apart = launch()
print(apart.process.pid, flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), 9)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("how", ["killed", "ended"])
def test_no_process_is_left_behind(how) -> None:
    done = subprocess.run([sys.executable, "-c", ORPHAN, how], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    pid, end = int(done.stdout), time.monotonic() + 60
    while time.monotonic() < end and alive(pid):
        time.sleep(0.1)
    assert not alive(pid)
