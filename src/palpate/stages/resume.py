"""resume: what changed under a run since it was begun. A model that is another by now is refused; an image is named.

Neither could ever be mixed into what was answered before: keys follow content. But nobody should find out from the numbers
that a run asked everything anew, or that an image has another case's place.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from palpate.errors import ModelError
from palpate.stages.plan import Plan
from palpate.store import earlier
from palpate.store.folder import RunFolder, inert
from palpate.store.ledger import Ledger

SHOWN = 5
"""How many file names a note gives."""
COPY = re.compile(r"^(c-[0-9a-f]{12})-\d+$")


def changed_since(plan: Plan, folder: RunFolder) -> list[str]:
    """Notes on what became of the images since the run in ``folder`` was begun; none for a new run.

    Raises ModelError where a model that has answered is another now though the study says the same of it.
    """
    if not folder.begun():
        return []
    before = _study(folder.text("study.toml"))
    now = _study(plan.study.to_toml())
    with Ledger(folder.ledger_path, read_only=True) as ledger:
        _refuse_other_models(plan, ledger, before, now)
    return _images(plan, folder.text("cases.csv") or "", same_study=before == now)


def _study(text: str | None) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text or "")
    except ValueError:  # said where the folder is opened for writing
        return {}


# ---------------------------------------------------------------- models


def _refuse_other_models(plan: Plan, ledger: Ledger, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    recorded = (ledger.plan() or {}).get("models", {})
    for name, digest in plan.model_digests.items():
        was = recorded.get(name, digest)
        if name in plan.instead and was == plan.instead[name].digest:
            continue  # its self-test decided so, and the sitting ended before the plan said it
        if was == digest or _entry(before, name) != _entry(now, name) or not earlier.has_answered(ledger, name, was):
            continue  # the same, or the study itself asks for another
        raise ModelError(
            f"is another model than the one that answered here before: {_differs(plan, ledger, name, was)}",
            where=f"model {name!r}",
            expected="what the run was begun with, so that two models are not mixed under one name",
            hint=_decided_before(plan, ledger, name, was)
            or "put back what was there; or give what is there now another name in the study file; or choose another --out",
        )


def _entry(study: Mapping[str, Any], name: str) -> Any:
    return next((entry for entry in study.get("models", ()) if entry.get("name") == name), None)


def _differs(plan: Plan, ledger: Ledger, name: str, was: str) -> str:
    """Which parts of its identity differ, shortly."""
    changed = list(_changed(plan, ledger, name, was).items())
    return ", ".join(f"{key} {_short(old)} then, {_short(new)} now" for key, (old, new) in changed[:3]) or "its identity"


def _decided_before(plan: Plan, ledger: Ledger, name: str, was: str) -> str:
    """How to go on where nothing differs but what the study leaves to the machine; else empty."""
    changed, decided = _changed(plan, ledger, name, was), plan.fingerprints[name].settled
    if not changed or any(key not in decided or old is None for key, (old, _) in changed.items()):
        return ""
    told = ", ".join(f"{key} = {json.dumps(old)}" for key, (old, _) in changed.items())
    return f"the machine decided this, and it is another now: {told} in the model's entry of the study file goes on as it was begun"


def _changed(plan: Plan, ledger: Ledger, name: str, was: str) -> dict[str, tuple[Any, Any]]:
    """Part of its identity that differs → (then, now), None where it was not there."""
    old = earlier.identity_of(ledger, name, was) or {}
    new = json.loads(json.dumps(plan.fingerprints[name].identity, default=str))
    return {key: (old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}


def _short(value: Any) -> str:
    text = "absent" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else text[:39] + "…"


# ---------------------------------------------------------------- servers

UNSAID = "(does not say)"
CHANGED = "what answers under this name changed"


def over_sittings(earlier_ones: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> dict[str, Any]:
    """A served model's environment with what answered in earlier sittings too, and a warning where that was another.

    ``found``: this sitting's, with what its server said it is (``answered_as``: model and system fingerprint).
    """
    kept: dict[str, Any] = dict(found)
    before = [name for one in earlier_ones for name in one.get("answered_as") or () if name != UNSAID]
    here = [name for name in found.get("answered_as") or () if name != UNSAID]
    told = [w for one in earlier_ones for w in one.get("warnings") or () if w.startswith(CHANGED)]
    told += found.get("warnings") or ()
    new = [name for name in here if name not in before]
    if before and new and not any(w.startswith(CHANGED) for w in found.get("warnings") or ()):
        told.append(f"{CHANGED} between two sittings of the run: {', '.join(dict.fromkeys(before))}, then {', '.join(new)}")
    if names := list(dict.fromkeys([*before, *here])):
        kept["answered_as"] = names
    return kept | ({"warnings": list(dict.fromkeys(told))} if told else {})


# ---------------------------------------------------------------- images


def _images(plan: Plan, listed: str, *, same_study: bool) -> list[str]:
    """What the run's own case list says of files that are other images now, or are no more."""
    rows = [row for row in csv.DictReader(io.StringIO(listed, newline="")) if row.get("case")]
    notes = []
    for task, found in plan.cases.items():
        now = {inert(name): case for case, name in found.names.items()}
        before = {row["file"]: row["case"] for row in rows if row["task"] == task and row["file"]}
        changed = [file for file, case in before.items() if file in now and _content(now[file]) != _content(case)]
        # Where the study is another, an image that is not asked for any more need not be gone.
        gone = [file for file in before if file not in now] if same_study else []
        if changed:
            notes.append(
                f"{task}: {_told(changed)} changed since this run was begun: asked anew as other images;"
                " what was answered of the earlier ones stays in the ledger and is not measured"
            )
        if gone:
            notes.append(
                f"{task}: {_told(gone)} of this run cannot be used any more: what was answered of them stays in the ledger and is"
                " not measured; put them back and run again to have them measured"
            )
    return notes


def _content(case: str) -> str:
    """The part of a case id that follows the image: copies are numbered in the order of their paths."""
    copy = COPY.match(case)
    return copy[1] if copy else case


def _told(files: list[str]) -> str:
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return f"{len(files)} image{'s' if len(files) > 1 else ''} ({', '.join(files[:SHOWN])}{more})"
