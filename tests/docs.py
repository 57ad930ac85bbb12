"""The generated parts of the documentation: settings, routes, run states – written from the code they describe.

``python -m tests.docs`` writes them; ``tests/shape/test_docs.py`` fails when they are out of date.
"""

from pathlib import Path

from dispatcher.app import ROUTES, Access
from infra.core.commands import COMMANDS
from infra.core.run import TERMINAL, TRANSITIONS, State
from infra.core.timeline import EventType
from infra.foreign_settings import FOREIGN
from infra.settings import Common, DispatcherSettings, RunnerSettings, describe
from tests.costs import tables
from tests.safety import attacks, servers, uncovered

ROOT = Path(__file__).resolve().parents[1]
WRITTEN = "<!-- Written by `make docs` from the code; edit there. -->\n"


def settings() -> str:
    shared = {name for name, _, _ in describe(Common)}
    return "\n".join(
        [
            WRITTEN,
            "# Settings",
            "",
            "Read once at start from the environment; locally also from `.env` beside the Makefile, where a name that is not in",
            "these tables is refused. An empty value counts as not set.",
            "",
            "## Both programs",
            *_table(row for row in describe(Common)),
            "",
            "## Dispatcher",
            *_table(row for row in describe(DispatcherSettings) if row[0] not in shared),
            "",
            "## Runner",
            *_table(row for row in describe(RunnerSettings) if row[0] not in shared),
            "",
            "## Names from similar systems",
            "",
            "These are refused in a settings file, each with what to do instead.",
            "",
            "| variable | instead |",
            "|---|---|",
            *(f"| `{name}` | {sentence} |" for name, sentence in FOREIGN.items()),
            "",
        ]
    )


def _table(rows) -> list[str]:
    return [
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
        *(f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |" for name, default, meaning in rows),
    ]


def states() -> str:
    arrows = [f"    {before} --> {after}" for before in State for after in State if after in TRANSITIONS[before]]
    return "\n".join(
        [
            WRITTEN,
            "# States of a run",
            "",
            "One table in `infra/core/run.py` holds every move there is; this picture is made from it. Terminal states are final.",
            "",
            "```mermaid",
            "stateDiagram-v2",
            "    [*] --> queued",
            *arrows,
            *(f"    {state} --> [*]" for state in State if state in TERMINAL),
            "```",
            "",
        ]
    )


_WHO = {
    Access.ANYONE: "anyone",
    Access.SIGNATURE: "sender's signature",
    Access.READ: "API key, read",
    Access.EXECUTE: "API key, execute",
    Access.ADMIN: "API key, admin",
    Access.RUNNER: "run token + signature",
    Access.RUNNER_STREAM: "run token + signature",
    Access.READ_OR_RUNNER: "API key, read, or run token",
    Access.INTERNAL: "queue or scheduler",
}


def routes() -> str:
    rows = [
        f"| `{rule.method} {rule.path}` | {_WHO[rule.access]} | {_first_sentence(rule.handler)} |"
        for rule in sorted(ROUTES, key=lambda rule: (rule.path, rule.method))
    ]
    kinds = ", ".join(f"`{kind}`" for kind in EventType)
    return "\n".join(
        [
            "| route | who may | what |",
            "|---|---|---|",
            *rows,
            "",
            f"Event types: {kinds}, and `end` with the finished run as the last event of a stream.",
            "",
        ]
    )


def _first_sentence(handler) -> str:
    text = " ".join((handler.__doc__ or "").split())
    before, found, after = text.partition("``: ")
    sentence = after if found and before.startswith("``") else text
    return sentence.replace("``", "`")


def commands() -> str:
    rows = [f"| `{one.text}` | {one.description} | {', '.join(sorted(one.agents))} |" for one in COMMANDS]
    return "\n".join(["| command | what it does | beside |", "|---|---|---|", *rows, ""])


def files() -> dict[Path, str]:
    """Every generated file with its content; some only between their markers."""
    pages = ROOT / "docs"
    return {
        pages / "agents.md": _between(pages / "agents.md", commands=commands()),
        pages / "settings.md": settings(),
        pages / "run-states.md": states(),
        pages / "api.md": _between(pages / "api.md", routes=routes()),
        pages / "costs.md": _between(pages / "costs.md", figures=tables()),
        pages / "security.md": _between(pages / "security.md", attacks=attacks(), uncovered=uncovered()),
        pages / "project.md": _between(pages / "project.md", servers=servers()),
    }


def _between(path: Path, **contents: str) -> str:
    """The page with each content between the markers of its name."""
    text = path.read_text()
    for name, content in contents.items():
        text = _replaced(text, name, content)
    return text


def _replaced(text: str, name: str, content: str) -> str:
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    return head + begin + content + end + tail


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content)
