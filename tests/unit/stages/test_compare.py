"""Two runs held against each other: paired on what both asked, and what has no match is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palpate.errors import PalpateError, RunError, UnknownName
from palpate.nouns import Comparison, Estimate
from palpate.pipeline import run
from palpate.registry import parts
from palpate.results import Results, compare_runs
from palpate.stages.compare import _differently, _places
from palpate.store.ledger import Ledger
from palpate.study import Study
from small import STUDY, Cli, cut_short, make_images

Make = Callable[..., Path]

ONE = STUDY.partition("[[pairs]]")[0].partition('[[models]]\nname = "tuned"')[0]
TASK = '[[tasks]]\nname = "pneumonia_cxr"' + STUDY.partition('name = "pneumonia_cxr"')[2].partition("[[pairs]]")[0]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A finished run of one scripted model, its text changed by (old, new) pairs."""

    def made(name: str, *edits: tuple[str, str], per_class: int = 8, text: str = ONE + TASK) -> Path:
        home = tmp_path / name
        make_images(home / "images", per_class)
        for old, new in edits:
            assert old in text
            text = text.replace(old, new, 1)
        (home / "study.toml").write_text(text + "\n[measure]\ndraws = 100\n", encoding="utf-8")
        run(Study.load(home / "study.toml"), home / "run")
        return home / "run"

    return made


def main(found: Comparison) -> Estimate:
    return next(e for e in found.estimates if e.measure == "delta_ba_all" and e.by["cell"] == "target")


def test_a_pair_of_one_run_gives_its_own_tuning_estimates(finished: Path) -> None:
    found = compare_runs(finished, finished, {"base": "tuned"})
    own = Results.open(finished).measure(*(m.name for m in parts("measures").values() if m.question == 4))
    told = [e for e in found.estimates if "before" in e.by]
    assert [(e.measure, e.value, e.low, e.high, e.verdict, e.n_cases) for e in told] == [
        (e.measure, e.value, e.low, e.high, e.verdict, e.n_cases) for e in own
    ]
    assert told[0].by == {"before": "base", "after": "tuned", "task": "pneumonia_cxr", "cell": own[0].by["cell"]}


def test_a_run_against_itself_has_not_changed(finished: Path) -> None:
    found = compare_runs(finished, finished)
    assert {e.value for e in found.estimates if e.measure == "delta_ba_all"} == {0.0}
    assert {e.verdict for e in found.estimates if e.measure in ("delta_ba_all", "delta_refusal_rate")} == {"equal"}
    assert found.unmatched == ()
    assert found.notes == ("both are the same run: nothing can differ",)
    assert all(j.alike for j in found.joined)
    assert all((j.cases, j.prompts) == (j.cases_before, j.prompts_before) for j in found.joined)


def test_a_copy_is_equal_and_another_model_is_not(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    found = compare_runs(finished, tmp_path / "copy")
    told = [e for e in found.estimates if e.measure == "delta_ba_all" and "prompt" not in e.by]
    assert {e.verdict for e in told} == {"equal"}
    assert all("read every shared answer the same" in e.method for e in told)
    assert [n for n in found.notes if "the same model by its identity" in n] == list(found.notes)
    other = compare_runs(finished, tmp_path / "copy", {"base": "tuned"})
    assert "equal" not in {e.verdict for e in other.estimates}
    assert not any(j.alike for j in other.joined)


def test_values_are_those_of_the_shared_trials_and_their_difference_is_the_change(make: Make) -> None:
    old, new = make("old"), make("new", ("accuracy = 0.7", "accuracy = 0.95"), per_class=10)
    found = compare_runs(old, new)
    sides = {e.by["run"]: e for e in found.estimates if e.measure == "ba_all" and set(e.by) == {"run", "model", "task", "cell"}}
    assert sides["before"].n_cases == sides["after"].n_cases == 16
    change = main(found)
    assert change.value == pytest.approx(sides["after"].value - sides["before"].value)  # type: ignore[operator]
    (joined,) = found.joined
    assert (joined.cases, joined.cases_before, joined.cases_after) == (16, 16, 20)
    assert any("accuracy" in n or "present" in n for n in found.notes)  # what of the model's identity differs


def test_prompts_are_matched_by_their_text_whatever_they_are_called(make: Make) -> None:
    own = '\nwordings = [{ name = "NAME", text = "Is there a shadow?", form = "yes-no" }]\nprompts = "own"'
    source = 'group_regex = "(person\\\\d+)" }'
    old = make("old", (source, source + own.replace("NAME", "a")))
    new = make("new", (source, source + own.replace("NAME", "b")))
    whole = make("whole")
    found = compare_runs(old, new)
    assert [(j.prompts, j.prompts_before, j.prompts_after) for j in found.joined] == [(1, 1, 1)]
    assert main(found).value == 0.0
    apart = compare_runs(old, whole)
    assert apart.joined[0].why == "no wording in common"
    assert not apart.estimates


def test_a_corrected_label_and_other_patients_are_said_and_the_later_count(make: Make) -> None:
    old, new = make("old"), make("new")
    with Ledger(new / "ledger.sqlite") as ledger:
        db = ledger._db
        ((row, label, group, facts),) = db.execute("SELECT case_, label, grp, facts FROM label ORDER BY id LIMIT 1")
        db.execute("INSERT INTO label (case_, label, grp, facts) VALUES (?,?,?,?)", (row, 1 - label, group + "x", facts))
    (joined,) = compare_runs(old, new).joined
    assert joined.relabelled == 1
    assert joined.regrouped
    (back,) = compare_runs(new, new).joined
    assert (back.relabelled, back.regrouped) == (0, False)


def test_copies_of_one_image_go_together_in_order() -> None:
    before, after = _places(["x", "y", "x", "z"], ["z", "x", "x", "x", "w"])
    assert before.tolist() == [3, 0, 2]
    assert after.tolist() == [0, 1, 2]
    assert [len(p) for p in _places([], ["x"])] == [0, 0]


@pytest.mark.parametrize(
    ("one", "other", "expected"), [([0, 0, 1], [5, 5, 2], False), ([0, 0, 1], [0, 1, 1], True), ([], [], False)]
)
def test_a_grouping_is_the_same_under_other_numbers(one: list[int], other: list[int], expected: bool) -> None:
    assert _differently(np.array(one, np.int64), np.array(other, np.int64)) is expected


def test_of_a_run_that_is_not_finished_what_was_answered_is_counted_and_the_rest_named(make: Make, cli: Cli) -> None:
    old, new = make("old"), make("new", ("accuracy = 0.7", "accuracy = 0.95"))
    wordings = len(Results.open(new).panels[0].prompts)
    cut_short(new, 10 * wordings)
    found = compare_runs(old, new)
    (joined,) = found.joined
    assert (joined.cases, joined.cases_before, joined.cases_after) == (10, 16, 10)
    assert found.unasked == (0, 6 * wordings)
    told = f"{new}: the run is not finished: {6 * wordings} of {16 * wordings} questions are not asked yet"
    assert [n for n in found.notes if n.startswith(told)]
    shown = json.loads(cli("compare", old, new, "--format", "json").stdout)
    assert (shown["joined"][0]["cases_after"], shown["unasked"]) == (10, [0, 6 * wordings])
    text = " ".join(cli("compare", old, new).stdout.split())
    assert "10 images (16 before, 10 after)" in text
    assert f"{6 * wordings} of {16 * wordings} questions are not asked yet" in text


def test_where_nothing_was_answered_in_both_nothing_is_called_alike(make: Make) -> None:
    old, new = make("old"), make("new")
    cut_short(new, 12)
    with Ledger(old / "ledger.sqlite") as ledger:  # the earlier run ended before it read the one image of the later
        ledger._db.execute("DELETE FROM reading WHERE response <= 12")
    (joined,) = compare_runs(old, new).joined
    assert (joined.cases, joined.cases_before, joined.cases_after, joined.alike) == (0, 15, 1, False)


def test_another_seed_draws_other_pixels_and_nothing_is_compared(make: Make) -> None:
    noisy = ('prompts = "reference"', 'prompts = "reference"\nperturbations = ["none", "gaussian_noise-3"]')
    old, new = make("old", noisy), make("new", noisy, ("seed = 3", "seed = 4"))
    found = compare_runs(old, new)
    assert {(j.perturbation, j.why) for j in found.joined} == {
        ("none", ""),
        ("gaussian_noise-3", "gaussian_noise-3 drew other pixels (another seed or version)"),
    }
    assert not [e for e in found.estimates if "perturbation" in e.by]


def test_nothing_in_common_is_said(make: Make, tmp_path: Path) -> None:
    old, other = make("old"), make("other", ('name = "base"', 'name = "else"'))
    with pytest.raises(RunError, match="no model in common") as fault:
        compare_runs(old, other)
    assert fault.value.hint == "--match base=else"
    with pytest.raises(UnknownName, match="'basee'"):
        compare_runs(old, other, {"basee": "else"})
    with pytest.raises(UnknownName, match="no model is called 'x'"):
        compare_runs(old, other, {"base": "x"})
    skin = make("skin", ("pneumonia_cxr", "skin_cancer_dermoscopy"), ("source = {", LABELS + "source = {"))
    with pytest.raises(RunError, match="no task in common"):
        compare_runs(old, skin)
    with pytest.raises(PalpateError, match="no such run folder"):
        compare_runs(old, tmp_path / "nowhere")


LABELS = 'labels = { positive = ["pneumonia"], negative = ["normal"] }\n'


def test_other_images_have_nothing_in_common(make: Make, tmp_path: Path) -> None:
    old = make("old")
    home = tmp_path / "new"
    make_images(home / "images", 8)
    for path in (home / "images").rglob("*.png"):
        Image.open(path).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)
    (home / "study.toml").write_text(ONE + TASK, encoding="utf-8")
    run(Study.load(home / "study.toml"), home / "run")
    (joined,) = compare_runs(old, home / "run").joined
    assert (joined.cases, joined.why) == (0, "no image in common")


def test_a_run_read_by_an_earlier_reader_is_compared_as_it_was_read_and_that_is_said(finished: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(finished, tmp_path / "old"))
    with Ledger(old / "ledger.sqlite") as ledger:
        ledger._db.execute("UPDATE reading SET method = 'rules@0+' || substr(method, instr(method, '+') + 1)")
    found = compare_runs(old, finished)
    (note,) = (n for n in found.notes if "read" in n)
    assert "another reading method or version: rules@0+" in note
    assert main(found).value == 0.0
    with Ledger(old / "ledger.sqlite") as ledger:
        ledger._db.execute("DELETE FROM reading")
    with pytest.raises(RunError, match="none of the answers was read"):
        compare_runs(old, finished)


def test_the_verb(cli: Cli, finished: Path, tmp_path: Path) -> None:
    words = ["compare", finished, finished, "--match", "base=tuned"]
    shown = cli(*words).stdout
    assert "base → tuned" in shown
    assert "balanced" in shown
    machine = json.loads(cli(*words, "--format", "json").stdout)
    assert machine["joined"][0]["cases"] == 12
    assert {"before", "after", "joined", "estimates", "notes", "unmatched", "unasked", "palpate"} == set(machine)
    page = tmp_path / "c.html"
    assert cli(*words, "--format", "html", "--out", page).stdout == f"{page}\n"
    assert "<script" not in page.read_text(encoding="utf-8")
    assert cli(*words, "--all").stdout.count("pneumonia") > shown.count("pneumonia")
    cli(*words, "--condition", "pair.high >= -1")
    cli(*words, "--condition", "pair.low >= 1", exit_code=1)
    cli(*words, "--condition", "pair.low >= 0 for after=nobody", exit_code=2)
    assert "KEY=VALUE" in cli("compare", finished, finished, "--match", "base", exit_code=2).stderr
