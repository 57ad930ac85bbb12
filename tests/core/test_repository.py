"""Names that become paths, URLs and arguments are accepted by grammar only."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.core.errors import Invalid
from infra.core.repository import is_sha, parse_full_name, parse_ref, parse_repository

BAD_NAMES = [
    "",
    ".",
    "..",
    "a/b",
    "../x",
    "-x\n",
    "a b",
    "a\x00b",
    "x.git",
    "a" * 101,
    "naïve",
    "%2e%2e",
    "a\\b",
    "a\nb",
]
BAD_OWNERS = ["", "-a", "_a", "a.b", "a/b", "..", "a" * 40, "a\n", "--upload-pack=x", "ü"]
BAD_REFS = [
    "", "-x", "--upload-pack=x", "a..b", "a b", "a~1", "a^", "a:b", "a?b", "a*b", "a[b", "a\\b", "/a", "a/", "a//b", ".a", "a/.b",
    "a.lock", "a/b.lock/c", "@", "a@{1}", "a\x00b", "a\nb", "a\x7fb", "a.", "x" * 256, "a\u202eb", "ext::sh",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_repository_names_are_refused(name):
    with pytest.raises(Invalid) as caught:
        parse_repository("octo", name)
    assert caught.value.code == "invalid_repo"
    assert caught.value.hint


@pytest.mark.parametrize("owner", BAD_OWNERS)
def test_bad_owners_are_refused(owner):
    with pytest.raises(Invalid) as caught:
        parse_repository(owner, "shop")
    assert caught.value.code == "invalid_owner"


@pytest.mark.parametrize("ref", BAD_REFS)
def test_bad_refs_are_refused(ref):
    with pytest.raises(Invalid) as caught:
        parse_ref(ref)
    assert caught.value.code == "invalid_ref"


def test_good_names_pass():
    # managed users have a short code behind an underscore, and some old accounts end in a dash
    for owner in ("mona_acme", "octo-", "a" * 39):
        assert parse_repository(owner, "shop").owner == owner
    assert str(parse_full_name("octo-org/My.repo_1-x")) == "octo-org/My.repo_1-x"
    assert parse_ref("refs/heads/feature/x-1") == "feature/x-1"
    assert parse_ref("v1.2.3") == "v1.2.3"
    assert is_sha("0" * 40)
    assert not is_sha("0" * 39)


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=30))
def test_every_ref_that_we_accept_is_one_that_git_accepts(text):
    try:
        ref = parse_ref(text)
    except Invalid:
        return
    checked = subprocess.run(["git", "check-ref-format", f"refs/heads/{ref}"], check=False)
    assert checked.returncode == 0, ref
