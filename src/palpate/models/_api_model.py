"""A model behind an OpenAI-compatible endpoint, as the protocol wants it: asked from any thread, answered by one event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from palpate.models._api_settings import Settings, expected_tokens, secrets_from
from palpate.nouns import Answer, Prompt, Status, Stimulus
from palpate.parts import Allowance, Destination, Fingerprint

if TYPE_CHECKING:
    from palpate.models._api_ask import Asking

ADAPTER_VERSION = 1
"""Raised whenever this adapter changes what a model is sent or how margins are computed."""
THREADS = 32


class EndpointModel:
    """Answers from a server. It is reached at the first ``ask``; ``close`` ends whatever is under way."""

    def __init__(self, settings: Settings, *, name: str) -> None:
        self.settings, self.name = settings, name
        # One image a time, so that its answers are in the ledger as soon as they are here; several only for very wide pipes.
        self.blocks_at_once = -(-settings.concurrency // THREADS)
        self.asks_at_once = min(settings.concurrency, THREADS) + 2
        self._allowance = Allowance()
        self._asking: Asking | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._before: dict[str, Any] = {}

    def fingerprint(self) -> Fingerprint:
        """Identity: what is sent, and to what; nothing is sent to find out. Host and port are environment, keys nowhere.

        What stands behind a name can change unseen, so the host counts as identity, unless ``revision`` says what is there.
        """
        s = self.settings
        what: dict[str, Any] = {
            "kind": "endpoint",
            "adapter_version": ADAPTER_VERSION,
            "model": s.model,
            "served": s.revision or (s.host if s.remote else "localhost"),
            "template": "chat completions, image first",
            "system": s.system,
            "detail": s.detail,
            "generation": dict(s.generation),
            "extra": dict(s.extra),
            "json_schema": None if s.json_schema is None else dict(s.json_schema),
        }
        where = {"base_url": s.base_url, "api_version": s.api_version, "openai": _version("openai")}
        return Fingerprint(what, where)

    def destination(self) -> Destination:
        """The host in ``base_url``, and the variables that hold the key and the headers."""
        named = (self.settings.api_key_env, *self.settings.headers_env.values())
        return Destination(self.settings.host, self.settings.remote, tuple(dict.fromkeys(name for name in named if name)))

    def tokens(self, prompt: Prompt, *, image: bool) -> tuple[int, int]:
        """(expected in, most out)."""
        return expected_tokens(self.settings, prompt, image=image)

    def allow(self, allowance: Allowance) -> None:
        """Counted from now."""
        self._allowance = allowance
        if self._asking is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._asking.allow, allowance)

    def ask(self, stimuli: Sequence[Stimulus]) -> list[list[Answer]]:
        """One list per stimulus, one Answer per trial. May be called from several threads: they share limits and budget.

        Raises ModelError where nothing can be answered at all; where some was, the rest comes back not asked.
        """
        from palpate.models._api_request import data_url

        if not stimuli:
            return []
        asked = [(s.block.trials, None if s.image is None else data_url(s.image)) for s in stimuli]
        asking, loop = self._started()
        future = asyncio.run_coroutine_threadsafe(asking.blocks(asked), loop)
        try:
            answers = future.result()
        except BaseException:
            future.cancel()
            raise
        if asking.trouble is not None and all(answer.status is Status.ERROR for found in answers for answer in found):
            raise asking.trouble
        return answers

    def observed(self) -> Mapping[str, Any]:
        """What answered, whether it gives log-probabilities, what it turned down, and how often a try failed and how."""
        return self._before if self._asking is None else _observed(self._asking)

    def close(self) -> None:
        """End the connections; questions under way are given up. May be called twice, and asked again after."""
        with self._starting:
            asking, loop, thread = self._asking, self._loop, self._thread
            if asking is None or loop is None or thread is None:
                return
            self._before = dict(_observed(asking))
            self._asking = self._loop = self._thread = None
        asyncio.run_coroutine_threadsafe(_end(asking), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _started(self) -> tuple[Asking, asyncio.AbstractEventLoop]:
        with self._starting:
            if self._asking is None or self._loop is None:
                from palpate.models._api_ask import Asking

                secrets = secrets_from(self.settings, self.name)
                asking = Asking(self.settings, secrets, self.name, self._allowance)
                loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=loop.run_forever, name=f"endpoint {self.name}", daemon=True)
                self._thread.start()
                self._asking, self._loop = asking, loop
            return self._asking, self._loop


async def _end(asking: Asking) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asking.close()
    await asyncio.get_running_loop().shutdown_asyncgens()


def _observed(asking: Asking) -> Mapping[str, Any]:
    """For the ledger: facts and counts, no key and no question."""
    served = [" ".join(filter(None, (model, fingerprint))) or "(does not say)" for model, fingerprint in asking.served]
    found: dict[str, Any] = {"answered_as": served}
    if asking.logprobs is not None:
        found["logprobs"] = "returned" if asking.logprobs else "not returned"
    if asking.bounded:
        found["margins_bounded"] = asking.bounded
    if asking.dialect.turned_down:
        found["turned_down"] = list(asking.dialect.turned_down)
    if asking.failures:
        found["failed_tries"] = dict(asking.failures)
    if asking.said:
        found["server_said"] = dict(asking.said)
    if any(len({pair[at] for pair in asking.served if pair[at]}) > 1 for at in (0, 1)):
        found["warnings"] = [f"what answers under this name changed during the run: {', then '.join(served)}"]
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
