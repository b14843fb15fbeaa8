"""The seven questions a report answers: what is asked, what the answer cannot say, and which estimates speak to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from palpate.parts import Thresholds
from palpate.questions import TITLES


@dataclass(frozen=True, slots=True)
class Question:
    """One question. ``measures``: the estimates shown in its section, the main one first. ``needs``: what it takes.

    In ``asks`` and ``limits`` a threshold's name in braces stands for the bound a study sets; ``questions`` puts it in.
    """

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
        TITLES[1],
        "Balanced accuracy is the mean of sensitivity and specificity, averaged over the wordings of the question, so "
        "that both "
        "classes count the same; guessing gives 0.50. A question without a definite answer counts as wrong in the filled "
        "marker "
        "and is left out of the open one. The verdict compares the answered questions with 0.50.",
        "A model above chance is not yet good: read the number, not the symbol. “At chance” is claimed only where the interval "
        "lies close around 0.50 (±{chance_margin_small} points, ±{chance_margin} from {chance_small} images on); "
        "otherwise these images cannot tell.",
        (
            "ba_all",
            "ba_answered",
            "coverage",
            "ba_lead",
            "ba_bounds",
            "ba_if_right",
            "accuracy_all",
            "accuracy_answered",
            "accuracy_share_of_best",
            "sensitivity",
            "specificity",
            "f1_all",
            "f1_nr",
            "difficulty_slope",
            "right_by_fact",
            "delta_difficulty_slope",
            "auroc",
            "answer_mass",
            "margin_agreement",
        ),
    ),
    Question(
        2,
        "Wording",
        TITLES[2],
        "Every image was asked about in several wordings of the same question. Scores scatter over wordings even if "
        "wording makes "
        "no difference, because each is measured on a sample of images; the grey band shows how far. What is left beyond "
        "that is "
        "the spread that the wording itself makes. Fragile: surely more than {fragile} points; robust: surely less than "
        "{robust}.",
        "The spread describes wordings like these. A model that guesses is steady too, so a small spread is praise only where "
        "the accuracy is shown to be better than chance. The best wording seen here is best partly by luck: it is no "
        "advice on how "
        "to ask.",
        (
            "prompt_spread",
            "prompt_spread_naive",
            "prompt_spread_null",
            "prompt_range",
            "prompt_range_null",
            "prompt_effect_p",
            "flip_rate",
            "rerun_flip_rate",
            "flip_rate_beyond_rerun",
            "factor_effect",
            "factor_effect_refusals",
            "order_effect",
            "order_consistency",
            "circular_accuracy",
            "polarity_consistency",
            "yes_bias",
            "refusal_spread",
            "refusal_spread_naive",
            "refusal_spread_null",
            "refusal_effect_p",
            "criterion_spread",
            "d_prime_spread",
            "criterion",
            "d_prime",
            "design_error",
            "design_error_twice_cases",
            "design_error_twice_prompts",
        ),
    ),
    Question(
        3,
        "Refusals",
        TITLES[3],
        "Refusals (“please ask a doctor”, “I cannot see the image”), hedges, unreadable and off-topic answers are no "
        "diagnosis and "
        "no failure of the run; they are counted here. Selective: refused more often when the condition is present, or "
        "when it is "
        "absent, which biases every score of the answered questions. Answers: surely fewer than {answers} % without a "
        "definite answer.",
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
            "reading_kappa",
            "reading_agreement",
            "reading_sensitivity",
            "reading_specificity",
            "accuracy_corrected",
        ),
    ),
    Question(
        4,
        "Tuning",
        TITLES[4],
        "Tuned minus base model on the same images and wordings, what is left open counting as wrong. The grey zone of "
        "±{equivalence} points counts as no "
        "difference. A "
        "difference that is merely not significant is “undetermined”, and the smallest difference these images would have "
        "shown "
        "stands beside it.",
        "The difference is between these two checkpoints. Only where the base is the tuned model's parent is it what "
        "tuning did. "
        "The filled marker holds for these wordings, the open one for other wordings of the same question.",
        (
            "delta_ba_all",
            "delta_ba_all_over_wordings",
            "delta_ba_all_mde",
            "delta_ba_answered",
            "delta_accuracy_all",
            "delta_coverage",
            "delta_refusal_rate",
            "delta_auroc",
            "delta_ba_best_prompts",
            "delta_refusal_difference",
            "delta_prompt_spread",
            "delta_refusal_spread",
            "delta_flip_rate",
        ),
    ),
    Question(
        5,
        "Image",
        TITLES[5],
        "Where a study asks for it, the same questions are asked of images that show nothing (blank, noise, another modality, or "
        "none). Answers that stay the same do not come from the image. An "
        "answer that moves need not see the condition: the second number says how "
        "well the answers tell the cases apart (AUROC less 0.5). Uses the image: surely more than {image_dependence} % "
        "move, and the "
        "second number is surely above {label_dependence}. Looks but blind: the answers move, but it is surely below "
        "{blind}. Ignores the "
        "image: surely fewer than {ignored} % move. Robust to a "
        "corruption: a slope beyond ±{corruption_slope} (points a level of severity) is ruled out.",
        "With one run of each question, answers that merely waver count as moved. What a model asserts of an image that shows "
        "nothing is invented; a model that leaves such questions open does right, and is not counted as ignoring the image.",
        (
            "image_dependence",
            "label_dependence",
            "answer_information",
            "mirage_rate",
            "null_answer_rate",
            "quadrant_share",
            "suggestion_effect",
            "text_share",
            "suggestion_sway",
            "accuracy_agreeing",
            "accuracy_conflicting",
            "occlusion_grounding",
            "occlusion_change_lesion",
            "occlusion_change_matched",
            "corruption_slope",
            "corruption_slope_auroc",
            "corruption_drop",
            "corruption_drop_auroc",
            "corruption_flips",
        ),
        "the same questions on images that show nothing: blank, noise, another modality, or none",
    ),
    Question(
        6,
        "Knowledge",
        TITLES[6],
        "Before it answers, a model weighs its answer words: that margin can tell cases apart that the answer in words "
        "does not. "
        "Shown is what the margin would score at the threshold that suits it, chosen on other images, less what the words "
        "score. "
        "Threshold problem: the margin surely scores more (by over {latent} points), so the model knows more than it says. "
        "Otherwise the margin scores no more than the words. Knowledge problem: and that is little, surely below {enough} even at "
        "the best threshold (where the best possible is known, below the same share of the way to it): it does not know. "
        "Nothing lost: and that is not surely so little; ✓ where it is surely more. Where inner states were kept, a linear probe "
        "reads every stage inside the model on the same "
        "images, out of fold, from the image at the top to the answer at the bottom: where the line turns left, what the "
        "stages "
        "above knew does not arrive; a bottleneck is named only where its loss is surely above 0. Where images were described, "
        "readers that saw none answer from the descriptions, mean over all of them: what that scores beyond the direct answer "
        "counts only where it stays when what names the diagnosis is cut out, grey images do not give it, and readers can read "
        "the truth.",
        "Without inner states only what reaches the margin is seen. A probe finds what can be read off linearly, not what the "
        "model uses; colours alone can tell a lot; the stages are probed for one wording. A threshold fitted on these "
        "images may "
        "not suit those of another hospital.",
        (
            "criterion_loss",
            "ba_own_threshold",
            "spread_difference",
            "auroc_spread",
            "ladder_loss",
            "ladder_ba",
            "ladder_auroc",
            "ladder_gain",
            "ladder_gain_over_random",
            "ladder_selectivity",
            "ladder_width",
            "representation_loss",
            "description_gain",
            "description_gain_rethresholded",
            "description_ba",
            "description_auroc",
            "description_spread",
            "masking_loss",
            "reader_prior",
            "label_leak_rate",
            "description_probe_auroc",
        ),
        "models that give the probabilities of their answer words; for more, descriptions and probes of their inner stages",
    ),
    Question(
        7,
        "Confidence",
        TITLES[7],
        "A model that is less sure where it is wrong could leave those questions to a person. Shown is how often a right "
        "answer is "
        "more confident than a wrong one: 50 % is no use, 100 % perfect. Usable: surely more than {confidence_auroc} %. "
        "Beside it, what is wrong "
        "among the four fifths of answers it is most sure of, whether its probabilities mean what they say, and whether "
        "refusals "
        "fall where it would have been wrong.",
        "Usable is not yet good: read what remains wrong at 80 %. The calibration error of a perfect model is not 0 "
        "either; the "
        "null beside it says what it would be with these images.",
        (
            "auroc_failure",
            "risk_at_80",
            "risk_at_coverage",
            "augrc",
            "informed_refusal",
            "brier_skill",
            "brier_skill_platt",
            "calibration_slope",
            "calibration_intercept",
            "ece",
            "ece_null",
            "ece_corrected",
            "present_in_bin",
            "said_in_bin",
        ),
        "models that give the probabilities of their answer words, or several wordings of each question",
    ),
)

SCORES = ("label_dependence", "blind", "enough")
"""Thresholds quoted as they are; the others, but for counts, in points or per cent."""


def questions(thresholds: Thresholds) -> tuple[Question, ...]:
    """The seven questions in the words of a study: with the bounds that its verdicts rest on."""
    said = _said(thresholds)
    return tuple(replace(q, asks=q.asks.format_map(said), limits=q.limits.format_map(said)) for q in QUESTIONS)


def _said(thresholds: Thresholds) -> Mapping[str, str]:
    return {
        name: f"{bound:g}" if name in SCORES or isinstance(bound, int) else f"{100 * bound:g}"
        for name, bound in asdict(thresholds).items()
    }


MEASURED = frozenset(name for question in QUESTIONS for name in question.measures)
"""Estimates that have a section; any other is listed in the appendix, so that nothing measured is hidden."""
