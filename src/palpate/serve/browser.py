"""Opening a local page in the person's browser without its secret link on a command line, where other users could read it."""

from __future__ import annotations

import os
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path


@contextmanager
def opened(link: str) -> Iterator[bool]:
    """Opens ``link`` by way of a file that this user alone can read and that is gone afterwards. Gives whether a browser was asked.

    Where there is no screen nothing is opened: a browser of the terminal would take the terminal over.
    """
    if not has_screen():
        yield False
        return
    with tempfile.TemporaryDirectory(prefix="palpate-", ignore_cleanup_errors=True) as folder:
        yield webbrowser.open(way_to(link, Path(folder)).as_uri())


def way_to(link: str, folder: Path) -> Path:
    """A page in ``folder``, of mode 600, that leads on to ``link``."""
    page = folder / "open.html"
    to = escape(link, quote=True)
    text = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={to}"><a href="{to}">Read here</a>\n'
    with os.fdopen(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return page


def has_screen() -> bool:
    """Whether a window can be opened here, as far as that can be told."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
