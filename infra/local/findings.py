"""Findings of a doctor on a terminal: one line each, and below it what to type."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from infra.core.diagnosis import Finding, Verdict

_MARKS = {Verdict.FINE: "[green]ok[/]    ", Verdict.WRONG: "[bold red]wrong[/] ", Verdict.UNKNOWN: "[yellow]?[/]     "}


def show(console: Console, findings: Sequence[Finding]) -> int:
    """Prints them; the exit status is 1 when something is wrong, else 0."""
    for finding in findings:
        console.print(_MARKS[finding.verdict], end="")
        console.print(f"{finding.topic}: {finding.message}", markup=False)
        for command in finding.commands:
            console.print(f"        {command}", markup=False)
    wrong = sum(finding.verdict is Verdict.WRONG for finding in findings)
    console.print(f"\n{wrong or 'Nothing'} wrong, {len(findings)} looked at.")
    return 1 if wrong else 0
