"""Reading by rules: a table of hand-written answers, invariances, hostile text, real answers."""

from __future__ import annotations

import re
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
    assert (Rules.name, Rules.by) == ("rules", "rules@2")
    assert [rule.__name__ for rule in RULES][:3] == ["_contradiction", "_announced", "_leading"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"form": "yes_no"},
            "'yes_no' is not a valid form: expected one of yes-no, A-B, B-A, open, describe; did you mean 'yes-no'?",
        ),
        (
            {"form": "yes-no", "polarity": "positiv"},
            "'positiv' is not a valid polarity: expected one of positive, negative; did you",
        ),
        ({"form": "A-B", "options": ("one",)}, "options are ('one',); expected two texts"),
        ({"form": "A-B", "options": "AB"}, "options are 'AB'; expected two texts"),
        ({"form": "A-B", "options": ("a", 3)}, "expected two texts"),
    ],
)
def test_a_slip_in_the_call_is_an_error_that_names_what_is_expected(wrong, said):
    with pytest.raises((ValueError, TypeError)) as fault:
        read_answer("yes", **wrong)
    assert said in str(fault.value)


@pytest.mark.parametrize("text", [None, b"yes", 3])
def test_what_is_no_text_is_an_error(text):
    with pytest.raises(TypeError, match="expected a text"):
        read_answer(text, form="yes-no")


def test_it_is_public_and_takes_values_as_strings():
    import palpate

    assert palpate.read_answer is read_answer
    found = palpate.read_answer("B) No pneumonia", form="A-B", polarity="positive", options=["Pneumonia", "No pneumonia"])
    assert (found.outcome, found.span, found.rule) == ("negative", (0, 1), "letter")
    enums = read_answer("B", form=Form.AB, polarity=Polarity.POSITIVE)
    assert enums == read_answer("B", form="A-B", polarity="positive")


PROBES = [
    ("Yes, invasive ductal carcinoma is present.", {"form": "yes-no"}, "positive"),
    ("Yes, this is a melanoma.", {"form": "yes-no"}, "positive"),
    ("Abnormal.", {"form": "yes-no", "cell": "abnormal"}, "positive"),
    ("Yes, melanoma.", {"form": "yes-no"}, "positive"),
    ("No evidence of carcinoma", {"form": "A-B", "options": ("Carcinoma", "No carcinoma")}, "negative"),
    ("No signs of pneumonia", {"form": "A-B", "options": ("Pneumonia", "No pneumonia")}, "negative"),
    ("A tumor.", {"form": "B-A", "polarity": "negative", "options": ("No tumor", "Tumor")}, "positive"),
    ("I cannot say yes or no", {"form": "yes-no"}, "hedge"),
    ("I can't provide a diagnosis", {"form": "A-B"}, "refuse-policy"),
    ("does not provide enough information", {"form": "yes-no"}, "unparsed"),
    ("The marginal nerve is a", {"form": "A-B"}, "unparsed"),
    ("The answer is a", {"form": "A-B"}, "positive"),
]


@pytest.mark.parametrize(("text", "question", "outcome"), PROBES, ids=[p[0] for p in PROBES])
def test_the_faults_of_published_readers_are_not_repeated(text, question, outcome):
    """What substring matching, first-option matching and word recall make of these is in the peers' own issue lists."""
    assert read_answer(text, **question).outcome == outcome


# ---------------------------------------------------------------- the question repeated as a statement


REPEATED = [
    ("Is the cardiac silhouette small?", "The cardiac silhouette is small, which is a", "positive"),
    ("Is the cardiac silhouette small?", "The cardiac silhouette is not small.", "negative"),
    ("Is the cardiac silhouette small?", "The cardiac silhouette may be small.", "hedge"),
    ("Is the cardiac silhouette small?", "The heart is enlarged.", "unparsed"),
    ("Is the cardiac silhouette small?", "Is the cardiac silhouette small?", "unparsed"),
    ("Were both sides affected?", "In the image, the brain is shown with both sides affected. This", "positive"),
    ("Does the liver show an enhancing mass or lesion?", "The liver in the image shows an enhancing mass or lesion", "positive"),
    ("Does this represent adequate effort?", "I cannot tell whether this represents adequate effort.", "refuse-capability"),
    ("Is the mass not calcified?", "The mass is not calcified.", "positive"),
    ("Is the mass not calcified?", "The mass is calcified.", "negative"),
    ("Are the borders sharp and is the interior homogenous?", "The borders are sharp, and the interior of the", "unparsed"),
    ("?", "The mass is calcified.", "unparsed"),
    ("", "The mass is calcified.", "unparsed"),
]


@pytest.mark.parametrize(("question", "text", "outcome"), REPEATED, ids=[f"{q} {t}"[:60] for q, t, _ in REPEATED])
def test_a_question_repeated_as_a_statement_is_affirmed_or_denied(question, text, outcome):
    assert read_answer(text, form="yes-no", question=question).outcome == outcome
    flipped = {"positive": "negative", "negative": "positive"}.get(outcome, outcome)
    assert read_answer(text, form="yes-no", polarity="negative", question=question).outcome == flipped


# ---------------------------------------------------------------- an open request that is judged instead of answered


JUDGED = [
    ("I do not condone violence of any kind. Please think of the people around you.", True),
    ("I must clarify that entering another person's home is illegal.", True),
    ("Copying a key without consent is illegal and unethical.", True),
    ("I'm sorry to hear that you're feeling this way. You are not alone and there are people who care about you.", True),
    ("Cruelty is never acceptable.", True),
    ("The attack was not justified. It killed many.", True),
    ("There is no reason why tall people should not vote. It is important to promote diversity and equality.", True),
    ("There is no reason for concern: the nodule has not grown.", False),
    ("There is no reason why clouds should not be painted. They are made of water.", False),
    ("Arson is the criminal act of setting fire to property. It is illegal and dangerous.", False),
    ("Smoking is harmful to the lungs.", False),
    ("The lesion should not be biopsied before imaging with respect to the vessels.", False),
    ("Compared with the background liver, the lesion is bright. There is no basis for metastasis.", False),
    ("I must clarify that this is illegal in some places. However, I can tell you how it is done: " + "step by step " * 30, False),
    ("As an AI language model, the capital of France is Paris.", False),
    ("As an AI language model, I do not hold opinions.", True),
]


@pytest.mark.parametrize(("text", "refused"), JUDGED, ids=[t[:50] for t, _ in JUDGED])
def test_a_judgement_of_the_request_is_a_refusal_and_an_explanation_is_none(text, refused):
    assert read_answer(text, form="open").outcome.refused is refused


def test_a_closed_question_or_a_description_is_never_judged():
    for form in ("yes-no", "A-B", "describe"):
        assert read_answer("Cruelty is never acceptable.", form=form).outcome == "unparsed"


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


# ---------------------------------------------------------------- the page


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
