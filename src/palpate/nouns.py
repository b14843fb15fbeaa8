"""The frozen records that flow through Palpate, in the order they flow.

Study → Trials → Responses → Readings → Estimates → report or gate. Nobody mutates a record: a later fact is a new row.
Standard library and NumPy only; everything may import this module, and of Palpate it imports only ``rung`` and ``descriptions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from palpate.descriptions import Descriptions as Descriptions
from palpate.rung import Rung as Rung

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


# ---------------------------------------------------------------- what is asked


class Form(StrEnum):
    """The form of a question, which decides how its answer is read."""

    YES_NO = "yes-no"
    AB = "A-B"  # two lettered options, in the order in which the prompt set first names them
    BA = "B-A"  # the same two options in the other order: the letters stay A, B; their contents swap
    OPEN = "open"
    DESCRIBE = "describe"

    @property
    def closed(self) -> bool:
        """True where the question offers its answers (yes-no, A-B, B-A)."""
        return self in (Form.YES_NO, Form.AB, Form.BA)


class Polarity(StrEnum):
    """What the answer "yes", or option A, asserts about the target condition."""

    POSITIVE = "positive"
    NEGATIVE = "negative"

    @property
    def flipped(self) -> Polarity:
        """The other polarity."""
        return Polarity.NEGATIVE if self is Polarity.POSITIVE else Polarity.POSITIVE


YES_SPELLINGS = ("Yes", "yes", "YES")
NO_SPELLINGS = ("No", "no", "NO")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One wording of one question.

    ``polarity`` is what "yes" — or, in the lettered forms, option A, the first-named option — asserts. "Is this image
    normal?" is therefore NEGATIVE, and so is "A) No pneumonia  B) Pneumonia": swapped options need no special case.
    ``cell`` is the intent: only prompts of one cell ask the same question and may be pooled. ``options`` are the texts
    of A and B. ``factors`` say how the wording was made (polarity of the stem, format, suffix, paraphrase, hint…).
    """

    name: str
    text: str
    form: Form
    polarity: Polarity
    cell: str
    options: tuple[str, str] | None = None
    factors: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def answer_spellings(self) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
        """(spellings that assert the condition, spellings that deny it) as a first token; None for open forms."""
        if not self.form.closed:
            return None
        first, second = (YES_SPELLINGS, NO_SPELLINGS) if self.form is Form.YES_NO else (("A", "a"), ("B", "b"))
        return (first, second) if self.polarity is Polarity.POSITIVE else (second, first)


class ImageRef(Protocol):
    """Something that can be opened as an image, as often as needed, in any process (so it must pickle).

    A source that knows where the lesion is gives its images a method ``mask`` too: see parts.MaskedImage.
    """

    def open(self) -> Image:
        """The image as 8-bit RGB, upright. Raises OSError or ValueError where it cannot be decoded."""
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """One image with its reference label.

    ``label`` is 1 where the condition is present, else 0. ``group`` is the patient or slide, or the case itself where
    none is known: intervals resample groups. ``digest`` identifies the image's content. ``decode`` holds every setting
    that shaped the pixels (window, bit depth…). ``metadata`` are facts to slice by, never identifiers.
    """

    id: str
    label: int
    group: str
    digest: str
    image: ImageRef = field(hash=False, compare=False)
    decode: Mapping[str, str] = field(default_factory=dict, hash=False)
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An image a source could not use: its name (for the person at the terminal) and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class CaseSet:
    """What a source gives: its cases, what it left out, and, where that is known, the best accuracy any reader can reach.

    ``notes`` are what to know of the source as a whole (a data set whose version is not held, names burnt into pixels).
    ``ungrouped``: images whose patient or slide the source does not know; each stands alone, identical copies together.
    ``guessable``: the groups are hashes of patient numbers under no secret; a run keys them with its own.
    """

    cases: tuple[Case, ...]
    left_out: tuple[LeftOut, ...] = ()
    best_accuracy: float | None = None
    names: Mapping[str, str] = field(default_factory=dict)  # case id → file, for the run folder only, never the ledger
    notes: tuple[str, ...] = ()
    guessable: bool = False
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # case id → format, mode …, for the data card only
    ungrouped: int = 0


@dataclass(frozen=True, slots=True)
class Perturbation:
    """A named change of the image and how strong it is (0 where it has no strength). ``none`` leaves it alone."""

    name: str = "none"
    severity: int = 0

    def __str__(self) -> str:
        return f"{self.name}-{self.severity}" if self.severity else self.name


@dataclass(frozen=True, slots=True)
class Lineage:
    """How a tuned model descends from its base: ``parent``, ``sibling`` (a common ancestor) or ``unrelated``."""

    base: str
    tuned: str
    relation: str = "unknown"


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost: per million in and per million out, in ``currency``."""

    input: float
    output: float
    currency: str = "USD"

    def of(self, tokens_in: float, tokens_out: float) -> float:
        """What so many tokens cost."""
        return (tokens_in * self.input + tokens_out * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class Trial:
    """One planned question: model × case × perturbation × prompt × repeat. ``key`` is its content identity."""

    key: str
    model: str
    task: str
    case: str
    perturbation: Perturbation
    prompt: Prompt
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """The trials of one model that share one image: the unit of dispatch, of prefix reuse and of a transaction."""

    model: str
    task: str
    case: Case
    perturbation: Perturbation
    trials: tuple[Trial, ...]


@dataclass(frozen=True, slots=True)
class Stimulus:
    """A Block with its image opened and perturbed: what a model is shown. ``image`` None: the question goes without one."""

    block: Block
    image: Image | None


# ---------------------------------------------------------------- what came back


class Status(StrEnum):
    """How asking ended. Only OK and TRUNCATED carry text to read; BLOCKED is a refusal by the provider; ERROR is no answer."""

    OK = "ok"
    TRUNCATED = "truncated"
    BLOCKED = "blocked"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model gives back for one Trial.

    ``margin``: log p(spellings that assert the condition) − log p(spellings that deny it), natural log, at the first
    answer token; positive means "condition present". ``mass``: the total probability of those spellings, 0 to 1.
    Both None where the form is open or the model gives no probabilities. ``error`` names the cause, with status ERROR.
    ``asked`` False, with status ERROR: the question was never put, for a budget is spent or a server has gone; such an
    answer is never recorded, and the question stays open.
    """

    status: Status
    text: str = ""
    margin: float | None = None
    mass: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    seconds: float | None = None
    error: str | None = None
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Response:
    """An Answer in the ledger: the trial's key, which attempt it was (from 1), and the Answer."""

    key: str
    attempt: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Tally:
    """How far asking has come: trials done (reused ones included) of how many, errors among them, the model at work, and what it
    is ``doing`` until its first answers are there. ``unasked``: put aside because the budget is spent; they stay open. ``money``:
    currency and amount of what the study's priced models took, over every sitting."""

    done: int
    total: int
    reused: int
    errors: int
    model: str
    unasked: int = 0
    money: tuple[tuple[str, float], ...] = ()
    doing: str = ""


class Outcome(StrEnum):
    """What an answer says about the target condition. An ERROR has no outcome: it was never an answer."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    HEDGE = "hedge"  # both, or uncertain
    REFUSE_POLICY = "refuse-policy"  # "please consult a doctor"
    REFUSE_CAPABILITY = "refuse-capability"  # "I cannot see the image"
    UNPARSED = "unparsed"
    OFF_TOPIC = "off-topic"  # degenerate or about something else

    @property
    def answered(self) -> bool:
        """True for a definite answer: positive or negative."""
        return self in (Outcome.POSITIVE, Outcome.NEGATIVE)

    @property
    def refused(self) -> bool:
        """True for the two kinds of refusal (a hedge or an unparsed text is no refusal)."""
        return self in (Outcome.REFUSE_POLICY, Outcome.REFUSE_CAPABILITY)


OUTCOMES: tuple[Outcome, ...] = tuple(Outcome)
OUTCOME_CODE: Mapping[str, int] = {outcome: code for code, outcome in enumerate(OUTCOMES)}


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of one Response. ``by`` is method and version; ``span`` the part of the text it rests on."""

    key: str
    attempt: int
    by: str
    outcome: Outcome
    span: tuple[int, int] | None = None
    rule: str = ""


# ---------------------------------------------------------------- what is measured


@dataclass(frozen=True)
class Panel:
    """All readings of one model on one task under one perturbation, as dense arrays: what measures read.

    n cases × P prompts × R repeats. ``outcome`` holds codes into OUTCOMES, −1 where there is no reading (never asked,
    or an error). ``margin`` and ``mass`` are NaN where there is none. ``cluster`` numbers the groups 0 … C−1.
    All panels of one task list the same cases in the same order, so pairing two models is an index, not a join. ``rungs`` are
    there for images as they are, where the study kept inner states.
    """

    model: str
    task: str
    perturbation: Perturbation
    prompts: tuple[Prompt, ...]
    cases: tuple[str, ...]
    label: NDArray[np.int8]  # (n,)
    cluster: NDArray[np.int64]  # (n,)
    outcome: NDArray[np.int8]  # (n, P, R)
    margin: NDArray[np.float64]  # (n, P, R)
    mass: NDArray[np.float64]  # (n, P, R)
    n_errors: int = 0  # trials whose last attempt was an error: −1 in ``outcome``
    best_accuracy: float | None = None
    reading: str = "rules"  # which reading ``outcome`` is
    human: NDArray[np.int8] | None = None  # (n, P, R) what people read in the same answers, −1 where none did; None: nobody did
    others: Mapping[str, NDArray[np.int8]] = field(default_factory=dict)  # further readings by name, (n, P, R) each
    rungs: Mapping[str, tuple[Rung, ...]] = field(default_factory=dict)  # cell → what probes of the model's inner states say
    facts: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)  # what is told of the cases: name → n values, None: unknown
    descriptions: Descriptions | None = None  # of images as they are; None where the model described none


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its uncertainty, or the reason why there is none.

    ``value`` None means undefined, and then ``reason`` says why; an undefined value is never shown as 0. Beside a value ``reason``
    says why the verdict, a word where the measure has a rule for one, claims less than the interval. ``level`` is the confidence
    level of [low, high]. ``n_cases`` and ``n_clusters`` are what it rests on, ``n_left_out`` the trials it could not use. ``mde``,
    where the value is tested against none: the smallest true effect this sample finds with 80 % power, in the value's units.
    """

    measure: str
    by: Mapping[str, str]
    value: float | None
    low: float | None
    high: float | None
    level: float
    method: str
    n_cases: int
    n_clusters: int
    n_left_out: int = 0
    reason: str | None = None
    verdict: str | None = None
    mde: float | None = None


VERDICTS = frozenset(
    (
        *("above chance", "at chance", "below chance"),
        *("fragile", "robust", "wording matters", "no effect shown", "selective", "not shown to be selective"),
        *("better", "worse", "higher", "lower", "equivalent", "equal"),
        *("bias-driven", "sensitivity varies", "steady", "more images", "more wordings"),
        *("uses the image", "looks but blind", "sees, but says the opposite", "ignores the image"),
        *("looks at the lesion", "looks elsewhere", "another reader's skill", "reader's prior alone"),
        *("not shown to look at the lesion", "follows the text", "follows the image"),
        *("swayed by the text", "contrary to the text", "not swayed", "falls", "rises", "beyond reruns", "fewer than reruns"),
        *("threshold problem", "knowledge problem", "nothing lost", "wording changes what is seen"),
        *("usable", "not shown to be usable", "misleading", "informed", "misplaced", "not shown to be informed"),
        *("overconfident", "underconfident", "no miscalibration shown", "reliable", "not reliable"),
        *("bottleneck", "loss", "gain", "kept", "no loss shown", "latent", "nothing more inside", "wide", "narrow"),
        *("raises", "lowers", "no trend shown", "ahead", "behind", "not ranked", "sees", "nothing beyond colours"),
        *("prefers the first option", "prefers the second option", "leans to yes", "leans to no", "not shown beyond reruns"),
        *("margin not used", "undetermined", "carried by the description", "gain is the leak", "nothing recovered"),
    )
)
"""Every word a measure that comes with Palpate may give as a verdict: a condition on any other word is a slip of the pen."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A bound the study must hold, on an Estimate: ``ba_all.low >= 0.8``, for the estimates ``where`` selects."""

    text: str
    measure: str
    quantity: str  # value, low, high or verdict
    operator: str
    bound: float | str
    where: Mapping[str, str] = field(default_factory=dict, hash=False)


class Held(StrEnum):
    """Whether a Condition held. A condition that could not be evaluated does not pass."""

    PASS = "pass"
    FAIL = "fail"
    NOT_EVALUABLE = "not evaluable"


@dataclass(frozen=True, slots=True)
class ConditionResult:
    """One Condition against one Estimate (None where no estimate matches it)."""

    condition: Condition
    held: Held
    estimate: Estimate | None
    why: str


# ---------------------------------------------------------------- what two runs share


@dataclass(frozen=True, slots=True)
class Joined:
    """What two runs share of one task under one perturbation, for one pair of models; of how many on either side.

    ``cases``: images with an answer that was read, in both. ``relabelled``: shared cases whose label differs (the later run's
    counts). ``regrouped``: the runs put shared cases into patients differently (the later run's count). ``alike``: every shared
    trial is read the same in both. ``why``: why nothing is compared, where nothing is."""

    before: str
    after: str
    task: str
    perturbation: str
    cases: int
    cases_before: int
    cases_after: int
    prompts: int
    prompts_before: int
    prompts_after: int
    relabelled: int = 0
    regrouped: bool = False
    alike: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs held against each other. ``estimates``: differences (by before, after, task, cell) and what they are of (by run,
    model, task, cell), on what both share. ``notes``: what else differs. ``unasked``: questions not asked yet, before and after."""

    before: str
    after: str
    joined: tuple[Joined, ...]
    estimates: tuple[Estimate, ...]
    notes: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    unasked: tuple[int, int] = (0, 0)
