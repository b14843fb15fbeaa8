"""The seven questions a report answers: what is asked, what the answer cannot say, and which estimates speak to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """One question. ``measures``: the estimates shown in its section, the main one first. ``needs``: what it takes."""

    number: int
    short: str
    title: str
    asks: str
    limits: str
    measures: tuple[str, ...] = ()
    needs: str = ""


QUESTIONS: tuple[Question, ...] = (
    Question(
        1,
        "Accuracy",
        "Better than chance?",
        "Balanced accuracy is the mean of sensitivity and specificity, averaged over the wordings of the question, so that both "
        "classes count the same; guessing gives 0.50. A question without a definite answer counts as wrong in the filled marker "
        "and is left out of the open one. The verdict compares the answered questions with 0.50.",
        "A model above chance is not yet good: read the number, not the symbol. “At chance” is claimed only where the interval "
        "lies close around 0.50 (±10 points, ±5 from 900 images on); otherwise these images cannot tell.",
        (
            "ba_all",
            "ba_answered",
            "coverage",
            "accuracy_all",
            "accuracy_answered",
            "accuracy_share_of_best",
            "sensitivity",
            "specificity",
            "f1_all",
            "f1_nr",
            "auroc",
            "answer_mass",
        ),
    ),
    Question(
        2,
        "Wording",
        "Depends on the wording?",
        "Every image was asked about in several wordings of the same question. Scores scatter over wordings even if wording makes "
        "no difference, because each is measured on a sample of images; the grey band shows how far. What is left beyond that is "
        "the spread that the wording itself makes. Fragile: surely more than 2 points; robust: surely less than 5.",
        "The spread describes wordings like these. A model that guesses is steady too, so a small spread is praise only where "
        "the accuracy is shown to be better than chance. The best wording seen here is best partly by luck: it is no advice on how "
        "to ask.",
        (
            "prompt_spread",
            "prompt_spread_naive",
            "prompt_spread_null",
            "prompt_range",
            "prompt_range_null",
            "prompt_effect_p",
            "flip_rate",
            "refusal_spread",
            "refusal_spread_naive",
            "refusal_spread_null",
            "refusal_effect_p",
        ),
    ),
    Question(
        3,
        "Refusals",
        "Refuses?",
        "Refusals (“please ask a doctor”, “I cannot see the image”), hedges, unreadable and off-topic answers are no diagnosis and "
        "no failure of the run; they are counted here. Selective: refused more often when the condition is present, or when it is "
        "absent, which biases every score of the answered questions.",
        "How an answer was read decides what counts as a refusal: the reading method is named with the study, and the examples "
        "show the words it went by. Errors of the run are never refusals; they are counted apart.",
        (
            "refusal_rate",
            "no_answer_rate",
            "refusal_difference",
            "hedge_rate",
            "unparsed_rate",
            "off_topic_rate",
            "error_rate",
        ),
    ),
    Question(
        4,
        "Tuning",
        "Did tuning help?",
        "Tuned minus base model on the same images and wordings. The grey zone of ±5 points counts as no difference. A "
        "difference that is merely not significant is “undetermined”, and the smallest difference these images would have shown "
        "stands beside it.",
        "The difference is between these two checkpoints. Only where the base is the tuned model's parent is it what tuning did. "
        "The filled marker holds for these wordings, the open one for other wordings of the same question.",
        (
            "delta_ba_all",
            "delta_ba_all_over_wordings",
            "delta_ba_all_mde",
            "delta_ba_answered",
            "delta_accuracy_all",
            "delta_coverage",
            "delta_refusal_rate",
        ),
    ),
    Question(
        5,
        "Image",
        "Looks at the image?",
        "Whether the answers depend on the image at all.",
        "",
        (),
        "the same questions on blank and noise images",
    ),
    Question(
        6,
        "Knowledge",
        "Knows more than it says?",
        "Whether knowledge is lost between the image and the answer.",
        "",
        (),
        "descriptions, and probes of the model's inner stages",
    ),
    Question(
        7,
        "Confidence",
        "Knows when to abstain?",
        "Whether the model is less sure where it is wrong.",
        "",
        (),
        "measures of calibration over the recorded margins",
    ),
)

MEASURED = frozenset(name for question in QUESTIONS for name in question.measures)
"""Estimates that have a section; any other is listed in the appendix, so that nothing measured is hidden."""
