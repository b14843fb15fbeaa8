"""What the rules know of a question and its answer: form, polarity, options, rubric; words read through the polarity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from palpate.nouns import Form, Outcome, Polarity
from palpate.parts import Rubric
from palpate.readings import _findings as findings
from palpate.readings import _vocabulary as words
from palpate.readings._findings import Mention
from palpate.readings._refusals import find_refusal, in_refusal

NO_RUBRIC = Rubric("")


@dataclass(frozen=True)
class Question:
    """What the rules know of the question, and the text made plain: lower case, markup blanked, as long as it was."""

    text: str
    form: Form
    polarity: Polarity
    options: tuple[str, str] | None
    rubric: Rubric
    cell: str
    asked: str = ""
    ends: str = ""  # the answer's last character as it was given

    @property
    def lettered(self) -> bool:
        """True where the answers offered are letters."""
        return self.form in (Form.AB, Form.BA)

    @cached_property
    def option_texts(self) -> tuple[str, str] | None:
        """The options' texts made plain, in the order shown."""
        return None if self.options is None else (_plain_option(self.options[0]), _plain_option(self.options[1]))

    @cached_property
    def says_yes_no(self) -> bool:
        """True where "yes" and "no" are answers: a yes-no question, or options that are the words yes and no."""
        if self.form is Form.YES_NO:
            return True
        return self.lettered and self.option_texts is not None and set(self.option_texts) == {"yes", "no"}

    def first(self, chosen: bool) -> Outcome:
        """What choosing "yes" or option A (True), or the other (False), asserts."""
        return Outcome.POSITIVE if chosen is (self.polarity is Polarity.POSITIVE) else Outcome.NEGATIVE

    def word(self, verdict: str) -> Outcome | None:
        """What the word yes, no, a or b asserts here; None where it is no answer to this form."""
        if verdict in ("a", "b"):
            return self.first(verdict == "a") if self.lettered else None
        if not self.says_yes_no:
            return None
        yes_is_first = self.form is Form.YES_NO or (self.option_texts or ("yes", ""))[0] == "yes"
        return self.first((verdict == "yes") is yes_is_first)

    @cached_property
    def terms(self) -> findings.Terms | None:
        """The rubric's words, and the options' where they are no yes or no."""
        rubric = self.rubric
        present, absent = (*rubric.positive, *((rubric.condition,) if rubric.condition else ())), rubric.negative
        if self.lettered and self.option_texts is not None and not self.says_yes_no:
            yes, no = self.option_texts if self.polarity is Polarity.POSITIVE else self.option_texts[::-1]
            if yes not in present and not yes.startswith("no "):
                present = (*present, yes)
            if yes not in no and no not in absent and not no.startswith(("no ", "not ", "without ")):
                absent = (*absent, no)
        return findings.terms(present, absent, rubric.condition or (present[-1] if present else ""))

    @cached_property
    def refusal(self) -> tuple[Outcome, tuple[int, int]] | None:
        """The refusal the text holds, and where."""
        return find_refusal(self.text, self.form.closed) if words.CUES.search(self.text) else None

    @cached_property
    def finding(self) -> Mention | None:
        """What the sentences say of the condition, sentences that refuse apart."""
        if self.terms is None:
            return None
        return findings.verdict([m for m in findings.mentions(self.text, self.terms) if not in_refusal(self.text, m.span)])


def _plain_option(option: str) -> str:
    return " ".join(option.lower().strip(" .").split())
