"""Descriptions from a study file to a Panel: who reads what, every control, what is asked how often, and what is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from palpate.errors import RunError, StudyError, UnknownName
from palpate.executors.local import LocalExecutor
from palpate.models.scripted_judge import ScriptedJudge
from palpate.nouns import OUTCOME_CODE, Answer, Form, Outcome, Panel, Status
from palpate.stages.ask import ask
from palpate.stages.costs import diagnoses, questions_about
from palpate.stages.measure import measure, panels
from palpate.stages.plan import plan
from palpate.stages.probe import probe
from palpate.stages.read import read
from palpate.store.ledger import Ledger
from palpate.store.planned import Planned
from palpate.store.selection import selection
from palpate.study import Study
from small import STUDY, write_study

POSITIVE, NEGATIVE = (OUTCOME_CODE[o] for o in (Outcome.POSITIVE, Outcome.NEGATIVE))
PER_CLASS = 24
DESCRIBED = """
[descriptions]
readers = [{ name = "reader", kind = "scripted_judge" }, "own"]
questions = ["one_word"]
"""
TEXT = (
    STUDY.replace('prompts = "reference"', 'prompts = "reference"\nperturbations = ["none", "blank", "gaussian_noise-1"]')
    .replace('kind = "scripted"\naccuracy = 0.7', 'kind = "scripted"\nfinding = "opacity"\naccuracy = 0.9')
    .replace('kind = "scripted"\naccuracy = 0.9\n\n[[tasks', 'kind = "scripted"\nfinding = "pneumonia"\naccuracy = 0.9\n\n[[tasks')
    + DESCRIBED
)


def reply(judge: ScriptedJudge, trial) -> Answer:
    """Reads what stands after "Description:", and is sure of it; of nothing it says No."""
    described = trial.prompt.text.partition("Description:\n")[2]
    yes = ("shows" in described or "evidence" in described) and " no " not in described
    return Answer(Status.OK, "Yes" if yes else "No", 2.0 if yes else -2.0, 0.9)


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The reader, and what it was asked."""
    asked: Counter[str] = Counter()

    def watched(judge, trial):
        asked[trial.prompt.text] += 1
        return reply(judge, trial)

    monkeypatch.setattr(ScriptedJudge, "_reply", watched)
    return asked


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    return Study.load(write_study(tmp_path_factory.mktemp("described"), TEXT, PER_CLASS))


@pytest.fixture(scope="module")
def answered(study: Study, tmp_path_factory) -> Path:
    """A ledger in which everything was asked, and nothing read."""
    path = tmp_path_factory.mktemp("asked") / "ledger.sqlite"
    with Ledger(path, create=True) as book:
        planned = plan(study)
        planned.write(book)
        ask(planned, book, LocalExecutor(1, study.seed))
    return path


@pytest.fixture
def ledger(answered: Path, tmp_path: Path) -> Iterator[Ledger]:
    copy = tmp_path / "ledger.sqlite"
    copy.write_bytes(answered.read_bytes())
    with Ledger(copy) as book:
        yield book


def plain(study: Study, ledger: Ledger) -> dict[str, Panel]:
    return {p.model: p for p in panels(study, ledger) if p.perturbation.name == "none"}


# ---------------------------------------------------------------- the study


def test_a_table_stands_for_every_reader_question_and_input(study):
    names = [r.name for r in study.readings]
    of_reader = ["reader.one_word", "reader.one_word.masked", "reader.one_word.empty", "reader.one_word.oracle"]
    assert names[:4] == of_reader
    assert names[4:8] == [f"own.one_word{given}@{m}" for given in ("", ".masked") for m in ("base", "tuned")]
    assert [r.of for r in study.readings[4:6]] == ["base", "tuned"]
    assert {r.method for r in study.readings} == {"diagnose"}


def test_a_run_s_own_study_file_is_the_same_study(study, tmp_path):
    file = tmp_path / "again.toml"
    file.write_text(study.to_toml(), encoding="utf-8")
    again = Study.load(file)
    assert again == study
    assert again.to_toml() == study.to_toml()


def test_descriptions_are_asked_of_images_as_they_are_and_of_the_grey_one_alone(study):
    planned = plan(study)
    asked = Counter(
        (str(b.perturbation), t.prompt.form is Form.DESCRIBE) for m in study.models for b in planned.blocks(m) for t in b.trials
    )
    images = 2 * PER_CLASS * 2  # of two models
    assert {p: n / images for (p, described), n in asked.items() if described} == {"none": 2, "blank": 2}
    closed = {p: n / images for (p, described), n in asked.items() if not described}
    assert closed == {"none": 12, "blank": 12, "gaussian_noise-1": 12}
    assert diagnoses(planned) == images * 2 * 2 * (4 + 4)  # prompts, perturbations; every reader's inputs
    assert planned.n_trials == sum(asked.values()) == images * (14 + 14 + 12)


def test_the_same_question_is_reckoned_once(study):
    planned = plan(study)
    asked = {r.name: questions_about(planned, r) for r in study.readings}
    images = 2 * PER_CLASS
    assert asked["reader.one_word"] == asked["reader.one_word.masked"] == 2 * images * 2 * 2
    assert asked["own.one_word@base"] == images * 2 * 2
    assert (asked["reader.one_word.empty"], asked["reader.one_word.oracle"]) == (1, images)


def test_what_was_planned_is_known_without_images(study, ledger):
    recorded = Planned(ledger)
    assert recorded.n_trials == plan(study).n_trials == len(list(recorded.all_keys()))
    known = set(recorded.all_keys())
    assert all(bytes.fromhex(key) in known for key, *_ in ledger.texts())


def test_images_to_describe_can_be_named(tmp_path):
    text = TEXT.replace("[descriptions]", '[descriptions]\nimages = ["none", "gaussian_noise-1"]')
    study = Study.load(write_study(tmp_path, text))
    assert [str(p) for p in study.described] == ["none", "gaussian_noise-1"]
    with pytest.raises(UnknownName, match="blur-1"):
        Study.load(write_study(tmp_path, text.replace('"none", "gaussian_noise-1"]\nreaders', '"none", "blur-1"]\nreaders')))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('questions = ["one_word"]', 'questions = ["loose"]', "one_word"),
        ('questions = ["one_word"]', 'inputs = ["grey"]', "masked"),
        ('"own"]', '"nobody"]', "nobody"),
        ('"own"]', '"own", "own"]', "twice"),
        ('"own"]', "]\nsize = 3", "size"),
    ],
)
def test_a_slip_is_named(tmp_path, old, new, told):
    with pytest.raises((StudyError, UnknownName), match=told):
        Study.load(write_study(tmp_path, TEXT.replace(old, new)))


def test_a_study_of_its_own_wordings_describes_too(tmp_path):
    own = '\nwordings = [{ name = "mine", text = "Is it there?", form = "yes-no" }]\n'
    text = TEXT.replace('prompts = "reference"', 'prompts = "own"')
    text = text.replace('name = "pneumonia_cxr"\n', f'name = "pneumonia_cxr"{own}')
    study = Study.load(write_study(tmp_path, text))
    assert [p.name for p in study.tasks[0].prompts] == ["describe.generic", "describe.named", "mine"]


def test_without_the_table_nothing_is_read_or_described(tmp_path):
    study = Study.load(write_study(tmp_path, TEXT.replace(DESCRIBED, "")))
    assert study.readings == ()
    assert study.described is None
    assert not any(p.form is Form.DESCRIBE for p in study.tasks[0].prompts)


# ---------------------------------------------------------------- reading


def test_every_description_is_read_and_nothing_else(study, ledger, reader):
    read(study, ledger)
    described = 2 * 2 * PER_CLASS * 2 * 2  # models, images, prompts, perturbations described
    by = {r.name: study.reading_by(ledger, r.name) for r in study.readings}
    counted = ledger.read_by()
    for spec in study.readings[:4]:
        assert counted[by[spec.name]] == described
    assert counted[by["own.one_word@base"]] == described / 2  # a model's own reader reads that model's descriptions alone
    assert read(study, ledger) == 0
    assert all(ledger.n_unread(by[r.name], selection(r)) == 0 for r in study.readings)
    assert max(reader.values()) == 1  # the same question is asked once


def test_the_empty_and_the_true_description_are_few_questions(study, ledger, reader):
    read(study, ledger)
    told = [t.partition("Description:\n")[2].strip() for t in reader]
    assert told.count("") == 1
    assert {t for t in told if "evidence" in t} == {"There is evidence of pneumonia.", "There is no evidence of pneumonia."}


def test_a_reader_sees_neither_image_nor_label(study, ledger, reader, monkeypatch):
    shown = []
    ask_judge = ScriptedJudge.ask

    def watched(judge, stimuli):
        shown.extend(stimuli)
        return ask_judge(judge, stimuli)

    monkeypatch.setattr(ScriptedJudge, "ask", watched)
    read(study, ledger)
    assert shown
    assert all(one.image is None for one in shown)
    assert not any("person" in t for t in reader)  # the images' names
    assert {one.block.case.label for one in shown} == {0}
    assert not any(one.block.case.metadata for one in shown)


def test_a_corrected_label_has_the_oracle_read_again(study, ledger):
    """The mistake that looking at the labels finds: they were the wrong way round."""
    read(study, ledger)
    task = study.tasks[0].name
    known = ledger.cases(task)
    spec = next(s for s in study.all_readings if s.options.get("input") == "oracle")
    before = study.reading_by(ledger, spec.name)
    ledger.add_cases(task, [replace(case, label=1 - case.label) for case in plan(study).cases[task].cases])
    assert {name: label for name, (_, label, _, _) in ledger.cases(task).items()} == {n: 1 - v[1] for n, v in known.items()}
    read(study, ledger)
    assert study.reading_by(ledger, spec.name) != before
    panel = plain(study, ledger)["base"]
    found = {(d.reader, d.input): d for d in panel.descriptions.diagnoses}
    truth = np.where(panel.label == 1, POSITIVE, NEGATIVE)
    assert (found["reader", "oracle"].outcome[:, 0, 0] == truth).all()


# ---------------------------------------------------------------- panels


def test_what_stands_beside_a_panel(study, ledger):
    read(study, ledger)
    panel = plain(study, ledger)["base"]
    told = panel.descriptions
    assert told.prompts == ("describe.generic", "describe.named")
    assert told.given.shape == (2 * PER_CLASS, 2, 1)
    found = {(d.reader, d.input): d for d in told.diagnoses}
    assert {given for reader, given in found if reader == "reader"} == {"real", "masked", "empty", "oracle", "grey"}
    assert found["own", "real"].own
    truth = np.where(panel.label == 1, POSITIVE, NEGATIVE)
    assert (found["reader", "oracle"].outcome[:, 0, 0] == truth).all()
    assert (found["reader", "empty"].outcome == NEGATIVE).all()
    assert found["reader", "real"].outcome.mean() not in (POSITIVE, NEGATIVE)


def test_the_reader_s_margin_is_found_again(study, ledger):
    read(study, ledger)
    for d in plain(study, ledger)["base"].descriptions.diagnoses:
        if d.reader == "reader":
            assert (np.sign(d.margin) == np.where(d.outcome == POSITIVE, 1, -1)).all()
            assert (d.mass == 0.9).all()


def test_a_sign_is_no_leak_and_a_name_is(study, ledger):
    read(study, ledger)
    told = {model: p.descriptions for model, p in plain(study, ledger).items()}
    given = told["base"].given
    assert (told["base"].stated == -1).all()  # it speaks of an opacity
    assert ((told["tuned"].stated >= 0) == told["tuned"].given).all()  # it says "pneumonia", or "no pneumonia"
    masked = {m: next(d for d in t.diagnoses if (d.reader, d.input) == ("reader", "masked")) for m, t in told.items()}
    real = next(d for d in told["base"].diagnoses if (d.reader, d.input) == ("reader", "real"))
    assert (masked["base"].outcome[given] == real.outcome[given]).all()
    assert (masked["tuned"].outcome == NEGATIVE).all()  # nothing is left to read


def test_only_images_as_they_are_have_descriptions_beside_them(study, ledger):
    read(study, ledger)
    assert [p.descriptions is None for p in panels(study, ledger)] == [p.perturbation.name != "none" for p in panels(study, ledger)]


def test_the_words_are_probed_once_and_kept(study, ledger):
    pytest.importorskip("sklearn")
    read(study, ledger)
    assert plain(study, ledger)["base"].descriptions.probes == {}
    assert probe(study, ledger, {}) == 2
    assert probe(study, ledger, {}) == 0
    told = plain(study, ledger)["base"].descriptions
    rungs = {r.stage: r for r in told.probes["describe.generic"]}
    assert set(rungs) == {"text", "masked"}
    assert np.isfinite(rungs["text"].score).sum() == told.given[:, 0, 0].sum()


def test_the_estimates_are_there_and_in_the_export_s_places(study, ledger):
    read(study, ledger)
    probe(study, ledger, {})
    found = measure(study, ledger, ["description"])
    assert {e.measure for e in found} >= {"description_gain", "label_leak_rate", "reader_prior", "description_probe_auroc"}
    gain = {e.by["model"]: e for e in found if e.measure == "description_gain" and set(e.by) == {"model", "task", "cell"}}
    assert gain["tuned"].value == pytest.approx(gain["base"].value, abs=0.2)
    oracle = next(e for e in found if e.measure == "description_ba" and e.by.get("input") == "oracle" and "reader" not in e.by)
    assert oracle.value is not None


def test_a_broken_file_of_probes_says_so(study, ledger):
    pytest.importorskip("sklearn")
    read(study, ledger)
    probe(study, ledger, {})
    for file in (ledger.path.parent / "probes").iterdir():
        file.write_bytes(b"no such thing")
    with pytest.raises(RunError, match="cannot be read"):
        list(panels(study, ledger))
