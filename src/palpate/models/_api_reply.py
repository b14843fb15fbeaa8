"""What a chat-completions server sends back, whole or in pieces, checked by hand: the SDK builds its objects without checking."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from palpate.models._api_faults import CUT, MALFORMED, NOTHING_STREAMED, SCHEMA, Failed
from palpate.nouns import Answer, Prompt, Status

Listed = tuple[tuple[str, float], ...]
"""(token, log-probability) of the likeliest tokens at one place."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One checked reply. ``first``: the likeliest tokens at the first answer token; None where the server sent none."""

    text: str
    finish: str | None
    tokens_in: int | None = None
    tokens_out: int | None = None
    first: Listed | None = None
    model: str = ""
    fingerprint: str = ""


def reply_from(data: object) -> Reply:
    """A whole response body. Raises Failed where it is none."""
    if isinstance(data, str):  # sent under another content type
        try:
            data = json.loads(data)
        except json.JSONDecodeError:
            raise Failed(MALFORMED, billed=True) from None
    body = _table(data)
    if body.get("error"):
        raise Failed("an error in place of an answer", billed=True, said=str(body["error"])[:500])
    choice = _first_choice(body)
    message = _table(choice.get("message"))
    if "content" not in message and "refusal" not in message:
        raise Failed(SCHEMA, billed=True)
    said = _content(message.get("content")) or _content(message.get("refusal"))
    if not said and message.get("tool_calls"):
        raise Failed("answered by calling a tool", again=False, billed=True)
    return Reply(said, _finish(choice), *_usage(body), _first_listed(choice), *_served(body))


@dataclass(slots=True)
class Pieces:
    """A streamed response, put together. ``count``: pieces that came."""

    count: int = 0
    _said: list[str] = field(default_factory=list)
    _refused: list[str] = field(default_factory=list)
    _listed: list[Any] = field(default_factory=list)
    _finish: str | None = None
    _usage: tuple[int | None, int | None] = (None, None)
    _model: str = ""
    _fingerprint: str = ""

    @property
    def begun(self) -> bool:
        """True once a piece of the answer is in: the server has read the question."""
        return any(self._said) or any(self._refused) or self._finish is not None

    def add(self, data: object) -> None:
        """One event. Raises Failed where it is not the shape of a chunk."""
        self.count += 1
        chunk = _table(data)
        served = _served(chunk)
        self._model, self._fingerprint = served[0] or self._model, served[1] or self._fingerprint
        if isinstance(chunk.get("usage"), Mapping):
            self._usage = _usage(chunk)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            raise Failed(SCHEMA, billed=True)
        if not choices:  # as the last one, that holds the usage, or Azure's first, that holds its filter's findings
            return
        choice = _table(choices[0])
        delta = _table(choice.get("delta") or {})
        self._said.append(_content(delta.get("content")))
        self._refused.append(_content(delta.get("refusal")))
        listed = choice.get("logprobs")
        if isinstance(listed, Mapping) and isinstance(listed.get("content"), list):
            self._listed += listed["content"]
        self._finish = _finish(choice) or self._finish

    def reply(self) -> Reply:
        """The whole. Raises Failed where the end is missing: a cut text is no answer."""
        if self._finish is None:
            raise Failed(CUT if self.count else NOTHING_STREAMED, billed=True)
        text = "".join(self._said) or "".join(self._refused)
        return Reply(text, self._finish, *self._usage, _likeliest(self._listed), self._model, self._fingerprint)


def answer_from(reply: Reply, prompt: Prompt, seconds: float) -> Answer:
    """OK, TRUNCATED at the length limit, BLOCKED by a content filter. An empty text is an answer.

    White space around the text goes, as on the local path: whether a server leaves a tokenizer's first space says nothing.
    """
    status = {"length": Status.TRUNCATED, "content_filter": Status.BLOCKED}.get(reply.finish or "", Status.OK)
    margin, mass, _ = margin_and_mass(reply.first, prompt)
    return Answer(status, reply.text.strip(), margin, mass, reply.tokens_in, reply.tokens_out, seconds)


def margin_and_mass(listed: Listed | None, prompt: Prompt) -> tuple[float | None, float | None, bool]:
    """(margin, mass, bounded) from the likeliest tokens at the first answer token.

    All listed spellings of a side are summed, with or without a space before them. Of a side that is not among them each
    spelling is less likely than the least token listed, and all of them together than what the list leaves over: with that
    bound in its place the margin keeps its sign and is, if anything, too small (``bounded``). None where neither side is
    listed, or for open forms.
    """
    spellings = prompt.answer_spellings
    if not listed or spellings is None:
        return None, None, False
    sides = [sum(math.exp(logprob) for token, logprob in listed if _bare(token) in side) for side in spellings]
    if not any(sides):
        return None, None, False
    mass = min(sum(sides), 1.0)
    bounded = not all(sides)
    if bounded:
        rest = 1.0 - sum(math.exp(logprob) for _, logprob in listed)
        least = min(math.exp(logprob) for _, logprob in listed) * len(spellings[0])
        bound = min(least, rest, max(sides)) if rest > 0 else min(least, max(sides))
        sides = [side or bound for side in sides]
    return math.log(sides[0]) - math.log(sides[1]), mass, bounded


def _bare(token: str) -> str:
    """A token without the space before it, however its tokenizer spells that."""
    return token.strip().lstrip("\u2581\u0120").strip()


def _first_listed(choice: Mapping[str, Any]) -> Listed | None:
    listed = choice.get("logprobs")
    content = listed.get("content") if isinstance(listed, Mapping) else None
    return _likeliest(content) if isinstance(content, list) else None


def _likeliest(content: list[Any]) -> Listed | None:
    """The likeliest tokens at the first place that is not mere white space."""
    for place in content:
        if not isinstance(place, Mapping) or not _bare(str(place.get("token", ""))):
            continue
        top = place.get("top_logprobs")
        seen: dict[tuple[str, float], None] = {}
        for item in top if isinstance(top, list) and top else (place,):
            if isinstance(item, Mapping) and isinstance(item.get("logprob"), int | float) and math.isfinite(item["logprob"]):
                seen[str(item.get("token", "")), float(item["logprob"])] = None
        return tuple(seen) or None
    return None


def _table(data: object) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise Failed(SCHEMA, billed=True)
    return data


def _first_choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        raise Failed(SCHEMA, billed=True)
    return _table(choices[0])


def _content(given: object) -> str:
    """Text, or a list of text parts; an absent one is empty. Raises Failed for anything else."""
    if given is None:
        return ""
    if isinstance(given, str):
        return given
    if isinstance(given, list) and all(isinstance(p, Mapping) and isinstance(p.get("text"), str) for p in given):
        return "".join(part["text"] for part in given)
    raise Failed(SCHEMA, billed=True)


def _finish(choice: Mapping[str, Any]) -> str | None:
    found = choice.get("finish_reason")
    return found if isinstance(found, str) else None


def _usage(body: Mapping[str, Any]) -> tuple[int | None, int | None]:
    usage = body.get("usage")
    if not isinstance(usage, Mapping):
        return None, None
    counts = (usage.get(key) for key in ("prompt_tokens", "completion_tokens"))
    tokens_in, tokens_out = (c if isinstance(c, int) and not isinstance(c, bool) and c >= 0 else None for c in counts)
    return tokens_in, tokens_out


def _served(body: Mapping[str, Any]) -> tuple[str, str]:
    return str(body.get("model") or ""), str(body.get("system_fingerprint") or "")
