"""What can go wrong with one request, each under its own name: the cause the ledger keeps, and whether to try again.

A cause is made of words chosen here and of the server's own short codes. What the server says in full is for people's eyes
alone: it may repeat a part of the question, and it differs from request to request.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

LONGEST_WAIT = 900.0
"""Seconds: a server that asks for more is not waited for."""
AGAIN = frozenset((408, 409, 425, 429))
FILTERED = frozenset(("content_filter", "content_policy_violation", "moderation_blocked", "responsibleaipolicyviolation"))
NO_MORE = frozenset(("insufficient_quota", "billing_hard_limit_reached", "account_deactivated"))
CODE = re.compile(r"^[A-Za-z][\w.-]{0,60}$")


class Failed(Exception):
    """A request that gave no answer.

    ``again``: trying again may help. ``after``: seconds the server asks to wait. ``filtered``: a content filter stopped it.
    ``hopeless``: no request can succeed (a wrong key, no such model, no quota), and why. ``billed``: the server may have
    worked all the same. ``status``: of HTTP, where there was a response. ``said``: the server's own words.
    """

    def __init__(
        self,
        cause: str,
        *,
        again: bool = True,
        after: float | None = None,
        filtered: bool = False,
        hopeless: str = "",
        billed: bool = False,
        status: int | None = None,
        said: str = "",
    ) -> None:
        super().__init__(cause)
        self.cause, self.again, self.after, self.filtered = cause, again, after, filtered
        self.hopeless, self.billed, self.status, self.said = hopeless, billed, status, said


CUT = "the stream was cut"
NOTHING_STREAMED = "nothing was streamed"
MALFORMED = "malformed JSON"
SCHEMA = "not the shape of a chat completion"
TIMEOUT = "timed out"
REFUSED = "no connection"
LOST = "the connection was lost"


def failed_from(fault: Exception) -> Failed:
    """An exception of the SDK, of its HTTP client or of JSON as a Failed."""
    import openai

    if isinstance(fault, Failed):
        return fault
    if isinstance(fault, openai.APIStatusError):
        return _status(fault)
    if isinstance(fault, TimeoutError | openai.APITimeoutError):
        return Failed(TIMEOUT, billed=True)
    if isinstance(fault, openai.APIConnectionError):
        connecting = "Connect" in type(fault.__cause__).__name__
        return Failed(REFUSED) if connecting else Failed(LOST, billed=True)
    if isinstance(fault, json.JSONDecodeError | UnicodeDecodeError | openai.APIResponseValidationError):
        return Failed(MALFORMED, billed=True)
    if isinstance(fault, openai.APIError):  # an error in the midst of a stream
        code = _code(fault.body)
        return Failed(f"error in the stream{code and ': ' + code}", filtered=code.lower() in FILTERED, billed=True, said=str(fault))
    return Failed(type(fault).__name__, billed=True, said=str(fault))


def _status(fault: Any) -> Failed:
    status, body = int(fault.status_code), fault.body
    code = _code(body)
    cause = f"http {status}" + (f" {code}" if code else "")
    said = _said(body) or str(fault)
    if _filtered(body):
        return Failed(cause, again=False, filtered=True, status=status)
    if status in (401, 403):
        return Failed(cause, again=False, hopeless="the server refuses the key", status=status)  # its words may show parts of it
    if status == 402 or code in NO_MORE:
        return Failed(cause, again=False, hopeless="the account has no quota left", status=status)
    if status == 404:
        return Failed(cause, again=False, hopeless=f"there is no such model or address: {said}", status=status, said=said)
    if status in AGAIN or status >= 500:
        after = _retry_after(fault.response.headers)
        if after is not None and after > LONGEST_WAIT:
            return Failed(cause, again=False, hopeless=f"the server asks to wait {after:.0f} seconds", status=status)
        return Failed(cause, after=after, status=status, said=said, billed=status == 504)
    return Failed(cause, again=False, status=status, said=said)


def _code(body: Any) -> str:
    """The server's own short code of an error; empty where it gives none that is a plain word."""
    if isinstance(body, dict):
        error = body.get("error")
        inner = error if isinstance(error, dict) else body
        for key in ("code", "type"):
            found = inner.get(key)
            if isinstance(found, str) and CODE.match(found):
                return found
    return ""


def _said(body: Any) -> str:
    inner = body.get("error", body) if isinstance(body, dict) else body
    found = inner.get("message") or inner.get("detail") if isinstance(inner, dict) else inner
    return "" if found is None else str(found)[:500]


def _filtered(body: Any) -> bool:
    """True where a code anywhere in the error is a content filter's."""
    if isinstance(body, dict):
        codes = (body.get(key) for key in ("code", "type"))
        return any(isinstance(c, str) and c.lower() in FILTERED for c in codes) or any(map(_filtered, body.values()))
    return isinstance(body, list) and any(map(_filtered, body))


def _retry_after(headers: Any) -> float | None:
    """Seconds from ``retry-after-ms`` or ``Retry-After`` (seconds or a date, RFC 9110, 10.2.3); None where there is no such.

    A date is held against the server's own clock where it tells it: this machine's may be wrong.
    """
    import math

    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        given = headers.get(name)
        if given is None:
            continue
        try:
            seconds = float(given) / unit
        except ValueError:
            when = _date(given)
            if when is None:
                continue
            seconds = (when - (_date(headers.get("date")) or datetime.now(UTC))).total_seconds()
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    return None


def _date(given: str | None) -> datetime | None:
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(given or "")
    except ValueError:
        return None
    return when.replace(tzinfo=when.tzinfo or UTC)
