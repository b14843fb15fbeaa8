"""What a description states by name, denied or not, and what is left of it when that is cut out."""

from __future__ import annotations

import pytest

from palpate.nouns import Outcome
from palpate.parts import Rubric
from palpate.readings._stated import GAP, masked, stated
from palpate.task import load_task

TUMOR = load_task("brain_tumor_mri").rubric
LUNG = load_task("pneumonia_cxr").rubric
SKIN = load_task("skin_cancer_dermoscopy").rubric


@pytest.mark.parametrize(
    ("text", "rubric", "outcome"),
    [
        ("There is a large mass on the left side of the brain.", TUMOR, None),  # a sign, no name
        ("This suggests a brain tumor.", TUMOR, Outcome.POSITIVE),
        ("There is no evidence of brain cancer.", TUMOR, Outcome.NEGATIVE),
        ("A tumour cannot be excluded.", TUMOR, Outcome.HEDGE),
        ("The appearance is that of a glioma.", TUMOR, Outcome.POSITIVE),
        ("This is a healthy brain.", TUMOR, Outcome.NEGATIVE),
        ("The ventricles are symmetric.", TUMOR, None),
        ("I am not able to say whether there is a tumor.", TUMOR, None),
        ("There is a dense consolidation in the right lung.", LUNG, None),
        ("No consolidation. No pneumonia.", LUNG, Outcome.NEGATIVE),
        ("The lesion is benign.", SKIN, Outcome.NEGATIVE),
        ("The lesion is not benign.", SKIN, Outcome.POSITIVE),
        ("MELANOMA.", SKIN, Outcome.POSITIVE),
    ],
)
def test_what_is_stated(text, rubric, outcome):
    assert stated(text, rubric) is outcome


def test_without_a_list_of_names_every_word_of_the_rubric_names_the_diagnosis():
    rubric = Rubric("pneumonia", ("opacity",), ("clear lungs",))
    assert rubric.naming == ("pneumonia", "opacity", "clear lungs")
    assert stated("There is an opacity.", rubric) is Outcome.POSITIVE
    assert stated("There are clear lungs.", rubric) is Outcome.NEGATIVE
    assert stated("Anything at all.", Rubric("")) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("An opacity is seen.", "An opacity is seen."),
        ("An opacity is seen. No pneumonia.", f"An opacity is seen. {GAP}."),
        ("No pneumonia is seen. The heart is large.", f"{GAP}. The heart is large."),
        ("There is a dense opacity, suggestive of pneumonia.", f"There is a dense opacity {GAP}."),
        ("No findings consistent with pneumonia.", f"{GAP}."),  # the denial before it would tell
        ("This suggests pneumonia.", f"{GAP}."),  # and so would "this"
        ("Findings: opacity\nNo pneumonia\nAn effusion", f"Findings: opacity\n{GAP}\nAn effusion"),
        ("pneumonic changes", "pneumonic changes"),
        ("", ""),
    ],
)
def test_what_is_left(before, after):
    assert masked(before, LUNG) == after


@pytest.mark.parametrize("rubric", [TUMOR, LUNG, SKIN])
def test_affirmed_or_denied_the_same_is_left(rubric):
    """What is left must not tell which of the two was said."""
    for name in rubric.naming:
        texts = (f"There is {name}.", f"There is no {name}.", f"This suggests {name}.", f"{name} is not seen.")
        assert {masked(f"A scan. {t}", rubric) for t in texts} == {f"A scan. {GAP}."}


@pytest.mark.parametrize("rubric", [TUMOR, LUNG, SKIN])
def test_what_was_masked_states_nothing_and_is_left_alone(rubric):
    for name in rubric.naming:
        once = masked(f"One is seen. It looks like {name}, İ and {name.upper()}; not {name}s. Another, due to {name}!", rubric)
        assert stated(once, rubric) is None
        assert masked(once, rubric) == once


def test_without_words_nothing_is_masked():
    assert masked("There is pneumonia.", Rubric("")) == "There is pneumonia."
