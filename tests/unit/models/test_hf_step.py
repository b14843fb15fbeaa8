"""A step in buffers that stay where they are decodes what a growing cache does; on a GPU it is replayed, here it is run."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from palpate.models import _hf_room, _hf_step  # noqa: E402
from palpate.models._hf_fuse import Fused  # noqa: E402
from palpate.models._hf_room import ROOM, growing_layer, with_room  # noqa: E402
from palpate.models._hf_step import WORTH, worth  # noqa: E402

pytestmark = pytest.mark.local


@pytest.fixture
def counted(monkeypatch):
    """Steps that went through fixed buffers, by the number of rows in them; nothing is compiled."""
    rows: list[int] = []
    own = _hf_step.Step.__call__

    def call(self, inputs):
        rows.append(len(inputs["input_ids"]))
        return own(self, inputs)

    monkeypatch.setattr(_hf_step.Step, "__call__", call)
    monkeypatch.setattr(torch, "compile", lambda f: f)
    return rows


def answered(model, stimuli):
    """The tokens of every row."""
    ready = model._loaded()
    rows = [model._rows(ready, one) for one in stimuli]
    model._fill(ready, rows, [one.image for one in stimuli])
    return [[row.tokens for row in own] for own in rows], [[row.ended for row in own] for own in rows]


@pytest.mark.parametrize("family", ["llava", "llava_next", "gemma3", "qwen2_vl", "qwen3_vl", "idefics3", "internvl"])
def test_fixed_buffers_decode_the_same_tokens(family, build, images, counted) -> None:
    stimuli = images(3)
    settings = {"images_at_once": 3, "max_new_tokens": 24, "min_new_tokens": 24}
    wanted, _ = answered(build(family, attend="repeated", **settings), stimuli)
    given, _ = answered(build(family, attend="unrepeated", compiled=True, **settings), stimuli)
    assert given == wanted
    assert len(counted) == 23


def test_a_cache_that_runs_out_of_room_grows_and_goes_on(build, images, counted, monkeypatch) -> None:
    monkeypatch.setattr(_hf_room, "ROOM", 18)
    stimuli = images(2)
    settings = {"images_at_once": 2, "max_new_tokens": 60, "min_new_tokens": 60}
    wanted, _ = answered(build("llava", attend="repeated", **settings), stimuli)
    given, _ = answered(build("llava", attend="unrepeated", compiled=True, **settings), stimuli)
    assert given == wanted
    assert 30 <= len(counted) < 59  # some of the steps grew the cache


def test_rows_that_end_stay_until_half_have(build, images, counted) -> None:
    """Ends are planted: a token that about half of the answers come to, at places of their own."""
    stimuli = images(3)
    settings = {"images_at_once": 3, "max_new_tokens": 40}
    plain = build("llava", attend="repeated", **settings)
    free, _ = answered(plain, stimuli)
    later = Counter(t for own in free for row in own for t in set(row[1:]) - set(row[:1]))
    end = min(later, key=lambda token: abs(later[token] - len(free) * len(free[0]) / 2))
    fixed = build("llava", attend="unrepeated", compiled=True, **settings)
    for model in (plain, fixed):
        object.__setattr__(model._loaded().encoder.loaded, "eos", frozenset((end,)))
    wanted, ended = answered(plain, stimuli)
    given, also = answered(fixed, stimuli)
    assert (given, also) == (wanted, ended)
    over = [flag for own in ended for flag in own]
    assert any(over)
    assert not all(over)
    assert max(counted) == len(over) or min(counted) > len(over) / 4


@pytest.mark.parametrize("seed", [0, 1, 3])
@pytest.mark.parametrize("family", ["llava_next", "gemma3", "qwen2_vl"])
def test_rows_of_unlike_budgets_end_each_where_they_would_alone(family, seed, build, images, counted, monkeypatch) -> None:
    """Ends and budgets anywhere, little room, with and without a temperature: who stays for the batch's shape says no more."""
    chance = random.Random(seed)
    monkeypatch.setattr(_hf_room, "ROOM", chance.choice([5, 9, 64]))
    monkeypatch.setattr(_hf_step, "WORTH", 2)
    stimuli, ends = images(3), frozenset(chance.sample(range(300), 40))
    budgets = [[chance.choice([1, 5, 11, 20, 20]) for _ in one.block.trials] for one in stimuli]
    settings = {"images_at_once": 3, "max_new_tokens": 20, "temperature": seed % 2 * 0.8}

    def told(model):
        ready = model._loaded()
        object.__setattr__(ready.encoder.loaded, "eos", ends)
        rows = [model._rows(ready, one) for one in stimuli]
        for row, budget in zip((row for own in rows for row in own), (b for own in budgets for b in own), strict=True):
            row.budget = budget
        model._fill(ready, rows, [one.image for one in stimuli])
        return [(row.tokens, row.ended, row.bad) for own in rows for row in own]

    wanted = told(build(family, attend="repeated", **settings))
    assert told(build(family, attend="unrepeated", compiled=True, **settings)) == wanted
    assert len({len(tokens) for tokens, _, _ in wanted}) > 2
    assert counted


def test_a_step_is_captured_on_its_own_gpu_and_leaves_nothing_behind(monkeypatch) -> None:
    """PyTorch's graph() leaves its stream current where a capture fails, and forbids other threads to allocate meanwhile."""
    current, told = [("cuda:1", "own")], {}

    @contextmanager
    def stream(which):
        before = list(current)
        current.append(which)
        try:
            yield
        finally:
            current[:] = before

    @contextmanager
    def graph(_, **how):
        told.update(how)
        current.append(how["stream"])
        yield
        current.pop()  # not reached where it fails

    fakes = {"stream": stream, "graph": graph, "CUDAGraph": object, "Stream": lambda device: (device, "aside")}
    for name, fake in {**fakes, "current_stream": lambda device: (device, "own")}.items():
        monkeypatch.setattr(torch.cuda, name, fake)

    def fails():
        raise RuntimeError("operation not permitted when stream is capturing")

    step = object.__new__(_hf_step.Step)
    step.slot, step.fused, step.graph = SimpleNamespace(device="cuda:1"), Fused(()), None
    step._run = lambda: list(current)
    step._capture()
    assert step.out[-1] == ("cuda:1", "aside")
    assert step.graph is not None
    assert told["capture_error_mode"] == "thread_local"
    step._run, step.graph = fails, None
    with pytest.raises(RuntimeError):
        step._capture()
    assert current == [("cuda:1", "own")]
    assert step.graph is None


def test_a_step_that_cannot_be_captured_is_run(build, images, counted, monkeypatch) -> None:
    tried = []
    begin = _hf_step.Step.__init__

    def on_a_gpu(self, state, inputs):
        begin(self, state, inputs)
        self.replays = True

    def refused(self):
        tried.append(self)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(_hf_step.Step, "__init__", on_a_gpu)
    monkeypatch.setattr(_hf_step.Step, "_capture", refused)
    stimuli = images(2)
    settings = {"images_at_once": 2, "max_new_tokens": 24, "min_new_tokens": 24}
    wanted, _ = answered(build("llava", attend="repeated", **settings), stimuli)
    given, _ = answered(build("llava", attend="unrepeated", compiled=True, **settings), stimuli)
    assert given == wanted
    assert len(tried) == 1  # not again at every token
    assert len(counted) == 23


def test_closed_answers_end_before_a_step_would_be_captured(build, images, counted) -> None:
    model = build("llava", attend="unrepeated", compiled=True, images_at_once=2, max_new_tokens=WORTH)
    model.ask(images(2))
    assert counted == []


def test_a_closed_model_lets_its_weights_go(build, images) -> None:
    """Compiled parts refer to themselves: on a GPU the next model would be loaded beside them."""
    import gc
    import weakref

    model = build("llava", attend="unrepeated", compiled=True, images_at_once=2, max_new_tokens=2)
    part = next(p for n, p in model._loaded().loaded.model.named_modules() if n.endswith(".mlp"))
    assert "forward" in vars(part)
    kept = weakref.ref(part)
    del part
    gc.collect()
    gc.disable()
    try:
        model.close()
        assert kept() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------- when it is worth it


def a_state(*, fused=True, slots=10, window=None, longest=100, room=True):
    layer = SimpleNamespace(room=(torch.zeros(1, 2, slots + ROOM, 4),) * 2 if room else None)
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(sliding_window=window))
    loaded = SimpleNamespace(fused=object() if fused else None, model=SimpleNamespace(config=config))
    positions = torch.zeros(1, slots)
    return SimpleNamespace(suffix=SimpleNamespace(layers=[layer]), loaded=loaded, suffix_positions=positions, longest=longest)


def test_a_step_is_worth_capturing() -> None:
    assert worth(a_state(), WORTH)
    assert not worth(a_state(), WORTH - 1)  # hardly anything is left to decode
    assert not worth(a_state(fused=False), 100)  # nothing may be compiled for this model
    assert not worth(a_state(room=False), 100)  # no question has been run yet


def test_no_step_is_captured_in_which_a_window_would_move() -> None:
    assert worth(a_state(window=100 + 10 + ROOM), 100)
    assert not worth(a_state(window=100 + 10 + ROOM - 1), 100)


# ---------------------------------------------------------------- keys and values with room


def test_a_layer_with_room_holds_what_a_growing_one_does() -> None:
    from transformers.cache_utils import DynamicLayer

    torch.manual_seed(0)
    ours, theirs = growing_layer()(), DynamicLayer()
    rows = 4
    for step in range(2 * ROOM):
        tokens = 7 if step == 0 else 1
        keys, values = torch.randn(rows, 2, tokens, 4), torch.randn(rows, 2, tokens, 4)
        for given, wanted in zip(ours.update(keys, values), theirs.update(keys, values), strict=True):
            assert torch.equal(given, wanted)
        if step == ROOM // 2:
            kept = torch.tensor([0, 2, 3])
            ours.batch_select_indices(kept)
            theirs.batch_select_indices(kept)
            rows = 3
        assert ours.get_seq_length() == theirs.get_seq_length()


def test_a_token_is_put_where_the_slot_says_and_the_layer_settles_there() -> None:
    layer = growing_layer()()
    first, second = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 1, 4)
    layer.update(first, first)
    layer.slot = torch.tensor([3])
    keys, _ = layer.update(second, second)
    assert keys.shape[-2] == 3 + ROOM
    assert torch.equal(keys[..., 3:4, :], second)
    layer.settle(4)
    assert torch.equal(layer.keys, torch.cat([first, second], -2))
    assert layer.get_seq_length() == 4


def test_the_room_is_empty() -> None:
    made = with_room(torch.ones(1, 1, 2, 3))
    assert made.shape == (1, 1, 2 + ROOM, 3)
    assert made[..., 2:, :].abs().sum() == 0
