"""The page of errors that most people meet first: each is made to happen, and says what the page says."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from small import STUDY, Cli, make_images, write_study

PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
SECTION = re.compile(r"^### (?P<title>.+?)\n(?P<body>.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
SCRIPTED = 'kind = "scripted"\naccuracy = 0.7\nrefusal_rate = 0.05'
SHOWN = {
    m["title"]: re.findall(r"^```text\n(.*?)^```", m["body"], re.MULTILINE | re.DOTALL)
    for m in SECTION.finditer(PAGE.read_text("utf-8"))
}


def planned(old: str, new: str) -> Callable[[Cli, Path], str]:
    """What `plan` says of the small study with one piece changed."""

    def happen(cli: Cli, study: Path) -> str:
        assert old in STUDY
        study.write_text(STUDY.replace(old, new, 1), encoding="utf-8")
        return cli("plan", study, exit_code=2).stderr

    return happen


def offline(old: str, new: str) -> Callable[[Cli, Path], str]:
    """The same where the hub cannot be reached."""

    def happen(cli: Cli, study: Path) -> str:
        constants = pytest.importorskip("huggingface_hub.constants")
        with patch.object(constants, "HF_HUB_OFFLINE", True):
            return planned(old, new)(cli, study)

    return happen


def beside(folder: str, happen: Callable[[Cli, Path], str]) -> Callable[[Cli, Path], str]:
    """The same where the study has a folder beside it."""

    def made(cli: Cli, study: Path) -> str:
        (study.parent / folder).mkdir()
        return happen(cli, study)

    return made


def run(old: str, new: str, out: str = "other") -> Callable[[Cli, Path], str]:
    def happen(cli: Cli, study: Path) -> str:
        assert old in STUDY
        study.write_text(STUDY.replace(old, new, 1), encoding="utf-8")
        return cli("run", study, "--out", study.parent / out, "--quiet", exit_code=2).stderr

    return happen


def without(old: str, new: str, *modules: str) -> Callable[[Cli, Path], str]:
    """What `run` says where modules are not installed."""

    def happen(cli: Cli, study: Path) -> str:
        with patch.dict(sys.modules, dict.fromkeys(modules)):
            return run(old, new)(cli, study)

    return happen


def of_run(*words: str) -> Callable[[Cli, Path], str]:
    def happen(cli: Cli, study: Path) -> str:
        return cli(words[0], study.parent / words[1], *words[2:], exit_code=2).stderr

    return happen


HAPPENS: dict[str, Callable[[Cli, Path], str]] = {
    "A slip of the pen": planned("seed = 3", "sead = 3"),
    "A backslash": planned('"(person\\\\d+)"', '"(person\\d+)"'),
    "A name that nothing has": planned("pneumonia_cxr", "pneumonia_xr"),
    "The folder is not there": planned('"images"', '"imges"'),
    "Labels it does not know": planned('"images"', '"unlabelled"'),
    "Something is not installed": without(SCRIPTED, 'kind = "hf"\npath = "."', "torch", "transformers"),
    "The checkpoint is not there": planned(SCRIPTED, 'kind = "hf"\npath = "./checkpoints/mine"'),
    "A folder was taken for a hub id": beside("checkpoints", offline(SCRIPTED, 'kind = "hf"\npath = "checkpoints/mine"')),
    "A checkpoint of the hub cannot be fetched": offline(SCRIPTED, 'kind = "hf"\npath = "google/medgemma-4b-it"'),
    "Nothing answers at the endpoint": run(SCRIPTED, 'kind = "endpoint"\nbase_url = "http://127.0.0.1:9/v1"\ntries = 1'),
    "A key is missing": run(SCRIPTED, 'kind = "endpoint"'),
    "The folder holds another study": run('name = "small"', 'name = "smaller"', "run"),
    "It is not a run": of_run("report", "nothing"),
    "Where a trial's key is": of_run("show", "run", "zz"),
}


@pytest.fixture
def study(tmp_path: Path, finished: Path) -> Path:
    """The small study, its run, and a folder whose labels nobody knows."""
    shutil.copytree(finished, tmp_path / "run")
    make_images(tmp_path / "unlabelled", 2, labels=("healthy", "sick"))
    return write_study(tmp_path)


def pattern(shown: str) -> str:
    """The page's words, in which … stands for anything."""
    return ".*".join(map(re.escape, shown.strip().split("…")))


@pytest.mark.parametrize("title", HAPPENS)
def test_the_error_is_as_the_page_says(title: str, cli: Cli, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (shown,) = SHOWN[title]
    told = HAPPENS[title](cli, study).replace(f"{study.parent}/study.toml", "study.toml").replace(f"{study.parent}/", "")
    told = told.replace("there is no folder ", "there is no folder /").replace("did you mean images", "did you mean /images")
    assert re.search(pattern(shown), told, re.DOTALL), told


def test_every_error_of_the_page_is_made_to_happen() -> None:
    assert {title for title, shown in SHOWN.items() if shown} == set(HAPPENS)
