"""Shared ground of the tests: small folders of images, studies of scripted models over them, and the command line."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from small import Cli, write_study

os.environ["COLUMNS"] = "100"  # tables are as wide as the terminal: here the same wherever the tests run
os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels run on the CPU; Triton asks once, when it is first imported


@pytest.fixture
def small_study(tmp_path: Path) -> Path:
    """A study file of two scripted models on twelve images, ready to run."""
    return write_study(tmp_path)


@pytest.fixture
def edited(small_study: Path) -> Callable[[str, str], Path]:
    """The small study with one piece of its text replaced."""

    def edit(old: str, new: str) -> Path:
        text = small_study.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in the study"
        small_study.write_text(text.replace(old, new, 1), encoding="utf-8")
        return small_study

    return edit


@pytest.fixture
def cli() -> Cli:
    """The command line, in this process: ``cli("run", study, "--out", folder)``. A traceback fails the test."""

    def call(*words: object, exit_code: int | None = 0) -> Result:
        from palpate.cli import main

        result = CliRunner().invoke(main, [str(w) for w in words], prog_name="palpate")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        if exit_code is not None:
            assert result.exit_code == exit_code, result.output
        return result

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the small study. Shared: read it, never change it (``shutil.copytree`` for that)."""
    from palpate.pipeline import run
    from palpate.study import Study

    folder = tmp_path_factory.mktemp("finished")
    run(Study.load(write_study(folder)), folder / "run")
    return folder / "run"


NOBODY = 65534


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A fresh folder, in a process without root's right to write everywhere (file modes say nothing to root)."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        folder.chmod(0o777)
        if os.geteuid() != 0:
            yield folder
            return
        os.chown(folder, NOBODY, -1)
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield folder
        finally:
            os.setresuid(0, 0, 0)
