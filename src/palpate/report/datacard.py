"""The data card for people: in the terminal, as a page, and, only on request, as a sheet of the images themselves."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING

from rich.text import Text

from palpate.inspection.card import FAULT, DataCard, DataFinding
from palpate.nouns import Case
from palpate.report import words
from palpate.report.tables import render

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 6
"""Sets of images listed below a finding; the JSON lists all."""
TILE, CAPTION, COLUMNS, MOST = 128, 14, 12, 600

Names = Mapping[str, str]  # case id → file


def render_card(card: DataCard, names: Names | None = None, left_out: Sequence[tuple[str, str]] = ()) -> str:
    """One card for the terminal. ``names``: what to call a case; without it by its id."""
    lines = [Text(f"{card.task}", style="bold"), *(Text(f"  {line}") for line in facts(card))]
    lines.append(Text(""))
    if not card.findings:
        lines.append(Text("Nothing was found."))
    for finding in card.findings:
        fault = finding.severity == FAULT
        lines.append(Text(f"{'✗' if fault else '·'} {finding.text}", style="bold" if fault else ""))
        lines += [Text(f"    {told}") for told in sets(finding, names)]
        if finding.kind == "left-out":
            lines += [Text(f"    {words.plain(name)}: {words.plain(reason)}") for name, reason in left_out[:SHOWN]]
            lines += [Text(f"    … {len(left_out) - SHOWN} more")] if len(left_out) > SHOWN else []
    lines.append(Text(""))
    return render(*lines, _probes(card), *(Text(f"note: {note}") for note in card.notes), Text(""))


def facts(card: DataCard) -> list[str]:
    """Counts and sizes, a line each."""
    (low_w, mid_w, high_w), (low_h, mid_h, high_h) = card.widths, card.heights
    size = f"all {low_w} × {low_h}" if (low_w, low_h) == (high_w, high_h) else f"{low_w}–{high_w} × {low_h}–{high_h}"
    lines = [
        f"{words.count(card.n_cases, 'image')}: {card.n_positive:,} with the condition, {card.n_negative:,} without",
        f"{card.n_groups:,} patients or slides, {words.count(card.largest_group, 'image')} of one at most"
        + (f", {card.groups_of_both_labels:,} with both labels" if card.groups_of_both_labels else ""),
        f"{size} pixels" + ("" if size.startswith("all") else f", median {mid_w:g} × {mid_h:g}"),
    ]
    for name, counts in (("formats", card.formats), ("stored as", card.modes), ("left out", card.left_out)):
        if counts:
            lines.append(f"{name}: " + ", ".join(f"{words.plain(value)} {count:,}" for value, count in counts.items()))
    return lines


def sets(finding: DataFinding, names: Names | None) -> list[str]:
    """The images of a finding, a set a line, the first few."""
    shown = [" = ".join(words.plain((names or {}).get(case, case)) for case in members) for members in finding.cases[:SHOWN]]
    return [*shown, f"… {len(finding.cases) - SHOWN} more"] if len(finding.cases) > SHOWN else shown


def opening(cards: Sequence[DataCard]) -> str:
    """What a report says first of its images; nothing where they have no fault."""
    faulty = [f"{card.task}: {'; '.join(finding.text for finding in card.faults)}" for card in cards if card.faults]
    return f"The images have faults ({' · '.join(faulty)})." if faulty else ""


def _probes(card: DataCard) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("told apart by", "AUROC", "p", "images", "groups", ""):
        table.add_column(column, overflow="fold")
    for probe in card.probes:
        auroc, p = ("–" if value is None else f"{value:.3f}" for value in (probe.auroc, probe.p))
        table.add_row(probe.name, auroc, p, f"{probe.n_cases}", f"{probe.n_groups}", probe.reason)
    return table


def card_html(cards: Sequence[DataCard], names: Mapping[str, Names] | None = None) -> str:
    """The cards as one self-contained page without scripts; file names only where ``names`` (task → case → file) are given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    style = resources.files("palpate.report").joinpath("templates", "report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    environment = Environment(
        loader=PackageLoader("palpate.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: words.plain(value) if type(value) is str else value,
    )
    environment.globals.update(facts=facts, sets=sets)
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    page = environment.get_template("inspect.html.j2")
    return page.render(cards=cards, names=names or {}, style=style, policy=policy, fault=FAULT)


def contact_sheet(cases: Sequence[Case]) -> bytes:
    """A PNG of the images, small, their ids below, label by label: pixels of patients, so never written unasked."""
    from PIL import Image, ImageDraw

    shown = sorted(cases, key=lambda c: -c.label)[:MOST]
    rows = max(1, -(-len(shown) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION)), (24, 24, 24))
    pen = ImageDraw.Draw(sheet)
    for i, case in enumerate(shown):
        left, top = i % COLUMNS * TILE, i // COLUMNS * (TILE + CAPTION)
        try:
            image = case.image.open()
        except (OSError, ValueError):
            pen.text((left + 4, top + TILE // 2), "cannot be opened", fill=(240, 120, 120))
        else:
            image.thumbnail((TILE - 4, TILE - 4))
            sheet.paste(image, (left + (TILE - image.width) // 2, top + (TILE - image.height) // 2))
        pen.text((left + 4, top + TILE), f"{'+' if case.label else '-'} {case.id[:18]}", fill=(220, 220, 220))
    out = io.BytesIO()
    sheet.save(out, "PNG", optimize=True)
    return out.getvalue()
