"""What a bench has to say: tables of text, a few lines for the summary, and whatever did not work."""

from dataclasses import dataclass, field
from statistics import median


@dataclass(kw_only=True)
class Table:
    """Rows of texts under ``columns``."""

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def lines(self):
        grid = [self.columns, *self.rows]
        widths = [max(len(row[column]) for row in grid) for column in range(len(self.columns))]
        for number, row in enumerate(grid):
            cells = [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
            yield "  ".join(cells).rstrip()
            if number == 0:
                yield "  ".join("-" * width for width in widths)


@dataclass(kw_only=True)
class Figure:
    """One line of the summary. ``target`` is what is aimed at, as text; nothing depends on whether it is met."""

    name: str
    value: float
    unit: str = ""
    target: str = ""

    @property
    def text(self):
        return f"{self.value:.3g}{self.unit}" if self.unit else f"{self.value:.2f}"


@dataclass(kw_only=True)
class Report:
    """``compares`` says what stands against what. ``problems``: what did not work; each makes the whole run fail."""

    title: str
    compares: str
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    skipped: str = ""

    def lines(self):
        yield f"== {self.title}"
        yield self.compares
        for table in self.tables:
            yield ""
            yield from table.lines()
        if self.skipped:
            yield f"SKIPPED: {self.skipped}"
        for problem in self.problems:
            yield f"FAILED: {problem}"
        yield ""

    def builtins(self):
        return {
            "title": self.title,
            "compares": self.compares,
            "tables": [{"columns": table.columns, "rows": table.rows} for table in self.tables],
            "figures": [
                {"name": figure.name, "value": figure.value, "unit": figure.unit, "target": figure.target}
                for figure in self.figures
            ],
            "problems": self.problems,
            "skipped": self.skipped,
        }


def summary(reports):
    rows = [(figure.name, figure.text, figure.target) for report in reports for figure in report.figures]
    return Table(columns=("summary", "here", "aim"), rows=rows)


def paired_ratio(ours, theirs):
    """The median of the ratios of measurements made next to each other, so that a busy minute weighs on both sides."""
    return median(our / their for our, their in zip(ours, theirs, strict=True))
