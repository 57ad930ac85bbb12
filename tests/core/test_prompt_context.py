"""The whole prompt with everything around it, compared with texts that people have read; and what is left out of it."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.ask import Ask, Place, PullHead, Via
from infra.core.context import (
    MOST_SAID,
    MOST_SAID_CHARS,
    Context,
    FailedCheck,
    LineSaid,
    Linked,
    Said,
    attachment_id,
    kind_of_picture,
    known_then,
    links,
    picture_urls,
    tail,
    threads_of,
)
from infra.core.hidden_text import Removal
from infra.core.ids import RunId
from infra.core.prompt import build_prompt
from infra.core.run import Limits, Origin, Run, State

SNAPSHOTS = Path(__file__).parents[1] / "data" / "prompts"
HEAD = PullHead(number=8, branch="feature", sha="a" * 40, base_branch="main", fork=False, open=True, draft=False)
URL = "https://github.com/acme/shop"


def ask(text, via, **changes):
    facts = {"actor": "alice", "author": "alice", "trigger": "mention", "url": URL, "at": 100, "delivery": "d"}
    return Ask(text=text, via=via, **(facts | changes))


def run(*asks, pull=False, **changes):
    facts = {
        "id": RunId("run-01jcqz7v8wabcdefghjkmnpqrs"),
        "owner": "acme",
        "repo": "shop",
        "installation_id": 1,
        "ref": "main",
        "base_sha": "a" * 40,
        "title": "Totals",
        "task": "",
        "action": "create-pr",
        "origin": Origin(
            kind="github_pull" if pull else "github_issue", actor="alice", issue=8 if pull else 3, pull=pull
        ),
        "limits": Limits(budget_micros=1, wall_seconds=1, idle_seconds=1, max_turns=1),
        "model": "m",
        "state": State.QUEUED,
        "created_at": 1,
        "updated_at": 1,
        "launched_at": 1,
        "wake_at": None,
        "removed": (),
        "asks": asks,
    }
    return Run(**(facts | changes))


def said(text, author="bob", at=50, number=1, changed=None):
    return Said(id=number, author=author, text=text, written_at=at, changed_at=changed or at)


def line(text, number=1, answers=0, **changes):
    facts = {"path": "src/cart.py", "line": 2, "hunk": "@@ -1 +1 @@\n+x", "answers": answers}
    return LineSaid(said=said(text, number=number, at=number), **(facts | changes))


PLACE = Place(path="src/cart.py", line=2, start=2, side="RIGHT", hunk="@@ -1,2 +1,2 @@\n-a\n+b")
CASES = {
    "issue": (
        run(ask("Totals are wrong\n\nThey are off by one.", Via.ISSUE, actor="carol")),
        Context(
            said=(said("Since when?"), said("Since Monday, see #2.", author="alice")),
            linked=(Linked(number=2, title="Release 1.4", state="closed", text="Went out on Monday."),),
            pictures=("picture-1.png",),
            guidance="Run make test.",
            guidance_file="CLAUDE.md",
        ),
    ),
    "review": (
        run(
            ask("@claude rename this", Via.LINE, place=PLACE, id=601),
            ask(
                "Please add a test.", Via.REVIEW, author="bob", instructions="Address the review of this pull request."
            ),
            pull=True,
            head=HEAD,
            about="Round the totals\n\nThey were off by one.",
            removed=(Removal(kind="HTML comment", characters=9, excerpt="x"),),
        ),
        Context(threads=((line("Why two?"), line("Because.", number=2, answers=1)), (line("Old.", number=3, line=0),))),
    ),
    "checks": (
        run(
            ask(
                "",
                Via.CHECK,
                instructions="Checks of this commit have failed. Find the cause and mend it.",
                head="a" * 40,
            ),
            pull=True,
            head=HEAD,
        ),
        Context(checks=(FailedCheck(name="tests\n(3.11)", conclusion="failure", report="1 failed\nassert 3 == 4"),)),
    ),
    "fork": (
        run(ask("@claude take this over", Via.COMMENT), pull=True, head=dataclasses.replace(HEAD, fork=True)),
        Context(missing=("(The conversation could not be read.)",)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_prompt_is_the_one_that_was_read(name):
    """After a change on purpose: ``python -m tests.core.test_prompt_context``, then read the difference."""
    assert build_prompt(*CASES[name]) == (SNAPSHOTS / f"{name}.txt").read_text()


texts = st.lists(
    st.sampled_from(
        ["-", "-----", "task text", "Task Text", " ", "\n", "x", "-----task text-----", "------task text------"]
    ),
    max_size=8,
).map("".join)


@given(texts, texts, texts, texts)
def test_nothing_that_people_wrote_closes_its_fence(first, second, third, fourth):
    context = Context(
        said=(said(second),),
        threads=((line(third),),),
        checks=(FailedCheck(name="t", conclusion="failure", report=fourth),),
    )
    prompt = build_prompt(run(ask(first, Via.COMMENT), about=fourth), context)
    fence = prompt[prompt.index("as written by alice:\n") :].split("\n")[1]
    assert prompt.count(f"\n{fence}\n") == 2 * (5 if fourth else 4)


class TestMoment:
    def test_what_came_or_was_changed_later_was_not_known_then(self):
        kept = known_then(
            [
                said("before", number=1, at=10),
                said("edited before", number=2, at=20, changed=90),
                said("edited after", number=3, at=30, changed=101),
                said("after", number=4, at=101),
                said("@claude fix", number=5, at=100),
                said("our report", author="pullwright[bot]", number=6, at=40),
            ],
            100,
            own=(5,),
            us="pullwright[bot]",
        )
        assert [each.text for each in kept] == ["before", "edited before"]

    @given(st.lists(st.integers(0, 9_000), max_size=60))
    def test_the_newest_that_fit(self, sizes):
        everything = [said("x" * size, number=n, at=n) for n, size in enumerate(sizes)]
        kept = known_then(everything, 10_000)
        assert sum(len(each.text) for each in kept) <= MOST_SAID_CHARS
        assert len(kept) <= MOST_SAID
        assert [each.id for each in kept] == [each.id for each in everything][len(everything) - len(kept) :]


def test_threads_keep_their_order_and_the_one_that_is_asked_about_comes_first():
    lines = [line("a", 1), line("b", 2), line("b2", 4, answers=2), line("a2", 3, answers=1)]
    assert [[each.said.text for each in thread] for thread in threads_of(lines, about=(4,))] == [
        ["b", "b2"],
        ["a", "a2"],
    ]


def test_links_to_the_same_repository_in_order_and_not_to_itself():
    found = links([f"See #7, {URL}/issues/9 and {URL}/pull/11#discussion.", "x/y#5 a#6 &#8; #3 #7"], URL, 3)
    assert found == (7, 9, 11)


def test_pictures_are_taken_from_the_forge_s_own_hosts_only():
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    hosts = ("github.com", "user-images.githubusercontent.com")
    text = (
        f"![a](https://github.com/user-attachments/assets/{uuid}) https://evil.example/x.png "
        "https://user-images.githubusercontent.com/1/a.png https://github.com/acme/shop/raw/main/a.png "
        "https://github.com.evil.example/user-attachments/assets/x http://github.com/user-attachments/assets/y"
    )
    assert picture_urls([text, text], hosts) == (
        f"https://github.com/user-attachments/assets/{uuid}",
        "https://user-images.githubusercontent.com/1/a.png",
    )
    assert attachment_id(f"https://github.com/user-attachments/assets/{uuid}") == uuid


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n...", "png"),
        (b"\xff\xd8\xff\xe0", "jpg"),
        (b"GIF89a..", "gif"),
        (b"RIFF....WEBPVP8 ", "webp"),
        (b"<svg onload=x>", ""),
        (b"%PDF-1.7", ""),
        (b"", ""),
    ],
)
def test_a_picture_is_known_by_its_bytes(content, kind):
    assert kind_of_picture(content) == kind


def test_the_end_of_a_long_log_is_what_counts():
    assert tail("abc", 3) == "abc"
    assert tail("a" * 10 + "end", 3) == "… (10 characters before)\nend"


if __name__ == "__main__":
    for case, parts in CASES.items():
        (SNAPSHOTS / f"{case}.txt").write_text(build_prompt(*parts))
