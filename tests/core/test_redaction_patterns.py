"""Secrets known by their looks: seed rules, current formats, a held-out set, false positives and worst cases."""

import base64
import json
import random
import string
import time
import uuid

import pytest

from infra.core.redaction import MARK, Redactor
from infra.core.redaction_rules import RULES

ALNUM = string.ascii_letters + string.digits
WORD = ALNUM + "_-"


def some(source: random.Random, count: int, alphabet: str = ALNUM) -> str:
    return "".join(source.choices(alphabet, k=count))


def new_style_github_token(source: random.Random) -> str:
    """``ghs_APPID_JWT``: three base64url parts, about 520 characters."""
    parts = (some(source, size, WORD) for size in (36, source.randint(300, 420), 86))
    return f"ghs_{source.randint(10**5, 10**7)}_eyJ{'.'.join(parts)}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("api_key=abc123def456", f"api_key={MARK}"),
        ("apiKey: 'abcd1234efgh'", f"apiKey: '{MARK}'"),
        ('{"apiKey": "abcd 1234, efgh"}', f'{{"apiKey": "{MARK}"}}'),
        (
            '{\\"api_key\\": \\"abcd1234\\", \\"user\\": \\"x\\"}',
            f'{{\\"api_key\\": \\"{MARK}\\", \\"user\\": \\"x\\"}}',
        ),
        ("token=abc123", f"token={MARK}"),
        ("https://x.test/?access_token=abcdef12&page=2", f"https://x.test/?access_token={MARK}&page=2"),
        ("Authorization: Bearer abcDEF123.ghi-45", f"Authorization: Bearer {MARK}"),
        ("authorization: Basic dXNlcjpwYXNzd29yZA==", f"authorization: Basic {MARK}"),
        ("curl -H 'Authorization: token abcdef123456'", f"curl -H 'Authorization: token {MARK}'"),
        ("password=hunter2", f"password={MARK}"),
        ("PGPASSWORD=hunter psql", f"PGPASSWORD={MARK} psql"),
        ("password: hunter2", f"password: {MARK}"),
        ('db_password = "correct horse"', f'db_password = "{MARK}"'),
        ('password="a\\"b cd" user', f'password="{MARK}" user'),
        ("mysql --password hunter22 -u root", f"mysql --password {MARK} -u root"),
        ('os.environ["API_TOKEN"] = "abc12345"', f'os.environ["API_TOKEN"] = "{MARK}"'),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", f"AWS_SECRET_ACCESS_KEY={MARK}"),
        ("postgres://app:s3cr3t-Pa55@db.test:5432/x", f"postgres://app:{MARK}@db.test:5432/x"),
        (
            "git clone https://x-access:abc@github.com/o/r",
            f"git clone https://x-access:{MARK}@github.com/o/r",
        ),
        ("https://hooks.slack.com/services/T0000/B0000/abcdefghijkl", f"https://hooks.slack.com/{MARK}"),
    ],
)
def test_named_secrets_go_and_their_names_stay(text, expected):
    assert Redactor().text(text) == expected


def tokens(source: random.Random) -> dict[str, str]:
    """One token of each format."""
    upper = string.ascii_uppercase + "234567"
    return {
        "openai": "sk-" + some(source, 48),
        "openai project": "sk-proj-" + some(source, 120, WORD),
        "anthropic": "sk-ant-api03-" + some(source, 93, WORD) + "AA",
        "anthropic oauth": "sk-ant-oat01-" + some(source, 93, WORD) + "AA",
        **{f"github {kind}": f"gh{kind}_{some(source, 36)}" for kind in "pousr"},
        "github new": new_style_github_token(source),
        "github fine-grained": f"github_pat_{some(source, 22)}_{some(source, 59)}",
        "npm": "npm_" + some(source, 36),
        "gitlab": "glpat-" + some(source, 20, WORD),
        "slack": f"xoxb-{source.randint(10**11, 10**12)}-{source.randint(10**11, 10**12)}-{some(source, 24)}",
        "aws": source.choice(["AKIA", "ASIA"]) + some(source, 16, upper),
        "google api": "AIza" + some(source, 35, WORD),
        "google oauth": "ya29." + some(source, 150, WORD),
        "stripe": "sk_live_" + some(source, 24),
        "pullwright": f"pw_{some(source, 12, string.digits + 'abcdefghjkmnpqrstvwxyz')}_{some(source, 32, string.digits + 'abcdef')}",
        "jwt": f"eyJ{some(source, 33, WORD)}.eyJ{some(source, 80, WORD)}.{some(source, 43, WORD)}",
    }


def test_every_current_format_is_masked_whole_however_it_is_cut():
    source = random.Random(1)
    redactor = Redactor()
    for _ in range(15):
        for name, token in tokens(source).items():
            for before, after in (("", ""), ("key is ", " ok"), ("'", "'"), ("x=", "\n"), ("(", ")"), ("> ", ", and")):
                text = before + token + after
                expected = before + MARK + after
                assert redactor.text(text) == expected, name
                stream = redactor.stream()
                cut = source.randint(1, len(text))
                assert stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.flush() == expected, (name, cut)


def test_new_github_tokens_leave_nothing_at_any_cut():
    source = random.Random(27)
    redactor = Redactor()
    for _ in range(200):
        assert redactor.text(f"<{new_style_github_token(source)}>") == f"<{MARK}>"
    token = new_style_github_token(source)
    for cut in range(1, len(token)):
        stream = redactor.stream()
        assert stream.feed(token[:cut]) + stream.feed(token[cut:]) + stream.flush() == MARK


def pem(source: random.Random, label: str = "RSA PRIVATE KEY") -> str:
    lines = [some(source, 64, ALNUM + "+/") for _ in range(25)] + [some(source, 30) + "=="]
    return f"-----BEGIN {label}-----\n" + "\n".join(lines) + f"\n-----END {label}-----\n"


@pytest.mark.parametrize(
    "label", ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY"]
)
def test_private_keys_are_masked_as_text_in_json_and_in_program_text(label):
    source = random.Random(label)
    key = pem(source, label)
    body = key.splitlines()[1:-1]
    forms = (
        key,
        json.dumps({"type": "service_account", "private_key": key}),
        json.dumps(json.dumps({"private_key": key})),
        "\n".join(f'"{line}\\n" +' for line in key.splitlines()),
        key.replace("\n", "\r\n"),
        key.replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n", 1),
    )
    for form in forms:
        output = Redactor().text(f"before {form} after")
        assert MARK in output
        assert output.startswith("before ")
        assert not [line for line in body if line[:10] in output or line[-10:] in output], form[:60]
        stream = Redactor().stream()
        text = f"before {form} after"
        pieces = (text[at : at + 7] for at in range(0, len(text), 7))
        assert "".join(map(stream.feed, pieces)) + stream.flush() == output


def test_public_keys_and_talk_of_keys_stay():
    for text in (
        "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQsw\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
        'if "-----BEGIN PRIVATE KEY-----" in text: raise ValueError("a key")',
        "A file that begins with -----BEGIN PRIVATE KEY----- must not be committed. Use the store instead.",
    ):
        assert Redactor().text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "input_tokens: 1234, output_tokens=99, max_tokens: 4096",
        "def login(password: str, token: str | None = None) -> Token:",
        "token = self.lexer.next_token()",
        'api_key=os.environ["API_KEY"], password=settings.password,',
        "export TOKEN=$OTHER_TOKEN; PASSWORD=${PW}",
        'password = getpass("Password"); token = lexer(text)[0]',
        "git@github.com:owner/repo.git and http://localhost:8080/path",
        "bearer of bad news; basic knowledge; a token economy",
        "password: required",
        "task-runner-2 and risk-management-plan-2026-final",
        "commit 3f2a9c81d0e4b7a6958473625140fedcba987654",
        f"id {uuid.UUID(int=2**127)} sha256:{'0af3' * 16}",
        "secret santa: everyone brings a gift",
    ],
)
def test_ordinary_text_that_talks_about_secrets_stays(text):
    assert Redactor().text(text) == text


# Held out: names, contexts and alphabets that no rule was made from -----------------------------------------------------

HELD_OUT_NAMES = (
    "BUILDKITE_AGENT_TOKEN", "stripeSecret", "SONAR_TOKEN", "datadog_api_key", "mailerPassword", "SMTP_PASSWORD", "jwtSecret",
    "django_secret_key", "REDIS_PASSWORD", "ci-job-token", "azure_client_secret", "circleci_token", "CODECOV_TOKEN",
    "consul_http_token", "heroku-api-key", "X-Api-Key", "X-Vault-Token", "okta_api_token", "kafka.sasl.password", "AUTH0_CLIENT_SECRET",
)  # fmt: skip
HELD_OUT_CONTEXTS = (
    "{name}={value}", "export {name}={value}", 'export {name}="{value}"', "{name}: {value}", "{name}: '{value}'",
    '  "{name}": "{value}",', "{name} = '{value}'", "const {name} = `x`, y; {name}='{value}';", "-e {name}={value} image", "{name}=>'{value}'",
    "[default]\n{name} = {value}\n", '<{name}>x</{name}> {name}="{value}"', "docker run --env {name}={value} --rm x", '\\"{name}\\": \\"{value}\\"',
    "curl -H '{name}: {value}' https://x.test", "ENV {name} {value}\nENV {name}={value}", "set {name}={value}&& run", '{name} := "{value}"',
)  # fmt: skip
HELD_OUT_ALPHABETS = (
    ALNUM,
    string.hexdigits.lower()[:16],
    ALNUM + "+/",
    WORD,
    string.ascii_lowercase + string.digits,
    ALNUM + "!#%^*~",
)


def test_unknown_formats_under_telling_names_are_recalled():
    source = random.Random(2026)
    redactor = Redactor()
    missed = []
    total = 3_000
    for _ in range(total):
        value = some(source, source.randint(16, 64), source.choice(HELD_OUT_ALPHABETS)).lstrip("%*") + "7q"
        context = source.choice(HELD_OUT_CONTEXTS)
        text = context.format(name=source.choice(HELD_OUT_NAMES), value=value)
        if "ENV" in context:
            text = text.split("\n")[1]
        if value in redactor.text(text) or value[-8:] in redactor.text(text):
            missed.append(text)
    assert len(missed) / total <= 0.02, (len(missed), missed[:10])


def test_known_formats_are_recalled_in_unknown_surroundings():
    source = random.Random(7)
    redactor = Redactor()
    surroundings = (
        "{}",
        "fatal: could not read from https://{}@host/",
        "[{}]",
        "`{}`",
        "Set-Thing {};",
        "a={}&b",
        "🔑{}🔑",
        "\x1b[32m{}\x1b[0m",
        "{}.",
        "\t{}\r\n",
    )
    for _ in range(20):
        for name, token in tokens(source).items():
            text = source.choice(surroundings).format(token)
            assert token[:-1] not in redactor.text(text), (name, text)
            assert token[-12:-1] not in redactor.text(text), (name, text)


def lockfile_and_log_lines(count: int) -> list[str]:
    source = random.Random(11)
    lines = []
    for i in range(count):
        digest = source.randbytes(64)
        lines.append(
            source.choice(
                [
                    f'      "integrity": "sha512-{base64.b64encode(digest).decode()}",',
                    f"    --hash=sha256:{digest[:32].hex()} \\",
                    f"commit {digest[:20].hex()}",
                    f"{uuid.UUID(bytes=digest[:16])} INFO request_id={uuid.UUID(bytes=digest[16:32])} took {i % 999}ms",
                    f'      "resolved": "https://registry.test/{digest[:4].hex()}/-/x-{i}.tgz",',
                    f"data:image/png;base64,{base64.b64encode(source.randbytes(240)).decode()}",
                    f"index {digest[:4].hex()}..{digest[4:8].hex()} 100644",
                    f"tests/test_token.py::test_password_{i} PASSED [ {i % 100}%]",
                    f"input_tokens: {i}, output_tokens: {i * 2}, max_tokens=4096 cost=0.0{i}",
                    f"h1:{base64.b64encode(digest[:32]).decode()}=",
                    f"ssh-ed25519 {base64.b64encode(digest[:51]).decode()} user@host",
                    f"go.sum {digest[0]}.test/pkg v0.{i}.0/go.mod h1:{base64.b64encode(digest[:32]).decode()}",
                    f"2026-01-0{i % 9 + 1}T10:00:00.{i % 1000:03d}Z [pid {i}] GET /api/items/{i}?page=2&limit=50 200 {i * 7}",
                ]
            )
        )
    return lines


def changed_share(count: int) -> float:
    source = random.Random(5)
    redactor = Redactor([some(source, 40) for _ in range(20)])
    lines = lockfile_and_log_lines(count)
    output = redactor.text("\n".join(lines)).split("\n")
    assert len(output) == len(lines)
    return sum(before != after for before, after in zip(lines, output, strict=True)) / count


def test_lockfiles_logs_hashes_and_images_are_left_alone():
    assert changed_share(10_000) <= 0.001


@pytest.mark.full
def test_ten_megabytes_of_lockfiles_and_logs_are_left_alone():
    assert changed_share(110_000) <= 0.001


WORST = (
    "eyJ", "-eyJa", "password=", "password: ", 'password="', "token ", "://", "://a:", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "sk-",
    " sk-a1", "ghp_", "bearer ", "authorization: a ", "-----BEGIN PRIVATE KEY-----\n" + "M" * 64 + "\n", "api_key='aaaa", "http://" + "u" * 255 + ":",
    'password="\\"', "\x1b[31m", "\x1b[", MARK, "[REDA", "A", "aA1", "xoxb-", "AKIA", "secret_key_", "Bearer Bearer-",
)  # fmt: skip


def seconds(redactor: Redactor, text: str) -> float:
    best = float("inf")
    for _ in range(2):
        start = time.process_time()
        redactor.text(text)
        best = min(best, time.process_time() - start)
    return best


def test_worst_cases_are_linear():
    redactor = Redactor(["N7kQ2vX9bLm4TzR6wPc8"])
    for unit in WORST:
        small, large = ((unit * size)[:size] for size in (12_000, 96_000))
        assert seconds(redactor, large) < 8 * 4 * seconds(redactor, small) + 0.05, unit


@pytest.mark.full
@pytest.mark.timeout(900)
def test_ten_megabytes_of_worst_cases_end():
    redactor = Redactor(["N7kQ2vX9bLm4TzR6wPc8"])
    for unit in WORST[::4]:
        start = time.process_time()
        redactor.text((unit * 10_000_000)[:10_000_000])
        assert time.process_time() - start < 60, unit


def test_rules_are_well_formed():
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert all(keyword == keyword.lower() and keyword for keyword in rule.keywords), rule.name
        assert all(step.maximum for step in rule.steps[:-1]), f"{rule.name}: only the last step may be endless"
        assert rule.shown < len(rule.steps)


def test_patterns_can_be_switched_off():
    text = "password=hunter2 ghp_" + "a" * 36
    assert Redactor(patterns=False).text(text) == text
    assert Redactor(patterns=False).data({"password": "hunter2"}) == {"password": "hunter2"}
