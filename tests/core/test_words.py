"""Everything that is published in a repository, word for word; and what strangers' text can never do there."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.core.changes import ChangeKind, Changes, FileChange, FileType
from infra.core.harmless import quoted
from infra.core.ids import RunId
from infra.core.run import Usage
from infra.core.words import (
    CoAuthor,
    PullFacts,
    commit_message,
    marked_run,
    marker,
    names_run,
    pull_body,
    pull_title,
)

RUN = RunId("run-01jcqz7v8wabcdefghjkmnpqrs")
OTHER = RunId("run-01jcqz7v8wabcdefghjkmnpqrt")
NASTY = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\n\r\t\x00\x1b\u2028\u202e\u200b`~<>!-@#&[]()/:\\*_|"),
    ),
    max_size=80,
)
PIECES = st.lists(
    st.one_of(
        NASTY,
        st.sampled_from(
            [
                "<img src=x>", "![a](https://e/x.png)", "[a]: https://e", "@octocat", "@org/team", "#12", "GH-3", "o/r#4",
                "https://github.com/o/r/issues/1", "www.e.com", "&#64;octocat", "&lt;b", "\n```\n", "\n~~~\n", "\n~~~ a`b\n",
                "\n````py\n", "\n  ```\n", "\n> ```\n", "\n- ```\n", "    ```", marker(RUN), marker(OTHER), "<!--", "-->",
                "\n---\n", "<details>", "</details>", "<script>", "Closes #5", "[skip ci]", "\nPullwright-Run: x", "fixup! ",
            ]
        ),
    ),
    max_size=12,
).map("".join)  # fmt: skip


def a_change(path: str, kind: ChangeKind = ChangeKind.MODIFIED, **more: object) -> FileChange:
    facts = {"type": FileType.FILE, "lines_added": 3, "lines_removed": 1, "binary": False} | more
    return FileChange(path=path, kind=kind, **facts)


FACTS = PullFacts(
    run_id=RUN,
    run_url="https://pullwright.example/runs/1",
    summary="I fixed the off-by-one.\n\n- tests pass",
    changes=Changes(base_sha="1" * 40, tree_sha="2" * 40, files=(a_change("src/app.py"),)),
    model="claude-opus-5-5",
    usage=Usage(turns=12, cost_micros=42_300),
    seconds=92.4,
    requested_by="octocat",
    closes=5,
)


def test_the_body_of_an_ordinary_pull_request():
    assert (
        pull_body(FACTS)
        == """\
> I fixed the off-by-one.
>
> - tests pass

### What changed

1 file changed, 3 lines added, 1 removed.

- `src/app.py` (modified, +3 −1)

### How it was run

Run [run-01jcqz7v8wabcdefghjkmnpqrs](https://pullwright.example/runs/1) · model `claude-opus-5-5` · 12 turns · $0.0423 · 1 min 32 s

Closes #5

---
Opened by Pullwright for `octocat`. An AI agent wrote this change: review before merging.

<!-- pullwright:run=run-01jcqz7v8wabcdefghjkmnpqrs -->"""
    )


def test_the_body_of_an_unusual_pull_request():
    files = (
        a_change(".github/workflows/ci.yml"),
        a_change("run.sh", ChangeKind.MODE, type=FileType.EXECUTABLE, lines_added=0, lines_removed=0),
        a_change("logo.png", ChangeKind.ADDED, binary=True, lines_added=0, lines_removed=0),
        a_change("odd`na\nme", ChangeKind.RETYPED, type=FileType.SYMLINK, lines_added=1, lines_removed=1200),
    )
    changes = Changes(base_sha="1" * 40, tree_sha="2" * 40, files=files, set_aside=("vendor/.git",))
    facts = replace(
        FACTS, summary=" \n", changes=changes, usage=Usage(turns=1, cost_basis="unknown"), seconds=4.0, requested_by="",
        closes=0, run_url="", rehearsal=True,
    )  # fmt: skip
    assert (
        pull_body(facts)
        == """\
> The agent left no summary.

### What changed

4 files changed, 4 lines added, 1,201 removed.

- `.github/workflows/ci.yml` (modified, +3 −1)
- `run.sh` (executable bit only)
- `logo.png` (added, binary)
- ``odd`na me`` (retyped, +1 −1,200, symlink)

**Look closely at** `.github/workflows/ci.yml`: such files act before anybody reads them.

Left out, because it cannot be published: `vendor/.git`.

### How it was run

Run `run-01jcqz7v8wabcdefghjkmnpqrs` · model `claude-opus-5-5` · 1 turn · cost unknown · 4 s

This was a rehearsal: the model's answers were scripted.

---
Opened by Pullwright. An AI agent wrote this change: review before merging.

<!-- pullwright:run=run-01jcqz7v8wabcdefghjkmnpqrs -->"""
    )


def test_a_long_list_of_files_is_cut():
    files = tuple(a_change(f"f{number}") for number in range(25))
    body = pull_body(replace(FACTS, changes=replace(FACTS.changes, files=files)))
    assert "- `f19` (modified, +3 −1)\n- and 5 more files\n" in body
    assert "f20" not in body


def test_a_commit_message():
    asker = CoAuthor(name="Ada <x>\nEvil: 1", email="ada@example.org>\n")
    assert commit_message("Fix: the thing", RUN, asker) == (
        "Fix: the thing\n\nPullwright-Run: run-01jcqz7v8wabcdefghjkmnpqrs\nCo-authored-by: Ada x Evil: 1 <ada@example.org>\n"
    )
    assert commit_message("T", RUN) == "T\n\nPullwright-Run: run-01jcqz7v8wabcdefghjkmnpqrs\n"


@pytest.mark.parametrize(
    ("task", "title"),
    [
        ("Fix the bug", "Fix the bug"),
        ("  two\n lines\t here ", "two lines here"),
        ("-rf /", "rf /"),
        ("--- > # * Title", "Title"),
        ("/deploy now", "deploy now"),
        ("@octocat broke it", "octocat broke it"),
        ("[bug] crash", "[bug] crash"),
        ("`foo` fails", "`foo` fails"),
        (".gitignore misses dist", ".gitignore misses dist"),
        ("... and so on", "and so on"),
        ("fixup! squash! Tidy", "Tidy"),
        ("-fixup! Tidy", "Tidy"),
        ("Tidy [skip ci] and [ CI Skip ]", "Tidy (skip ci) and (CI Skip)"),
        ("Ünïcödé «ok» 修正", "Ünïcödé «ok» 修正"),
        ("a\u202eb\u200bc\x1b[31m\x00", "abc[31m"),
        ("", "Changes by Claude"),
        ("\n\t\u200b", "Changes by Claude"),
        ("!!!", "Changes by Claude"),
        ("x" * 100, "x" * 71 + "…"),
    ],
)
def test_titles(task, title):
    assert pull_title(task) == title


@given(PIECES)
@example("fixup!fixup! -[skip ci]")
def test_a_title_is_one_printable_line(text):
    title = pull_title(text)
    assert 0 < len(title) <= 72
    assert title == title.strip()
    assert not any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in title)
    assert title[0] not in "-/#@!>*+~|\\&<"
    assert "[skip ci]" not in title.lower()
    assert pull_title(title) == title


@given(PIECES, PIECES, PIECES)
def test_a_commit_message_has_one_subject_and_our_trailers_only(text, name, email):
    message = commit_message(text, RUN, CoAuthor(name=name, email=email))
    subject, blank, run, co_author, end = message.split("\n")
    assert subject == pull_title(text)
    assert (blank, end) == ("", "")
    assert run == f"Pullwright-Run: {RUN}"
    assert co_author.startswith("Co-authored-by: ")
    assert co_author.count("<") == co_author.count(">") == 1
    assert names_run(message, RUN)
    assert not names_run(message, OTHER)


def live(body: str) -> str:
    """What GitHub takes as Markdown in a quotation: the lines outside code blocks, with the quotation marks removed.

    Written from the CommonMark rules for fences, apart from the code under test.
    """
    fence, kept = "", []
    for line in body.split("\n"):
        assert line.startswith("> ") or line == ">", line
        inner = line[2:]
        opening = re.match(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})", inner)
        if fence:
            closing = re.fullmatch(r" {0,3}(`+|~+)\s*", inner)
            if closing and closing[1].startswith(fence):
                fence = ""
        elif opening:
            fence = opening[1]
        else:
            kept.append(inner)
    return "\n".join(kept)


@given(PIECES)
@example("~~~ a`b\n```\n~~~\n@victim <img src=x>\n```")
@example("```\n<!-- pullwright:run=x -->\n````\n@victim")
@example("- ```\n@victim\n```\n@victim")
def test_a_summary_does_nothing(text):
    body = quoted(text)
    if not body:
        return
    outside = live(body)
    for acting in (
        r"<[A-Za-z/!?]", r"&#?\w+;", r"@[A-Za-z0-9]", r"#\d", r"\bGH-\d", r"\]\(", r"\]\[", r"\]:", r"https?://", r"www\.\w",
    ):  # fmt: skip
        assert not re.search(acting, outside, re.IGNORECASE), acting
    assert "<!--" not in body
    assert "[skip ci]" not in body.lower()


@given(PIECES, PIECES, PIECES)
def test_the_marker_cannot_be_forged(summary, path, person):
    changes = replace(FACTS.changes, files=(a_change(path or "x"),), set_aside=(summary,))
    body = pull_body(replace(FACTS, summary=summary, changes=changes, requested_by=person, model=person))
    assert body.count("<!--") == 1
    assert marked_run(body) == RUN
    assert marked_run(summary.replace("<!-- pull", "")) is None


@pytest.mark.parametrize(
    "body",
    [
        "",
        "x",
        f"{marker(RUN)}\nmore",
        f"x {marker(RUN)}",
        "<!-- pullwright:run=run-UPPER -->",
        marker(RUN).replace("1", "l"),
    ],
)
def test_only_a_whole_last_line_marks(body):
    assert marked_run(body) is None


def test_a_marker_survives_what_a_forge_does_to_line_ends():
    assert marked_run(f"x\r\n\r\n{marker(RUN)}\r\n") == RUN


def test_readable_text_stays_readable():
    text = "Fixed `List<String>` in **app**:\n\n1. one\n2. two\n\n```python\n@cache\ndef f(a: list[int]) -> None: ...\n```\nDone."
    shown = quoted(text).replace("\u200b", "")
    assert shown == (
        "> Fixed `List<String>` in **app**:\n>\n> 1. one\n> 2. two\n>\n> ```python\n> @cache\n"
        "> def f(a: list[int]) -> None: ...\n> ```\n> Done."
    )
    assert "@cache" in quoted(text)  # code can be copied as it is


@pytest.mark.parametrize("language", ["mermaid", "Math", "geojson", 'html onload="x"', "<img>"])
def test_code_blocks_that_would_be_rendered_are_plain(language):
    assert quoted(f"```{language}\nx\n```") == "> ```\n> x\n> ```"


@settings(max_examples=30)
@given(st.integers(0, 70_000), st.sampled_from(["@", "\n", "```\n", "<b", "x", "`"]))
def test_a_body_fits(size, piece):
    files = tuple(a_change("p" * 4000 + str(number)) for number in range(300))
    changes = replace(FACTS.changes, files=files, set_aside=tuple(file.path for file in files))
    assert len(pull_body(replace(FACTS, summary=piece * size, changes=changes))) < 65_536


def test_notes_for_reviewers_are_lines_that_do_nothing():
    body = pull_body(replace(FACTS, notices=("1 hidden passage was removed: <b>@you</b> #1\n# x",)))
    assert "**Note:** 1 hidden passage was removed" in body
    assert "@you" not in body
    assert "\n# x" not in body


def test_the_repositorys_template_follows_without_its_hidden_remarks():
    body = pull_body(replace(FACTS, template="<!-- say why -->\n## Checklist\n\n- [ ] tests\n<!-- pullwright:run=x"))
    assert "---\n\n## Checklist\n\n- [ ] tests\n\n---" in body
    assert "say why" not in body
    assert marked_run(body) == RUN
