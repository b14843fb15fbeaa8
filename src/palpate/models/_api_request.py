"""The body of a request, and the dialect of the chat API that the server at hand understands, found out by asking."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from palpate.models._api_faults import Failed
from palpate.models._api_settings import OPENAI, Settings
from palpate.nouns import Prompt, Trial

if TYPE_CHECKING:
    from PIL.Image import Image

TOP = (20, 5)
"""How many likely tokens are asked for: what most servers allow at most, then what all of them do."""
SCHEMAS = ("json_schema", "json_object", "none")
REFUSALS = frozenset((400, 404, 415, 422, 500, 501))
"""HTTP statuses with which servers turn down a field that they do not know."""


def data_url(image: Image) -> str:
    """The image as PNG in a data URL: the very pixels, never JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)  # level 9 is a tenth smaller and ten times slower
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(slots=True)
class Dialect:
    """Which fields the server takes. Starts with all of them; what it turns down is left away from then on, and noted."""

    limit: str = "max_tokens"
    top: int | None = TOP[0]
    stream: bool = True
    usage: bool = True
    seed: bool = True
    schema: str = SCHEMAS[0]
    proven: set[str] = field(default_factory=set)
    turned_down: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Settings) -> Dialect:
        """What to begin with."""
        # OpenAI's newer models take only the newer name of the limit, most other servers only the older one.
        limit = "max_completion_tokens" if settings.base_url == OPENAI or settings.azure else "max_tokens"
        return cls(
            limit,
            TOP[0] if settings.logprobs else None,
            settings.stream,
            seed=settings.temperature != 0,
            schema=SCHEMAS[0] if settings.json_schema else SCHEMAS[-1],
        )

    def used(self, body: Mapping[str, Any]) -> set[str]:
        """Fields of a body that some servers do not know."""
        optional = {"max_tokens", "max_completion_tokens", "logprobs", "stream", "stream_options", "seed", "response_format"}
        return optional & set(body)

    def prove(self, body: Mapping[str, Any]) -> None:
        """The server took this body."""
        self.proven |= self.used(body)

    def stops_streaming(self) -> None:
        """The server has sent nothing that could be read piece by piece, and never did."""
        if self.stream and "stream" not in self.proven:
            self._without("stream")

    def adapt(self, fault: Failed, body: Mapping[str, Any]) -> bool:
        """Leave away what a refusal is about. True where another try has a chance."""
        if fault.status not in REFUSALS or fault.filtered:
            return False
        said = f"{fault.cause} {fault.said}".lower()
        doubted = self.used(body) - self.proven
        named = [name for name in ("stream_options", "response_format", "seed", "stream") if name in said]
        if "logprob" in said:
            named.insert(0, "logprobs")
        if "max_tokens" in said or "max_completion_tokens" in said:
            named.insert(0, self.limit)
        for name in named:
            if name in doubted:
                return self._without(name)
        # It does not say what it is about: everything doubtful goes at once, the name of the limit last.
        extras = sorted(doubted - {"max_tokens", "max_completion_tokens"})
        for name in extras:
            self._without(name, wholly=True)
        if extras:
            return True
        return fault.status < 500 and self.limit in doubted and self._without(self.limit)

    def _without(self, name: str, *, wholly: bool = False) -> bool:
        note = name
        if name == "logprobs" and self.top is not None:
            self.top = None if wholly or self.top == TOP[-1] else TOP[TOP.index(self.top) + 1]
            note = name if self.top is None else f"more than {self.top} top_logprobs"
        elif name in ("max_tokens", "max_completion_tokens"):
            if any(other.startswith("max_") for other in self.turned_down):
                return False
            self.limit = "max_tokens" if name == "max_completion_tokens" else "max_completion_tokens"
        elif name == "stream":
            self.stream = False
        elif name == "stream_options":
            self.usage = False
        elif name == "seed":
            self.seed = False
        elif name == "response_format":
            note = self.schema
            self.schema = SCHEMAS[-1] if wholly else SCHEMAS[SCHEMAS.index(self.schema) + 1]
        self.turned_down.append(note)
        return True


def body_of(settings: Settings, dialect: Dialect, trial: Trial, url: str | None, *, stream: bool) -> dict[str, Any]:
    """The request for one trial. ``url``: its image as a data URL, before the text; None: the question goes without one."""
    prompt = trial.prompt
    found: dict[str, Any] = {"model": settings.model, "messages": _messages(settings, prompt, url)}
    found[dialect.limit] = settings.budget(prompt.form)
    if settings.temperature is not None:
        found["temperature"] = settings.temperature
        if settings.temperature > 0:
            found["top_p"] = settings.top_p
    if dialect.seed and settings.temperature != 0:
        found["seed"] = _seed(settings, trial)
    if dialect.top is not None and prompt.form.closed:
        found |= {"logprobs": True, "top_logprobs": dialect.top}
    if dialect.schema == "json_schema":
        schema = {"name": "answer", "strict": True, "schema": settings.json_schema}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif dialect.schema == "json_object":
        found["response_format"] = {"type": "json_object"}
    if stream:
        found["stream"] = True
        if dialect.usage:
            found["stream_options"] = {"include_usage": True}
    return found | dict(settings.extra)


def _messages(settings: Settings, prompt: Prompt, url: str | None) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [] if settings.system is None else [{"role": "system", "content": settings.system}]
    content: Any = prompt.text
    if url is not None:
        detail = {} if settings.detail is None else {"detail": settings.detail}
        content = [{"type": "image_url", "image_url": {"url": url, **detail}}, {"type": "text", "text": prompt.text}]
    return [*messages, {"role": "user", "content": content}]


def _seed(settings: Settings, trial: Trial) -> int:
    """Of the trial's own, so that repeats are drawn apart and a repetition of the run is drawn alike, where the server can."""
    digest = hashlib.blake2b(f"{settings.seed}/{trial.key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
