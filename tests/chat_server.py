"""A chat-completions server for tests: its answers are a function of image and question, and it fails in every way there is.

Speaks HTTP/1.1 by hand over asyncio, on 127.0.0.1 and a free port, so that it can also reset, hang, and break off anywhere.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

FAULTS = (
    *("429", "500", "503", "reset", "hang", "truncated", "schema", "empty-choices", "html", "cut", "error-in-200", "slow"),
    *("filtered", "filtered-400"),
)
"""Ways to fail. All but ``slow`` and the two of a content filter give no answer."""


@dataclass(frozen=True)
class Event:
    """What the server saw or did: ``asked``, ``first`` piece sent, ``answered``, or the name of a fault."""

    what: str
    image: str
    question: str
    at: float
    streamed: bool = False


@dataclass
class ChatServer:
    """``answer(image, question)`` gives the text; ``fault(number, body)`` the way to fail at that request, or None."""

    answer: Callable[[str, str], str] = lambda image, question: "Yes" if int(image or "0", 16) % 2 else "No"
    fault: Callable[[int, dict[str, Any]], str | None] = lambda number, body: None
    refuses: tuple[str, ...] = ()  # fields that it turns down with 400, by name
    refuses_blindly: bool = False  # … without saying which
    logprobs: bool = True
    ignores_stream: bool = False
    delay: float = 0.0  # seconds to the first piece
    tokens_per_image: int = 50
    counts_tokens: bool = True
    retry_after: str = "0.01"
    key: str | None = None
    model: Callable[[int], str] = lambda number: "served-model"
    events: list[Event] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def tokens(self) -> int:
        """Tokens of everything it answered."""
        return self._tokens

    def count(self, what: str) -> int:
        return sum(event.what == what for event in self.events)

    @contextmanager
    def running(self) -> Iterator[ChatServer]:
        self._loop, self._tokens, self._open = asyncio.new_event_loop(), 0, 0
        self._tasks: set[asyncio.Task[None]] = set()
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", self.port), self._loop).result()
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:

            async def stop() -> None:
                server.close()
                for task in list(self._tasks):
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await server.wait_closed()

            asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    # ---------------------------------------------------------------- HTTP

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; False where the connection is over."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))) or b"{}")
        number = len(self.bodies)
        self.bodies.append(body)
        self.headers.append({**headers, "path": head[0].split()[1]})
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        try:
            return await self._respond(writer, number, body, headers)
        finally:
            self._open -= 1

    async def _respond(self, writer: asyncio.StreamWriter, number: int, body: dict[str, Any], headers: dict[str, str]) -> bool:
        image, question = seen(body)
        streamed = bool(body.get("stream")) and not self.ignores_stream

        def note(what: str) -> None:
            self.events.append(Event(what, image, question, time.monotonic(), streamed))

        note("asked")
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            return await _send(writer, 401, {"error": {"message": f"wrong key {headers.get('authorization')}", "code": "bad_key"}})
        odd = next((name for name in self.refuses if name in body), None)
        if odd is not None:
            said = "invalid request" if self.refuses_blindly else f"Unsupported parameter: '{odd}'"
            return await _send(writer, 400, {"error": {"message": said, "type": "invalid_request_error"}})
        fault = self.fault(number, body)
        if fault is not None and fault != "slow":
            note(fault)
            return await self._fail(writer, fault, streamed, body)
        await asyncio.sleep(0.05 if fault == "slow" else self.delay)
        text = self.answer(image, question)
        tokens_in, tokens_out = len(question.split()) + (self.tokens_per_image if image else 0), max(len(text.split()), 1)
        self._tokens += tokens_in + tokens_out
        usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
        shape = {"id": "1", "object": "chat.completion", "model": self.model(number), "system_fingerprint": "fp"}
        listed = {"content": likely(text)} if body.get("logprobs") and self.logprobs else None
        if streamed:
            await _start_stream(writer)
            pieces: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, {"content": text[:2]}, {"content": text[2:]}]
            for at, delta in enumerate(pieces):
                choice = {"index": 0, "delta": delta, "finish_reason": None, "logprobs": listed if at == 1 else None}
                await _event(writer, {**shape, "choices": [choice]})
                if at == 1:
                    note("first")
                    await asyncio.sleep(self.delay)
            await _event(writer, {**shape, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            if body.get("stream_options", {}).get("include_usage") and self.counts_tokens:
                await _event(writer, {**shape, "choices": [], "usage": usage})
            await _end_stream(writer)
            note("answered")
            return True
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", "logprobs": listed}
        note("answered")
        return await _send(writer, 200, {**shape, "choices": [choice], **({"usage": usage} if self.counts_tokens else {})})

    async def _fail(self, writer: asyncio.StreamWriter, fault: str, streamed: bool, body: dict[str, Any]) -> bool:
        shape = {"id": "1", "object": "chat.completion", "model": "served-model"}
        if fault == "429":
            return await _send(writer, 429, {"error": {"message": "slow down"}}, {"Retry-After": self.retry_after})
        if fault in ("500", "503"):
            return await _send(writer, int(fault), {"error": {"message": "fell over"}})
        if fault == "reset":
            writer.transport.abort()
            return False
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "truncated":
            return await _send(writer, 200, json.dumps({**shape, "choices": [{"message": {"content": "Ye"}}]})[:-20])
        if fault == "schema":
            return await _send(writer, 200, {**shape, "choices": [{"message": "Yes"}]})
        if fault == "empty-choices":
            return await _send(writer, 200, {**shape, "choices": []})
        if fault == "html":
            return await _send(writer, 200, "<html>welcome to the hospital's network</html>", {"Content-Type": "text/html"})
        if fault == "error-in-200":
            return await _send(writer, 200, {"error": {"message": "out of memory"}})
        if fault == "filtered-400":
            inner = {"code": "ResponsibleAIPolicyViolation"}
            return await _send(writer, 400, {"error": {"message": "filtered", "code": "content_filter", "innererror": inner}})
        if fault == "filtered":
            if streamed:
                await _start_stream(writer)
                await _event(writer, {**shape, "choices": [{"index": 0, "delta": {}, "finish_reason": "content_filter"}]})
                await _end_stream(writer)
                return True
            choice = {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "content_filter"}
            return await _send(writer, 200, {**shape, "choices": [choice]})
        assert fault == "cut", fault
        if not streamed:  # a length is promised and not kept
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"choices": [')
            await writer.drain()
        else:
            await _start_stream(writer)
            await _event(writer, {**shape, "choices": [{"index": 0, "delta": {"content": "Ye"}, "finish_reason": None}]})
            await _end_stream(writer)
            return True
        return False


def seen(body: dict[str, Any]) -> tuple[str, str]:
    """(digest of the image's pixels, or empty; the question) of a request. The image must be a PNG in a data URL."""
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return "", content
    image, text = content
    kind, _, data = image["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    assert (image["type"], text["type"]) == ("image_url", "text")
    pixels = Image.open(io.BytesIO(base64.b64decode(data))).tobytes()
    return hashlib.blake2b(pixels, digest_size=4).hexdigest(), text["text"]


def likely(text: str) -> list[dict[str, Any]]:
    """Log-probabilities of the first token: it, spelled with and without a space, the other answers, and something else."""
    other = {"Yes": "No", "No": "Yes", "A": "B", "B": "A"}.get(text[:3].strip(" )."), "Maybe")
    shares = {text: 0.5, f" {text}": 0.2, other: 0.1, f" {other.lower()}": 0.05, "The": 0.1}
    top = [{"token": token, "logprob": math.log(share)} for token, share in shares.items()]
    return [{**top[0], "top_logprobs": top}]


def at_random(rate: float, seed: int = 0, faults: tuple[str, ...] = FAULTS) -> Callable[[int, dict[str, Any]], str | None]:
    """Each request fails with probability ``rate``, in one of the ways, drawn anew."""
    draw = random.Random(seed)
    return lambda number, body: draw.choice(faults) if draw.random() < rate else None


def first_time(faults: dict[str, str]) -> Callable[[int, dict[str, Any]], str | None]:
    """A question that holds the text fails that way at its first try."""
    tried: Counter[str] = Counter()

    def fault(number: int, body: dict[str, Any]) -> str | None:
        question = seen(body)[1]
        tried[question] += 1
        return next((fault for text, fault in faults.items() if text in question and tried[question] == 1), None)

    return fault


# ---------------------------------------------------------------- bytes


async def _send(
    writer: asyncio.StreamWriter, status: int, body: dict[str, Any] | str, headers: dict[str, str] | None = None
) -> bool:
    data = (body if isinstance(body, str) else json.dumps(body)).encode()
    all_headers = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    writer.write(f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + data)
    await writer.drain()
    return True


async def _start_stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    await writer.drain()


async def _event(writer: asyncio.StreamWriter, data: dict[str, Any]) -> None:
    await _chunk(writer, f"data: {json.dumps(data)}\n\n".encode())


async def _end_stream(writer: asyncio.StreamWriter) -> None:
    await _chunk(writer, b"data: [DONE]\n\n")
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()
