"""Folders nested deeper than any path may be long, as a hostile program would leave them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def nest(folder: Path, levels: int, name: str) -> None:
    """Makes ``name/name/…/leaf`` below ``folder``, step by step."""
    with contextlib.chdir(folder):
        for _ in range(levels):
            Path(name).mkdir()
            os.chdir(name)
        Path("leaf").write_text("x")
