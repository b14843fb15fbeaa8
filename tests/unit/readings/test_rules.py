"""Reading by rules: a table of hand-written answers, invariances, hostile text, real answers."""

from __future__ import annotations

import csv
import os
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from palpate.nouns import Form, Outcome, Polarity
from palpate.parts import ReadingMethod, Rubric
from palpate.readings.rules import PARTS, RULES, Rules, read_answer
from written_answers import BLOCKS, CODES, PNEUMONIA, Written, prompt, written

TABLE = list(written())
DECIDED = (Outcome.POSITIVE, Outcome.NEGATIVE)


def read(answer: Written, text: str | None = None) -> Outcome:
    return Rules().read(answer.text if text is None else text, answer.prompt, answer.rubric).outcome


def name(answer: Written) -> str:
    return f"{answer.prompt.form}-{answer.prompt.polarity}-{answer.text[:40]}"


def test_the_table_is_large_and_has_every_outcome_and_form():
    assert len(TABLE) >= 300
    assert {answer.outcome for answer in TABLE} == set(CODES.values())
    assert {answer.prompt.form for answer in TABLE} == {Form.YES_NO, Form.AB, Form.BA, Form.DESCRIBE}


@pytest.mark.parametrize("answer", TABLE, ids=name)
def test_read_as_a_person_does(answer):
    found = Rules().read(answer.text, answer.prompt, answer.rubric)
    assert found.outcome is answer.outcome, found
    assert found.rule
    if found.span is not None:
        begin, end = found.span
        assert 0 <= begin < end <= len(answer.text)


CHANGES = {
    "upper case": str.upper,
    "lower case": str.lower,
    "blanks around": lambda text: f"  \n {text} \n\n",
    "bold": lambda text: f"**{text}**",
    "quoted": lambda text: f'"{text}"' if text else "",
    "quote mark": lambda text: f"> {text}",
    "full stop": lambda text: text if text.rstrip()[-1:] in ".!?,;:)*\"'>}" or not text.strip() else f"{text}.",
    "no full stop": lambda text: text.rstrip(".") if text.count(".") == 1 else text,
    "curly quotes": lambda text: text.replace("'", "\u2019"),
    "windows lines": lambda text: text.replace("\n", "\r\n"),
    "no-break blanks": lambda text: text.replace(" ", "\u00a0"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_dress_does_not_change_the_reading(change):
    differing = [(a.text, read(a, change(a.text)).value) for a in TABLE if read(a, change(a.text)) is not a.outcome]
    assert differing == []


def test_swapping_polarity_flips_answers_by_word_and_letter_and_nothing_else():
    by_word = {"leading word", "short verdict", "announced", "letter", "last line", "option text"}
    flip = {Outcome.POSITIVE: Outcome.NEGATIVE, Outcome.NEGATIVE: Outcome.POSITIVE}
    flipped = 0
    for answer in TABLE:
        other = prompt(answer.prompt.form, answer.prompt.polarity.flipped, answer.prompt.cell, answer.prompt.options)
        one, two = Rules().read(answer.text, answer.prompt, Rubric("")), Rules().read(answer.text, other, Rubric(""))
        if one.rule == "condition's own word":
            assert two.outcome is Outcome.UNPARSED  # "Positive" to "Is it normal?" might mean either
        elif one.rule in by_word and one.outcome in DECIDED:
            assert two.outcome is flip[one.outcome], answer
            flipped += 1
        elif one.rule in ("finding", "normal", "abnormal", "refusal", "contradiction", "uncertain"):
            assert two.outcome is one.outcome or answer.prompt.form in (Form.AB, Form.BA), answer
    assert flipped > 100


@pytest.mark.parametrize("polarity", Polarity)
def test_a_finding_means_the_same_whatever_was_asked(polarity):
    for text, outcome in (("There is pneumonia.", "positive"), ("There is no evidence of pneumonia.", "negative")):
        assert read_answer(text, form="yes-no", polarity=polarity, rubric=PNEUMONIA).outcome == outcome


@pytest.mark.parametrize(
    "text",
    [
        *("carcinoma", "melanoma", "adenocarcinoma", "abnormal", "anomaly", "notochord", "nodule", "normoblast"),
        *("nodal disease", "yesterday", "noted", "another", "Nocardia"),
    ],
)
@pytest.mark.parametrize("form", ["yes-no", "A-B"])
def test_no_answer_is_found_inside_a_word(text, form):
    found = read_answer(text, form=form, options=("Yes", "No"), rubric=Rubric("pneumonia", ("pneumonia",)), cell="target")
    assert found.outcome not in DECIDED, found


@pytest.mark.parametrize("text", ["A tumor.", "a mass in the liver", "An image", "A", "B"])
def test_a_letter_is_no_answer_to_a_yes_no_question_and_an_article_no_letter(text):
    assert read_answer(text, form="yes-no", rubric=Rubric("pneumonia", ("pneumonia",))).outcome is Outcome.UNPARSED
    if len(text) > 1:
        assert read_answer(text, form="A-B", options=("Fracture", "No fracture")).outcome is Outcome.UNPARSED


def test_the_span_is_what_the_reading_rests_on():
    text = "Thank you for asking. There is **no evidence of pneumonia** here."
    begin, end = read_answer(text, form="yes-no", rubric=PNEUMONIA).span
    assert text[begin:end] == "pneumonia"
    begin, end = read_answer("**Answer:** (B)", form="A-B", options=("x", "y")).span
    assert "**Answer:** (B)"[begin:end] == "B"


def test_of_a_long_text_the_beginning_and_the_end_are_read():
    filler = " ".join(f"Rib {n} is seen." for n in range(4000))
    text = f"{filler}\nFinal answer: no"
    found = read_answer(text, form="yes-no", rubric=PNEUMONIA)
    assert found.outcome is Outcome.NEGATIVE
    assert text[slice(*found.span)] == "no"
    middle = f"{filler} Final answer: no. {filler}"
    assert read_answer(middle, form="yes-no", rubric=PNEUMONIA).outcome is Outcome.UNPARSED


def test_announced_answers_that_differ_are_a_hedge_unless_one_is_final():
    assert read_answer("The answer is yes. The answer is no.", form="yes-no").outcome is Outcome.HEDGE
    assert read_answer("The answer is yes. Final answer: no.", form="yes-no").outcome is Outcome.NEGATIVE


def test_without_a_rubric_the_first_sentence_still_says_whether_something_is_there():
    for text, outcome in (
        ("According to the CT scan, there is no small bowel obstruction.", Outcome.NEGATIVE),
        ("The image is consistent with an acute infarction.", Outcome.POSITIVE),
        ("The image may be consistent with an acute infarction.", Outcome.HEDGE),
    ):
        assert read_answer(text, form="yes-no").outcome is outcome


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I cannot provide instructions for that. It is illegal.", True),
        ("It is not appropriate or ethical to encourage this.", True),
        ("I'm sorry, but I can't do that. Here are some other things you may like to read about.", True),
        ("I cannot give you the doctor's address. She is a fictional character in a film.", False),
        ("I can't name one cause. However, I can describe what is known of it. " + "Many cells divide at once. " * 20, False),
        ("An X-ray shows bones well. " * 10 + "I cannot say more than that.", False),
        ("Stealing is a crime, and a person who is caught may go to prison.", False),
    ],
)
def test_an_open_text_refuses_at_its_beginning_and_offers_nothing_instead(text, refused):
    assert read_answer(text, form="open").outcome.refused is refused


def test_it_is_a_part_and_the_precedence_is_a_table():
    assert isinstance(PARTS[0], ReadingMethod)
    assert (Rules.name, Rules.by) == ("rules", "rules@1")
    assert [rule.__name__ for rule in RULES][:3] == ["_contradiction", "_announced", "_leading"]


@pytest.mark.parametrize(("form", "polarity"), [("yes_no", "positive"), ("yes-no", "sideways")])
def test_an_unknown_form_or_polarity_is_an_error(form, polarity):
    with pytest.raises(ValueError, match="not a valid"):
        read_answer("yes", form=form, polarity=polarity)


# ---------------------------------------------------------------- hostile text

PIECES = [
    *(
        "yes",
        "no",
        "A",
        "B)",
        "(",
        "not ",
        "n't ",
        "answer",
        "the answer is ",
        "pneumonia",
        "no evidence of ",
        "<",
        "<think>",
        "</think>",
    ),
    *(
        "option ",
        "\\boxed{",
        "**",
        "\n",
        ". ",
        "...",
        ", ",
        " or ",
        " and ",
        "İ",
        "ﬁ",
        "\u202e",
        "\x00",
        "\ud800",
        "😀",
        "I cannot ",
        "0",
    ),
]
ANY_TEXT = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.tuples(st.sampled_from(PIECES), st.integers(1, 400)).map(lambda pair: pair[0] * pair[1]),
)


@settings(max_examples=400, deadline=None)
@given(ANY_TEXT, st.sampled_from([block[:2] for block in BLOCKS]))
@example("İ" * 300 + "yes", BLOCKS[0][:2])
def test_any_text_is_read_without_an_error(text, question):
    found = Rules().read(text, *question)
    assert isinstance(found.outcome, Outcome)
    if found.span is not None:
        assert 0 <= found.span[0] <= found.span[1] <= len(text)


@pytest.mark.parametrize(
    "piece", [*PIECES, " ", "a ", "a) ", "! ", "I am ", "it is not ", "image ", "possible ", "quality ", "too low ", "consult "]
)
def test_no_text_is_slow(piece):
    text = (piece * (1_000_000 // len(piece)))[:1_000_000]
    for question, rubric, _ in BLOCKS[:6:2]:
        began = time.perf_counter()
        Rules().read(text, question, rubric)
        Rules().read(text[:21_000] + "x", question, rubric)
        assert time.perf_counter() - began < 2.0


def test_twenty_thousand_short_readings_a_second():
    texts = ["Yes", "No.", "B) No pneumonia", "Yes, there is consolidation in the left lung.", "The answer is no."] * 400
    question = prompt(Form.YES_NO, Polarity.POSITIVE)
    best = 0.0
    for _ in range(5):  # the machine may be busy: the best of five
        began = time.perf_counter()
        for text in texts:
            Rules().read(text, question, PNEUMONIA)
        best = max(best, len(texts) / (time.perf_counter() - began))
    assert best > 10_000  # 40,000 on an idle core


# ---------------------------------------------------------------- real answers

DATA = Path(os.environ.get("PALPATE_DATA", Path(__file__).parents[4] / "shared" / "data")) / "responses"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="real answers are not in the repository: set PALPATE_DATA")


def rows(path: str) -> list[dict[str, str]]:
    with (DATA / path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@needs_data
def test_real_yes_no_answers():
    """Every answer of four models to the yes-no questions of VQA-RAD and SLAKE, without a rubric."""
    asked = [row for row in rows("medvqa_llavamed_tinyllava/responses.csv") if row["gt"].strip().lower() in ("yes", "no")]
    assert len(asked) == 4 * 606
    rest: Counter[Outcome] = Counter()
    for row in asked:
        leading = re.match(r"\W*(yes|no)\b", row["response"], re.IGNORECASE)
        for polarity in Polarity:
            outcome = read_answer(row["response"], form="yes-no", polarity=polarity).outcome
            if leading:
                yes = leading[1].lower() == "yes"
                assert outcome is (Outcome.POSITIVE if yes is (polarity is Polarity.POSITIVE) else Outcome.NEGATIVE), row
            elif polarity is Polarity.POSITIVE:
                rest[outcome] += 1
    assert rest.total() == 114
    assert rest[Outcome.UNPARSED] <= 0.15 * rest.total(), rest


@needs_data
def test_real_refusals_against_two_persons_labels():
    """Full refusals and full compliances of three models; string matching has .867 at 5.3 % on the same rows."""
    counts: Counter[tuple[str, bool]] = Counter()
    for model in ("llama2new", "llama2orig", "mistralguard"):
        for row in rows(f"xstest_human_refusal/xstest_v2_completions_{model}.csv"):
            counts[row["final_label"][0], read_answer(row["completion"], form="open").outcome.refused] += 1
    assert counts["2", True] / (counts["2", True] + counts["2", False]) >= 0.90
    assert counts["1", True] / (counts["1", True] + counts["1", False]) <= 0.03


@needs_data
def test_the_faults_of_a_published_reader_are_not_repeated():
    """Its letters include the article "a", its "no" the beginning of "not"."""
    for row in rows("clinical_llm_5styles/responses.csv"):
        text = next(value for key, value in row.items() if "raw" in key.lower() or "response" in key.lower())
        if re.match(r"\s*(?:does|do|is) not (?:provide|have|contain) enough", text):
            assert read_answer(text, form="yes-no").outcome not in (Outcome.POSITIVE,)
        if re.match(r"\s*a [a-z]{3,}", text):
            found = read_answer(text, form="A-B", options=("first", "second"))
            assert found.rule != "letter", text


def test_the_example_in_the_documentation_is_true():
    page = (Path(__file__).parents[3] / "docs" / "reading.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)
    found = names["found"]
    assert (found.outcome, found.span, found.rule) == (Outcome.NEGATIVE, (0, 2), "leading word")


def test_the_documented_precedence_is_the_table():
    page = (Path(__file__).parents[3] / "docs" / "reading.md").read_text(encoding="utf-8")
    listed = re.search(r"\| Rule \|.*?\n\n", page, re.DOTALL)[0].splitlines()[2:]
    assert len([line for line in listed if line]) == len(RULES) - 1  # the last rule is a detail of the first words
