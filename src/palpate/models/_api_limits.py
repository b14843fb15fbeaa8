"""What holds requests back: places side by side, the rate, and the budget. All used from one event loop."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from palpate.parts import Allowance


class Places:
    """At most ``size`` at once. Who has the lower rank goes first, then who came first."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = count()

    async def enter(self, rank: int) -> None:
        """Wait for a place and take it."""
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._count), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # the place was given as the wait was given up
            raise

    def leave(self) -> None:
        """Give the place to the next, if anyone waits."""
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Purse:
    """Spends at most an allowance. What a request may cost at most is put aside before it is sent, and settled after."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._tokens = self._money = 0.0
        self._under_way = 0
        self._changed = asyncio.Event()

    def allow(self, allowance: Allowance) -> None:
        """A new allowance, counted from now."""
        self._allowance, self._tokens, self._money = allowance, 0.0, 0.0

    async def take(self, tokens_in: int, tokens_out: int) -> bool:
        """Put aside what a request may cost. False where that is more than is left, whatever is still under way comes to."""
        while not self._fits(tokens_in, tokens_out):
            if not self._under_way:
                return False
            self._changed.clear()
            await self._changed.wait()
        self._book(tokens_in, tokens_out, 1)
        self._under_way += 1
        return True

    def settle(self, taken: tuple[int, int], spent: tuple[int, int]) -> None:
        """Put what was taken back, and spend what it came to."""
        self._book(*taken, -1)
        self._book(*spent, 1)
        self._under_way -= 1
        self._changed.set()

    def _fits(self, tokens_in: int, tokens_out: int) -> bool:
        allowed, price = self._allowance, self._allowance.price
        if allowed.tokens is not None and self._tokens + tokens_in + tokens_out > allowed.tokens:
            return False
        cost = price.of(tokens_in, tokens_out) if price else 0.0
        return allowed.money is None or self._money + cost <= allowed.money

    def _book(self, tokens_in: int, tokens_out: int, sign: int) -> None:
        self._tokens += sign * (tokens_in + tokens_out)
        if self._allowance.price is not None:
            self._money += sign * self._allowance.price.of(tokens_in, tokens_out)


class Rate:
    """Requests and tokens a minute (None: no limit), spread evenly over it, and the pause a server asks for."""

    def __init__(self, requests: float | None, tokens: float | None) -> None:
        from aiolimiter import AsyncLimiter

        # A limit of 60 a minute is one a second, not sixty at the first: servers count in shorter spans too.
        self._requests = AsyncLimiter(1, 60 / requests) if requests else None
        self._tokens = AsyncLimiter(tokens, 60) if tokens else None
        self._resume = 0.0

    async def wait(self, tokens: int) -> None:
        """Until a request of so many tokens may be sent."""
        if self._tokens is not None:
            await self._tokens.acquire(min(float(tokens), self._tokens.max_rate))
        if self._requests is not None:
            await self._requests.acquire()
        loop = asyncio.get_running_loop()
        while (left := self._resume - loop.time()) > 0:
            await asyncio.sleep(left)

    def pause(self, seconds: float) -> None:
        """The server wants no requests for so long: none is sent, of whatever question."""
        self._resume = max(self._resume, asyncio.get_running_loop().time() + seconds)
