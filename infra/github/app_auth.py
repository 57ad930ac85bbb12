"""The GitHub App's own proof: its private key, and the short-lived JWT made with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from infra.core.clock import Instant
from infra.core.errors import Invalid

BACKDATED_SECONDS = 60
LIFETIME_SECONDS = 9 * 60
"""GitHub takes at most ten minutes ahead and advises to start a minute back, for clocks that differ.
https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app"""

_MIN_KEY_BITS = 2048
_APP_ID = re.compile(r"[0-9]{1,19}|Iv[0-9A-Za-z.]{8,62}")
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_HINT = (
    "Generate a private key in the GitHub App's settings and give the whole .pem file, BEGIN and END lines included."
)


@dataclass(frozen=True, slots=True)
class AppCredentials:
    """App id (or client id) and private key. The key is read once, here, and appears in no ``repr``.

    Raises ``Invalid``: ``invalid_app_id``, ``invalid_private_key``.
    """

    app_id: str
    private_key_pem: str = field(repr=False)
    key: RSAPrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if _APP_ID.fullmatch(self.app_id) is None:
            raise Invalid(
                "That is not a GitHub App's id.",
                code="invalid_app_id",
                hint='Set GITHUB_APP_ID to the number beside "App ID" in the App\'s settings.',
            )
        object.__setattr__(self, "key", parse_private_key(self.private_key_pem))


def app_jwt(credentials: AppCredentials, now: Instant) -> str:
    """What authenticates the App itself; valid for nine minutes from ``now``."""
    seconds = now // 1000
    claims = {
        "iat": seconds - BACKDATED_SECONDS,
        "exp": seconds + LIFETIME_SECONDS,
        "iss": credentials.app_id,
    }
    return jwt.encode(claims, credentials.key, algorithm="RS256")


def parse_private_key(text: str) -> RSAPrivateKey:
    """The RSA key in a PEM text. Raises ``Invalid`` (``invalid_private_key``) saying what is wrong with it."""
    pem = normalize_pem(text)
    if b"ENCRYPTED" in pem.split(b"\n", 1)[0]:
        _refuse("The private key is encrypted; GitHub's own keys are not.")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Invalid("The private key cannot be read.", code="invalid_private_key", hint=_HINT) from error
    if not isinstance(key, RSAPrivateKey):
        _refuse("The private key is not an RSA key.")
    if key.key_size < _MIN_KEY_BITS:
        _refuse(f"The private key has {key.key_size} bits; {_MIN_KEY_BITS} are the least.")
    return key


def normalize_pem(text: str) -> bytes:
    """A PEM as its standard says, from what .env files, shells and consoles make of one: quotes around it, newlines
    written as ``\\n``, turned into spaces, or with carriage returns. Raises ``Invalid`` when there is no private key."""
    unescaped = text.replace("\\r", "").replace("\\n", "\n")
    match = _PEM.search(unescaped)
    if match is None:
        _refuse("There is no complete PEM block in the private key." if text.strip() else "The private key is empty.")
    label, middle = match.group(1), "".join(match.group(2).split())
    if not label.endswith("PRIVATE KEY"):
        _refuse(f"That is a {label.lower()}, not a private key.")
    if _BASE64.fullmatch(middle) is None:
        _refuse("The private key holds characters that do not belong into a PEM file.")
    lines = [middle[start : start + 64] for start in range(0, len(middle), 64)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", "")).encode()


def _refuse(message: str) -> NoReturn:
    raise Invalid(message, code="invalid_private_key", hint=_HINT)
