"""The table of secrets known by their looks: formats in use in 2026, and names that announce a secret.

Formats come from their issuers' documentation and from https://github.com/gitleaks/gitleaks/blob/master/config/gitleaks.toml.
Rules are loose at the end on purpose: a mark too long costs a word, a mark too short costs a secret. GitHub's tokens have no
fixed length any more and hold dots, dashes and underscores:
https://github.blog/changelog/2026-05-15-github-app-installation-tokens-per-request-override-header/
"""

from __future__ import annotations

import re

from infra.core.redaction_patterns import Judge, Rule, Step, step

_WORD = rb"[A-Za-z0-9_-]"
_TOKEN = rb"[A-Za-z0-9._-]"
_BASE64 = rb"[A-Za-z0-9+/=_.~-]"

_NAMES = (
    *(
        b"password",
        b"passwd",
        b"passphrase",
        b"pwd",
        b"secret",
        b"token",
        b"api_key",
        b"api-key",
        b"apikey",
        b"api key",
    ),
    *(
        b"access_key",
        b"access-key",
        b"accesskey",
        b"private_key",
        b"private-key",
        b"privatekey",
        b"accountkey",
        b"account_key",
    ),
    *(
        b"secret_key",
        b"secretkey",
        b"secret-key",
        b"signing_key",
        b"encryption_key",
        b"auth_key",
        b"authkey",
        b"credential",
    ),
)
"""A name that ends so announces a secret. ``secret_key`` is found although ``secret`` is not directly before the sign."""

_PASSWORDS = (b"password", b"passwd", b"passphrase", b"pwd")

_FLAGS = (b"--password", b"--passwd", b"--token", b"--api-key", b"--secret", b"--access-token", b"--auth-token")

_NOT_A_SECRET = frozenset(
    b"true false null none nil undefined required optional string str text bytes number int integer bool boolean object "
    b"any void char varchar value invalid expired missing incorrect unknown disabled enabled default change changed reset "
    b"masked token password passwd api_key apikey example unset empty basic bearer "
    b"secretstr optional[str] self this function return async await".split()
)
_REFERENCE = re.compile(
    rb"[$<{%*&@(\[`]|(?:os|process|env|self|this|config|settings|secrets|vars|cfg|args|opts|ctx|req|request)\."
)
_WORDS = re.compile(rb"(?:[A-Z]?[a-z]{2,}+)++[A-Z]?[a-z]?")
_KEY_HEADER = re.compile(rb"(?:Proc-Type|DEK-Info|Version|Comment|Hash|Key):")
_DOTTED = re.compile(rb"[A-Za-z_]+(?:\.[A-Za-z_]+)+")
_NO_END = frozenset({b"(", b"[", b"{", b"\xff"})
"""After a value: the text is a program's, or the value was cut by a mark and has been judged whole before that."""


_DIGITS = b"0123456789"
_CAPITALS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SIGNS = b"!#^~+/%@$"


def _count(run: bytes, kind: bytes) -> int:
    """How many bytes of ``run`` are of that kind; a judge is asked for every keyword of a hostile text."""
    return len(run) - len(run.translate(None, kind))


def _varied(run: bytes) -> bool:
    return len(set(run)) >= 3


def _meant(run: bytes, following: bytes) -> bool:
    """A value given to a secret's name, unless it is a placeholder, a type or a piece of program text."""
    if run.rstrip(b".,;:)").lower() in _NOT_A_SECRET or following in _NO_END:
        return False
    return _varied(run) and not _REFERENCE.match(run) and not _DOTTED.fullmatch(run)


def _spoken(run: bytes, following: bytes) -> bool:
    """The same where the value stands apart from its name, as in prose, YAML and program text: it must not be a plain word."""
    if not _meant(run, following):
        return False
    return _count(run, _DIGITS + _SIGNS) > 0 or _camel(run)


def _camel(run: bytes) -> bool:
    """Case changing as in random text: at least three capitals and three small letters, capitals in a row or at odd places."""
    return len(run) >= 16 and 3 <= _count(run, _CAPITALS) <= len(run) - 3 and not _WORDS.fullmatch(run)


def _quoted(run: bytes, following: bytes) -> bool:
    return following != b"\xff" and _meant(run, b"")


def _random(run: bytes, _following: bytes) -> bool:
    """Letters with digits among them, or the wild mixture of cases that base64 has."""
    return _count(run, _DIGITS) > 0 or _camel(run)


def _credential(run: bytes, following: bytes) -> bool:
    """Not a word of prose after "bearer" or "basic"."""
    return _random(run, following) or len(run) >= 20


def _token_like(run: bytes, _following: bytes) -> bool:
    """Not words joined by dashes: three digits, or a digit and a capital."""
    digits = _count(run, _DIGITS)
    return digits >= 3 or (digits > 0 and _count(run, _CAPITALS) > 0) or _camel(run)


def _key_label(run: bytes, _following: bytes) -> bool:
    return b"PRIVATE KEY" in run.upper()


def _key_text(run: bytes, following: bytes) -> bool:
    return following != b"\xff" and (b" " not in run.strip() or _KEY_HEADER.match(run) is not None)


def _password(run: bytes, _following: bytes) -> bool:
    return not _REFERENCE.match(run)


def _prefixed(
    name: str, *keywords: str, body: bytes = _WORD, minimum: int = 20, alone: bool = True, judge: Judge | None = None
) -> Rule:
    """A token that begins with a fixed text. Capitals in ``keywords`` must be met exactly."""
    exact = b"|".join(re.escape(keyword.encode()) for keyword in keywords)
    return Rule(
        name=name,
        keywords=tuple(keyword.lower().encode() for keyword in keywords),
        prefix=re.compile(exact),
        steps=(step(body, minimum, judge=judge),),
        alone=alone,
    )


_TOKENS = (
    _prefixed("openai or anthropic", "sk-", minimum=16, judge=_token_like),
    _prefixed("github", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", body=_TOKEN, minimum=16, alone=False),
    _prefixed("github fine-grained", "github_pat_", alone=False),
    _prefixed("npm", "npm_", minimum=20, judge=_token_like),
    _prefixed(
        "gitlab", "glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glsoat-", "glagent-", body=_TOKEN, alone=False
    ),
    _prefixed(
        "slack",
        "xoxa-",
        "xoxb-",
        "xoxe-",
        "xoxe.",
        "xoxp-",
        "xoxr-",
        "xoxs-",
        "xoxc-",
        "xoxd-",
        "xapp-",
        body=_TOKEN,
        minimum=10,
    ),
    _prefixed("aws", "AKIA", "ASIA", "ABIA", "ACCA", body=b"[A-Z0-9]", minimum=16),
    _prefixed("google api", "AIza", minimum=30),
    _prefixed("google oauth", "ya29.", body=_TOKEN, minimum=20),
    _prefixed("google client", "GOCSPX-", minimum=20),
    _prefixed("google refresh", "1//0", minimum=30),
    _prefixed("stripe", "sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_", minimum=16),
    _prefixed("pullwright", "pw_", body=b"[a-z0-9_]", minimum=45),
    _prefixed("hugging face", "hf_", minimum=30, judge=_token_like),
    _prefixed("pypi", "pypi-", minimum=32, judge=_token_like),
    _prefixed("digitalocean", "dop_v1_", "doo_v1_", "dor_v1_", minimum=40),
    _prefixed("shopify", "shpat_", "shpss_", "shpca_", "shppa_", minimum=30),
    _prefixed("sendgrid", "SG.", body=_TOKEN, minimum=40),
    _prefixed("vault", "hvs.", "hvb.", "hvr.", body=_TOKEN, minimum=20, judge=_token_like),
    _prefixed("linear", "lin_api_", "lin_oauth_", minimum=30),
    _prefixed("grafana", "glsa_", "glc_", minimum=30),
    _prefixed("docker", "dckr_pat_", "dckr_oat_"),
    _prefixed("tailscale", "tskey-", minimum=16),
    _prefixed("groq", "gsk_", minimum=30, judge=_token_like),
    _prefixed("xai", "xai-", minimum=40, judge=_token_like),
    _prefixed("perplexity", "pplx-", minimum=30, judge=_token_like),
    _prefixed("replicate", "r8_", minimum=30, judge=_token_like),
    _prefixed("new relic", "NRAK-", minimum=20),
    _prefixed("postman", "PMAK-", minimum=30),
    _prefixed("databricks", "dapi", body=b"[a-f0-9-]", minimum=32),
    _prefixed("atlassian", "ATATT3", "ATCTT3", "ATBB", body=_BASE64, minimum=24, judge=_token_like),
    _prefixed("figma", "figd_", minimum=30),
    _prefixed("notion", "ntn_", minimum=30, judge=_token_like),
    _prefixed("sourcegraph", "sgp_", minimum=30),
    _prefixed("rubygems", "rubygems_", minimum=40),
    _prefixed("square", "sq0atp-", "sq0csp-", "EAAA", minimum=20, judge=_token_like),
    _prefixed("age", "AGE-SECRET-KEY-1", body=b"[A-Z0-9]", minimum=40),
    _prefixed("mailgun or twilio", "key-", body=b"[a-f0-9]", minimum=32),
)

_SIGN = (step(rb"[\"'`\\\]]", 0, 4), step(rb"[ \t]", 0, 8), step(b"[=:>]", 1, 3), step(rb"[ \t]", 0, 8))
"""Between a name and its value: a closing quote or bracket, blanks, ``=``, ``:``, ``=>`` or ``:=``, blanks."""

_BARE = rb"[^\s\"'`,;&<>()\[\]{}|\\\xff]"


def _named(name: str, *after: Step, keywords: tuple[bytes, ...] = _NAMES) -> Rule:
    """The name and everything up to the value stay in sight."""
    return Rule(name=name, keywords=keywords, steps=after, shown=len(after) - 1)


_VALUES = (
    _named("name=value", step(rb"[\"'\\\]]", 0, 4), step(b"=", 1, 1), step(_BARE, 4, judge=_meant)),
    _named("name: value", *_SIGN, step(_BARE, 6, judge=_spoken), keywords=(*_NAMES, b"authorization")),
    _named("password: value", *_SIGN, step(_BARE, 6, judge=_meant), keywords=_PASSWORDS),
    _named("name: double-quoted", *_SIGN, step(b'"', 1, 1), step(rb'[^"\r\n\xff]|(?<=\\)"', 4, judge=_quoted)),
    _named("name: single-quoted", *_SIGN, step(b"'", 1, 1), step(rb"[^'\r\n\xff]|(?<=\\)'", 4, judge=_quoted)),
    _named(
        "name: escaped quotes",
        *_SIGN,
        step(rb"\\", 1, 4),
        step(rb"[\"']", 1, 1),
        step(rb"[^\"'\\\r\n\xff]", 4, judge=_quoted),
    ),
    _named("flag value", step(b" ", 1, 1), step(_BARE, 4, judge=_spoken), keywords=_FLAGS),
)

_HEADERS = (
    Rule(
        name="bearer",
        keywords=(b"bearer",),
        steps=(step(b" ", 1, 4), step(_BASE64, 8, judge=_credential)),
        shown=1,
        alone=True,
    ),
    Rule(
        name="basic",
        keywords=(b"basic",),
        steps=(step(b" ", 1, 4), step(_BASE64, 12, judge=_credential)),
        shown=1,
        alone=True,
    ),
    _named(
        "authorization",
        *_SIGN,
        step(rb"[\"'\\]", 0, 3),
        step(b"[A-Za-z-]", 3, 20),
        step(b" ", 1, 2),
        step(_BASE64, 6, judge=_meant),
        keywords=(b"authorization",),
    ),
)

_URLS = (
    Rule(
        name="url password",
        keywords=(b"://",),
        steps=(
            step(rb"[^\s/:@\"'<>\\\xff]", 0, 256),
            step(b":", 1, 1),
            step(rb"[^\s/@\"'<>\\\xff]", 1, 1_024, _password),
            step(b"@", 1, 1),
        ),
        shown=2,
        tail=1,
    ),
    Rule(
        name="webhook",
        keywords=(b"hooks.slack.com/", b"discord.com/api/webhooks/", b"discordapp.com/api/webhooks/"),
        steps=(step(rb"[A-Za-z0-9/_-]", 20),),
        shown=0,
    ),
    Rule(
        name="telegram",
        keywords=(b":aa",),
        steps=(step(_WORD, 32, judge=_token_like),),
        prefix=re.compile(b":AA"),
        shown=0,
    ),
    Rule(
        name="signed url",
        keywords=(b"sig=", b"x-amz-signature=", b"x-goog-signature="),
        steps=(step(rb"[A-Za-z0-9%+/=_-]", 20, judge=_random),),
        shown=0,
        alone=True,
    ),
)

_BLOCKS = (
    Rule(
        name="jwt",
        keywords=(b"eyj",),
        prefix=re.compile(b"eyJ"),
        steps=(
            step(_WORD, 8, 512),
            *(step(letter, 1, 1) for letter in (rb"\.", b"e", b"y", b"J")),
            step(_TOKEN, 8),
        ),
        alone=True,
    ),
    Rule(
        name="private key",
        keywords=(b"-----begin",),
        steps=(
            step(b"[A-Za-z0-9 ]", 1, 48, _key_label),
            step(b"-", 5, 5),
            step(rb"[\s\\nrt\"'+,>|#*]", 0, 64),
            step(rb"[A-Za-z0-9+/=:, ]|(?<=[A-Za-z0-9])-", 16, 512, _key_text),
            step(rb"[A-Za-z0-9+/=\s\\\"',:.>|#*\xff]|(?<=[A-Za-z0-9])-", 0),
        ),
        shown=2,
    ),
)

RULES: tuple[Rule, ...] = (*_TOKENS, *_VALUES, *_HEADERS, *_URLS, *_BLOCKS)


def is_secret_name(name: str) -> bool:
    """Whether a key of a mapping announces that its value is a secret: ``api_key``, ``apiKey``, ``GITHUB_TOKEN``, ``authorization``."""
    return name.lower().encode("utf-8", "replace").endswith((*_NAMES, b"authorization"))
