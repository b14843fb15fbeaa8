"""What the tests in a real browser need: Chromium, and axe-core as a package for development brings it."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_PACKAGE = find_spec("axe_playwright_python")
AXE = os.environ.get("PALPATE_AXE") or (f"{Path(_PACKAGE.origin).parent}/axe.min.js" if _PACKAGE and _PACKAGE.origin else "")
"""Path of axe.min.js, empty where there is none. PALPATE_AXE names another (`npm pack axe-core` brings the newest)."""
