"""Reading an answer by rules: by form and polarity, in a fixed order, with the words it rests on.

``RULES`` is the whole precedence: each rule looks at the text and either decides or passes. The words are in
``_vocabulary.py``, the reading of findings ("no evidence of …") in ``_findings.py``, of refusals in ``_refusals.py``.

    contradiction  "Yes and no", "A or B", "both"                     hedge
    announced      "The answer is no", "Final answer: (B)"            what it announces
    leading        "Yes, …", "B) No pneumonia", "(A)"                 yes/no or the letter, through the polarity
    option         the whole text is an option's text                 that option
    last line      a last line that is "Yes" or "B" alone
    question       behind a question that is repeated: "Is there a mass? No."
    listed         both options repeated, none chosen                 unparsed
    degenerate     one word again and again, no letters               off-topic
    findings       what sentences assert or deny of the condition     positive, negative
    normality      "The image is normal", "no abnormalities"          negative, positive
    echo           the question repeated as a statement               yes or no, through the polarity
    existence      no rubric: "there is no …", "is consistent with …" negative, positive
    refusal        "I cannot see the image", "I cannot diagnose"      refuse-capability, refuse-policy
    judgement      open: "I do not condone …", "That is illegal and …"  refuse-policy
    hedge          "may represent pneumonia", "unclear"               hedge
    referral       only "please consult a doctor"                     refuse-policy

Nothing fits: unparsed. A definite answer beats a refusal beside it ("I'm not a doctor, but yes").
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import ClassVar, TypeVar

from palpate.nouns import Form, Outcome, Polarity, Prompt
from palpate.parts import ReadText, Rubric
from palpate.readings import _findings as findings
from palpate.readings import _vocabulary as words
from palpate.readings._echo import echoed
from palpate.readings._findings import Mention, Says
from palpate.readings._plain import moved, plain, seen
from palpate.readings._question import NO_RUBRIC, Question
from palpate.readings._refusals import FIRST_SENTENCES, find_judgement, in_refusal

# ---------------------------------------------------------------- the rules, in order


def _contradiction(q: Question) -> ReadText | None:
    found = words.BOTH.search(q.text, 0, 200) if q.says_yes_no else None
    if found is None and q.lettered:
        found = words.BOTH_LETTERS.search(q.text, 0, 120) or words.BOTH_OPTIONS.search(q.text, 0, 200)
    if found is None:
        return None
    if words.MENTIONS_VERDICT.search(q.text) and (announced := _announced(q)):
        return announced  # "Yes or no? The answer is no."
    return ReadText(Outcome.HEDGE, found.span(), "contradiction")


def _announced(q: Question) -> ReadText | None:
    """The verdict a text announces; of several the last one where it is called final or they agree, else a hedge."""
    if not q.form.closed or not words.MENTIONS_VERDICT.search(q.text):
        return None
    read: list[tuple[Outcome, tuple[int, int], bool]] = []
    for found in words.EXPLICIT.finditer(q.text):
        number = next(n for n in words.EXPLICIT_GROUPS if found[f"word{n}"])
        word, after = found[f"word{number}"], found[f"after{number}"]
        outcome = q.word(word)
        listed = word in ("a", "b") and (_is_article(word, after) or "or b" in after or "and b" in after)
        if outcome is not None and not listed and not after.lstrip().startswith(("or ", "and no", "/")):
            read.append((outcome, found.span(f"word{number}"), bool(found["final"])))
    if not read:
        return None
    outcome, span, final = read[-1]
    if final or all(other == outcome for other, _, _ in read):
        return ReadText(outcome, span, "announced")
    return ReadText(Outcome.HEDGE, span, "announced, contradictory")


def _is_article(word: str, after: str) -> bool:
    """True for the "a" of "a tumor": a blank and a word follow, nothing that marks a letter."""
    return word == "a" and len(after) > 1 and after[0] == " " and after[1].isalpha()


def _leading(q: Question) -> ReadText | None:
    if q.says_yes_no and (read := _leading_word(q)):
        return read
    return _leading_letter(q) if q.lettered else None


def _leading_word(q: Question) -> ReadText | None:
    found = words.LEADING.match(q.text)
    if found is None:
        return _short_verdict(q)
    word, yes = found["word"], found["yes"] is not None
    if word in words.STRONG_YES and words.NOT_AFTER.match(q.text, found.end("word")):
        yes = False
    elif word == "no" and _is_determiner(found["after"]):
        return None
    if not yes and q.refusal is not None and q.refusal[1][0] <= found.end() + 1:
        return None  # "No, I cannot view images": the refusal is the answer
    return _from_word(q, "yes" if yes else "no", found.span("word"), "leading word")


def _is_determiner(after: str) -> bool:
    """True for the "no" of "no pneumonia": a word follows that no answer goes on with, and no punctuation stands between."""
    word = after.strip()
    return bool(word) and word[0].isalpha() and not words.NO_AS_ANSWER.fullmatch(word)


def _short_verdict(q: Question) -> ReadText | None:
    """A whole answer that says yes or no without the word."""
    if len(q.text) <= words.SHORT:
        said = words.BARE.get(q.text.strip(" .!\"'")) if q.polarity is Polarity.POSITIVE else None
        if said is not None:  # "positive" to "Is it normal?" might mean either
            return ReadText(q.first(said), (0, len(q.text)), "condition's own word")
        for word, pattern in (("yes", words.SHORT_YES), ("no", words.SHORT_NO)):
            if found := pattern.match(q.text):
                return _from_word(q, word, found.span(), "short verdict")
    return None


def _from_word(q: Question, word: str, span: tuple[int, int], rule: str) -> ReadText | None:
    outcome = q.word(word)
    return None if outcome is None else ReadText(outcome, span, rule)


def _leading_letter(q: Question) -> ReadText | None:
    found = words.LETTER.match(q.text)
    if found is None or words.LISTED.match(q.text):
        return None
    letter, rest = found["word"], q.text[found.end("word") :]
    if _is_article(letter, rest):
        return None  # "A tumor." is a finding
    named = _option_at(q, rest)
    outcome = q.first(letter == "a")
    contradicted = named is not None and named is not (letter == "a")
    if named is None and q.terms is not None and rest.strip(" .)"):
        line = rest.split("\n", 1)[0]
        said = findings.verdict(list(findings.mentions(line, q.terms)))
        contradicted = (
            said is not None and said.says is not Says.MAYBE and (said.says is Says.PRESENT) is (outcome is Outcome.NEGATIVE)
        )
    if contradicted:
        return ReadText(Outcome.HEDGE, found.span("word"), "letter contradicts its text")
    return ReadText(outcome, found.span("word"), "letter")


def _option_at(q: Question, rest: str) -> bool | None:
    """True where the text goes on with option A's text, False for B's; the longer one first: "No tumor" is not "tumor"."""
    if q.option_texts is None:
        return None
    start = " ".join(rest.lstrip(" \n).:,;\"'-/]}(")[:200].split())
    for option in sorted(q.option_texts, key=len, reverse=True):
        if start.startswith(option) and not start[len(option) : len(option) + 1].isalnum():
            return option == q.option_texts[0]
    return None


def _option(q: Question) -> ReadText | None:
    """The text is an option's text and nothing more (an article and "the image shows" apart)."""
    if not q.lettered or q.option_texts is None or len(q.text) > 200:
        return None
    said = " ".join(q.text.strip(" \n.,!:;\"'()[]").split())
    for lead in ("this image shows ", "the image shows ", "it shows ", "a ", "an ", "the "):
        said = said.removeprefix(lead)
    for number, option in enumerate(q.option_texts):
        if said == option:
            return ReadText(q.first(number == 0), (0, len(q.text)), "option text")
    return None


def _last_line(q: Question) -> ReadText | None:
    """A last line that is a verdict alone, or a text that ends in a letter ("I lean towards B")."""
    if not q.form.closed:
        return None
    begin = max(0, len(q.text) - 80)
    found = words.LAST_LINE.search(q.text, begin) if "\n" in q.text else None
    if found is None and q.lettered:
        found = words.LAST_LETTER.search(q.text, begin)
        if found is not None and q.ends == "a" and not words.NAMES_LETTER.match(found.group()):
            return None  # "The nerve is a": an article, and the text cut off behind it
    return None if found is None else _from_word(q, found["word"], found.span("word"), "last line")


def _after_question(q: Question) -> ReadText | None:
    """The leading answer behind a question the model repeats or asks itself ("Is there a mass? No.")."""
    end = q.text.rfind("?", 0, words.REPEATED) + 1
    if not end or not q.form.closed:
        return None
    rest = q.text[end:].lstrip()
    read = _leading(replace(q, text=rest)) if rest else None
    if read is None or read.span is None:
        return read
    moved = len(q.text) - len(rest)
    return ReadText(read.outcome, (read.span[0] + moved, read.span[1] + moved), "after the question")


def _listed(q: Question) -> ReadText | None:
    """Both options repeated and none announced."""
    listed = q.lettered and words.LISTED.match(q.text)
    return ReadText(Outcome.UNPARSED, None, "options repeated") if listed else None


def _degenerate(q: Question) -> ReadText | None:
    """One word again and again, one character again and again, or no letters at all."""
    tokens = [token.strip(".,:;!?\"'") for token in q.text.split(None, 200)[:200]]
    letters = sum(map(str.isalpha, q.text[:400]))
    if not letters:
        return ReadText(Outcome.OFF_TOPIC, None, "no letters")
    repeated = len(tokens) >= 8 and len(set(tokens)) <= max(2, len(tokens) // 8)
    stuck = max(map(len, tokens)) >= 24 and any(len(set(token)) <= 2 for token in tokens if len(token) >= 24)
    return ReadText(Outcome.OFF_TOPIC, None, "degenerate") if repeated or stuck else None


def _finding(q: Question) -> ReadText | None:
    said = q.finding
    if said is None or said.says is Says.MAYBE:
        return None
    return ReadText(Outcome.POSITIVE if said.says is Says.PRESENT else Outcome.NEGATIVE, said.span, "finding")


def _normality(q: Question) -> ReadText | None:
    """Normal denies any condition; abnormal asserts it only where abnormality is what was asked."""
    known = findings.terms(words.ABNORMAL, words.NORMAL, "")
    if known is None or (q.finding is not None and q.finding.says is Says.MAYBE):
        return None
    of_one_disease = not q.form.closed or q.cell == "target"
    said = []
    for mention in findings.mentions(q.text, known):
        if of_one_disease and not _about_the_whole(q.text, mention):
            continue
        if not in_refusal(q.text, mention.span):
            said.append(mention)
    verdict = findings.verdict(said)
    if verdict is None or verdict.says is Says.MAYBE:
        return None
    if verdict.says is Says.ABSENT:
        return ReadText(Outcome.NEGATIVE, verdict.span, "normal")
    if of_one_disease:
        return ReadText(Outcome.HEDGE, verdict.span, "abnormal, the condition not named")
    return ReadText(Outcome.POSITIVE, verdict.span, "abnormal")


def _about_the_whole(text: str, mention: Mention) -> bool:
    """A denied abnormality needs no subject; normal has to be said of the image or the organ, or of nothing else."""
    begin, end = mention.span
    before = words.SENTENCE_END.split(text[max(0, begin - findings.REACH) : begin])[-1]
    after = words.SENTENCE_END.split(text[end : end + 40])[0]
    if mention.says is Says.ABSENT and text.startswith("abnormal", begin):
        return True
    bare = len(before.split()) < 2 and len(after.split()) < 3
    return bare or any((words.WHOLE.search(before), words.WHOLE.match(after.lstrip()), words.IT_IS.match(before)))


def _existence(q: Question) -> ReadText | None:
    """Without words for the condition: "there is no …", "is consistent with …" in the first sentence."""
    if q.terms is not None or q.form is not Form.YES_NO:
        return None
    first = words.SENTENCE_END.split(q.text, maxsplit=1)[0][:400]
    if found := words.NOTHING_THERE.search(first):
        return None if in_refusal(first, found.span()) else ReadText(Outcome.NEGATIVE, found.span(), "nothing there")
    found = words.SOMETHING_THERE.search(first)
    if found is None or words.HEDGES.search(first[: found.start()]) or words.NEUTRAL.search(first[: found.start()]):
        return None
    return ReadText(Outcome.POSITIVE, found.span(), "something there")


def _echo(q: Question) -> ReadText | None:
    """The question repeated as a statement, affirmed or denied."""
    found = echoed(q.text, q.asked) if q.asked and q.form is Form.YES_NO else None
    return None if found is None else ReadText(q.first(found[0]), found[1], "question repeated")


def _refusal(q: Question) -> ReadText | None:
    return None if q.refusal is None else ReadText(q.refusal[0], q.refusal[1], "refusal")


def _hedge(q: Question) -> ReadText | None:
    if q.finding is not None and q.finding.says is Says.MAYBE:
        return ReadText(Outcome.HEDGE, q.finding.span, "finding, uncertain")
    if q.form is Form.DESCRIBE:
        return None  # "may", "possibly": a description is full of them
    found = words.UNSURE.search(q.text, 0, len(q.text) if q.form.closed else FIRST_SENTENCES)
    return None if found is None else ReadText(Outcome.HEDGE, found.span(), "uncertain")


def _referral(q: Question) -> ReadText | None:
    if not q.form.closed and len(q.text) > words.BRIEF:
        return None  # a description may end with advice
    found = words.REFER.search(q.text, 0, 2 * words.BRIEF)
    return None if found is None else ReadText(Outcome.REFUSE_POLICY, found.span(), "referral")


def _judgement(q: Question) -> ReadText | None:
    """An open question that is judged instead of answered."""
    span = find_judgement(q.text) if q.form is Form.OPEN else None
    return None if span is None else ReadText(Outcome.REFUSE_POLICY, span, "judgement of the request")


def _plain_no(q: Question) -> ReadText | None:
    """A "no" before a noun, to an affirmative question about words no rubric knows."""
    found = words.LEADING.match(q.text) if q.says_yes_no and q.polarity is Polarity.POSITIVE else None
    return None if found is None or found["word"] != "no" else ReadText(q.first(False), found.span("word"), "leading no")


RULES: tuple[Callable[[Question], ReadText | None], ...] = (
    _contradiction,
    _announced,
    _leading,
    _option,
    _last_line,
    _after_question,
    _listed,
    _degenerate,
    _finding,
    _normality,
    _echo,
    _existence,
    _refusal,
    _judgement,
    _hedge,
    _referral,
    _plain_no,
)
"""The first rule that decides is the reading."""


# ---------------------------------------------------------------- the public function and the part


def read_answer(
    text: str,
    *,
    form: Form | str,
    polarity: Polarity | str = Polarity.POSITIVE,
    options: Sequence[str] | None = None,
    rubric: Rubric = NO_RUBRIC,
    cell: str = "",
    question: str = "",
) -> ReadText:
    """What an answer says about the condition: outcome, the part of the text it rests on, the rule that decided.

    ``polarity`` is what "yes", or option A, asserts. ``options`` are the texts of A and B in the order shown. ``rubric``
    names the condition and the words that assert or deny it. ``cell`` "target": the question was about one disease, so
    "abnormal" alone does not answer it. ``question`` is its text, by which an answer is known that repeats it as a statement. Of a
    text of more than 22,000 characters the first 20,000 and the last 2,000 are read.

    Raises ValueError for an unknown form or polarity, and TypeError for what is no text or options that are no two texts; any text
    is read.
    """
    if not isinstance(text, str):
        raise TypeError(f"the answer is of type {type(text).__name__}; expected a text")
    given = _options(options)
    if words.INVISIBLE.search(text):
        return seen(
            text,
            lambda shown: read_answer(
                shown, form=form, polarity=polarity, options=given, rubric=rubric, cell=cell, question=question
            ),
        )
    whole, gap = plain(text)
    answer = whole.strip()
    if not answer:
        return ReadText(Outcome.UNPARSED, None, "empty")
    start = len(whole) - len(whole.lstrip())
    asked = Question(answer, _one_of(Form, form), _one_of(Polarity, polarity), given, rubric, cell, question, text.rstrip()[-1:])
    for rule in RULES:
        read = rule(asked)
        if read is not None:
            return moved(read, start, gap)
    return ReadText(Outcome.UNPARSED, None, "no rule")


E = TypeVar("E", bound=StrEnum)


def _one_of(kind: type[E], given: str) -> E:
    """The member of that value. Raises ValueError with all of them and the nearest."""
    try:
        return kind(given)
    except ValueError:
        known = [str(member) for member in kind]
        near = difflib.get_close_matches(str(given), known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{given!r} is not a valid {kind.__name__.lower()}: expected one of {', '.join(known)}{hint}") from None


def _options(given: Sequence[str] | None) -> tuple[str, str] | None:
    if given is None:
        return None
    if isinstance(given, str) or len(given) != 2 or not all(isinstance(option, str) for option in given):
        raise TypeError(f"options are {given!r}; expected two texts, of A and of B")
    return given[0], given[1]


class Rules:
    """Reads by form and polarity, without a model."""

    name: ClassVar[str] = "rules"
    by: ClassVar[str] = "rules@2"

    def read(self, text: str, prompt: Prompt, rubric: Rubric) -> ReadText:
        """The first rule that decides; UNPARSED where none does."""
        return read_answer(
            text,
            form=prompt.form,
            polarity=prompt.polarity,
            options=prompt.options,
            rubric=rubric,
            cell=prompt.cell,
            question=prompt.text,
        )


PARTS = (Rules(),)
