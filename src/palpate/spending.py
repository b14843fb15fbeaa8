"""What asking served models costs, and may cost: the records that the driver, the plan and the report share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """The most a run may spend in all, over every sitting: tokens in and out together, and money in the currency of the prices."""

    tokens: int | None = None
    money: float | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens of so many of one model's questions, and what they come to; ``money`` None: the study names no price for it."""

    model: str
    questions: int
    tokens_in: int
    tokens_out: int
    money: float | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Sending:
    """What is to be sent to a served model: how many images, whither, and what it may come to at most."""

    host: str
    remote: bool  # False: a server on this machine
    images: int
    cost: Cost
    secrets: tuple[str, ...] = ()  # environment variables whose content is sent along
