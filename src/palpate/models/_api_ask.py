"""Asking over a connection: the first question alone, an image's first question before its others, tries, and when to give up.

Everything here runs on one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from palpate.errors import ModelError
from palpate.models._api_connect import connect, send, send_streaming
from palpate.models._api_faults import CUT, NOTHING_STREAMED, REFUSED, Failed
from palpate.models._api_limits import Places, Purse, Rate
from palpate.models._api_reply import Reply, answer_from, margin_and_mass
from palpate.models._api_request import Dialect, body_of
from palpate.models._api_settings import Secrets, Settings, expected_tokens
from palpate.nouns import Answer, Prompt, Status, Trial
from palpate.parts import BUDGET_SPENT, Allowance

SIBLING, FIRST = 0, 1
"""Ranks: the other questions on an image already shown go before another image's first one, while the server still holds it."""
GIVE_UP = 25
"""Questions in a row that fail, each after all its tries, before the server counts as gone."""
GIVE_UP_AT_ONCE = 3
"""The same where it has never answered."""
BACKOFF, LONGEST_BACKOFF = 0.5, 30.0
"""Seconds: the first wait is drawn from 0 … 0.5, and twice as long each time (full jitter)."""
SLACK = 1.25
"""A question is reckoned at the longest seen so far, and a quarter more."""


class Asking:
    """One connection to one model, and what was found out about it on the way."""

    def __init__(self, settings: Settings, secrets: Secrets, name: str, allowance: Allowance) -> None:
        self.settings, self.name, self._secrets = settings, name, secrets
        self._purse = Purse(allowance)
        self.dialect = Dialect.of(settings)
        self.trouble: ModelError | None = None
        self.served: Counter[tuple[str, str]] = Counter()  # in the order in which they first answered
        self.failures: Counter[str] = Counter()
        self.said: dict[str, str] = {}
        self.logprobs: bool | None = None
        self.bounded = 0
        self._client = connect(settings, secrets)
        self._places = Places(settings.concurrency)
        self._rate = Rate(settings.requests_per_minute, settings.tokens_per_minute)
        self._known, self._failing, self._stopped = False, 0, ""
        self._alone = asyncio.Lock()
        self._longest: dict[bool, int] = {}

    async def blocks(self, asked: Sequence[tuple[Sequence[Trial], str | None]]) -> list[list[Answer]]:
        """Answers to the trials on each image (a data URL, or None), in order."""
        return list(await asyncio.gather(*(self._block(trials, url) for trials, url in asked)))

    def allow(self, allowance: Allowance) -> None:
        """From now on spend at most this."""
        self._purse.allow(allowance)
        if self._stopped == BUDGET_SPENT:
            self._stopped = ""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _block(self, trials: Sequence[Trial], url: str | None) -> list[Answer]:
        """Prime, then fan out: a server keeps what it made of an image only once it has begun to answer about it."""
        if url is None or len(trials) == 1:
            return list(await asyncio.gather(*(self._question(t, url, FIRST, None) for t in trials)))
        begun = asyncio.Event()
        first = asyncio.create_task(self._question(trials[0], url, FIRST, begun))
        await begun.wait()
        rest = await asyncio.gather(*(self._question(t, url, SIBLING, None) for t in trials[1:]))
        return [await first, *rest]

    async def _question(self, trial: Trial, url: str | None, rank: int, begun: asyncio.Event | None) -> Answer:
        try:
            if not self._known:  # the very first one goes alone: it tells what the server understands
                async with self._alone:
                    if not self._known:
                        return await self._put(trial, url, rank, begun)
            return await self._put(trial, url, rank, begun)
        finally:
            if begun is not None:
                begun.set()

    async def _put(self, trial: Trial, url: str | None, rank: int, begun: asyncio.Event | None) -> Answer:
        if self._stopped:
            return Answer(Status.ERROR, error=self._stopped, asked=False)
        try:
            reply, seconds = await self._tried(trial, url, rank, begun)
        except Failed as fault:
            return self._ended(fault)
        self._known, self._failing = True, 0
        self._learn(reply, trial.prompt, image=url is not None)
        return answer_from(reply, trial.prompt, seconds)

    async def _tried(self, trial: Trial, url: str | None, rank: int, begun: asyncio.Event | None) -> tuple[Reply, float]:
        """Raises Failed once every try has failed, or none can help."""
        try:
            return await self._retried(trial, url, rank, begun)
        except Failed as fault:
            # Some servers fall over a field that they do not know, every time.
            body = self._body(trial, url, begun)
            if fault.status is None or fault.status < 500 or not self.dialect.adapt(fault, body):
                raise
            return await self._retried(trial, url, rank, begun)

    async def _retried(self, trial: Trial, url: str | None, rank: int, begun: asyncio.Event | None) -> tuple[Reply, float]:
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        tries = AsyncRetrying(
            stop=stop_after_attempt(self.settings.tries),
            retry=retry_if_exception(lambda fault: isinstance(fault, Failed) and fault.again),
            wait=_wait,
            reraise=True,
        )
        async for attempt in tries:
            with attempt:
                try:
                    return await self._understood(trial, url, rank, begun)
                except Failed as fault:
                    self._note(fault)
                    if fault.cause in (CUT, NOTHING_STREAMED):
                        begun = None  # once cut, read whole
                    if fault.cause == NOTHING_STREAMED:
                        self.dialect.stops_streaming()
                    raise
        raise Failed(REFUSED)  # not reached: the last try raises

    async def _understood(self, trial: Trial, url: str | None, rank: int, begun: asyncio.Event | None) -> tuple[Reply, float]:
        """One try, said again in other words while the server turns down a field that it may be asked without."""
        while True:
            body = self._body(trial, url, begun)
            try:
                found = await self._once(body, trial.prompt, rank, begun, image=url is not None)
            except Failed as fault:
                turned_down = fault.status is not None and fault.status < 500 and not fault.filtered
                if turned_down and "temperature" in fault.said and "temperature" in body:
                    fault.hopeless = "it takes no such temperature: temperature = 'default' sends none"
                    raise
                if turned_down and self._body(trial, url, begun) != body:
                    continue  # another question has found out the same meanwhile
                if turned_down and self.dialect.adapt(fault, body):
                    continue
                raise
            self.dialect.prove(body)
            return found

    async def _once(
        self, body: dict[str, Any], prompt: Prompt, rank: int, begun: asyncio.Event | None, *, image: bool
    ) -> tuple[Reply, float]:
        taken = self._reckoned(prompt, image=image)
        await self._places.enter(rank)
        try:
            await self._rate.wait(sum(taken))
            if self._stopped:
                raise Failed(self._stopped, again=False, hopeless=self._stopped)
            if not await self._purse.take(*taken):
                raise Failed(BUDGET_SPENT, again=False, hopeless=BUDGET_SPENT)
            spent, started = taken, time.monotonic()
            try:
                async with asyncio.timeout(self.settings.timeout):
                    if "stream" in body:
                        reply = await send_streaming(self._client, body, begun)
                    else:
                        reply = await send(self._client, body)
                spent = (taken[0] if reply.tokens_in is None else reply.tokens_in, reply.tokens_out or taken[1])
            except Failed as fault:
                spent = taken if fault.billed else (0, 0)
                if fault.after:
                    self._rate.pause(fault.after)
                raise
            except TimeoutError:
                raise Failed("timed out", billed=True) from None
            finally:
                self._purse.settle(taken, spent)
            return reply, time.monotonic() - started
        finally:
            self._places.leave()

    def _body(self, trial: Trial, url: str | None, begun: asyncio.Event | None) -> dict[str, Any]:
        return body_of(self.settings, self.dialect, trial, url, stream=begun is not None and self.dialect.stream)

    def _reckoned(self, prompt: Prompt, *, image: bool) -> tuple[int, int]:
        """The most tokens a question is expected to take, in and out."""
        longest = self._longest.get(image)
        expected, most = expected_tokens(self.settings, prompt, image=image)
        return expected if longest is None else int(longest * SLACK), most

    def _note(self, fault: Failed) -> None:
        if fault.cause not in (BUDGET_SPENT, self._stopped):
            self.failures[fault.cause] += 1
            if fault.said:
                self.said.setdefault(fault.cause, self._secrets.redact(fault.said)[:200])

    def _learn(self, reply: Reply, prompt: Prompt, *, image: bool) -> None:
        self.served[reply.model, reply.fingerprint] += 1
        if reply.tokens_in is not None:
            self._longest[image] = max(self._longest.get(image, 0), reply.tokens_in)
        if prompt.form.closed and reply.text and self.dialect.top is not None:
            self.logprobs = self.logprobs or reply.first is not None
            if not self.logprobs:  # taken without a word and dropped: not asked for again
                self.dialect.top = None
        self.bounded += margin_and_mass(reply.first, prompt)[2]

    def _ended(self, fault: Failed) -> Answer:
        """A question whose tries are over."""
        if fault.filtered:
            self._known, self._failing = True, 0
            return Answer(Status.BLOCKED)
        self._failing += not fault.hopeless
        gone = self._failing >= (GIVE_UP if self._known else GIVE_UP_AT_ONCE) or (fault.cause == REFUSED and not self._known)
        if not fault.hopeless and not gone:
            return Answer(Status.ERROR, error=fault.cause)
        self._stopped = self._stopped or fault.hopeless or f"the server no longer answers: {fault.cause}"
        if fault.hopeless != BUDGET_SPENT and self.trouble is None:
            self.trouble = self._trouble(fault)
        return Answer(Status.ERROR, error=self._stopped, asked=False)

    def _trouble(self, fault: Failed) -> ModelError:
        where = f"model {self.name!r} at {self.settings.base_url}"
        if fault.cause == REFUSED and not self._known:
            return ModelError(
                "nothing answers there", where=where, expected="a server that is running, and a base_url that ends in /v1"
            )
        said = self._secrets.redact(fault.hopeless or fault.said).strip()
        told = f"{fault.cause}: {said[:300]}" if said else fault.cause
        if self._known:
            return ModelError(told, where=where, hint="what was answered is kept: run the same command again to go on")
        key = self.settings.api_key_env
        hint = f"the key is taken from {key}" if key and fault.status in (401, 403) else ""
        return ModelError(told, where=where, expected="a server that speaks OpenAI's chat completions", hint=hint)


def _wait(state: Any) -> float:
    """What the server asks for, or else exponential backoff with full jitter; seconds."""
    from tenacity import wait_random_exponential

    fault = state.outcome.exception()
    drawn = float(wait_random_exponential(multiplier=BACKOFF, max=LONGEST_BACKOFF)(state))
    return drawn if fault.after is None else fault.after + drawn / 10
