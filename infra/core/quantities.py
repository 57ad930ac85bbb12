"""Amounts as people write them in settings – memory, processor time, durations, money – read strictly.

Each function is for ``Group.scalar`` of ``infra/core/tree.py``: it raises ``ValueError`` with a sentence that says what would be right.
"""

from __future__ import annotations

import re
from decimal import Decimal

from infra.core.tree import Scalar, shown

# Kubernetes' and Cloud Run's spellings; https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
_MEMORY = re.compile(r"([0-9]{1,12})(Ki|Mi|Gi|K|k|M|G)?", re.ASCII)
_MEMORY_UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}
_DURATION = re.compile(
    r"(?:(?P<h>[0-9]{1,4})h)?(?:(?P<m>[0-9]{1,5})m(?:in)?)?(?:(?P<s>[0-9]{1,6})s)?", re.ASCII
)  # fmt: skip
_MONEY = re.compile(r"\$?([0-9]{1,6}(?:\.[0-9]{1,6})?)(?: ?USD)?", re.ASCII)
_CPU = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,3})?)|([0-9]{2,5})m", re.ASCII)


def memory_bytes(value: Scalar) -> int:
    """``2Gi``, ``512Mi``, ``4G``."""
    found = _MEMORY.fullmatch(value) if isinstance(value, str) else None
    size = int(found[1]) * _MEMORY_UNITS[found[2] or ""] if found and found[2] else 0
    if size <= 0:
        raise ValueError(f"{_said(value)} is no amount of memory. Write it with its unit, such as 2Gi or 512Mi.")
    return size


def milli_cpus(value: Scalar) -> int:
    """``2``, ``"0.5"``, ``500m``: thousandths of a processor."""
    found = _CPU.fullmatch(_number_text(value))
    thousandths = 0
    if found:
        thousandths = int(found[2]) if found[2] else int(Decimal(found[1]) * 1000)
    if thousandths <= 0:
        raise ValueError(f"{_said(value)} is no number of processors. Write 2, 0.5 or 500m.")
    return thousandths


def seconds(value: Scalar) -> int:
    """``600s``, ``10m``, ``1h30m``; a bare number is refused, because nobody can know its unit."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    total = 0
    if found:
        total = 3600 * int(found["h"] or 0) + 60 * int(found["m"] or 0) + int(found["s"] or 0)
    if total <= 0:
        raise ValueError(f"{_said(value)} is no duration. Write it with its unit, such as 600s, 10m or 1h30m.")
    return total


def money_micros(value: Scalar) -> int:
    """``5``, ``$5.00``, ``5 USD``: millionths of a US dollar."""
    found = _MONEY.fullmatch(_number_text(value))
    micros = int(Decimal(found[1]) * 1_000_000) if found else 0
    if micros <= 0:
        raise ValueError(f"{_said(value)} is no amount in US dollars. Write a number, such as 5 or $5.00.")
    return micros


def _number_text(value: Scalar) -> str:
    """A number as it was written; true and false are none."""
    if isinstance(value, bool) or value is None:
        return ""
    return str(value)


def _said(value: Scalar) -> str:
    return shown(str(value)) if value is not None else "Nothing"
