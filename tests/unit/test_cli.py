"""Every verb, as a person types it: what it prints, what it leaves behind, how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import pytest

from palpate.cli import main
from palpate.cli._flags import as_started
from palpate.store.ledger import Ledger
from small import Cli, cut_short, palpate

Edit = Callable[[str, str], Path]
VERBS = [
    "ask",
    "check",
    "compare",
    "demo",
    "export",
    "gate",
    "import",
    "init",
    "inspect",
    "label",
    "list",
    "measure",
    "plan",
    "questions",
    "read",
    "report",
    "run",
    "show",
    "view",
]
FIELDS = [
    "measure",
    "by",
    "value",
    "low",
    "high",
    "level",
    "method",
    "n_cases",
    "n_clusters",
    "n_left_out",
    "reason",
    "verdict",
    "mde",
]
FILES = ["cases.csv", "data.json", "estimates.json", "ledger.sqlite", "report.html", "report.md", "study.toml"]


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def texts(run: Path) -> list[tuple[str, int, str, str]]:
    with Ledger(run / "ledger.sqlite") as ledger:
        return list(ledger.texts())


def unwrapped(text: str) -> str:
    """Without the line breaks of a narrow terminal; a long path may break anywhere."""
    return " ".join(text.split())


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished run to change; its study's conditions are set by ``conditions``."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def conditions(run: Path, *texts: str) -> None:
    study = run / "study.toml"
    text = study.read_text(encoding="utf-8")
    assert "conditions = []" in text
    study.write_text(text.replace("conditions = []", f"conditions = {json.dumps(texts)}"), encoding="utf-8")


# ---------------------------------------------------------------- help


def test_the_verbs() -> None:
    assert sorted(main.commands) == VERBS


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_verb_explains_itself(cli: Cli, verb: str, flag: str) -> None:
    shown = cli(verb, flag).output
    assert shown.startswith(f"Usage: palpate {verb}")
    about = shown.split("\n\n")[1]
    assert len(about.strip()) > 20


def test_help_lists_every_verb_with_a_line(cli: Cli) -> None:
    shown = cli("--help").output
    for verb in VERBS:
        assert re.search(rf"^  {verb} +\w.{{7,}}", shown, re.MULTILINE), verb
    assert not re.search(r"\w\.\.\.$", shown, re.MULTILINE), "no line is cut"
    assert shown.index("Begin:") < shown.index("Run:") < shown.index("Look:") < shown.index("Hand on:")
    assert "Others:" not in shown
    assert cli("--version").output == "palpate, version 0.1.0\n"


@pytest.mark.parametrize(
    "words", [["rum"], ["run"], ["run", "a", "b"], ["plan", "--wrong"], ["list", "things"], ["run", "x", "--workers", "0"]]
)
def test_a_wrong_command_line_is_exit_2(cli: Cli, words: list[str]) -> None:
    result = cli(*words, exit_code=2)
    assert "Usage: palpate" in result.stderr
    assert result.stdout == ""


# ---------------------------------------------------------------- run, ask, plan


def test_run_leaves_a_whole_run(cli: Cli, small_study: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = cli("run", small_study, "--out", out)
    assert files(out) == FILES
    assert "288 questions (2 models, 24 images shown)" in result.stderr
    assert "base" in result.stdout
    assert "tuned" in result.stdout
    assert len(texts(out)) == 288
    assert "<script" in (out / "report.html").read_text(encoding="utf-8")
    assert json.loads((out / "estimates.json").read_text(encoding="utf-8"))


def test_run_again_asks_nothing_and_says_the_same(cli: Cli, copied: Path) -> None:
    before = (copied / "estimates.json").read_bytes(), texts(copied)
    result = cli("run", copied / "study.toml", "--out", copied)
    assert "288 answered in" in unwrapped(result.stderr)
    assert "0 to ask." in unwrapped(result.stderr)
    assert ((copied / "estimates.json").read_bytes(), texts(copied)) == before


def test_the_study_of_a_run_runs_elsewhere(cli: Cli, copied: Path, tmp_path: Path) -> None:
    cli("run", copied / "study.toml", "--out", tmp_path / "again", "--quiet")
    assert texts(tmp_path / "again") == texts(copied)
    assert (tmp_path / "again" / "study.toml").read_bytes() == (copied / "study.toml").read_bytes()
    assert (tmp_path / "again" / "estimates.json").read_bytes() == (copied / "estimates.json").read_bytes()


def test_the_next_step_can_be_typed_as_the_program_was_started(small_study: Path, tmp_path: Path) -> None:
    """Not ``palpate`` where that is no command: the program of ``make demo`` is in .venv/bin, which is not on PATH."""
    script = tmp_path / ".venv" / "bin" / "palpate"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!{sys.executable}\nfrom palpate.cli import main\nmain()\n")
    script.chmod(0o755)
    said = []
    for typed, path in ((".venv/bin/palpate", "/nowhere"), (str(script), "/nowhere"), ("palpate", str(script.parent))):
        env = {**os.environ, "PATH": path}
        command = [typed if os.sep in typed else str(script), "run", str(small_study), "--out", "a run"]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
        said.append(done.stderr.splitlines()[-1].partition("image: ")[2])
    assert said == [".venv/bin/palpate view 'a run'"] * 2 + ["palpate view 'a run'"]


@pytest.mark.parametrize(
    ("started", "found", "typed"),
    [
        ("/opt/site/palpate/__main__.py", None, f"{sys.executable} -m palpate"),
        ("/opt/site/palpate/__main__.py", "/usr/bin/palpate", "palpate"),
        ("/opt/venv/bin/palpate", "/usr/bin/palpate", "/opt/venv/bin/palpate"),  # another one is on PATH
        ("/opt/my venv/bin/palpate", None, "'/opt/my venv/bin/palpate'"),
        ("palpate", None, "./palpate"),
        ("/usr/bin/pytest", None, "palpate"),  # called from Python
    ],
)
def test_what_to_type(monkeypatch: pytest.MonkeyPatch, started: str, found: str | None, typed: str) -> None:
    monkeypatch.setattr(sys, "argv", [started])
    monkeypatch.setattr(shutil, "which", lambda name: found)
    assert as_started() == typed


def test_quiet_prints_the_result_alone(cli: Cli, small_study: Path, tmp_path: Path) -> None:
    result = cli("run", small_study, "--out", tmp_path / "run", "-q")
    assert result.stderr == ""
    assert result.stdout


def test_the_default_folder_is_named_after_the_study(
    cli: Cli, edited: Edit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = edited('name = "small"', 'name = "../My study: ümlaut"')
    cli("ask", study, "-q")
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["-My-study--ümlaut"]


def test_a_run_of_another_study_is_not_touched(cli: Cli, copied: Path, edited: Edit) -> None:
    before = {f: (copied / f).read_bytes() for f in FILES}
    result = cli("run", edited('name = "small"', 'name = "other"'), "--out", copied, exit_code=2)
    assert "holds the study 'small', not 'other'" in result.stderr
    assert {f: (copied / f).read_bytes() for f in FILES} == before


def test_plan_runs_nothing(cli: Cli, small_study: Path, tmp_path: Path) -> None:
    result = cli("plan", small_study, "--out", tmp_path / "run")
    assert "Study small: base, tuned" in result.stdout
    assert re.search(r"pneumonia_cxr +12 +6 +6 +12 +0", result.stdout)
    assert "0 answered in" in unwrapped(result.stdout)
    assert "288 to ask." in unwrapped(result.stdout)
    assert not (tmp_path / "run").exists()


def test_plan_knows_what_is_answered(cli: Cli, copied: Path, tmp_path: Path) -> None:
    wider = (copied / "study.toml").read_text(encoding="utf-8").replace("repeats = 1", "repeats = 2")
    (tmp_path / "wider.toml").write_text(wider, encoding="utf-8")
    result = cli("plan", tmp_path / "wider.toml", "--out", copied)
    assert "576 questions" in result.stdout
    assert "288 to ask." in unwrapped(result.stdout)


def test_plan_counts_what_was_left_out(cli: Cli, small_study: Path, tmp_path: Path) -> None:
    next((small_study.parent / "images").rglob("*.png")).write_bytes(b"x")
    assert "1 file was left out" in unwrapped(cli("plan", small_study, "--out", tmp_path / "run").stdout)


def test_ask_read_measure_report_one_by_one(cli: Cli, small_study: Path, tmp_path: Path, finished: Path) -> None:
    run = tmp_path / "run"
    asked = cli("ask", small_study, "--out", run, "-q")
    assert asked.stdout == f"288 of 288 asked, 0 of them before, 0 ended as errors: {run}\n"
    assert files(run) == ["cases.csv", "data.json", "ledger.sqlite", "study.toml"]
    assert cli("ask", small_study, "--out", run, "-q").stdout.startswith("288 of 288 asked, 288 of them before")
    unread = cli("measure", run, "ba_all", "--format", "json", exit_code=2)
    assert "none of the answers was read by rules@2" in unread.stderr
    assert f"palpate read {run}" in unread.stderr
    assert cli("read", run).stdout == "288 answers read\n"
    assert cli("read", run).stdout == "0 answers read\n"
    assert cli("measure", run, "--format", "json").stdout == (finished / "estimates.json").read_text(encoding="utf-8")
    assert cli("report", run).stdout == f"{run / 'report.html'}\n"
    assert files(run) == FILES


def test_errors_are_told_apart(cli: Cli, edited: Edit, tmp_path: Path) -> None:
    study = edited("accuracy = 0.9", "accuracy = 0.9\nerror_rate = 0.5")
    asked = cli("ask", study, "--out", tmp_path / "run", "-q").stdout
    found = re.search(r"(\d+) ended as errors", asked)
    assert found
    assert 40 < int(found[1]) < 104
    cli("read", tmp_path / "run")
    estimates = json.loads(cli("measure", tmp_path / "run", "error_rate", "--format", "json").stdout)
    by_model = {e["by"]["model"]: e["value"] for e in estimates}
    assert by_model == {"base": 0.0, "tuned": pytest.approx(int(found[1]) / 144)}


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_may_be_set_for_one_run(cli: Cli, small_study: Path, tmp_path: Path, finished: Path, workers: int) -> None:
    cli("run", small_study, "--out", tmp_path / "run", "--workers", workers, "-q")
    assert texts(tmp_path / "run") == texts(finished)


# ---------------------------------------------------------------- measure


def test_json_has_exactly_the_fields_promised(cli: Cli, finished: Path) -> None:
    found = json.loads(cli("measure", finished, "--format", "json").stdout)
    assert len(found) > 20
    assert [list(e) for e in found] == [FIELDS] * len(found)
    for e in found:
        assert (e["value"] is None) <= (e["reason"] is not None)


def test_a_table_shows_every_estimate(cli: Cli, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = cli("measure", finished, "ba_all", "--by", "model", "--by", "task", "--by", "cell").stdout
    assert shown.splitlines()[0].split()[:3] == ["estimate", "of", "value"]
    assert shown.count("ba_all") == 4
    monkeypatch.setenv("COLUMNS", "80")
    narrow = cli("measure", finished, "ba_all", "--by", "model", "--by", "task", "--by", "cell").stdout
    assert re.search(r"^ba_all, model=tuned, task=pneumonia_cxr, cell=target: \S", narrow, re.MULTILINE)
    assert re.search(r"^  value 0\.\d{3}; interval 0\.\d{3} – ", narrow, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "holds"),
    [
        (["ba_all"], lambda e: e["measure"] == "ba_all"),
        (["ba_all", "refusal_rate"], lambda e: e["measure"] in ("ba_all", "refusal_rate")),
        (["--where", "model=tuned"], lambda e: e["by"].get("model") == "tuned"),
        (
            ["--where", "model=tuned", "--where", "cell=target"],
            lambda e: (e["by"]["model"], e["by"]["cell"]) == ("tuned", "target"),
        ),
        (["--by", "cell", "--by", "model", "--by", "task"], lambda e: set(e["by"]) == {"model", "task", "cell"}),
    ],
)
def test_estimates_are_chosen(cli: Cli, finished: Path, words: list[str], holds: Callable[[dict[str, object]], bool]) -> None:
    every = json.loads(cli("measure", finished, "--format", "json").stdout)
    found = json.loads(cli("measure", finished, *words, "--format", "json").stdout)
    assert found == [e for e in every if _safe(holds, e)] != []


def _safe(holds: Callable[[dict[str, object]], bool], estimate: dict[str, object]) -> bool:
    try:
        return holds(estimate)
    except KeyError:
        return False


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ba_al"], "did you mean 'ba_all'"),
        (["--where", "model"], "KEY=VALUE"),
        (["--where", "=x"], "KEY=VALUE"),
    ],
)
def test_a_wrong_choice(cli: Cli, finished: Path, words: list[str], says: str) -> None:
    assert says in cli("measure", finished, *words, exit_code=2).stderr


# ---------------------------------------------------------------- gate, report, show


@pytest.mark.parametrize(
    ("given", "code", "symbol"),
    [
        (["ba_all.high >= 0.2 for cell=target"], 0, "✓ pass"),
        (["ba_all.low >= 0.999 for cell=target"], 1, "✗ fail"),
        (["ba_all.low >= 0.5 for model=nobody"], 2, "? not evaluable"),
        (["ba_all.high >= 0.2 for cell=target", "ba_all.low >= 0.999"], 1, "✗ fail"),
        ([], 2, "no condition is named"),
    ],
)
def test_gate(cli: Cli, copied: Path, given: list[str], code: int, symbol: str) -> None:
    if given:
        conditions(copied, *given)
    result = cli("gate", copied, exit_code=code)
    assert symbol in result.stdout
    machine = json.loads(cli("gate", copied, "--format", "json", exit_code=code).stdout)
    assert machine["exit_code"] == code
    assert {c["condition"] for c in machine["conditions"]} == set(given)
    assert all(set(c) == {"condition", "held", "why", "by", "measure", "estimate"} for c in machine["conditions"])


@pytest.mark.parametrize(("condition", "code"), [("ba_all.high >= 0.2 for model=base", 0), ("ba_all.low >= 0.999", 1), ("", 2)])
def test_gate_says_that_a_run_is_not_finished_and_ends_as_its_conditions_do(
    cli: Cli, copied: Path, tmp_path: Path, condition: str, code: int
) -> None:
    more = ["--condition", condition, "--junit", tmp_path / "gate.xml"] if condition else ["--junit", tmp_path / "gate.xml"]
    assert "not asked yet" not in cli("gate", copied, *more, exit_code=code).stdout
    assert "not asked yet" not in (tmp_path / "gate.xml").read_text("utf-8")
    whole = json.loads(cli("gate", copied, *more, "--format", "json", exit_code=code).stdout)
    assert (whole["questions"], whole["not_asked_yet"], whole["notes"]) == (288, 0, [])
    cut_short(copied, 192)
    told = "the run is not finished: 96 of 288 questions are not asked yet"
    assert f"note: {told}" in unwrapped(cli("gate", copied, *more, exit_code=code).stdout)
    machine = json.loads(cli("gate", copied, *more, "--format", "json", exit_code=code).stdout)
    assert (machine["exit_code"], machine["questions"], machine["not_asked_yet"]) == (code, 288, 96)
    assert machine["notes"][0].startswith(told)
    (suite,) = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert suite.find("properties/property[@name='not asked yet']").attrib["value"] == "96"  # type: ignore[union-attr]
    assert str(suite.findtext("system-out")).startswith(told)


def test_straight_after_ctrl_c_the_same_run_goes_on(cli: Cli, copied: Path) -> None:
    cut_short(copied, 192)
    with closing(sqlite3.connect(copied / "ledger.sqlite")) as db:
        db.execute("DELETE FROM reading")
        db.commit()
    for verb in ("gate", "measure", "report"):
        told = " ".join(cli(verb, copied, exit_code=2).stderr.split())
        assert "the run is not finished: 96 of 288 questions are not asked yet" in told
        assert "the same `palpate run` again goes on" in told
    cli("run", copied / "study.toml", "--out", copied, "-q")
    assert "not finished" not in cli("gate", copied, exit_code=2).stdout


def test_gate_conditions_from_the_command_line_and_a_file(cli: Cli, copied: Path, tmp_path: Path) -> None:
    conditions(copied, "ba_all.low >= 0.999")
    more = ["--condition", "refusal.high <= 1", "--condition", "pair.low >= -1"]
    assert cli("gate", copied, *more, exit_code=1).stdout.count("✓ pass") > 2
    assert "0.999" not in cli("gate", copied, *more, "--only").stdout
    at_top, under_gate = tmp_path / "a.toml", tmp_path / "b.toml"
    at_top.write_text('conditions = ["ba_all.high >= 0.2 for cell=target"]', encoding="utf-8")
    under_gate.write_text('[gate]\nconditions = ["coverage >= 0"]', encoding="utf-8")
    shown = cli("gate", copied, "--only", "--conditions", at_top, "--conditions", under_gate).stdout
    assert "ba_all.high" in shown
    assert "coverage" in shown


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "names no condition"),
        ("conditions = ['ba_al >= 1']", "more.toml: conditions[0]: no measure is called 'ba_al'"),
        ("[gate]\nconditions = ['pear.low >= 1']", "more.toml: gate.conditions[0]"),
        ("condition = ['x']", "did you mean conditions"),
        ("[gate]\ncondition = ['x']", "gate.condition: unknown key"),
    ],
)
def test_a_wrong_file_of_conditions(cli: Cli, finished: Path, tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "more.toml"
    file.write_text(content, encoding="utf-8")
    assert says in unwrapped(cli("gate", finished, "--conditions", file, exit_code=2).stderr)


def test_gate_writes_junit(cli: Cli, copied: Path, tmp_path: Path) -> None:
    conditions(copied, "ba_all.high >= 0.2 for cell=target", "ba_all.low >= 0.999 for cell=target", "auroc.low >= 2 for model=x")
    cli("gate", copied, "--junit", tmp_path / "gate.xml", exit_code=1)
    root = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert (root.attrib["tests"], root.attrib["failures"], root.attrib["errors"]) == ("5", "2", "1")
    assert "cannot be written" in cli("gate", copied, "--junit", tmp_path / "no" / "x.xml", exit_code=2).stderr


def test_a_report_elsewhere(cli: Cli, copied: Path, tmp_path: Path) -> None:
    (copied / "report.html").unlink()
    target = tmp_path / "mine.html"
    assert cli("report", copied, "--out", target).stdout == f"{target}\n"
    assert target.exists()
    assert target.with_suffix(".md").exists()
    assert not (copied / "report.html").exists()


def test_a_report_where_there_is_no_folder(cli: Cli, copied: Path, tmp_path: Path) -> None:
    assert "cannot be written" in cli("report", copied, "--out", tmp_path / "no" / "x.html", exit_code=2).stderr


def test_show_tells_one_trial(cli: Cli, finished: Path) -> None:
    key, _, _, text = texts(finished)[0]
    for given in (key, key[:12], key.upper()):
        shown = cli("show", finished, given).stdout
        assert f"trial {key}" in shown
        assert "attempt 1: ok" in shown
        assert f"> {text}"[:60] in shown
        assert "by rules@2" in shown
        assert re.search(r"the condition is (present|absent)", shown)


def test_show_lists_answers_with_their_keys(cli: Cli, finished: Path) -> None:
    shown = cli("show", finished, "--where", "model=tuned", "--where", "outcome=wrong", "-n", 3).stdout
    assert re.match(r"c-[0-9a-f]{12}, tuned: the condition is (present|absent)\n[0-9a-f]{12}  ✗ wrong +\S+ +\S", shown)
    assert shown.count("✗ wrong") == 3
    assert ", base:" not in shown
    key = re.search(r"palpate show \S+ ([0-9a-f]{12})$", " ".join(shown.split()))
    assert key, shown
    assert "the condition is" in cli("show", finished, key[1]).stdout
    total = re.search(r"(\d+) answers are like that; these are 3", " ".join(shown.split()))
    assert total
    assert cli("show", finished, "--where", "model=tuned", "--where", "outcome=wrong", "-n", 1000).stdout.count("✗ wrong") == int(
        total[1]
    )


def test_show_lists_what_other_words_turned(cli: Cli, copied: Path) -> None:
    assert "no answer is like that" in cli("show", copied, "--flips").stdout
    assert "no answer is like that" in cli("show", copied, "--disagree").stdout
    with sqlite3.connect(copied / "ledger.sqlite") as db:
        db.execute(
            "UPDATE reading SET outcome='negative' WHERE response=(SELECT min(response) FROM reading WHERE outcome='positive')"
        )
    db.close()
    turned = cli("show", copied, "--flips").stdout
    assert {"✓ right", "✗ wrong"} <= set(re.findall("[✓✗] [a-z]+", turned))


@pytest.mark.parametrize(("given", "says"), [("outcom=wrong", "'outcome'"), ("wrong", "outcome=wrong")])
def test_show_says_what_answers_are_chosen_by(cli: Cli, finished: Path, given: str, says: str) -> None:
    assert says in cli("show", finished, "--where", given, exit_code=2).stderr


@pytest.mark.parametrize(("key", "says"), [("zzz", "no trial"), ("f" * 32, "no trial"), ("", "no trial"), ("[0-9a-f]", "no trial")])
def test_show_what_is_not_there(cli: Cli, finished: Path, key: str, says: str) -> None:
    told = cli("show", finished, key, exit_code=2).stderr
    assert says in told
    assert "lists trials with their keys" in unwrapped(told)


def test_show_what_is_ambiguous(cli: Cli, finished: Path) -> None:
    first = [t[0][0] for t in texts(finished)]
    letter = next(c for c in "0123456789abcdef" if first.count(c) > 1)
    assert "begins the keys of several trials" in cli("show", finished, letter, exit_code=2).stderr


def test_a_hostile_answer_does_no_harm(cli: Cli, copied: Path) -> None:
    """What a model says is shown, never obeyed: no markup, no escape sequence, no script."""
    key = texts(copied)[0][0]
    nasty = "[bold red]Yes[/] [/oops] \x1b[31m<script>alert(1)</script> {{ 7*7 }} & \u202e"
    with sqlite3.connect(copied / "ledger.sqlite") as db:
        db.execute("UPDATE response SET text=? WHERE key=?", (nasty, bytes.fromhex(key)))
    db.close()
    shown = cli("show", copied, key).stdout
    assert "[bold red]Yes[/] [/oops]" in shown
    assert "\x1b[31m" not in shown
    cli("report", copied)
    assert "<script>alert(1)" not in (copied / "report.html").read_text(encoding="utf-8")


# ---------------------------------------------------------------- runs that are not well

READERS = [("measure",), ("report",), ("gate",), ("read",), ("show", "ab")]


@pytest.mark.parametrize("verb", READERS, ids=lambda v: v[0])
@pytest.mark.parametrize("kind", ["nothing", "empty folder", "file", "no ledger", "damaged ledger", "no study"])
def test_what_is_no_run(cli: Cli, tmp_path: Path, finished: Path, verb: tuple[str, ...], kind: str) -> None:
    run = tmp_path / "run"
    if kind == "empty folder":
        run.mkdir()
    elif kind == "file":
        run.write_text("x", encoding="utf-8")
    elif kind != "nothing":
        run.mkdir()
        if kind != "no study":
            shutil.copy(finished / "study.toml", run)
        if kind == "no study":
            shutil.copy(finished / "ledger.sqlite", run)
        if kind == "damaged ledger":
            (run / "ledger.sqlite").write_bytes((finished / "ledger.sqlite").read_bytes()[:5000] + b"\xff" * 9000)
    before = sorted(tmp_path.rglob("*"))
    result = cli(verb[0], run, *verb[1:], exit_code=2)
    assert result.stderr.startswith("palpate: ")
    assert str(run) in result.stderr
    assert [p for p in sorted(tmp_path.rglob("*")) if p.suffix not in (".lock", "")] == [p for p in before if p.suffix]


@pytest.mark.parametrize("verb", [("measure",), ("gate",), ("show",)], ids=lambda v: v[0])
def test_a_run_that_may_only_be_read(cli: Cli, finished: Path, unprivileged: Path, verb: tuple[str, ...]) -> None:
    run = unprivileged / "run"
    run.mkdir()
    for name in FILES:
        (run / name).write_bytes(_as_root(finished / name))
    key = texts(run)[0][0]
    run.chmod(0o555)
    try:
        cli(verb[0], run, *([key] if verb[0] == "show" else []), exit_code=2 if verb[0] == "gate" else 0)
        assert "cannot be written" in cli("report", run, exit_code=2).stderr
    finally:
        run.chmod(0o777)


def _as_root(path: Path) -> bytes:
    """The bytes of a file in a folder that is closed to others."""
    who = os.getresuid()
    if who[2] != 0:
        return path.read_bytes()
    os.setresuid(0, 0, 0)
    try:
        return path.read_bytes()
    finally:
        os.setresuid(*who)


def test_a_run_is_measured_after_its_model_and_images_are_gone(cli: Cli, copied: Path) -> None:
    study = copied / "study.toml"
    text = study.read_text(encoding="utf-8")
    text = text.replace('kind = "scripted", accuracy = 0.9', 'kind = "hf", path = "/gone/checkpoint"')
    assert "/gone/checkpoint" in text
    study.write_text(re.sub(r'path = ".*/images"', 'path = "/gone/images"', text), encoding="utf-8")
    before = (copied / "estimates.json").read_text(encoding="utf-8")
    assert cli("measure", copied, "--format", "json").stdout == before
    cli("report", copied)
    cli("gate", copied, exit_code=2)
    assert "/gone/checkpoint" in cli("run", study, "--out", copied, exit_code=2).stderr


# ---------------------------------------------------------------- list, init


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        ("tasks", "pneumonia_cxr"),
        ("models", "phantom-llava-med"),
        ("prompts", "reference: normal.one-word"),
        ("sources", "folder: group_regex"),
        ("perturbations", "gaussian_noise"),
        ("readings", "rules@2"),
        ("measures", "ba_all"),
    ],
)
def test_list(cli: Cli, what: str, shown: str) -> None:
    assert shown in cli("list", what).stdout


def test_init_says_what_to_type_next(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/venv/bin/palpate"])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    file = tmp_path / "a study.toml"
    assert cli("init", str(file)).stdout.endswith(f"then: /opt/venv/bin/palpate plan '{file}'\n")


def test_init_writes_a_study_that_can_be_planned(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "wrote study.toml" in cli("init").stdout
    text = Path("study.toml").read_text(encoding="utf-8")
    assert "already" in cli("init", exit_code=2).stderr
    assert Path("study.toml").read_text(encoding="utf-8") == text
    # The bundled model in it may not be installed here; the rest of the file is checked as it is.
    ready = text.replace('name = "phantom-llava-med"', 'name = "x"\nkind = "scripted"').replace("per_class = 250", "per_class = 3")
    Path("ready.toml").write_text(ready, encoding="utf-8")
    assert "72 questions" in cli("plan", "ready.toml").stdout


def test_every_commented_line_of_the_template_is_valid(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cli("init", "all.toml")
    lines = Path("all.toml").read_text(encoding="utf-8").splitlines()
    uncommented = [re.sub(r"^# (?=\[|\w+ = )", "", line) for line in lines]
    text = "\n".join(uncommented).replace('name = "phantom-llava-med"', 'name = "my-base"\nkind = "scripted"')
    assert text.count("[[pairs]]") == 1
    (tmp_path / "checkpoints" / "my-model").mkdir(parents=True)
    (tmp_path / "checkpoints" / "my-model" / "config.json").write_text("{}", encoding="utf-8")
    Path("all.toml").write_text(text, encoding="utf-8")
    from palpate.study import Study

    study = Study.load("all.toml")
    assert len(study.tasks) == 3
    assert len(study.models) == 2
    assert len(study.conditions) == 2
    assert study.lineages[0].relation == "parent"


@pytest.mark.parametrize("target", ["no/such/folder/study.toml", "."])
def test_init_where_it_cannot_write(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("init", target, exit_code=2).stderr.startswith("palpate: ")


# ---------------------------------------------------------------- as a process


def test_as_a_process(small_study: Path, tmp_path: Path) -> None:
    with palpate("run", small_study, "--out", "run", cwd=tmp_path) as process:
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "\x1b" not in out  # no colour where nobody looks
    assert files(tmp_path / "run") == FILES


def test_a_fault_has_no_traceback(tmp_path: Path) -> None:
    with palpate("run", tmp_path / "none.toml") as process:
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert errors.startswith("palpate: ")
    assert "Traceback" not in errors


def test_a_reader_that_goes_away_is_no_fault(finished: Path) -> None:
    command = f"{sys.executable} -m palpate measure {finished} --format json | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "[\n"
    assert done.stderr == ""
