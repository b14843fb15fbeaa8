"""The options of an endpoint, checked once and frozen. No secret is among them: keys are named, and read when asking begins."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from palpate.errors import ModelError
from palpate.models._options import check_names, number, one_of, text, whole
from palpate.nouns import Form, Prompt
from palpate.parts import ModelSpec

OPENAI = "https://api.openai.com/v1"
LIMIT = 1_000_000
DEFAULT = "default"

OPTIONS: Mapping[str, str] = {
    "base_url": "where the server is, up to and with /v1; at Azure the resource's address (default: OpenAI's own)",
    "model": "what the server calls the model (default: its name in the study); at Azure the deployment",
    "api_key_env": "environment variable that holds the key (default: OPENAI_API_KEY at OpenAI, AZURE_OPENAI_API_KEY at Azure)",
    "headers_env": 'further headers, each out of an environment variable: { "X-Team" = "MY_VARIABLE" }',
    "azure": "true for Azure OpenAI (default false)",
    "api_version": "Azure's API version, such as 2024-10-21",
    "revision": "what is served there, such as a commit or a date; stands for the host in the model's identity",
    "system": "system prompt (default none)",
    "detail": "low, high or auto: how closely OpenAI looks at an image (default: not sent)",
    "extra": "further fields of each request, as the server knows them, such as { reasoning_effort = 'minimal' }",
    "json_schema": "JSON schema that answers must follow, where the server can hold a model to one (default none)",
    "max_new_tokens": "longest answer, in tokens (default 32 for closed questions, 256 for descriptions and open ones)",
    "max_new_tokens_open": "longest answer to a description or open question, where it differs from max_new_tokens",
    "temperature": "0 is greedy decoding (default); above 0 draws; 'default' sends none, for servers that accept none",
    "top_p": "with a temperature: the nucleus, the smallest set of tokens of at least this probability (default 1)",
    "logprobs": "true asks for log-probabilities, for margins, and finds out whether the server gives any (default true)",
    "stream": "true reads an image's first answer as it is made, so that its other questions can follow sooner (default true)",
    "concurrency": "questions on their way at once (default 16)",
    "requests_per_minute": "most requests a minute (default: no limit)",
    "tokens_per_minute": "most tokens a minute, in and out (default: no limit)",
    "timeout": "seconds a request may take (default 120)",
    "tries": "how often a request is sent before its question counts as failed (default 6)",
    "tokens_per_image": "what an image is reckoned to take until the server has said (default 1500)",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach a model and how to ask it. ``max_new_tokens``: (closed forms, other forms)."""

    base_url: str
    model: str
    api_key_env: str | None = None
    headers_env: Mapping[str, str] = field(default_factory=dict, hash=False)
    azure: bool = False
    api_version: str | None = None
    revision: str | None = None
    system: str | None = None
    detail: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    json_schema: Mapping[str, Any] | None = field(default=None, hash=False)
    max_new_tokens: tuple[int, int] = (32, 256)
    temperature: float | None = 0.0
    top_p: float = 1.0
    logprobs: bool = True
    stream: bool = True
    concurrency: int = 16
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout: float = 120.0
    tries: int = 6
    tokens_per_image: int = 1500
    seed: int = 0

    @property
    def host(self) -> str:
        """The server's name, without port: no secret."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def remote(self) -> bool:
        """False where the server is this machine."""
        return not (self.host in ("localhost", "::1") or re.fullmatch(r"127(\.\d+){3}", self.host))

    def budget(self, form: Form) -> int:
        """The most new tokens an answer of that form may have."""
        return self.max_new_tokens[0 if form.closed else 1]

    @property
    def generation(self) -> Mapping[str, object]:
        """The settings that decide which tokens are chosen. The seed matters only where tokens are drawn."""
        fixed = {"max_new_tokens": list(self.max_new_tokens), "temperature": self.temperature}
        return fixed if self.temperature == 0 else fixed | {"top_p": self.top_p, "seed": self.seed}


def settings_from(spec: ModelSpec) -> Settings:
    """Raises ModelError for unknown options, values out of range, and secrets where none belong (they are not repeated)."""
    check_names(spec, OPTIONS)
    azure = one_of(spec, "azure", (False, True))
    base_url = _base_url(spec, azure)
    closed = whole(spec, "max_new_tokens", 32, (1, LIMIT))
    open_form = whole(spec, "max_new_tokens_open", closed if "max_new_tokens" in spec.options else 256, (1, LIMIT))
    return Settings(
        base_url=base_url,
        model=text(spec, "model") or spec.name,
        api_key_env=_variable(spec, "api_key_env", spec.options.get("api_key_env", _default_key(base_url, azure))),
        headers_env={str(k): _variable(spec, "headers_env", v) or "" for k, v in _table(spec, "headers_env").items()},
        azure=azure,
        api_version=_api_version(spec, azure),
        revision=text(spec, "revision"),
        system=text(spec, "system"),
        detail=one_of(spec, "detail", ("auto", "low", "high")) if "detail" in spec.options else None,
        extra=_table(spec, "extra"),
        json_schema=_table(spec, "json_schema") or None,
        max_new_tokens=(closed, open_form),
        temperature=None if spec.options.get("temperature") == DEFAULT else number(spec, "temperature", 0.0, (0.0, 100.0)),
        top_p=number(spec, "top_p", 1.0, (1e-6, 1.0)),
        logprobs=one_of(spec, "logprobs", (True, False)),
        stream=one_of(spec, "stream", (True, False)),
        concurrency=whole(spec, "concurrency", 16, (1, 4096)),
        requests_per_minute=_optional(spec, "requests_per_minute"),
        tokens_per_minute=_optional(spec, "tokens_per_minute"),
        timeout=number(spec, "timeout", 120.0, (0.01, 86_400.0)),
        tries=whole(spec, "tries", 6, (1, 100)),
        tokens_per_image=whole(spec, "tokens_per_image", 1500, (0, LIMIT)),
        seed=spec.seed,
    )


def _base_url(spec: ModelSpec, azure: bool) -> str:
    given = text(spec, "base_url")
    if given is None:
        if azure:
            raise ModelError(f"model {spec.name!r} has no base_url", expected="base_url = the address of the Azure resource")
        return OPENAI
    try:
        parts = urlsplit(given)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ModelError(  # the address itself may hold a secret, so it is not shown
            f"model {spec.name!r} has a base_url with a user, password or query in it",
            expected="an address such as http://127.0.0.1:8000/v1",
            hint="secrets come from the environment: api_key_env, headers_env",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ModelError(f"model {spec.name!r} has base_url = {given!r}", expected="an address such as http://127.0.0.1:8000/v1")
    return given.rstrip("/")


def _default_key(base_url: str, azure: bool) -> str | None:
    """OpenAI's key goes to OpenAI alone, however often it is set."""
    if azure:
        return "AZURE_OPENAI_API_KEY"
    return "OPENAI_API_KEY" if urlsplit(base_url).hostname == urlsplit(OPENAI).hostname else None


def _variable(spec: ModelSpec, key: str, given: Any) -> str | None:
    """The name of an environment variable. What is no name may be a key pasted in the wrong place: it is not shown."""
    if given is None or (isinstance(given, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", given)):
        return given
    raise ModelError(
        f"model {spec.name!r}: {key} does not name an environment variable",
        expected="a name such as OPENAI_API_KEY; the key itself is never written down",
    )


def _api_version(spec: ModelSpec, azure: bool) -> str | None:
    given = text(spec, "api_version")
    if azure and given is None:
        raise ModelError(f"model {spec.name!r} has no api_version", expected='Azure wants one, e.g. api_version = "2024-10-21"')
    return given


def _table(spec: ModelSpec, key: str) -> Mapping[str, Any]:
    given = spec.options.get(key, {})
    if not isinstance(given, Mapping):
        raise ModelError(f"model {spec.name!r}: {key} is not a table", expected=OPTIONS[key])
    return given


def _optional(spec: ModelSpec, key: str) -> float | None:
    return number(spec, key, 1.0, (1e-3, 1e12)) if key in spec.options else None


def expected_tokens(settings: Settings, prompt: Prompt, *, image: bool) -> tuple[int, int]:
    """(tokens in, most tokens out) before anything is known: three characters to a token, which English seldom falls below."""
    said = len(prompt.text) + len(settings.system or "")
    return said // 3 + 16 + (settings.tokens_per_image if image else 0), settings.budget(prompt.form)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What must never be seen, taken from the environment when asking begins."""

    key: str | None
    headers: Mapping[str, str] = field(repr=False)

    def __repr__(self) -> str:
        return "Secrets(…)"

    def redact(self, said: str) -> str:
        """The text without any of them."""
        for secret in (self.key, *self.headers.values()):
            if secret:
                said = said.replace(secret, "[secret]")
        return said


def secrets_from(settings: Settings, name: str) -> Secrets:
    """Raises ModelError for a variable that is not set."""
    wanted = [v for v in (settings.api_key_env, *settings.headers_env.values()) if v]
    missing = [variable for variable in wanted if not os.environ.get(variable)]
    if missing:
        raise ModelError(
            f"model {name!r}: the environment variable {missing[0]} is not set",
            expected=f"the key for {settings.host}",
            hint=f"export {missing[0]}=…, then run the same command again",
        )
    key = os.environ[settings.api_key_env].strip() if settings.api_key_env else None
    return Secrets(key, {header: os.environ[variable].strip() for header, variable in settings.headers_env.items()})
