"""Script files in a folder, read once and strictly; and the choice of the script for a text."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from infra.core.errors import Invalid
from infra.local.model.script import Script

_HINT = "infra/local/model/script.py describes every key."


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Scripts by name. Ordinary scripts come before fallbacks; within each, the order of the names decides."""

    scripts: tuple[tuple[str, Script], ...] = ()

    def choose(self, text: str) -> tuple[str, Script] | None:
        ordered = sorted(self.scripts, key=lambda item: (item[1].fallback, item[0]))
        return next((item for item in ordered if item[1].fits(text)), None)


def load_library(folder: Path) -> Library:
    """All ``*.toml`` of the folder. Raises ``Invalid`` with the file and the place that does not fit."""
    if not folder.is_dir():
        raise Invalid(f"{folder} is not a folder of scripts.", code="invalid_script", hint="Name an existing folder.")
    files = sorted(folder.glob("*.toml"))
    return Library(scripts=tuple((file.stem, parse_script(file.read_text("utf-8"), name=file.name)) for file in files))


def parse_script(text: str, *, name: str) -> Script:
    """One script. Raises ``Invalid`` with ``name`` and the place that does not fit."""
    try:
        return msgspec.convert(tomllib.loads(text), Script)
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{name} is not TOML: {error}.", code="invalid_script", hint=_HINT) from error
    except msgspec.ValidationError as error:
        raise Invalid(f"{name} is not a script: {error}.", code="invalid_script", hint=_HINT) from error
