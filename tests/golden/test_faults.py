"""What may happen to a run from outside, each thing really done to it: nothing is lost, nothing is mixed, the end is the same."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chat_server import ChatServer
from faults_found import survived
from palpate.errors import ModelError
from palpate.models import _api_ask
from palpate.nouns import Status
from palpate.pipeline import run
from palpate.results import Results, check_run
from palpate.store.folder import RunFolder
from palpate.store.ledger import Ledger
from palpate.study import Study
from small import STUDY, Cli, palpate, write_study

TRIALS = 2 * 12 * 12
Texts = set[tuple[str, int, str, str]]


def texts(run_folder: Path) -> Texts:
    with Ledger(run_folder / "ledger.sqlite") as book:
        return set(book.texts())


def same_end(out: Path, finished: Path) -> None:
    """The run has the answers and the estimates of one that nothing happened to."""
    assert texts(out) == texts(finished)
    assert (out / "estimates.json").read_bytes() == (finished / "estimates.json").read_bytes()
    assert check_run(out).whole


def half(study: Path, out: Path) -> None:
    """A run that was stopped with the first model asked and the second not."""
    text = study.read_text(encoding="utf-8")
    first = STUDY[: STUDY.index('[[models]]\nname = "tuned"')] + STUDY[STUDY.index("[[tasks]]") : STUDY.index("[[pairs]]")]
    study.write_text(first, encoding="utf-8")
    run(Study.load(study), out)
    study.write_text(text, encoding="utf-8")
    for name in ("estimates.json", "report.html", "report.md"):
        (out / name).unlink()


# ---------------------------------------------------------------- read-only disk

root_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a disk")


def mount(disk: Path, options: str) -> bool:
    return not subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, check=False).returncode


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    found = tmp_path / "disk"
    found.mkdir()
    if not mount(found, "size=16m"):
        pytest.skip("this machine does not let root mount")
    yield found
    subprocess.run(["umount", found], check=True)


@root_mounts
def test_a_disk_that_may_only_be_read(cli: Cli, tmp_path: Path, disk: Path, finished: Path) -> None:
    study = write_study(tmp_path)
    half(study, disk / "half")
    shutil.copytree(finished, disk / "whole")
    before = texts(disk / "half")
    assert len(before) == TRIALS // 2
    assert mount(disk, "remount,ro")
    for folder in ("half", "whole", "new"):
        told = cli("run", study, "--out", disk / folder, "-q", exit_code=2).stderr
        assert told.startswith("palpate: ")
        assert "Read-only file system" in told
        assert "choose another --out" in told
    assert not (disk / "new").exists()
    # Looking needs no writing.
    assert "✓ whole" in cli("check", disk / "whole").stdout
    assert cli("measure", disk / "whole").stdout == cli("measure", finished).stdout
    cli("report", disk / "whole", "--out", tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size > 1000
    cli("export", disk / "whole", "--out", tmp_path / "tables")
    assert "cannot be written" in cli("report", disk / "whole", exit_code=2).stderr
    assert mount(disk, "remount,rw")
    for folder in ("half", "whole"):
        cli("run", study, "--out", disk / folder, "-q")
        assert before <= texts(disk / folder)
        same_end(disk / folder, finished)
    survived("readonly", 2)


# ---------------------------------------------------------------- the clock


@pytest.fixture(scope="module")
def wrong_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes a process's wall clock jump at every reading."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    made = tmp_path_factory.mktemp("clock") / "wrong_clock.so"
    source = Path(__file__).parents[1] / "wrong_clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"], check=True)
    return made


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, finished: Path, wrong_clock: Path, workers: int) -> None:
    study = write_study(tmp_path, STUDY + f"[ask]\nworkers = {workers}\n")
    out = tmp_path / "run"
    for _ in range(2):  # and once more on the finished run, at quite another time
        with palpate("run", study, "--out", out, env={"LD_PRELOAD": str(wrong_clock)}) as process:
            _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    with Ledger(out / "ledger.sqlite") as book:
        started = [sitting["started"] for sitting in book.sessions()]
        assert book.seconds() < 60
    assert len(started) == 2
    assert min(abs(_years(s) - _years(time.strftime("%Y-%m-%dT%H:%M:%S"))) for s in started) > 0.01  # it did jump
    with closing(sqlite3.connect(out / "ledger.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM response WHERE seconds < 0 OR seconds > 60").fetchone() == (0,)
    same_end(out, finished)
    survived("clock", 1, part=str(workers))


def _years(stamp: str) -> float:
    year, month, day = map(int, stamp[:10].split("-"))
    return year + month / 12 + day / 365


def test_the_wall_clock_is_read_in_two_places_alone() -> None:
    """When a sitting began, and how long a server's date is away: neither decides on order or duration."""
    source = Path(__file__).parents[2] / "src" / "palpate"
    reading = re.compile(r"\btime\.(?:time|time_ns|localtime|gmtime|strftime)\(|datetime\.(?:now|utcnow|today)\(|date\.today\(")
    found = {p.relative_to(source).as_posix() for p in source.rglob("*.py") if reading.search(p.read_text(encoding="utf-8"))}
    assert found == {"pipeline.py", "models/_api_faults.py"}


# ---------------------------------------------------------------- two runs


@pytest.mark.parametrize("times", [2, pytest.param(40, marks=pytest.mark.slow)])
def test_two_runs_at_once(tmp_path: Path, finished: Path, times: int) -> None:
    study = write_study(tmp_path, STUDY.replace('kind = "scripted"', 'kind = "scripted"\nblocks_at_once = 1\nlatency = 0.01'))
    seed = int(os.environ.get("PALPATE_TEST_SEED") or time.time())
    print(f"PALPATE_TEST_SEED={seed}")
    moments, tried, runs = random.Random(seed), 0, 0
    while tried < times:
        out = tmp_path / f"run{runs}"
        with palpate("run", study, "--out", out, "-q") as first:
            time.sleep(moments.uniform(0.3, 1.5))
            while first.poll() is None and tried < times:
                with palpate("run", study, "--out", out, "-q") as second:
                    _, told = second.communicate(timeout=120)
                if second.returncode == 2:
                    assert "another run is writing here" in told
                    assert "Traceback" not in told
                    tried += 1
                else:  # it came when the first had ended
                    assert second.returncode == 0, told
            _, errors = first.communicate(timeout=120)
        # Both may come before either has the folder: then the first one is the one that is refused.
        assert first.returncode in (0, 2), errors
        if first.returncode == 2:
            assert "another run is writing here" in errors
            with palpate("run", study, "--out", out, "-q") as last:
                assert last.wait(120) == 0
        same_end(out, finished)
        runs += 1
    survived("two", tried, part=str(times))


# ---------------------------------------------------------------- images


def test_images_that_change_under_a_run(tmp_path: Path, finished: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    study, out = write_study(tmp_path), tmp_path / "run"
    changed, gone, *rest = sorted((tmp_path / "images").rglob("*.png"))
    was = {path: path.read_bytes() for path in (changed, gone)}
    other = was[gone][:-20] + b"\0" * 20 if len(was[gone]) < 20 else rest[0].read_bytes()
    # While the run is under way: both are errors with their cause, named by case, and nobody's answer.
    planned = Study.load(study)
    told = cli_run_with_images(planned, out, lambda: (changed.write_bytes(other), gone.unlink()))
    assert told == []
    with RunFolder(out).ledger() as ledger:
        ended = list(ledger.ended().values())
        assert len(ended) == TRIALS
        causes = {cause for status, cause in ended if status is Status.ERROR}
        assert sum(status is Status.ERROR for status, _ in ended) == 2 * 12 * 2
    assert causes == {
        "the image cannot be opened: ChangedSincePlanned",
        "the image cannot be opened: FileNotFoundError",
    }
    assert {t for t in texts(out) if t[2] == "ok"} < texts(finished)
    # Before it goes on: said in words, the new image is a case of its own, the old answers are measured no more.
    monkeypatch.chdir(tmp_path)
    changed.write_bytes(another_picture())
    again = cli("run", study, "--out", out, "-q")
    assert f"pneumonia_cxr: 1 image (normal/{changed.name}) changed since this run was begun" in again.stderr
    assert f"pneumonia_cxr: 1 image (normal/{gone.name}) of this run cannot be used any more" in again.stderr
    assert Results.open(out).panels[0].label.size == 11
    kept = texts(out)
    # Put back: what was answered is there, only what failed is asked, and the end is the same.
    for path, content in was.items():
        path.write_bytes(content)
    last = cli("run", study, "--out", out, "-q")
    assert f"1 image (normal/{changed.name}) changed since this run was begun" in last.stderr
    assert kept < texts(out)
    assert (out / "estimates.json").read_bytes() == (finished / "estimates.json").read_bytes()
    assert {t[3] for t in texts(finished)} <= {t[3] for t in texts(out)}
    survived("image", 4)


def cli_run_with_images(study: Study, out: Path, once_planned) -> list[str]:
    """Run, with something done to the images between the plan and the first question."""
    notes: list[str] = []
    run(study, out, on_plan=lambda _: once_planned(), on_note=notes.append)
    return notes


def another_picture() -> bytes:
    import io

    import numpy as np
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(np.random.default_rng(99).integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(target, "PNG")
    return target.getvalue()


def test_a_study_that_asks_for_fewer_images_is_not_told_they_are_gone(tmp_path: Path, cli: Cli) -> None:
    study = write_study(tmp_path)
    cli("run", study, "--out", tmp_path / "run", "-q")
    assert "warning" not in cli("run", study, "--out", tmp_path / "run", "-q").stderr
    study.write_text(study.read_text(encoding="utf-8") + "\n[sample]\nper_class = 3\n", encoding="utf-8")
    assert "cannot be used" not in cli("run", study, "--out", tmp_path / "run", "-q").stderr


# ---------------------------------------------------------------- the model


CHECKPOINT = """
name = "folder"
prompts = "reference"
[[models]]
name = "mine"
kind = "hf"
path = "checkpoint"
max_new_tokens = 2
[[tasks]]
name = "pneumonia_cxr"
source = { kind = "folder", path = "images" }
[measure]
draws = 100
"""


def test_a_model_that_changed_between_two_sittings_is_refused(tmp_path: Path, cli: Cli) -> None:
    """Only its identity is looked at, so no torch is needed: its answers are put there as of another program."""
    study, out = write_study(tmp_path, CHECKPOINT, per_class=2), tmp_path / "run"
    folder = tmp_path / "checkpoint"
    shutil.copytree(Path(_api_ask.__file__).parent / "bundled" / "phantom-llava", folder)
    before = answered_by_hand(Study.load(study), out)
    changes = {
        "chat_template.jinja": lambda text: text + b" ",
        "config.json": lambda text: text.replace(b"{", b"{ ", 1),
        "model.safetensors": lambda text: text[:-1] + bytes([text[-1] ^ 1]),
    }
    for name, change in changes.items():
        was = (folder / name).read_bytes()
        (folder / name).write_bytes(change(was))
        told = " ".join(cli("run", study, "--out", out, "-q", exit_code=2).stderr.split())
        assert "model 'mine': is another model than the one that answered here before: " in told
        assert " then, " in told
        assert "put back what was there; or give what is there now another name in the study file; or choose another --out" in told
        assert texts(out) == before
        (folder / name).write_bytes(was)
    # What was put back goes on; another name, or a study that itself asks for another model, is no refusal.
    assert resumes(Study.load(study), out) == []
    (folder / "chat_template.jinja").write_bytes(b"another")
    study.write_text(CHECKPOINT.replace('"mine"', '"mine-2"'), encoding="utf-8")
    assert resumes(Study.load(study), out) == []
    study.write_text(CHECKPOINT.replace("max_new_tokens = 2", "max_new_tokens = 3"), encoding="utf-8")
    assert resumes(Study.load(study), out) == []
    study.write_text(CHECKPOINT, encoding="utf-8")
    with pytest.raises(ModelError, match="is another model"):
        resumes(Study.load(study), out)
    survived("model", len(changes) + 1)


def answered_by_hand(study: Study, out: Path) -> Texts:
    from palpate.nouns import Answer, Response
    from palpate.stages.plan import plan

    planned = plan(study)
    folder = RunFolder(out)
    with folder.writing(study.name, study.to_toml()) as ledger:
        planned.write(ledger)
        folder.write_cases(planned.cases)
        (model,) = study.models
        answer = Answer(Status.OK, "Yes")
        ledger.append((t, Response(t.key, 1, answer)) for block in planned.blocks(model) for t in block.trials)
    return texts(out)


def resumes(study: Study, out: Path) -> list[str]:
    from palpate.stages.plan import plan
    from palpate.stages.resume import changed_since

    return changed_since(plan(study), RunFolder(out))


# ---------------------------------------------------------------- the server

SERVED = """
name = "served"
prompts = "reference"
[[models]]
name = "served"
kind = "endpoint"
base_url = "{url}"
concurrency = 1
stream = false
[[tasks]]
name = "pneumonia_cxr"
source = {{ kind = "folder", path = "images" }}
[measure]
draws = 100
"""


def test_an_endpoint_that_serves_another_model_is_warned_of(tmp_path: Path, cli: Cli) -> None:
    pytest.importorskip("openai")
    with ChatServer().running() as server:
        study, out = write_study(tmp_path, SERVED.format(url=server.url), per_class=2), tmp_path / "run"
        cli("run", study, "--out", out, "-q")
        assert "what answers under this name changed" not in (out / "report.md").read_text(encoding="utf-8")
        for name in ("v2", "v3"):  # a further sitting has more to ask, of a server that was updated meanwhile
            server.model = lambda number, name=name: name
            longer = {"v2": 4, "v3": 6}[name]
            write_study(tmp_path, SERVED.format(url=server.url), per_class=longer)
            cli("run", study, "--out", out, "-q")
        report = (out / "report.md").read_text(encoding="utf-8")
        told = "what answers under this name changed between two sittings of the run: served-model fp, then v2 fp"
        assert told in " ".join(report.replace("\\", "").split())
        assert "served-model fp, v2 fp, then v3 fp" in " ".join(report.replace("\\", "").split())
        with RunFolder(out).ledger() as ledger:
            assert ledger.models()["served"][1]["answered_as"] == ["served-model fp", "v2 fp", "v3 fp"]
            assert len(ledger.ended()) == 12 * 12
    with ChatServer(model=lambda number: "v1" if number < 20 else "v2").running() as server:
        study = write_study(tmp_path / "two", SERVED.format(url=server.url), per_class=2)
        cli("run", study, "--out", tmp_path / "two" / "run", "-q")
    report = (tmp_path / "two" / "run" / "report.md").read_text(encoding="utf-8")
    assert "what answers under this name changed during the run: v1 fp, then v2 fp" in " ".join(report.replace("\\", "").split())
    survived("served", 3)
