"""The how-to pages are true: in a folder like the one they speak of their commands and their Python run, their tables are valid."""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from palpate.cli import main
from palpate.results import Results
from palpate.store.browsing import Wanted
from palpate.study import Study
from palpate.study_file import StudyFile
from palpate.task import TaskFile
from small import make_images, write_study
from test_docs import PAGES, ROOT, blocks, commands

ELSEWHERE = {
    "README.md": "the tutorial is the same, and is done word for word",
    "tutorial.md": "tests/test_pages_run.py",
    "own-task.md": "tests/test_pages_run.py",
    "endpoints.md": "the tutorial asks an endpoint; tests/golden/test_endpoint_study.py",
    "scale.md": "tests of the executor start Ray",
}
SERVES = ("view", "label")  # until they are told to end: tests/unit/serve
FOREIGN = ("--kind dicom", "samples_vqa_rad", "vqa.eval", "VQARAD")  # files of others: tests/unit/cases, tests/unit/imports
KEY = "3025dab15c9d"
GATES = {"gate": {0, 1, 2}, "compare": {0, 1, 2}}
RUNS = ("chest", "march", "april", "release", "candidate", "demo", "phantom", "pilot")
TYPED = [
    (page.name, " ".join(map(_quoted, words)), words)
    for _quoted in [lambda word: f"'{word}'" if " " in word else word]
    for page in PAGES
    for words in commands(page)
    if page.name not in ELSEWHERE and words and not words[0].startswith("-")
    if words[0] not in SERVES and not any(part in " ".join(words) for part in FOREIGN)
]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A folder with the studies, images, answers and runs that the pages name."""
    folder = tmp_path_factory.mktemp("there")
    for name in ("chest", "pilot", "study"):
        write_study(folder).rename(folder / f"{name}.toml")  # "small" all of them, as the finished run is
    (folder / "studies").mkdir()
    write_study(folder / "studies").rename(folder / "studies" / "chest.toml")
    page = next(p for p in PAGES if p.name == "gate.md")
    for place in (folder, folder / "studies"):
        (place / "release.toml").write_text(blocks(page, "toml")[0], encoding="utf-8")
    for name in RUNS:
        if name != "pilot":
            shutil.copytree(finished, folder / "runs" / name)
    (folder / "answers.csv").write_text(blocks(next(p for p in PAGES if p.name == "importing.md"), "csv")[0], encoding="utf-8")
    return folder


@pytest.fixture
def here(there: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(there)
    yield there
    shutil.rmtree(there / "runs" / "mine", ignore_errors=True)


@pytest.mark.parametrize(("page", "shown", "words"), TYPED, ids=[f"{page}: {shown}"[:90] for page, shown, _ in TYPED])
def test_the_command_runs(page: str, shown: str, words: list[str], here: Path) -> None:
    if KEY in words:
        found = Results.open("runs/chest").answers(Wanted(), 1)
        words = [found.answers[0][0].key[:12] if word == KEY else word for word in words]
    if page == "plan.md" and "--pilot" in words and not (here / "runs" / "pilot").exists():
        assert CliRunner().invoke(main, ["run", "pilot.toml", "--out", "runs/pilot", "-q"]).exit_code == 0
    done = CliRunner().invoke(main, words, prog_name="palpate")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code in GATES.get(words[0], {0}), done.output
    assert "palpate: " not in done.stderr, done.stderr
    assert done.stdout.strip()


def test_enough_of_the_pages_is_typed() -> None:
    assert len(TYPED) >= 18
    assert {page for page, _, _ in TYPED} >= {"compare.md", "gate.md", "importing.md", "labelling.md", "plan.md", "export.md"}


PYTHON = {page.name: blocks(page, "python") for page in PAGES if page.name in ("api.md", "report.md", "gate.md", "reading.md")}


@pytest.mark.parametrize("page", PYTHON)
def test_the_python_runs(page: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The blocks of a page one after another, as a reader types them."""
    names: dict[str, Any] = {}
    exec("import palpate", names)
    for block in PYTHON[page]:
        if "raise SystemExit" in block:
            with pytest.raises(SystemExit) as ended:
                exec(compile(block, page, "exec"), names)
            assert ended.value.code in (0, 1, 2)
        else:
            exec(compile(block, page, "exec"), names)
    if page == "api.md":
        assert (here / "chest.html").exists()
        assert "ba_all" in capsys.readouterr().out
    if page == "reading.md":
        found = names["found"]
        assert (str(found.outcome), found.span, found.rule) == ("negative", (0, 2), "leading word")


TABLES = [(page.name, i, body) for page in PAGES for i, body in enumerate(blocks(page, "toml"))]


@pytest.mark.parametrize(("page", "body"), [t[::2] for t in TABLES], ids=[f"{page} {i}" for page, i, _ in TABLES])
def test_every_table_is_one_that_a_study_may_have(page: str, body: str) -> None:
    """A piece of a study becomes a study with the least around it; a task's file is a task's file."""
    piece = tomllib.loads(body)
    if "labels" in piece:
        TaskFile.model_validate(piece)
        return
    if isinstance(piece.get("tasks"), dict):  # [tasks.source] alone: of the [[tasks]] above it
        piece["tasks"] = [{"name": "pneumonia_cxr", **piece["tasks"]}]
    least = {"name": "x", "models": [{"name": "phantom-llava"}], "tasks": [{"name": "pneumonia_phantom"}]}
    StudyFile.model_validate(least | piece)


@pytest.mark.parametrize("name", ["chest", "skin"])
def test_an_example_study_fits_such_images(name: str, tmp_path: Path) -> None:
    """The examples name images beside the repository's own folder: drawn there, they are planned."""
    (tmp_path / "examples").mkdir()
    text = (ROOT / "examples" / f"{name}.toml").read_text(encoding="utf-8")
    for model in ("phantom-llava-med", "phantom-llava", "phantom-medgemma", "phantom-gemma"):
        text = text.replace(f'name = "{model}"', f'name = "{model}"\nkind = "scripted"')
    file = tmp_path / "examples" / f"{name}.toml"
    file.write_text(text, encoding="utf-8")
    if name == "chest":
        make_images(tmp_path / "chest", 4, labels=("PNEUMONIA", "NORMAL"))
    else:
        made = make_images(tmp_path / "skin", 4, labels=("mel", "nv"))
        files = sorted(made.glob("*/*.png"))
        rows = [f"{f.relative_to(made)},{'malignant' if f.parent.name == 'mel' else 'benign'},{f.stem[:10]}" for f in files]
        (made / "labels.csv").write_text("\n".join(["file,label,lesion_id", *rows]), encoding="utf-8")
    from palpate.stages.plan import plan

    planned = plan(Study.load(file))
    assert sum(len(found.cases) for found in planned.cases.values()) == 8
    assert all(not found.left_out for found in planned.cases.values())


def test_the_example_of_the_library_runs(there: Path) -> None:
    import subprocess

    command = [sys.executable, str(ROOT / "examples" / "library.py"), "study.toml", "runs/library"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=there, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr  # the small study demands nothing, so nothing was shown
    assert "0." in done.stdout
    assert "Traceback" not in done.stderr
