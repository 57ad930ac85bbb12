"""Two redactors over one set of values: what is told masks what looks like a secret too, what is published only what is one."""

import base64

from infra.core.redaction import MARK, Redactor

SECRET = "the-run-s-own-credential-5f1c9"
LOOKS_LIKE_ONE = "ghp_" + "a1B2c3D4e5F6" * 3


def test_what_one_side_learns_the_other_knows():
    redactor = Redactor([SECRET])
    twin = redactor.without_patterns()
    other = "learnt-later-77e0d1"
    redactor.register(other)
    third = "learnt-by-the-twin-31aa"
    twin.register(third)
    for side in (redactor, twin):
        for value in (SECRET, other, third):
            assert side.text(f"x {value} y") == f"x {MARK} y"
            assert base64.b64encode(value.encode()).decode() not in side.text(base64.b64encode(value.encode()).decode())


def test_only_one_side_masks_by_looks():
    redactor = Redactor([SECRET])
    text = f"token {LOOKS_LIKE_ONE}"
    assert LOOKS_LIKE_ONE not in redactor.text(text)
    assert redactor.without_patterns().text(text) == text
