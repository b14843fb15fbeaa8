"""The tutorial and how-to pages are done as they stand, in an empty folder, offline: files written, commands typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from chat_server import ChatServer
from pages_run import Reader, Said, shape
from palpate.registry import parts
from small import make_images

NEVER_TYPED = r"^palpate view .*$"  # serves until it is told to end: tests/unit/serve types it


def small(text: str) -> str:
    """Twelve images in place of eighty, and models that cost nothing in place of the bundled ones."""
    text = re.sub(r'(\[\[models\]\]\nname = "phantom[^\n]*)', r'\1\nkind = "scripted"', text)
    return text.replace("--per-class 40", "--per-class 6")


def local() -> None:
    pytest.importorskip("torch")
    if not {"phantom-llava", "phantom-llava-med"} <= set(parts("models")["bundled"].presets()):
        pytest.skip("the weights of the bundled models are not in this installation")


def follow(folder: Path, page: str, change: Callable[[str], str]) -> list[Said | str]:
    """The page done, with an endpoint where it says that there is one."""
    with ChatServer().running() as server:

        def fit(text: str) -> str:
            text = re.sub(NEVER_TYPED, "", text, flags=re.MULTILINE)
            return change(text).replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")

        reader = Reader(folder, fit, {"NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "1"})
        return list(reader.follow(page))


def commands(done: list[Said | str]) -> list[Said]:
    return [said for said in done if isinstance(said, Said)]


def check_tutorial(done: list[Said | str], folder: Path, gate: int) -> None:
    typed = commands(done)
    assert [s.command.split()[1] if s.command.startswith("palpate") else s.command.split()[0] for s in typed] == [
        *("python", "inspect", "plan", "run", "show", "gate", "echo", "plan", "run")
    ]
    for said in typed:
        expected = gate if said.command.startswith("palpate gate") else 0
        assert said.code == expected, f"{said.command}: {said.out}"
    assert typed[6].out == f"{gate}\n"
    assert (folder / "ward" / "runs" / "chest" / "report.html").stat().st_size > 100_000
    served = typed[-1].out
    assert "served on this machine" in served
    assert re.search(r"\d tokens out|\d+ out; [\d.]+ USD", " ".join(served.split())), served
    assert "got an answer" in served


def test_the_tutorial_with_a_few_images(tmp_path: Path) -> None:
    """Every command and file of it; what it shows is compared at full size."""
    done = follow(tmp_path, "tutorial.md", small)
    check_tutorial(done, tmp_path, gate=1)


@pytest.mark.local
@pytest.mark.slow
def test_the_tutorial_shows_what_it_says(tmp_path: Path) -> None:
    local()
    done = follow(tmp_path, "tutorial.md", lambda text: text)
    check_tutorial(done, tmp_path, gate=1)
    said = ""
    compared = 0
    for one in done:
        if isinstance(one, Said):
            said += " ".join([*shape(one.out), ""])
        elif "ward/chest" not in one:
            for line in shape(one):
                assert line in said, line
                compared += 1
    assert compared >= 9


def test_a_task_of_ones_own(tmp_path: Path) -> None:
    make_images(tmp_path / "effusion-images", 10, labels=("effusion", "none"))
    done = commands(
        follow(tmp_path, "own-task.md", lambda text: text.replace('name = "phantom-llava"', 'name = "m"\nkind = "scripted"'))
    )
    assert [s.command for s in done] == [f"palpate plan {name}-study.toml" for name in ("effusion", "renamed", "wordings")]
    for said in done:
        assert said.code == 0, said.out
    assert re.search(r"Pleural effusion|effusion +20 +10 +\d+ +12", done[0].out), done[0].out
    assert re.search(r"pneumonia_cxr +20 +10 +20 +12", done[1].out), done[1].out
    assert re.search(r"effusion +20 +10 +20 +3 ", done[2].out), done[2].out


def test_the_order_of_numbers_is_no_shape() -> None:
    assert shape("a 1,920 of 0.75\n\n b  −3 to +4\n") == ["a # of #", "b −# to +#"]
