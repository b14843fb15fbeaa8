"""A judge with planted behaviour: what it says of which answer is set, and how often it fails, so that reading by a judge can be
checked without a language model. It looks at the text between the marks and at nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from palpate.errors import ModelError
from palpate.models._options import check_names, number, one_of, text, whole
from palpate.nouns import Answer, Lineage, Status, Stimulus, Trial
from palpate.parts import Fingerprint, Model, ModelSpec

VERSION = 1
_MARKED = re.compile(r"<(?P<mark>answer-[0-9a-f]+)>\n(?P<answer>.*)\n</(?P=mark)>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Script:
    """What is planted."""

    says: Mapping[str, str] = field(default_factory=dict)
    otherwise: str = "UNPARSED"
    reply: str = "json"
    error_rate: float = 0.0
    error_attempts: int | None = None
    malformed_rate: float = 0.0


class ScriptedJudge:
    """Answers by a Script. Deterministic; keeps only the count of attempts."""

    def __init__(self, script: Script, seed: int, blocks_at_once: int) -> None:
        self.script, self.seed, self.blocks_at_once = script, seed, blocks_at_once
        self._attempts: Counter[str] = Counter()

    def fingerprint(self) -> Fingerprint:
        """Identity: everything planted and the seed."""
        fields = {name: getattr(self.script, name) for name in Script.__slots__}
        return Fingerprint({"kind": ScriptedJudgeKind.name, "adapter_version": VERSION, "seed": self.seed} | fields)

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        """One reply per question."""
        return [[self._reply(trial) for trial in stimulus.block.trials] for stimulus in stimuli]

    def close(self) -> None:
        """Forget the attempts."""
        self._attempts.clear()

    def _reply(self, trial: Trial) -> Answer:
        script = self.script
        self._attempts[trial.key] += 1
        early = script.error_attempts is None or self._attempts[trial.key] <= script.error_attempts
        draw = self._uniform(trial.prompt.text)
        if early and draw < script.error_rate:
            return Answer(Status.ERROR, error="planted error")
        if early and draw < script.error_rate + script.malformed_rate:
            return Answer(Status.OK, "I think the answer is right.")
        marked = _MARKED.search(trial.prompt.text)
        answer = marked["answer"] if marked else trial.prompt.text
        word = script.says.get(answer.strip(), script.otherwise)
        if script.reply == "word":
            return Answer(Status.OK, word)
        return Answer(Status.OK, json.dumps({"reading": word, "quote": answer}))

    def _uniform(self, place: str) -> float:
        digest = hashlib.blake2b(f"{self.seed}\x1f{place}".encode("utf-8", "replace"), digest_size=8).digest()
        return (int.from_bytes(digest, "big") + 0.5) / 2**64


class ScriptedJudgeKind:
    """Kind ``scripted_judge``: planted readings, for tests. No model, no torch."""

    name: ClassVar[str] = "scripted_judge"
    options: ClassVar[Mapping[str, str]] = {
        "says": 'answer → what it says of it, e.g. { "Yes" = "POSITIVE" } (the answer exactly, blanks around it apart)',
        "otherwise": "what it says of any other answer (default UNPARSED)",
        "reply": "json, or the word alone (default json)",
        "error_rate": "P(status error), by question (default 0)",
        "malformed_rate": "P(a reply in no form that was asked for), by question (default 0)",
        "error_attempts": "how many first attempts at a question fail, within one process (default: all)",
        "blocks_at_once": "how many blocks it likes together (default 64)",
    }

    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """None."""
        return {}

    def lineages(self) -> Sequence[Lineage]:
        """None."""
        return ()

    def build(self, spec: ModelSpec) -> Model:
        """Raises ModelError for unknown or impossible options."""
        check_names(spec, self.options)
        says = spec.options.get("says", {})
        if not isinstance(says, Mapping) or not all(isinstance(word, str) for word in says.values()):
            raise ModelError(f"model {spec.name!r}: says is no table of words", expected='{ "Yes" = "POSITIVE" }')
        script = Script(
            says=dict(says),
            otherwise=text(spec, "otherwise") or "UNPARSED",
            reply=one_of(spec, "reply", ("json", "word")),
            error_rate=number(spec, "error_rate", 0.0, (0.0, 1.0)),
            malformed_rate=number(spec, "malformed_rate", 0.0, (0.0, 1.0)),
            error_attempts=whole(spec, "error_attempts", 1, (0, 1_000_000)) if "error_attempts" in spec.options else None,
        )
        return ScriptedJudge(script, spec.seed, whole(spec, "blocks_at_once", 64, (1, 1_000_000)))


PARTS = (ScriptedJudgeKind(),)
