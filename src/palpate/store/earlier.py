"""What earlier sittings of a run recorded of its models: what a changed one is held against."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from palpate.store.ledger import Ledger


def identity_of(ledger: Ledger, name: str, digest: str) -> dict[str, Any] | None:
    """The identity recorded under a model's name and digest; None where there is none."""
    row = next(ledger._select("SELECT identity FROM model WHERE name = ? AND digest = ?", (name, digest)), None)
    return None if row is None else dict(json.loads(row[0]))


def has_answered(ledger: Ledger, name: str, digest: str) -> bool:
    """True where a model of that name and digest was asked here, whatever came of it."""
    asked = "SELECT 1 FROM response r JOIN model m ON m.id = r.model WHERE m.name = ? AND m.digest = ? LIMIT 1"
    return next(ledger._select(asked, (name, digest)), None) is not None


def environments(ledger: Ledger, name: str, digest: str) -> list[dict[str, Any]]:
    """Every environment recorded of a model, oldest first: one for each sitting that found out something new."""
    rows = ledger._select(
        "SELECT e.environment FROM environment e JOIN model m ON m.id = e.model WHERE m.name = ? AND m.digest = ? ORDER BY e.id",
        (name, digest),
    )
    return [dict(json.loads(row[0])) for row in rows]


INSTEAD = "asked_instead"
"""In an environment: the options a model's own checks had it asked with instead, as another model by identity, and why."""


def asked_instead(ledger: Ledger, identity: Mapping[str, Any], but: Collection[str] = ()) -> dict[str, Any] | None:
    """What a model of that identity, ``but`` for some parts of it, had to be asked with instead; None where nothing was found.

    ``options``, and ``warnings`` that say why."""

    def alike(found: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in found.items() if key not in but}

    rows = ledger._select("SELECT m.identity, e.environment FROM environment e JOIN model m ON m.id = e.model ORDER BY e.id DESC")
    wanted = alike(json.loads(json.dumps(identity, default=str)))
    for recorded, environment in rows:
        found = json.loads(environment).get(INSTEAD)
        if found and alike(json.loads(recorded)) == wanted:
            return dict(found)
    return None
