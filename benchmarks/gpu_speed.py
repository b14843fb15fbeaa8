"""Responses a second of published model sizes on one GPU: the usual loop, Palpate, and vLLM where it is installed.

    python -m benchmarks.gpu_speed [--models llava gemma] [--ways compiled flash unrepeated repeated] [--images 128] [--at-once 64]

LLaVA-1.6-Mistral-7B and Gemma-3-4B in their real sizes with random weights: the arithmetic does not depend on their values, and
nothing is downloaded. Every answer has exactly ``--new`` tokens. Images are PIL images; their preprocessing is part of the time
on every side. The loop asks one prompt on one image at a time, as published evaluation code does, on ``--loop-images`` images.
``flash`` is ``compiled`` with the vision tower through flash-attn-4, which must be installed. vLLM is asked everything at once, and
primed: the first prompt of every image goes first. Prints a table and writes build/gpu_speed.json. ``--size tiny``: to test it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.gpu_checkpoints import MAKERS
from palpate.models import _hf_ahead, _hf_attend, _hf_load, _hf_prefix
from palpate.models._hf_model import HFModel
from palpate.models.hf import HFKind
from palpate.nouns import Block, Case, Form, Perturbation, Polarity, Prompt, Stimulus, Trial
from palpate.parts import ModelSpec

PIXELS = {"llava": 512, "gemma": 896}
QUESTION = {"llava": 24, "gemma": 24}
"""Characters, each a token, of a question: with what the template puts behind it, 32 tokens after the image."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way of asking: responses a second, from how many responses."""

    model: str
    way: str
    responses: int
    seconds: float

    @property
    def rate(self) -> float:
        """Responses a second, preprocessing included."""
        return self.responses / self.seconds


def stimuli(model: str, images: int, prompts: int, size: int, seed: int = 0) -> list[Stimulus]:
    """``seed``'s noise images with ``prompts`` questions of 32 tokens after the image each, unlike from the first."""
    rng, words_of, none = np.random.default_rng(seed), np.random.default_rng(0), Perturbation()
    letters = [chr(ord("a") + i) for i in range(26)]
    words = ["".join([letters[i % 26], *words_of.choice(letters, QUESTION[model] - 1)]) for i in range(prompts)]
    asked = [Prompt(f"p{i}", word, Form.YES_NO, Polarity.POSITIVE, "target") for i, word in enumerate(words)]
    found = []
    for index in range(images):
        case = Case(f"{model}{index}", index % 2, f"g{index}", f"d{index}", None)  # type: ignore[arg-type]
        trials = tuple(Trial(f"{index}|{p.name}", "m", "t", case.id, none, p) for p in asked)
        picture = Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8))
        found.append(Stimulus(Block("m", "t", case, none, trials), picture))
    return found


def random_weights(auto: Any, checkpoint: Any, settings: Any, dtype: Any) -> Any:
    """The architecture with random weights, made on the device itself: seven billion numbers take minutes on a CPU."""
    import torch
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(checkpoint.folder)
    own = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(_hf_load._own_gpu(_hf_load.device_of(settings))):
            return auto.from_config(config)
    finally:
        torch.set_default_dtype(own)


def palpate_model(folder: Path, new: int, device: str, **options: Any) -> HFModel:
    """A model of kind hf on that folder, answers of exactly ``new`` tokens."""
    fixed = {"path": str(folder), "twin": "random", "device": device, "max_new_tokens": new, "min_new_tokens": new}
    made = HFKind().build(ModelSpec("m", "hf", {**fixed, **options}))
    assert isinstance(made, HFModel)
    return made


def timed(work: Callable[[], int]) -> tuple[int, float]:
    """(responses, seconds)."""
    import torch

    started = time.perf_counter()
    responses = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return responses, time.perf_counter() - started


def loop(model: HFModel, asked: Sequence[Stimulus], new: int) -> int:
    """processor and generate() per image and prompt."""
    import torch

    ready = model._loaded()
    loaded, encoder = ready.loaded, ready.encoder
    count = 0
    for stimulus in asked:
        for trial in stimulus.block.trials:
            assert stimulus.image is not None
            inputs = encoder.batch([encoder.render(trial.prompt.text, image=True)], [stimulus.image])
            moved = {
                n: v.to(loaded.device, loaded.model.dtype) if v.is_floating_point() else v.to(loaded.device)
                for n, v in inputs.items()
            }
            with torch.inference_mode():
                out = loaded.model.generate(**moved, max_new_tokens=new, min_new_tokens=new, do_sample=False)
            loaded.tokenizer.decode(out[0, moved["input_ids"].shape[1] :])
            count += 1
    return count


def ours(model: HFModel, asked: Sequence[Stimulus]) -> int:
    """As a run asks."""
    answers = model.ask(asked)
    failed = [a.error for row in answers for a in row if a.error]
    if failed:
        raise SystemExit(f"{len(failed)} answers failed: {failed[0]}")
    return sum(map(len, answers))


VLLM = {"at once": [slice(None)], "primed": [slice(0, 1), slice(1, None)]}
"""Ways of asking vLLM → which of every image's prompts go together."""


def vllm(folder: Path, name: str, given: argparse.Namespace, size: int, rendered: Mapping[str, str]) -> Iterator[Row]:
    """vLLM with prefix caching and its own random weights: every request at once; and primed, the first prompt of each image first.

    Its images are new every time, and named, so that it need not hash their pixels once for every prompt. ``rendered``: question →
    prompt.
    """
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=str(folder),
        load_format="dummy",
        dtype="bfloat16",
        enable_prefix_caching=True,
        limit_mm_per_prompt={"image": 1},
        max_model_len=4096,
        mm_processor_cache_gb=16,
    )
    how = SamplingParams(temperature=0.0, max_tokens=given.new, ignore_eos=True)

    def requests(seed: int, images: int, turns: Sequence[slice]) -> list[list[dict[str, Any]]]:
        return [
            [
                {
                    "prompt": rendered[trial.prompt.text],
                    "multi_modal_data": {"image": one.image},
                    "multi_modal_uuids": {"image": f"{seed}.{i}"},
                }
                for i, one in enumerate(stimuli(name, images, given.prompts, size, seed))
                for trial in one.block.trials[turn]
            ]
            for turn in turns
        ]

    def answers(asked: list[list[dict[str, Any]]]) -> int:
        return sum(len(engine.generate(together, how, use_tqdm=False)) for together in asked)

    for seed, way in enumerate(given.vllm_ways, 1):
        answers(requests(seed, min(given.images, 16), VLLM[way]))  # warm up
        asked = requests(1000 + seed, min(given.images, given.vllm_images), VLLM[way])
        yield Row(name, f"vLLM, {way}", *timed(lambda a=asked: answers(a)))  # type: ignore[misc]


WAYS: dict[str, dict[str, Any]] = {
    "unrepeated": {"attend": "unrepeated"},
    "compiled": {"attend": "unrepeated", "compiled": True},
    "flash": {"attend": "unrepeated", "compiled": True, "vision_attention": "flash_attention_4"},
    "repeated": {"attend": "repeated"},
}
"""Ways of Palpate → options of the model."""


def measure(name: str, given: argparse.Namespace, folder: Path) -> list[Row]:
    """Every way on one model."""
    size = PIXELS[name] if given.size == "real" else 64
    asked = stimuli(name, given.images, given.prompts, size)
    rows: list[Row] = []
    _hf_load._twin = random_weights
    for way in given.ways:
        model = palpate_model(folder, given.new, given.device, images_at_once=given.at_once, **WAYS[way])
        rendered = {t.prompt.text: model._loaded().encoder.render(t.prompt.text, image=True) for t in asked[0].block.trials}
        if not rows and given.loop_images:
            with as_published(model._loaded().loaded.model):
                loop(model, asked[:1], 2)
                measured = timed(lambda m=model: loop(m, asked[: given.loop_images], given.new))  # type: ignore[misc]
            rows.append(Row(name, "loop: generate() per prompt", *measured))
            show(rows)
        ours(model, asked)  # warm up
        rows.append(Row(name, f"Palpate, {way}", *timed(lambda m=model: ours(m, asked))))  # type: ignore[misc]
        show(rows[-1:])
        if given.split:
            with splitting() as spent:
                ours(model, asked)
            print("    " + ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in spent.items()), flush=True)
        if given.profile:
            profiled(model, asked[: given.at_once], Path(given.profile) / f"{name}-{way}.txt")
        model.close()
    if given.vllm and find_spec("vllm") is not None:
        for row in vllm(folder, name, given, size, rendered):
            rows.append(row)
            show(rows[-1:])
    return rows


@contextmanager
def as_published(model: Any) -> Iterator[None]:
    """No part of it is compiled while this lasts."""
    compiled = [(module, module.__dict__.pop("forward")) for module in model.modules() if "forward" in module.__dict__]
    try:
        yield
    finally:
        for module, forward in compiled:
            module.forward = forward


@contextmanager
def splitting() -> Iterator[dict[str, float]]:
    """Phase → seconds, filled in while the block runs; waiting for the GPU after each makes the whole slower than it is."""
    import torch

    spent = {"waiting for images": 0.0, "prefill": 0.0, "questions": 0.0, "decoding": 0.0}

    def clocked(work: Callable[..., Any], phase: Callable[[Any], str]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            torch.cuda.synchronize()
            started = time.perf_counter()
            done = work(*given, **named)
            torch.cuda.synchronize()
            spent[phase(named)] += time.perf_counter() - started
            return done

        return run

    def step(named: Any) -> str:
        return "questions" if named["input_ids"].shape[1] > 1 else "decoding"

    def waiting(ahead: Any, *given: Any) -> Iterator[Any]:
        parts, started = own[2](ahead, *given), time.perf_counter()
        for part in parts:
            spent["waiting for images"] += time.perf_counter() - started
            yield part
            started = time.perf_counter()

    own = _hf_prefix._prefill, _hf_attend.Unrepeated.forward, _hf_ahead.Ahead.parts
    _hf_ahead.Ahead.parts = waiting  # type: ignore[method-assign]
    _hf_prefix._prefill = clocked(own[0], lambda _: "prefill")
    _hf_attend.Unrepeated.forward = clocked(own[1], step)  # type: ignore[method-assign]
    started = time.perf_counter()
    try:
        yield spent
    finally:
        spent["the rest"] = time.perf_counter() - started - sum(spent.values())
        _hf_prefix._prefill, _hf_attend.Unrepeated.forward, _hf_ahead.Ahead.parts = own  # type: ignore[method-assign]


def profiled(model: HFModel, asked: Sequence[Stimulus], target: Path) -> None:
    """Kernels by the time they take, into a text file."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        ours(model, asked)
    target.parent.mkdir(parents=True, exist_ok=True)
    table = found.key_averages().table(sort_by="self_cuda_time_total", row_limit=50, max_name_column_width=90)
    target.write_text(table, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["real", "tiny"], default="real")
    parser.add_argument("--models", nargs="+", choices=sorted(MAKERS), default=sorted(MAKERS))
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--new", type=int, default=40)
    parser.add_argument("--ways", nargs="+", choices=sorted(WAYS), default=["compiled", "unrepeated"])
    parser.add_argument("--loop-images", type=int, default=1, help="images the loop is timed on; 0: no loop")
    parser.add_argument("--split", action="store_true", help="run once more and say how long each phase took")
    parser.add_argument("--profile", help="folder for a table of kernels, from one more run")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--vllm-images", type=int, default=64, help="images vLLM is timed on; at most --images")
    parser.add_argument("--vllm-ways", nargs="+", choices=sorted(VLLM), default=sorted(VLLM))
    parser.add_argument("--no-vllm", dest="vllm", action="store_false")
    parser.add_argument("--json", default="build/gpu_speed.json")
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        for name in given.models:
            folder = Path(place) / name
            MAKERS[name](folder, tiny=given.size == "tiny")
            rows += measure(name, given, folder)
    print()
    show(rows)
    target = Path(given.json)
    target.parent.mkdir(parents=True, exist_ok=True)
    facts = {"date": datetime.now(UTC).date().isoformat(), "device": _device(), **_versions(), "arguments": vars(given)}
    facts["rows"] = [{**asdict(row), "rate": row.rate} for row in rows]
    target.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return rows


def show(rows: Sequence[Row]) -> None:
    """The table."""
    loops = {row.model: row.rate for row in rows if row.way.startswith("loop")}
    print(f"{'model':<8} {'way':<30} {'responses/s':>12} {'x the loop':>11}")
    for row in rows:
        ratio = f"{row.rate / loops[row.model]:.1f}" if row.model in loops else "–"
        print(f"{row.model:<8} {row.way:<30} {row.rate:>12.2f} {ratio:>11}", flush=True)


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _versions() -> dict[str, str]:
    found = {}
    for package in ("torch", "transformers", "vllm"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


if __name__ == "__main__":
    main()
