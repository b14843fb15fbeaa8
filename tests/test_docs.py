"""The documentation is true: links lead somewhere, code compiles, commands exist, and the generated pages name everything."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from itertools import takewhile
from pathlib import Path
from types import ModuleType

import click
import pytest

from palpate.cli import main
from palpate.registry import parts
from palpate.study_file import StudyFile

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("training/*.md")])
IDS = [p.relative_to(ROOT).as_posix() for p in PAGES]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def load_pages() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "docs" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return dict(load_pages().pages())


def blocks(page: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path, generated: dict[str, str]) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            there = (page.parent / target).resolve()
            made = there.parent.name == "reference" and there.name in generated
            assert there.exists() or made, target


def test_every_page_has_its_place_in_the_site(generated: dict[str, str]) -> None:
    """A new page goes under what people look for: `nav` in mkdocs.yml."""
    placed = re.findall(r"^ +- .+: (\S+\.md)$", read(ROOT / "mkdocs.yml"), re.MULTILINE)
    pages = {p.name for p in (ROOT / "docs").glob("*.md")} | {f"reference/{name}" for name in generated}
    assert sorted(placed) == sorted(pages)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_examples_are_well_formed(page: Path) -> None:
    for body in blocks(page, "python"):
        compile(body, str(page), "exec")
    for body in blocks(page, "toml"):
        tomllib.loads(body)


def commands(page: Path) -> list[list[str]]:
    """The words of every `palpate …` line of the page's shell examples, comments and pipes cut off."""
    lines = "\n".join(blocks(page, "sh", "bash", "console", "yaml", "")).replace("\\\n", " ").splitlines()
    found = [re.search(r"(?:^|\$ |run: |&& )\s*(palpate .*)", line) for line in lines]
    return [first_command(m.group(1))[1:] for m in found if m]


def first_command(line: str) -> list[str]:
    """The words up to a comment or anything that ends a command: a pipe, a redirection, a semicolon."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    return list(takewhile(lambda word: not set(word) <= set("|&;<>()"), words))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_exist_with_their_flags(page: Path) -> None:
    for words in commands(page):
        if not words or words[0].startswith("-"):
            continue
        assert words[0] in main.commands, words
        flags = {
            flag for p in main.commands[words[0]].params if isinstance(p, click.Option) for flag in (*p.opts, *p.secondary_opts)
        }
        given = {w.partition("=")[0] for w in words[1:] if w.startswith("-") and w not in ("-", "--help", "-h")}
        assert given <= flags, words


def test_there_are_commands_to_check() -> None:
    assert sum(len(commands(p)) for p in PAGES) >= 10


def test_the_generated_pages_name_everything(generated: dict[str, str]) -> None:
    assert all(f"## palpate {verb}\n" in generated["cli.md"] for verb in main.commands)
    assert all(f"| `{name}` |" in generated["study-file.md"] for name in StudyFile.model_fields)
    estimates = {e for m in parts("measures").values() for e in m.estimates}
    assert all(f"| `{e}` |" in generated["measures.md"] for e in estimates)
    for folder in ("cases", "perturbations", "readings"):
        assert all(f"| `{name}" in generated["names.md"] for name in parts(folder) if name != "imported")


def test_tables_have_as_many_cells_as_columns(generated: dict[str, str]) -> None:
    for name, text in generated.items():
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            rows = [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
            assert len(set(rows)) == 1, (name, table[:200])


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra `docs`")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("bundled", "__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    module = load_pages()
    module.FOLDER = tmp_path / "docs" / "reference"
    module.write()
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stderr
    assert "https://" not in "".join(re.findall(r'<(?:script|link)[^>]*(?:src|href)="([^"]+)"', read(tmp_path / "site/index.html")))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
