"""The App's key, however it was pasted, and the JWT made with it."""

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from infra.core.clock import Instant
from infra.core.errors import Invalid
from infra.github.app_auth import AppCredentials, app_jwt, parse_private_key

NOW = Instant(1_763_600_000_500)


def pem_of(key, form=serialization.PrivateFormat.TraditionalOpenSSL, password=None):
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, protection).decode()


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def pem(key):
    return pem_of(key)


def test_jwt(key, pem):
    token = app_jwt(AppCredentials("42", pem), NOW)
    claims = jwt.decode(
        token, key.public_key(), algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False}
    )
    assert claims == {"iss": "42", "iat": 1_763_600_000 - 60, "exp": 1_763_600_000 + 540}
    assert jwt.get_unverified_header(token)["alg"] == "RS256"


DAMAGES = {
    "as downloaded": lambda pem: pem,
    "escaped newlines": lambda pem: pem.replace("\n", "\\n"),
    "escaped carriage returns": lambda pem: pem.replace("\n", "\\r\\n"),
    "carriage returns": lambda pem: pem.replace("\n", "\r\n"),
    "double quotes": lambda pem: '"' + pem.replace("\n", "\\n") + '"',
    "single quotes": lambda pem: f"'{pem}'",
    "newlines turned into spaces": lambda pem: pem.replace("\n", " "),
    "indented": lambda pem: "\n".join(f"    {line}" for line in pem.splitlines()),
    "no newline at the end": lambda pem: pem.rstrip(),
    "blank lines around": lambda pem: f"\n\n{pem}\n\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("form", [serialization.PrivateFormat.TraditionalOpenSSL, serialization.PrivateFormat.PKCS8])
def test_any_usual_damage_is_mended(key, damage, form):
    read = parse_private_key(DAMAGES[damage](pem_of(key, form)))
    assert read.private_numbers() == key.private_numbers()


REFUSED = {
    "empty": (lambda key: "  ", "empty"),
    "a path": (lambda key: "/etc/app.pem", "PEM block"),
    "half": (lambda key: pem_of(key)[:400], "PEM block"),
    "public": (
        lambda key: key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
        "public key",
    ),
    "encrypted": (lambda key: pem_of(key, serialization.PrivateFormat.PKCS8, b"x"), "encrypted"),
    "encrypted, older form": (lambda key: pem_of(key, password=b"x"), "do not belong"),
    "elliptic": (lambda _: pem_of(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
    "short": (lambda _: pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "1024 bits"),
    "a letter lost": (lambda key: pem_of(key).replace("\n", "\nA", 2), "cannot be read"),
    "odd letters": (lambda key: pem_of(key).replace("\nM", "\n€", 1), "do not belong"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_anything_else_is_refused_with_the_reason(key, case):
    make, reason = REFUSED[case]
    text = make(key)
    with pytest.raises(Invalid) as caught:
        AppCredentials("42", text)
    assert caught.value.code == "invalid_private_key"
    assert reason in caught.value.message
    assert "BEGIN" in caught.value.hint


@pytest.mark.parametrize("app_id", ["", "my-app", "4 2", "42\n", "-1"])
def test_app_ids(pem, app_id):
    with pytest.raises(Invalid, match="App's id"):
        AppCredentials(app_id, pem)


def test_a_client_id_will_do(pem):
    assert AppCredentials("Iv23liABCDEFGHIJKLMN", pem).app_id == "Iv23liABCDEFGHIJKLMN"


def test_the_key_is_not_shown(pem):
    assert repr(AppCredentials("42", pem)) == "AppCredentials(app_id='42')"
