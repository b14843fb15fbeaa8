"""The official SDK's client, and one request through it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from palpate.errors import ModelError
from palpate.models._api_faults import Failed, failed_from
from palpate.models._api_reply import Pieces, Reply, reply_from
from palpate.models._api_settings import OPENAI, Secrets, Settings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

PATH = "/chat/completions"
KEYLESS = "none"
"""Sent where a server wants no key: the SDK does not go without one."""


def connect(settings: Settings, secrets: Secrets) -> AsyncOpenAI:
    """A client that tries once, follows no redirection to another host, and takes nothing from the environment unasked."""
    try:
        import openai
    except ImportError:
        raise ModelError(
            "needs the openai package", expected="the packages of the extra `api`", hint="pip install 'palpate[api]'"
        ) from None
    http = openai.DefaultAsyncHttpxClient(
        limits=_limits(settings), timeout=settings.timeout, follow_redirects=False, trust_env=settings.remote
    )
    common: dict[str, Any] = {
        "api_key": secrets.key or KEYLESS,
        "default_headers": dict(secrets.headers),
        "http_client": http,
        "max_retries": 0,
        "timeout": settings.timeout,
    }
    if settings.azure:
        return openai.AsyncAzureOpenAI(azure_endpoint=settings.base_url, api_version=settings.api_version, **common)
    client = openai.AsyncOpenAI(base_url=settings.base_url, **common)
    if settings.base_url != OPENAI:
        client.organization = client.project = None  # out of the environment; they are OpenAI's business alone
    return client


def _limits(settings: Settings) -> Any:
    from openai import DEFAULT_CONNECTION_LIMITS

    size = settings.concurrency
    return type(DEFAULT_CONNECTION_LIMITS)(max_connections=size, max_keepalive_connections=size)


async def send(client: AsyncOpenAI, body: dict[str, Any]) -> Reply:
    """One request, its response read whole. Raises Failed."""
    try:
        data = await client.post(PATH, cast_to=object, body=body)
    except _faults() as fault:
        raise failed_from(fault) from None
    return reply_from(data)


async def send_streaming(client: AsyncOpenAI, body: dict[str, Any], begun: asyncio.Event | None) -> Reply:
    """One request, its response read as it is made; ``begun`` is set with the first piece of it. Raises Failed."""
    from openai import AsyncStream

    pieces = Pieces()
    try:
        async with await client.post(PATH, cast_to=object, body=body, stream=True, stream_cls=AsyncStream[object]) as stream:
            async for piece in stream:
                pieces.add(piece)
                if begun is not None and pieces.begun:
                    begun.set()
    except _faults() as fault:
        raise failed_from(fault) from None
    return pieces.reply()


def _faults() -> tuple[type[Exception], ...]:
    """What the SDK, its HTTP client and JSON raise."""
    import openai

    return (openai.OpenAIError, ValueError, OSError, RuntimeError, TypeError, Failed)
