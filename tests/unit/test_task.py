"""Tasks: the built-in ones load and mean what they say; a user's own file is checked like a study."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from palpate.errors import StudyError, UnknownName
from palpate.nouns import Form, Polarity, Prompt
from palpate.registry import parts
from palpate.task import load_task, load_task_file, prompt_set, task_from, task_names

NAMES = task_names()
PUBLISHED = ["brain_tumor_mri", "idc_histology", "pneumonia_cxr", "skin_cancer_dermoscopy"]
POSITIVE, NEGATIVE = Polarity.POSITIVE, Polarity.NEGATIVE


def prompts(task: str, name: str, *, describe: bool = True) -> dict[str, Prompt]:
    return {p.name: p for p in prompt_set(name, load_task(task).wording, describe=describe)}


def test_the_published_tasks_are_there() -> None:
    assert set(PUBLISHED) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_task_is_whole(name: str) -> None:
    task = load_task(name)
    assert task.name == name
    assert task.title
    assert task.modality
    assert task.condition == task.rubric.condition
    assert task.rubric.positive
    assert task.labels.positive
    assert not {v.casefold() for v in task.labels.positive} & {v.casefold() for v in task.labels.negative}
    assert task.labels.of("1") == 1 or task.source
    assert task.labels.of("no such label") is None
    assert task.source is None or task.source.kind in parts("cases")
    assert set(task.cautions) <= {"abnormal", "target", "describe"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("set_name", "closed"), [("reference", 12), ("core", 48)])
def test_every_task_has_every_prompt_set(name: str, set_name: str, closed: int) -> None:
    every = prompts(name, set_name)
    assert len(every) == closed + 2
    assert sum(p.form.closed for p in every.values()) == closed
    assert len({p.text for p in every.values()}) == closed + 2
    assert not any(re.search(r"[{}]", p.text) for p in every.values())
    assert all(
        p.options and f"A) {p.options[0]}\nB) {p.options[1]}" in p.text for p in every.values() if p.form in (Form.AB, Form.BA)
    )
    assert all((p.options is None) == (p.form not in (Form.AB, Form.BA)) for p in every.values())
    assert {p.cell for p in every.values()} == {"target", "abnormal", "describe"}
    without = prompts(name, set_name, describe=False)
    assert without == {n: p for n, p in every.items() if p.form is not Form.DESCRIBE}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("set_name", ["reference", "core"])
def test_polarity_is_what_yes_or_a_asserts(name: str, set_name: str) -> None:
    """Derived anew from the words shown, not from the generator."""
    task = load_task(name)
    absent, denied = task.wording.absent, re.compile(r"\b(normal|free of|lack)\b")
    for prompt in prompts(name, set_name, describe=False).values():
        question = prompt.text.split("\n")[0]
        yes = NEGATIVE if denied.search(question) else POSITIVE
        if prompt.form is Form.YES_NO:
            expected = yes
        else:
            assert prompt.options is not None
            first = prompt.options[0]
            if first in ("Yes", "No"):
                expected = yes if first == "Yes" else yes.flipped
            else:
                expected = NEGATIVE if first == absent else POSITIVE
        assert prompt.polarity is expected, prompt


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("set_name", ["reference", "core"])
def test_swapped_options_differ_in_order_alone(name: str, set_name: str) -> None:
    every = list(prompts(name, set_name, describe=False).values())
    for one in (p for p in every if p.form is Form.AB):
        stem = one.text.split("\n")[0]
        twins = [
            p
            for p in every
            if p.form is Form.BA
            and p.text.startswith(f"{stem}\n")
            and p.factors["suffix"] == one.factors["suffix"]
            and p.cell == one.cell
        ]
        assert len(twins) == 1
        assert one.options is not None
        assert twins[0].options == one.options[::-1]
        assert twins[0].polarity is one.polarity.flipped


def test_the_reference_questions_word_for_word() -> None:
    found = prompts("pneumonia_cxr", "reference")
    assert {n: p.text for n, p in found.items() if n.endswith(".none")} == {
        "abnormal.none": "Is this image abnormal?",
        "normal.none": "Is this image normal?",
        "target.none": "Does this image contain evidence of pneumonia?",
        "hints.none": "Does this image contain evidence of pneumonia? "
        "Consider signs of consolidation, air bronchograms, and silhouettes.",
        "ab.none": "Which does this image show? Choose one answer.\nA) Pneumonia\nB) No pneumonia",
        "ba.none": "Which does this image show? Choose one answer.\nA) No pneumonia\nB) Pneumonia",
    }
    assert found["ba.one-word"].text == found["ba.none"].text + "\nAnswer in one word."
    assert prompts("skin_cancer_dermoscopy", "reference")["abnormal.none"].text == "Is this skin lesion abnormal?"
    assert "Imagine a pathologist" in prompts("idc_histology", "reference")["describe.generic"].text


@pytest.mark.parametrize(
    ("set_name", "prompt", "polarity", "asserting"),
    [
        ("reference", "normal.none", NEGATIVE, ("No", "no", "NO")),
        ("reference", "abnormal.none", POSITIVE, ("Yes", "yes", "YES")),
        ("reference", "ab.none", POSITIVE, ("A", "a")),
        ("reference", "ba.none", NEGATIVE, ("B", "b")),
        ("core", "target.negated.yes-no.none.p1", NEGATIVE, ("No", "no", "NO")),
        ("core", "target.negated.A-B.none.p1", NEGATIVE, ("B", "b")),
        ("core", "target.negated.B-A.none.p1", POSITIVE, ("A", "a")),
        ("core", "target.affirmative.B-A.none.p1", NEGATIVE, ("B", "b")),
        ("core", "abnormal.negated.yes-no.one-word.p2", NEGATIVE, ("No", "no", "NO")),
    ],
)
def test_which_answers_assert_the_condition(set_name: str, prompt: str, polarity: Polarity, asserting: tuple[str, ...]) -> None:
    found = prompts("brain_tumor_mri", set_name)[prompt]
    assert found.polarity is polarity
    assert found.answer_spellings is not None
    assert found.answer_spellings[0] == asserting


def test_core_crosses_its_factors_once_each() -> None:
    every = [p for p in prompts("pneumonia_cxr", "core", describe=False).values() if p.cell == "target"]
    crossed = {tuple(p.factors[f] for f in ("polarity", "format", "suffix", "paraphrase")) for p in every}
    assert len(crossed) == len(every) == 24


def test_an_unknown_task_or_prompt_set_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'pneumonia_cxr'"):
        load_task("pneumonia_crx")
    with pytest.raises(UnknownName, match="did you mean 'reference'"):
        prompt_set("refrence", load_task(PUBLISHED[0]).wording, describe=False)


# ---------------------------------------------------------------- a user's own file

OWN = """
title = "Fracture on wrist X-ray"
modality = "wrist X-ray"
condition = "fracture"
[labels]
positive = ["fracture"]
negative = ["normal"]
[wording]
evidence = "a fracture"
hints = "a cortical break"
present = "Fracture"
absent = "No fracture"
diagnose = "fractures"
"""


def own(tmp_path: Path, text: str = OWN) -> Path:
    file = tmp_path / "wrist.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_an_own_task_is_named_by_its_file(tmp_path: Path) -> None:
    task = load_task_file(own(tmp_path))
    assert (task.name, task.condition, task.source, task.wording.subject) == ("wrist", "fracture", None, "image")


def test_an_own_source_is_taken_from_the_tasks_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    task = load_task_file(own(tmp_path, OWN + '[source]\nkind = "folder"\npath = "wrists"\npattern = "*.png"\n'))
    assert task.source is not None
    assert task.source.options == {"path": str(tmp_path / "wrists"), "pattern": "*.png"}


def test_a_twin_takes_what_it_does_not_give(tmp_path: Path) -> None:
    file = own(tmp_path, 'twin_of = "pneumonia_cxr"\ntitle = "My pneumonia"\n[labels]\npositive = ["p"]\nnegative = ["n"]\n')
    twin, base = load_task_file(file), load_task("pneumonia_cxr")
    assert (twin.name, twin.title, twin.labels.positive) == ("wrist", "My pneumonia", ("p",))
    assert (twin.wording, twin.rubric, twin.modality) == (base.wording, base.rubric, base.modality)


@pytest.mark.parametrize(
    ("old", "new", "where", "says"),
    [
        ('title = "Fracture on wrist X-ray"\n', "", ": title", "is missing"),
        ("[labels]", "[lables]", ": labels", "is missing"),
        ("hints", "hint", ": wording.hints", "is missing"),
        ('positive = ["fracture"]', 'positive = "fracture"', ": labels.positive", "a list"),
        ("title =", 'twin_of = "pneumonia"\ntitle =', ": twin_of", "did you mean 'pneumonia_cxr'"),
        ("title =", "twin_of = 3\ntitle =", ": twin_of", "no task is called '3'"),
        ("[labels]", "[source]\npath = 'x'\n[labels]", ": source.kind", "is missing"),
        ("[labels]", "[source]\nkind = 'folder'\npath = '~nobody-of-that-name/x'\n[labels]", ": source.path", "can be no path"),
        ("[wording]", "[wording]\nsubjct = 'x'", ": wording.subjct", "did you mean subject?"),
    ],
)
def test_a_wrong_task_file(tmp_path: Path, old: str, new: str, where: str, says: str) -> None:
    assert old in OWN
    with pytest.raises((StudyError, UnknownName)) as fault:
        load_task_file(own(tmp_path, OWN.replace(old, new, 1)))
    assert fault.value.where == f"{tmp_path / 'wrist.toml'}{where}"
    assert says in str(fault.value)


def test_a_twin_of_a_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palpate.task._built_in", lambda name: {"twin_of": "brain_tumor_mri"})
    with pytest.raises(StudyError, match="a twin of a twin") as fault:
        task_from("x", {"twin_of": "pneumonia_cxr"}, "x.toml")
    assert fault.value.where == "x.toml: twin_of"
