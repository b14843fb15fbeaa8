"""A Hugging Face image-text-to-text checkpoint that answers the trials of Blocks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from importlib import import_module
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from palpate.errors import ModelError
from palpate.models import _hf_identity as identity
from palpate.models._hf_faults import FAULTS, MEMORY, cause_of, let_go
from palpate.models._hf_memory import AtOnce, images_at_once
from palpate.models._hf_presets import BY_PATH, protocol_warnings
from palpate.models._hf_settings import Settings
from palpate.models._hf_ways import way
from palpate.nouns import Answer, Block, Prompt, Status, Stimulus, Trial
from palpate.parts import FeatureRequest, Features, Fingerprint

if TYPE_CHECKING:
    from PIL.Image import Image

    from palpate.models._hf_ahead import Ahead
    from palpate.models._hf_decode import Chooser, Row
    from palpate.models._hf_encode import Encoder
    from palpate.models._hf_load import Loaded
    from palpate.models._hf_score import AnswerTokens

TEXTS_AT_ONCE = 64
"""Questions without an image that go together. Part of what shapes a batch: changing it raises ADAPTER_VERSION."""
BATCHES = 4
"""Raised where the parts of a batch, how its steps are decoded, or a kernel changes: rounding in half precision follows them."""


@dataclass(slots=True)
class Ready:
    """What is made at the first question."""

    loaded: Loaded
    encoder: Encoder
    chooser: Chooser
    tokens: dict[tuple[str, Prompt], AnswerTokens | None]
    ahead: Ahead | None


class HFModel:
    """Answers from a local folder or a hub checkpoint. Weights are loaded at the first ``ask`` and freed by ``close``."""

    def __init__(self, settings: Settings, *, name: str, passes: int = 1) -> None:
        """``passes``: how many full passes of images one batch of Blocks should be enough for."""
        identity.check_local(settings.path)  # a mistyped folder is an error now, not after the study was planned
        self.settings, self.name, self.passes = settings, name, passes
        self._ready: Ready | None = None
        self._expected: Sequence[Stimulus] = ()

    @property
    def blocks_at_once(self) -> int:
        """As many images as go together, ``passes`` times; a text-only model is given more, for its blocks are short."""
        cuda = self.device.startswith("cuda")
        several = self.settings.images_at_once or (TEXTS_AT_ONCE if self.text_only else self.at_once.images if cuda else 8)
        return self.passes * several

    @cached_property
    def at_once(self) -> AtOnce:
        """How many images go together, and why."""
        together = self.path == "prefix" and not self.text_only
        return images_at_once(self.settings, self.checkpoint, self.device, self.unrepeated, together=together)

    @cached_property
    def checkpoint(self) -> identity.Checkpoint:
        """Where it lies, with what is needed to say what it is (not yet its weights, for a hub id)."""
        return identity.find(self.settings, weights=False)

    @property
    def text_only(self) -> bool:
        """True for a language model that takes no image, and for a model that is to be shown none."""
        return bool(self.settings.text_only) or self.checkpoint.text_only

    @property
    def path(self) -> str:
        """How it is asked. Raises ModelError where a way is asked for that is not known to be exact for it."""
        return way(self.settings.inference, self.checkpoint.architecture, self.name)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the run should know about how this model is asked."""
        settings, hub = self.settings, self.checkpoint.hub
        said = []
        if hub is not None and settings.revision != hub[1]:
            said.append(f"no commit is given as its revision: this run took {hub[1]}, which a later one need not")
        if self.checkpoint.chat_template is None and settings.chat_template is None and settings.fallback_template is not None:
            said.append("it brings no chat template and is asked through the one its card gives")
        if settings.quantized:
            said.append(f"its weights are quantised ({settings.quantized}): it is not quite the published model")
        said += protocol_warnings(settings.protocol, settings.path, own_template=settings.own_template)
        if settings.inference == "auto" and self.path == "single":
            said.append(f"{self.checkpoint.architecture} is not among the tested architectures: every question is asked by itself")
        return tuple(said)

    @cached_property
    def device(self) -> str:
        """The torch device it runs on."""
        return identity.device_of(self.settings)

    @property
    def unrepeated(self) -> bool:
        """True where one copy of an image's keys and values serves all its questions."""
        return identity.unrepeated_of(self.settings)

    def fingerprint(self) -> Fingerprint:
        """Identity and environment; no weights in memory, and no torch but where a GPU is asked for its memory."""
        settings, checkpoint = self.settings, self.checkpoint
        dtype = identity.dtype_of(settings)
        template = settings.chat_template or checkpoint.chat_template or settings.fallback_template or ""
        hub = checkpoint.hub
        what: dict[str, Any] = {
            "kind": "hf",
            "adapter_version": identity.ADAPTER_VERSION,
            "spellings_version": identity.SPELLINGS_VERSION,
            "checkpoint": f"{hub[0]}@{hub[1]}" if hub else checkpoint.digest,
            "architecture": checkpoint.architecture,
            "text_only": self.text_only,
            "chat_template": blake2b(template.encode(), digest_size=16).hexdigest(),
            "system": settings.system,
            "image_processor": None if self.text_only else checkpoint.image_processor,
            "image_backend": None if self.text_only else identity.backend_of(settings),
            "generation": dict(settings.generation),
            "dtype": dtype,
            "attention": settings.attn_implementation or "default",
            **({"vision_attention": settings.vision_attention} if settings.vision_attention else {}),
        }
        if settings.twin == "random":
            what |= {"twin": settings.twin, "twin_seed": settings.seed}
        if dtype != "float32":
            # Short of float32 another batch shape can change a token, so what shapes the batch is part of the model.
            what |= {"inference": self.path, "images_at_once": self.at_once.images}
            what |= {"attend": "unrepeated"} if self.unrepeated else {}
            what |= {"compiled": True} if settings.compiled else {}
            what |= {"batches": BATCHES} if self.unrepeated or settings.compiled else {}
        if settings.quantized:
            what |= {"quantized": settings.quantized}
        where = {
            "checkpoint": hub[0] if hub else checkpoint.folder.resolve().name,
            "device": self.device,
            "inference": self.path,
            "warnings": list(self.warnings),
            **({"revision": hub[1]} if hub else {}),
            **({"protocol": settings.protocol} if settings.protocol != "own" else {}),
            **(BY_PATH[settings.path].facts() if settings.path in BY_PATH else {}),
            **self.at_once.facts(),
        } | identity.versions()
        settled = {"images_at_once": self.at_once.images} if self.at_once.by_gpu and dtype != "float32" else {}
        return Fingerprint(what, where, settled)

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        """One list per stimulus, one Answer per trial. ``seconds`` is the batch's time shared out evenly.

        Questions without an image go first, so that those with one fill whole passes.
        """
        if self.text_only and any(stimulus.image is not None for stimulus in stimuli):
            raise ModelError(f"model {self.name!r} reads text only and was given an image", expected="questions without an image")
        ready = self._loaded()
        order = sorted(range(len(stimuli)), key=lambda i: stimuli[i].image is not None)
        batches = self._batches([stimuli[i] for i in order])
        following = self._batches([one for one in self._expected if one.image is not None])[:1]
        self._expected = ()
        given: list[list[Answer]] = []
        try:
            for batch, later in zip_longest(batches, (batches + following)[1:]):
                if later is not None and ready.ahead is not None:
                    self._begin(ready, ready.ahead, later)
                given += self._answer(ready, batch)
        except BaseException:
            following.clear()
            raise
        finally:
            if ready.ahead is not None:
                ready.ahead.forget(but=[one.image for batch in following for one in batch if one.image is not None])
        found = dict(zip(order, given, strict=True))
        return [found[i] for i in range(len(stimuli))]

    def expect(self, stimuli: Sequence[Stimulus]) -> None:
        """What will be asked after the next ``ask``: on a GPU its first images are prepared while the last of that are answered."""
        self._expected = stimuli

    def _begin(self, ready: Ready, ahead: Ahead, batch: Sequence[Stimulus]) -> None:
        """Prepare the images of the batch that comes next while this one is answered."""
        asked = [([row.rendered for row in self._rows(ready, one)], one.image) for one in batch if one.block.trials]
        images = [image for _, image in asked if image is not None]
        if images and len(images) == len(asked) == len(batch) and self.path == "prefix":
            ahead.begin([questions for questions, _ in asked], images)

    def look(
        self, stimuli: Sequence[Stimulus], requests: Sequence[FeatureRequest | None]
    ) -> tuple[list[list[Answer]], list[Features | None]]:
        """Answers and inner states. An image that is watched goes alone, so that its states are not another's."""
        answers: list[list[Answer]] = [[] for _ in stimuli]
        features: list[Features | None] = [None] * len(stimuli)
        rest = []
        for i, (stimulus, request) in enumerate(zip(stimuli, requests, strict=True)):
            if request is not None and stimulus.image is not None:
                with self._loaded().loaded.current():
                    answers[i], features[i] = self._look(stimulus, request)
            else:
                rest.append(i)
        for i, given in zip(rest, self.ask([stimuli[i] for i in rest]), strict=True):
            answers[i] = given
        return answers, features

    def load(self) -> None:
        """Read the weights now rather than at the first question. Raises ModelError where they do not load."""
        self._loaded()

    def check(self, stimuli: Sequence[Stimulus]) -> Mapping[str, Any]:
        """Asks a sample together and alone, and two images together and apart, before the first question that counts."""
        from palpate.models import _hf_checks as checks
        from palpate.models._hf_plain import answer_single

        if not stimuli:
            return {}
        ready = self._loaded()

        def fresh(number: int) -> list[Row]:
            return checks.chosen(self._rows(ready, stimuli[number]))

        def ask(numbers: Sequence[int]) -> list[list[Row]]:
            rows = {number: fresh(number) for number in numbers}
            for batch in self._batches([stimuli[number] for number in numbers]):
                here = [number for number in numbers if any(stimuli[number] is one for one in batch)]
                self._fill(ready, [rows[number] for number in here], [stimuli[number].image for number in here])
            return [rows[number] for number in numbers]

        alone = [fresh(number) for number in range(len(stimuli))]
        images, single = stimuli[0].image is not None, self.path == "single"
        try:
            with ready.loaded.current():
                for rows, stimulus in zip(alone, stimuli, strict=True):
                    answer_single(ready.encoder, ready.chooser, rows, stimulus.image)
            found, sound = checks.found_by(ready.loaded.dtype, ask, alone, images=images, single=single)
        except FAULTS as fault:  # the questions themselves will say what is wrong, each by itself
            found, sound = [{"name": checks.TOGETHER, "held": None, "found": f"could not be checked: {fault}"}], True
        facts = {**checks.facts(ready.loaded, self._rows(ready, stimuli[0])), "checks": found}
        return facts if sound or single else {**facts, **self._instead(found)}

    def _instead(self, found: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """How to go on where asking together is not sound: one by one, which short of float32 is another model by identity."""
        told = "; ".join(f"{check['name']}: {check['found']}" for check in found if check["held"] is False)
        warning = f"asking together is not asking alone ({told}): every question is asked by itself"
        if (dtype := identity.dtype_of(self.settings)) != "float32":
            warning += f", in {dtype} as another model by identity (inference = 'single')"
        return {"ask_instead": {"inference": "single"}, "warnings": [warning]}

    def close(self) -> None:
        """Free the weights."""
        self._expected = ()
        if self._ready is not None:
            cuda = self._ready.loaded.device.startswith("cuda")
            if self._ready.loaded.fused is not None:
                self._ready.loaded.fused.undo(self._ready.loaded.model)
            if self._ready.ahead is not None:
                self._ready.ahead.close()
            self._ready = None
            if cuda:
                import_module("torch").cuda.empty_cache()

    # ------------------------------------------------------------ batches

    def _batches(self, stimuli: Sequence[Stimulus]) -> list[list[Stimulus]]:
        """Runs of neighbours: at most ``images_at_once`` images (one on the plain path), or TEXTS_AT_ONCE questions without one."""
        batches: list[list[Stimulus]] = []
        for stimulus in stimuli:
            if batches and self._joins(batches[-1], stimulus):
                batches[-1].append(stimulus)
            else:
                batches.append([stimulus])
        return batches

    def _joins(self, batch: Sequence[Stimulus], stimulus: Stimulus) -> bool:
        if (batch[-1].image is None) is not (stimulus.image is None):
            return False
        if stimulus.image is None:
            return sum(len(s.block.trials) for s in (*batch, stimulus)) <= TEXTS_AT_ONCE
        return self.path == "prefix" and len(batch) < self.at_once.images

    def _loaded(self) -> Ready:
        if self._ready is None:
            from palpate.models._hf_ahead import Ahead
            from palpate.models._hf_decode import Chooser
            from palpate.models._hf_encode import Encoder
            from palpate.models._hf_load import load

            hub = self.checkpoint.hub  # the weights of the very commit the fingerprint names
            settings = replace(self.settings, revision=hub[1]) if hub else self.settings
            loaded = load(identity.find(settings, weights=settings.twin != "random"), self.settings)
            try:
                encoder = Encoder(loaded, self.settings.system)
            except ModelError as fault:
                raise fault.at(self.settings.path) from None
            ahead = Ahead(encoder) if loaded.unrepeated and not loaded.causal else None
            self._ready = Ready(loaded, encoder, Chooser(self.settings, loaded.eos), {}, ahead)
        return self._ready

    def _answer(self, ready: Ready, batch: list[Stimulus]) -> list[list[Answer]]:
        """The batch's answers. What does not fit into memory is halved; what fails together is tried apart."""
        started = time.perf_counter()
        rows, cause = self._tried(ready, batch)
        if rows is None:
            return self._apart(ready, batch, cause)
        seconds = (time.perf_counter() - started) / max(sum(map(len, rows)), 1)
        finished = iter(self._finished(ready, [row for one in rows for row in one], seconds))
        return [[next(finished) for _ in one] for one in rows]

    def _tried(self, ready: Ready, batch: list[Stimulus]) -> tuple[list[list[Row]] | None, str]:
        """The batch's rows; or None, and why, once nothing is left of the fault: half a batch needs the memory."""
        try:
            return self._run(ready, batch), ""
        except FAULTS as fault:
            cause = cause_of(fault)
        if cause == MEMORY:
            let_go(ready.loaded.device)
        return None, cause

    def _apart(self, ready: Ready, batch: list[Stimulus], cause: str) -> list[list[Answer]]:
        """A batch that failed in halves: of its images; where there is one, and memory is short, of its questions."""
        trials, half = batch[0].block.trials, len(batch) // 2
        if half:
            return self._answer(ready, batch[:half]) + self._answer(ready, batch[half:])
        if cause == MEMORY and len(trials) > 1:
            half = len(trials) // 2
            parts = (_with_trials(batch[0], trials[:half]), _with_trials(batch[0], trials[half:]))
            return [[answer for part in parts for answer in self._answer(ready, [part])[0]]]
        return [[Answer(Status.ERROR, error=cause) for _ in trials]]

    def _run(self, ready: Ready, batch: list[Stimulus]) -> list[list[Row]]:
        rows = [self._rows(ready, stimulus) for stimulus in batch]
        self._fill(ready, rows, [stimulus.image for stimulus in batch])
        return rows

    def _fill(self, ready: Ready, rows: Sequence[list[Row]], shown: Sequence[Image | None]) -> None:
        """Answers the rows, one list per image. All have an image, or none has."""
        with ready.loaded.current(), _fused(ready):
            self._asked(ready, rows, shown)

    def _asked(self, ready: Ready, rows: Sequence[list[Row]], shown: Sequence[Image | None]) -> None:
        from palpate.models._hf_plain import answer_plain, answer_single
        from palpate.models._hf_prefix import answer_shared

        images = [image for image, one in zip(shown, rows, strict=True) if image is not None and one] or None
        whole = [row for one in rows for row in one]
        # Blocks of one question share nothing inside, but all of them may begin alike: a judge's instructions, a template.
        sets = [whole] if images is None and len(whole) == len(rows) else [one for one in rows if one]
        if self.path == "prefix" and whole and answer_shared(ready.encoder, ready.chooser, sets, images, ahead=ready.ahead):
            return
        if self.path == "single":
            for image, one in zip(shown, rows, strict=True):
                answer_single(ready.encoder, ready.chooser, one, image)
        elif images is None:
            answer_plain(ready.encoder, ready.chooser, whole, None)
        else:
            for image, one in zip(shown, rows, strict=True):
                answer_plain(ready.encoder, ready.chooser, one, image, tower_once=self.path != "plain")

    def _look(self, stimulus: Stimulus, request: FeatureRequest) -> tuple[list[Answer], Features | None]:
        """One image's answers and inner states. Where it cannot be watched it is still asked, and the features are None."""
        from palpate.models._hf_features import Watch, watch_alone
        from palpate.models._hf_prefix import answer_shared

        ready, started = self._loaded(), time.perf_counter()
        image = stimulus.image
        assert image is not None
        try:
            rows = self._rows(ready, stimulus)
            asked = {row.trial.prompt.name for row in rows}
            silent = self._rows(ready, _only(stimulus, [p for p in request.prompts if p.name not in asked]))
            for row in silent:  # watched though it was answered before: its first token is thrown away
                row.budget = 1
            whole, watch = [*rows, *silent], Watch(ready.loaded, request)
            with _fused(ready):  # as unwatched images are asked
                if not (self.path == "prefix" and answer_shared(ready.encoder, ready.chooser, [whole], [image], watch)):
                    if rows:
                        rows = self._run(ready, [stimulus])[0]
                    watch_alone(ready.encoder, watch, whole, image)
            features = watch.features()
        except FAULTS:
            return self._answer(ready, [stimulus])[0], None
        seconds = (time.perf_counter() - started) / max(len(rows), 1)
        return self._finished(ready, rows, seconds), features

    def _rows(self, ready: Ready, stimulus: Stimulus) -> list[Row]:
        from palpate.models._hf_decode import Row

        shown, block = stimulus.image is not None, stimulus.block
        prompts = ((trial, trial.prompt) for trial in block.trials)
        return [Row(block, t, ready.encoder.render(p.text, image=shown), self.settings.budget(p.form)) for t, p in prompts]

    def _finished(self, ready: Ready, rows: Sequence[Row], seconds: float) -> list[Answer]:
        """The rows as Answers, each having taken ``seconds``."""
        from palpate.models._hf_score import margins_and_masses

        sound = [row for row in rows if not row.bad]
        scored = margins_and_masses([row.first_logits for row in sound], [self._tokens(ready, row) for row in sound])
        beside = dict(zip(map(id, sound), scored, strict=True))
        answers = []
        for row in rows:
            if row.bad:
                answers.append(Answer(Status.ERROR, tokens_in=row.tokens_in, seconds=seconds, error="non-finite logits"))
                continue
            text = ready.loaded.tokenizer.decode(row.tokens, skip_special_tokens=True).strip()
            status = Status.OK if row.ended else Status.TRUNCATED
            answers.append(Answer(status, text, *beside[id(row)], row.tokens_in, len(row.tokens), seconds))
        return answers

    def _tokens(self, ready: Ready, row: Row) -> AnswerTokens | None:
        """The tokens that assert and deny, in this row's place."""
        from palpate.models._hf_score import answer_tokens

        key = row.rendered, row.trial.prompt
        if key not in ready.tokens:
            ready.tokens[key] = answer_tokens(ready.encoder, row.trial.prompt, row.rendered)
        return ready.tokens[key]


def _fused(ready: Ready) -> AbstractContextManager[None]:
    """The family's own functions are the compiled ones, if they are compiled."""
    return nullcontext() if ready.loaded.fused is None else ready.loaded.fused.at_work()


def _only(stimulus: Stimulus, prompts: Sequence[Prompt]) -> Stimulus:
    """The same image with these questions instead."""
    block = stimulus.block
    return _with_trials(
        stimulus, tuple(Trial("", block.model, block.task, block.case.id, block.perturbation, prompt) for prompt in prompts)
    )


def _with_trials(stimulus: Stimulus, trials: tuple[Trial, ...]) -> Stimulus:
    block = stimulus.block
    return Stimulus(Block(block.model, block.task, block.case, block.perturbation, trials), stimulus.image)
