"""Places, purse and rate on their own."""

from __future__ import annotations

import asyncio
import time

import pytest

from palpate.models._api_limits import Places, Purse, Rate
from palpate.nouns import Price
from palpate.parts import Allowance

pytest.importorskip("aiolimiter")


def test_who_has_the_lower_rank_goes_first_then_who_came_first() -> None:
    async def run() -> list[str]:
        places, order = Places(1), []
        await places.enter(0)

        async def come(name: str, rank: int) -> None:
            await places.enter(rank)
            order.append(name)
            places.leave()

        tasks = [asyncio.create_task(come(n, r)) for n, r in (("a", 1), ("b", 0), ("c", 1), ("d", 0))]
        await asyncio.sleep(0)
        places.leave()
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(run()) == ["b", "d", "a", "c"]


@pytest.mark.parametrize("given", [False, True])
def test_a_place_is_not_lost_by_one_who_gives_up_waiting(given: bool) -> None:
    async def run() -> None:
        places = Places(1)
        await places.enter(0)
        waiting = asyncio.create_task(places.enter(0))
        await asyncio.sleep(0)
        if given:
            places.leave()  # the place is given to it, and in the same moment it gives up
            waiting.cancel()
        else:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            places.leave()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.wait_for(places.enter(0), 1)

    asyncio.run(run())


def test_a_purse_waits_for_what_is_under_way_and_then_says_no() -> None:
    async def run() -> None:
        purse = Purse(Allowance(tokens=100))
        assert await purse.take(50, 10)
        second = asyncio.create_task(purse.take(50, 10))
        await asyncio.sleep(0.01)
        assert not second.done()  # 60 + 60 is too much, unless the first comes out cheaper
        purse.settle((50, 10), (20, 5))
        assert await second
        purse.settle((50, 10), (60, 10))
        assert not await purse.take(6, 0)
        assert await purse.take(5, 0)

    asyncio.run(run())


def test_money_is_counted_at_the_price() -> None:
    async def run() -> None:
        purse = Purse(Allowance(money=1.0, price=Price(2.0, 10.0)))
        assert await purse.take(400_000, 10_000)  # .8 + .1
        purse.settle((400_000, 10_000), (400_000, 10_000))
        assert not await purse.take(60_000, 0)
        assert await purse.take(50_000, 0)

    asyncio.run(run())
    asyncio.run(_free())


async def _free() -> None:
    purse = Purse(Allowance(money=0.01))  # no price: a model of one's own
    assert await purse.take(10**9, 10**9)
    assert await Purse(Allowance()).take(10**9, 10**9)


def test_requests_are_spread_and_a_pause_holds_everyone() -> None:
    async def run() -> list[float]:
        rate, began, at = Rate(3000, None), time.monotonic(), []
        for _ in range(4):
            await rate.wait(1)
            at.append(time.monotonic() - began)
        rate.pause(0.1)
        await asyncio.gather(*(rate.wait(1) for _ in range(2)))
        at.append(time.monotonic() - began)
        return at

    *between, last = asyncio.run(run())
    assert between[3] - between[0] >= 3 * 0.02 * 0.9
    assert last - between[-1] >= 0.09


def test_a_question_larger_than_a_minutes_tokens_is_not_stuck() -> None:
    async def run() -> None:
        await asyncio.wait_for(Rate(None, 100).wait(5000), 1)

    asyncio.run(run())
