"""Whether the models were asked alike: what each was shown, how it was decoded, which tower it saw with, what its checks found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from palpate.nouns import Lineage
from palpate.report.view import ModelCard, ReportView


@dataclass(frozen=True, slots=True)
class Row:
    """One fact of every model, in the order of the report's models. ``same``: whether they agree; None where that means nothing."""

    what: str
    values: tuple[str, ...]
    same: bool | None = None


@dataclass(frozen=True, slots=True)
class Comparability:
    """What stands side by side, and what to know before comparing."""

    rows: tuple[Row, ...]
    warnings: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.rows or self.warnings)


def comparability(view: ReportView) -> Comparability:
    """Empty for models that say nothing of themselves, such as planted or imported ones."""
    models = view.models
    rows = [row for row in _rows(models) if any(row.values)]
    warnings = [f"{m.name}: {w}" for m in models for w in _several(m.environment.get("warnings"))]
    warnings += [f"{m.name}: {c['name']}: {c['found']}" for m in models for c in _checks(m) if c.get("held") is False]
    return Comparability(tuple(rows), (*warnings, *_towers(models, view.lineages), *_decoding(models)))


def _rows(models: Sequence[ModelCard]) -> list[Row]:
    names = dict.fromkeys(str(check["name"]) for model in models for check in _checks(model))
    rows = [
        Row("the prompt as the model saw it", tuple(str(m.environment.get("rendered_prompt", "")) for m in models)),
        _row("decoding", [_decoded(m) for m in models]),
        _row("number format", [str(m.identity.get("dtype", "")) for m in models]),
        _row("asked", [str(m.environment.get("inference", "")) for m in models]),
        _row("images prepared by", [str(m.identity.get("image_processor") or "") for m in models]),
        _row("weights", [_weights(m) for m in models], compare=False),
        _row("vision tower", [str(m.environment.get("vision_tower") or "") for m in models]),
        _row("descends from", [_known(m, "descends_from") for m in models], compare=False),
        _row("may have seen", [_known(m, "exposure") for m in models], compare=False),
        _row("cite", [_known(m, "citation") for m in models], compare=False),
    ]
    return rows + [Row(name, tuple(_found(model, name) for model in models)) for name in names]


def _row(what: str, values: Sequence[str], *, compare: bool = True) -> Row:
    given = [value for value in values if value]
    return Row(what, tuple(values), len(set(given)) == 1 if compare and len(given) > 1 else None)


def _checks(model: ModelCard) -> Sequence[Mapping[str, Any]]:
    found = model.environment.get("checks")
    return found if isinstance(found, list) else []


def _found(model: ModelCard, name: str) -> str:
    for check in _checks(model):
        if check["name"] == name:
            word = {True: "yes", False: "NO"}.get(check.get("held"), "not checked")  # type: ignore[arg-type]
            return f"{word}: {check['found']}"
    return ""


def _decoded(model: ModelCard) -> str:
    generation = model.identity.get("generation")
    return ", ".join(f"{k} {v}" for k, v in sorted(generation.items())) if isinstance(generation, Mapping) else ""


def _weights(model: ModelCard) -> str:
    count = model.environment.get("parameters")
    return f"complete, {count:,} parameters" if isinstance(count, int) else ""


def _known(model: ModelCard, key: str) -> str:
    value = model.environment.get(key, "")
    return "; ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)


def _several(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def _towers(models: Sequence[ModelCard], pairs: Sequence[Lineage]) -> list[str]:
    """A tuned tower silently replaced by the stock one is a known fault of published loaders; so identical towers are said."""
    towers = {m.name: m.environment.get("vision_tower") for m in models}
    lines = []
    for pair in pairs:
        base, tuned = towers.get(pair.base), towers.get(pair.tuned)
        if base and tuned:
            same = "is identical to" if base == tuned else "differs from"
            lines.append(f"{pair.tuned}: its vision tower {same} that of {pair.base}")
    return lines


def _decoding(models: Sequence[ModelCard]) -> list[str]:
    said = {m.name: _decoded(m) for m in models if _decoded(m)}
    return [] if len(set(said.values())) < 2 else ["the models were not decoded alike: differences may come from that"]
