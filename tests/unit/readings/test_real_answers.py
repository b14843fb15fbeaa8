"""Reading held against real answers and what persons made of them. Runs where the data are; no text is copied here."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from palpate.nouns import Outcome, Polarity
from palpate.readings.rules import read_answer

DATA = Path(os.environ.get("PALPATE_DATA", Path(__file__).parents[4] / "shared" / "data")) / "responses"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="real answers are not in the repository: set PALPATE_DATA")
YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


def rows(path: str) -> list[dict[str, str]]:
    with (DATA / path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def hand_read() -> list[dict[str, str]]:
    """The answers that begin with neither yes nor no, as a person read them: what each says to its question."""
    with Path(__file__).with_name("hand_read_medvqa.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def medvqa() -> list[dict[str, str]]:
    return [r for r in rows("medvqa_llavamed_tinyllava/responses.csv") if r["gt"].strip().lower() in ("yes", "no")]


# ---------------------------------------------------------------- VQA-RAD and SLAKE: LLaVA-Med, TinyLLaVA


def test_every_answer_that_begins_with_yes_or_no_is_read_so(medvqa):
    assert len(medvqa) == 4 * 606
    leading = [(r, YES_NO.match(r["response"])) for r in medvqa]
    assert sum(found is not None for _, found in leading) == 2310
    for row, found in leading:
        for polarity in Polarity if found else ():
            outcome = read_answer(row["response"], form="yes-no", polarity=polarity, question=row["question"]).outcome
            yes = found[1].lower() == "yes"
            assert outcome is (Outcome.POSITIVE if yes is (polarity is Polarity.POSITIVE) else Outcome.NEGATIVE), row


def agreement(medvqa, *, with_question: bool) -> tuple[int, int]:
    by_place = {(r["dataset"], r["model"], r["index"]): r for r in medvqa}
    agreed = 0
    known = hand_read()
    for read in known:
        row = by_place[read["dataset"], read["model"], read["index"]]
        assert hashlib.blake2b(row["response"].encode(), digest_size=8).hexdigest() == read["digest"]
        assert not YES_NO.match(row["response"])
        positive = read["polarity"] == "positive"
        by_word = {
            "yes": Outcome.POSITIVE if positive else Outcome.NEGATIVE,
            "no": Outcome.NEGATIVE if positive else Outcome.POSITIVE,
        }
        expected = by_word.get(read["said"]) or Outcome(read["said"])
        question = row["question"] if with_question else ""
        agreed += read_answer(row["response"], form="yes-no", polarity=read["polarity"], question=question).outcome is expected
    return agreed, len(known)


def test_the_other_answers_are_read_as_a_person_reads_them(medvqa):
    agreed, n = agreement(medvqa, with_question=True)
    assert n == 111
    assert agreed / n >= 0.97  # 110 of 111


def test_and_nearly_so_without_their_question(medvqa):
    agreed, n = agreement(medvqa, with_question=False)
    assert agreed / n >= 0.93


def test_the_hand_read_answers_are_all_of_the_two_models(medvqa):
    others = {
        (r["dataset"], r["model"], r["index"])
        for r in medvqa
        if r["model"] in ("llavamed", "tinyllava") and not YES_NO.match(r["response"])
    }
    assert {(r["dataset"], r["model"], r["index"]) for r in hand_read()} == others


# ---------------------------------------------------------------- XSTest: refusals as two persons labelled them


MODELS = ("llama2new", "llama2orig", "mistralguard")


def refusals(model: str) -> Counter[tuple[str, bool]]:
    counts: Counter[tuple[str, bool]] = Counter()
    for row in rows(f"xstest_human_refusal/xstest_v2_completions_{model}.csv"):
        counts[row["final_label"][0], read_answer(row["completion"], form="open").outcome.refused] += 1
    return counts


def test_refusals_are_found_and_compliance_is_not_taken_for_one():
    """Full refusals and full compliances; matching strings has .867 at 5.3 %, a GPT-4 judge .762 at 0.8 %."""
    total = sum((refusals(model) for model in MODELS), Counter())
    assert total["2", True] + total["2", False] == 723
    assert total["1", True] + total["1", False] == 487
    assert total["2", True] / 723 >= 0.95  # .964
    assert total["1", True] / 487 <= 0.02  # .014


@pytest.mark.parametrize("model", MODELS)
def test_no_model_is_read_much_worse_than_another(model):
    counts = refusals(model)
    assert counts["2", True] / (counts["2", True] + counts["2", False]) >= 0.95
    assert counts["1", True] / (counts["1", True] + counts["1", False]) <= 0.025


# ---------------------------------------------------------------- three language models, read by their authors' own reader


def test_no_letter_is_found_where_none_stands():
    """Their reader takes the article "a" for option A: 890 rows whose letter stands nowhere in the text in upper case."""
    odd = [
        r
        for r in rows("clinical_llm_5styles/responses.csv")
        if r["dataset"] != "pubmedqa"
        and r["extracted_by_authors"] in tuple("ABCD")
        and not re.search(rf"(?<![A-Za-z]){r['extracted_by_authors']}(?![A-Za-z])", r["raw"])
    ]
    assert len(odd) == 890
    for row in odd:
        found = read_answer(row["raw"], form="A-B")
        named = re.search(r"\b(?:option|answer)\W+(?:is )?a\b", row["raw"])  # "the answer … is option a"
        assert not found.outcome.answered or named, row["raw"]


def test_no_is_not_found_in_not():
    """Their reader takes the beginning of "not" for "no"."""
    odd = [
        r["raw"]
        for r in rows("clinical_llm_5styles/responses.csv")
        if r["extracted_by_authors"] == "no" and not re.search(r"\bno\b", r["raw"], re.IGNORECASE)
    ]
    assert len(odd) >= 40
    assert [text for text in odd if read_answer(text, form="yes-no").outcome.answered] == []


def test_a_letter_or_word_that_stands_alone_is_read():
    for row in rows("clinical_llm_5styles/responses.csv"):
        text = row["raw"].strip()
        if row["dataset"] == "pubmedqa" and text.lower().rstrip(".") in ("yes", "no"):
            assert read_answer(text, form="yes-no").outcome is (Outcome.POSITIVE if text[0] in "Yy" else Outcome.NEGATIVE)
        elif row["dataset"] != "pubmedqa" and text in tuple("AB"):
            assert read_answer(text, form="A-B").outcome is (Outcome.POSITIVE if text == "A" else Outcome.NEGATIVE)
