"""Real checkpoints with a part broken on purpose: the ladder names that part. The bundled LLaVA on phantom brains, on one core."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from palpate.nouns import Estimate
from palpate.pipeline import run
from palpate.results import Results
from palpate.study import Study

pytestmark = [pytest.mark.slow, pytest.mark.local]
torch = pytest.importorskip("torch")

SPEC = importlib.util.find_spec("palpate.models")
assert SPEC is not None
assert SPEC.submodule_search_locations is not None
INTACT = Path(SPEC.submodule_search_locations[0]) / "bundled" / "phantom-llava"
PER_CLASS = int(os.environ.get("PALPATE_CASES", "150"))

STUDY = """
name = "broken"
prompts = "own"

[sample]
per_class = {per_class}

{models}

[[tasks]]
name = "brain_tumor_phantom"
wordings = [{{ name = "target", text = "Does this image contain evidence of tumors?", form = "yes-no" }}]

[features]
layers = [-1]

[measure]
draws = 100
"""
Weights = dict[str, "torch.Tensor"]


def broken_projector(weights: Weights) -> None:
    """What the projector gives no longer depends on the image."""
    names = [n for n in weights if "projector" in n and n.endswith("weight")]
    assert names
    for name in names:
        weights[name] = torch.zeros_like(weights[name])


def broken_head(weights: Weights, words: list[int]) -> None:
    """Every spelling of yes and no gets the same row: the last layer's state no longer decides between them."""
    # The head shares its rows with the embedding of tokens, and a prompt holds none of these words.
    name = next(n for end in ("lm_head.weight", "embed_tokens.weight") for n in weights if n.endswith(end))
    weights[name][words] = weights[name][words].float().mean(dim=0).to(weights[name].dtype)


def checkpoint(folder: Path, change: Callable[[Weights], None]) -> Path:
    """A copy of the bundled checkpoint with its weights changed."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(INTACT, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def yes_and_no() -> list[int]:
    """Token ids of all spellings of yes and no, with and without the space before them."""
    from tokenizers import Tokenizer

    from palpate.nouns import NO_SPELLINGS, YES_SPELLINGS

    tokenizer = Tokenizer.from_file(str(INTACT / "tokenizer.json"))
    spelt = [s for word in (*YES_SPELLINGS, *NO_SPELLINGS) for s in (word, f" {word}")]
    return sorted({ids[-1] for s in spelt if len(ids := tokenizer.encode(s, add_special_tokens=False).ids)})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    if not (INTACT / "model.safetensors").exists():
        pytest.skip("the weights are not in this installation")
    folder = tmp_path_factory.mktemp("broken")
    words = yes_and_no()
    paths = {
        "intact": checkpoint(folder / "intact", lambda weights: None),
        "projector": checkpoint(folder / "projector", broken_projector),
        "head": checkpoint(folder / "head", lambda weights: broken_head(weights, words)),
    }
    models = "\n".join(
        f'[[models]]\nname = "{n}"\nkind = "hf"\npath = "{p}"\ndevice = "cpu"\nmax_new_tokens = 3\n' for n, p in paths.items()
    )
    (folder / "study.toml").write_text(STUDY.format(per_class=PER_CLASS, models=models), encoding="utf-8")
    return run(Study.load(folder / "study.toml"), folder / "run")


def losses(results: Results, model: str) -> dict[str, Estimate]:
    return {e.by["step"]: e for e in results.measure("ladder_loss", where={"model": model})}


def bottleneck(results: Results, model: str) -> list[str]:
    found = losses(results, model)
    print(model, {step: (e.value and round(e.value, 3), e.verdict) for step, e in found.items()})
    return [step for step, e in found.items() if e.verdict == "bottleneck"]


def test_a_projector_that_passes_nothing_on_is_the_bottleneck(results: Results) -> None:
    assert bottleneck(results, "projector") == ["read>projector"]


def test_a_head_that_cannot_tell_yes_from_no_is_the_bottleneck(results: Results) -> None:
    # Without rows of their own the answer words are never said: the text is lost too, and more.
    assert losses(results, "head")["last>margin"].verdict in ("loss", "bottleneck")
    assert set(bottleneck(results, "head")) <= {"last>margin", "margin>text"}
    (latent,) = results.measure("representation_loss", where={"model": "head"})
    assert latent.verdict == "latent"


def test_neither_is_named_in_the_intact_checkpoint(results: Results) -> None:
    assert not {"read>projector", "last>margin"} & set(bottleneck(results, "intact"))
