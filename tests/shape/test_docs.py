"""The documentation is true: what can be generated is, and what it points to exists."""

import re

import pytest

from tests.docs import ROOT, files

GENERATED = files()
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_generated_pages_are_up_to_date(path):
    assert path.read_text() == GENERATED[path], "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_pages_name_exist(page):
    named = re.findall(r"`((?:infra|dispatcher|runner|tests|docs|terraform)/[\w/.-]+\.\w+)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_route_says_what_it_does():
    from dispatcher.app import ROUTES

    assert [rule.path for rule in ROUTES if not rule.handler.__doc__] == []
