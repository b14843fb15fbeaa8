"""What asking costs: what is expected before anything is sent, what was spent so far, and what may still be spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from palpate.errors import PalpateError, StudyError
from palpate.nouns import Form, Polarity, Prompt
from palpate.parts import Allowance, Model, ModelSpec, ReadingSpec, ReadsDescriptions, ServedModel
from palpate.registry import part
from palpate.spending import Cost, Sending
from palpate.stages.plan import Plan, known
from palpate.store.columns import KeyIndex
from palpate.store.ledger import Ledger
from palpate.study import Study

AT_ONCE = 256  # images looked up at a time
TYPICAL = Prompt("reading", "x" * 900, Form.OPEN, Polarity.POSITIVE, "reading")
"""As long as a question about an answer."""


def spent(study: Study, ledger: Ledger) -> list[Cost]:
    """Per model of the study that counts tokens or has a price: every attempt in the ledger, failed ones too.

    An answer whose server counted no tokens is reckoned at the mean of those that were counted.
    """
    found = []
    counted = ledger.tokens()
    for model in study.models:
        questions, known, tokens_in, tokens_out = counted.get(model.name, (0, 0, 0, 0))
        if known and (model.name in study.prices or _serves(model)):
            scale = questions / known
            found.append(_cost(study, model.name, questions, round(tokens_in * scale), round(tokens_out * scale)))
    return found


def check_prices(study: Study) -> None:
    """Raises StudyError where a budget in money meets a remote model without a price: it could not be kept."""
    if study.budget is None or study.budget.money is None:
        return
    for spec in study.models:
        model: Model = part("models", spec.kind).build(spec)
        if isinstance(model, ServedModel) and model.destination().remote and spec.name not in study.prices:
            raise StudyError(
                f"cannot be kept: {spec.name!r}, at {model.destination().host}, has no price",
                where=f"{study.origin}: budget.money" if study.origin else "budget.money",
                expected=f"[prices.{spec.name}] with input and output, per million tokens",
            )


def allowance(study: Study, ledger: Ledger, model: ModelSpec) -> Allowance:
    """What is left of the study's budget for ``model``, after all that this run has ever spent."""
    budget = study.budget
    if budget is None:
        return Allowance()
    so_far = spent(study, ledger)
    tokens = sum(c.tokens_in + c.tokens_out for c in so_far)
    money = sum(c.money or 0.0 for c in so_far)
    return Allowance(
        None if budget.tokens is None else max(budget.tokens - tokens, 0),
        None if budget.money is None else max(budget.money - money, 0.0),
        study.prices.get(model.name),
    )


def sendings(plan: Plan, ledger: Ledger | None) -> list[Sending]:
    """What is still to be sent to each served model, beyond what ``ledger`` answers.

    Tokens in are those of earlier answers where there are any, else what the model's options reckon with; tokens out are the most.
    """
    counted = ledger.tokens() if ledger else {}
    found = []
    for spec in plan.study.models:
        model: Model = part("models", spec.kind).build(spec)
        if not isinstance(model, ServedModel):
            continue
        images, times = 0, Counter[Prompt]()
        for prompts in open_questions(plan, spec, ledger):
            images += 1
            times.update(prompts)
        if not images:
            continue
        _, known_before, seen_in, _ = counted.get(spec.name, (0, 0, 0, 0))
        n = times.total()
        reckoned = [(count, *model.tokens(prompt, image=True)) for prompt, count in times.items()]
        expected = sum(count * each for count, each, _ in reckoned)
        total_in = round(seen_in / known_before * n) if known_before else expected
        cost = _cost(plan.study, spec.name, n, total_in, sum(count * most for count, _, most in reckoned))
        to = model.destination()
        found.append(Sending(to.host, to.remote, images, cost, to.secrets))
    return found + _readers(plan)


def diagnoses(plan: Plan) -> int:
    """How many readings of descriptions the study makes: every description by every reader, question and input."""
    readers = [r for r in plan.study.all_readings if isinstance(part("readings", r.method), ReadsDescriptions)]
    return sum(_descriptions(plan, bool(r.of)) for r in readers)


def questions_about(plan: Plan, reading: ReadingSpec) -> int:
    """How many questions a reading asks, at most: one an answer; of no description, one a task; of a true one, one a case."""
    if not isinstance(part("readings", reading.method), ReadsDescriptions):
        return plan.n_trials
    given = reading.options.get("input")
    if given == "empty":
        return len(plan.study.tasks)
    return sum(len(c.cases) for c in plan.cases.values()) if given == "oracle" else _descriptions(plan, bool(reading.of))


def _descriptions(plan: Plan, of_one: bool) -> int:
    """Descriptions of all models, or of one."""
    study = plan.study
    asked = (
        len(plan.cases[task.name].cases) * sum(p.form is Form.DESCRIBE for p in study.prompts_of(task, perturbation))
        for task in study.tasks
        for perturbation in study.perturbations
    )
    return sum(asked) * study.repeats * (1 if of_one else len(study.models))


def _readers(plan: Plan) -> list[Sending]:
    """What remote models that read answers are sent: texts, no image; at most one question an answer."""
    found = []
    for reading in plan.study.all_readings:
        model = None if reading.model is None else part("models", reading.model.kind).build(reading.model)
        if reading.model is not None and isinstance(model, ServedModel) and model.destination().remote:
            expected, most = model.tokens(TYPICAL, image=False)
            n, to = questions_about(plan, reading), model.destination()
            found.append(Sending(to.host, True, 0, _cost(plan.study, reading.model.name, n, n * expected, n * most), to.secrets))
    return found


def open_questions(plan: Plan, spec: ModelSpec, ledger: Ledger | None, answered: KeyIndex | None = None) -> Iterator[list[Prompt]]:
    """Of every image, what one model is still to be asked, beyond what ``ledger`` answers, where there is anything.

    ``answered``: what ``ledger.answered()`` gave, where it was asked already.
    """
    outlines = plan.outlines(spec)
    answered = ledger.answered() if ledger is not None and answered is None else answered
    while batch := list(islice(outlines, AT_ONCE)):
        over = [False] * len(batch) if answered is None else known(batch, answered)
        for outline in (o for o, passed in zip(batch, over, strict=True) if not passed):
            before = {} if ledger is None else ledger.attempts(outline.keys)
            waiting = [p for key, (p, _) in zip(outline.keys, outline.asked, strict=True) if before.get(key, (0, True))[1]]
            if waiting:
                yield waiting


def _serves(spec: ModelSpec) -> bool:
    try:
        model: Model = part("models", spec.kind).build(spec)
    except PalpateError:  # a checkpoint that has gone since: what it answered is measured all the same
        return False
    return isinstance(model, ServedModel)


def _cost(study: Study, model: str, questions: int, tokens_in: int, tokens_out: int) -> Cost:
    price = study.prices.get(model)
    money = None if price is None else price.of(tokens_in, tokens_out)
    return Cost(model, questions, tokens_in, tokens_out, money, price.currency if price else "")
