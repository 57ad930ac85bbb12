"""Webhooks: raw bytes and headers in, a verified and typed event out. Pure, and on the function's cold-start path.

``verify`` comes first and is the only source of a ``VerifiedDelivery``; ``parse`` takes nothing else. So an event
object cannot exist unless its signature was checked over the bytes that it was read from.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field

import msgspec

from infra.core.errors import Invalid, Unauthenticated
from infra.github.events import ENVELOPE, KINDS, OTHER_ACTION, SUBJECTS, Event, Kind, Unhandled

# https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
_SIGNATURE = re.compile(rb"sha256=([0-9a-f]{64})")
# GitHub sends a GUID; the id becomes part of a document's key, so its alphabet matters more than its form
_DELIVERY = re.compile(rb"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
_EVENT = re.compile(rb"[a-z][a-z0-9_]{0,63}")
_HOOK = re.compile(rb"[0-9]{0,19}")
_PROOF = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDelivery:
    """Bytes that GitHub signed. Only ``verify`` can make one.

    ``event``, ``id`` and ``hook`` come from headers, which are *not* signed: they are well-formed but prove nothing.
    ``hook`` is empty when the sender names none. ``secret``: position, in the sequence given to ``verify``, of the
    secret that matched, so that an operator can see when a rotation is over.
    """

    event: str
    id: str
    hook: str
    secret: int
    body: bytes = field(repr=False)
    body_sha256: str
    proof: InitVar[object]

    def __post_init__(self, proof: object) -> None:
        if proof is not _PROOF:
            raise TypeError("A VerifiedDelivery is made by verify() only.")


def verify(secrets: Sequence[bytes], headers: Sequence[tuple[bytes, bytes]], body: bytes) -> VerifiedDelivery:
    """Checks the HMAC over the raw body, before anything in it is looked at.

    ``headers``: raw, as ASGI gives them, so that a repeated one is seen. ``secrets``: all that are valid now, the newest
    first. Raises ``Unauthenticated`` (``invalid_signature``) for whatever is not a signature by one of them, and
    ``Invalid`` (``invalid_delivery``) when a signed request lacks GitHub's other headers.
    """
    match = _SIGNATURE.fullmatch(_only(headers, b"x-hub-signature-256"))
    secret = _matching(secrets, match.group(1), body) if match else None
    if secret is None:
        raise Unauthenticated(
            "The webhook's signature does not match.",
            code="invalid_signature",
            hint="The webhook secret of the GitHub App must equal GITHUB_WEBHOOK_SECRET; X-Hub-Signature-256 must arrive unchanged.",
        )
    return VerifiedDelivery(
        event=_header(headers, b"x-github-event", _EVENT),
        id=_header(headers, b"x-github-delivery", _DELIVERY),
        hook=_header(headers, b"x-github-hook-id", _HOOK),
        secret=secret,
        body=body,
        body_sha256=hashlib.sha256(body).hexdigest(),
        proof=_PROOF,
    )


def parse(delivery: VerifiedDelivery) -> Event:
    """The typed event. Raises ``Invalid`` (``invalid_payload``, naming the path) when the body is not what the event's
    name says – also when it is a genuine body of another event."""
    try:
        # only strings that are read get checked by the decoder; a body is text as a whole or not at all
        delivery.body.decode()
        top = ENVELOPE.decode(delivery.body)
        kind = KINDS.get(delivery.event)
        if kind is None:
            return Unhandled(delivery.event, OTHER_ACTION.decode(top["action"]) if "action" in top else "")
        _check_subjects(delivery.event, kind, top)
        return kind.decode(delivery.body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _misfit(delivery, _reason(error)) from error


def _matching(secrets: Sequence[bytes], presented: bytes, body: bytes) -> int | None:
    """Position of the secret that signed the body. An empty secret signs nothing: anybody could know it."""
    for position, secret in enumerate(secrets):
        expected = hmac.digest(secret, body, "sha256").hex().encode()
        if secret and hmac.compare_digest(expected, presented):
            return position
    return None


def _only(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The value of a header that is there exactly once, otherwise nothing."""
    values = [value for key, value in headers if key.lower() == name]
    return values[0] if len(values) == 1 else b""


def _header(headers: Sequence[tuple[bytes, bytes]], name: bytes, grammar: re.Pattern[bytes]) -> str:
    value = _only(headers, name)
    if grammar.fullmatch(value) is None:
        raise Invalid(
            f"The delivery has no proper {name.decode()} header.",
            code="invalid_delivery",
            hint="GitHub sends it once with every delivery; a proxy in between must pass it on.",
        )
    return value.decode()


def _check_subjects(event: str, kind: Kind, top: dict[str, msgspec.Raw]) -> None:
    found = (top.keys() & (SUBJECTS | kind.never)) - kind.perhaps
    for name in sorted(found ^ kind.subjects):
        missing = name in kind.subjects
        verdict = "is missing" if missing else f"does not belong into an {event} event"
        raise msgspec.ValidationError(f"`$.{name}` {verdict}")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    return str(error)


def _misfit(delivery: VerifiedDelivery, reason: str) -> Invalid:
    form = delivery.body.startswith(b"payload=")
    return Invalid(
        f"The body is not that of the event {delivery.event}: {reason}.",
        code="invalid_payload",
        hint='Set the webhook\'s content type to "application/json".' if form else "Nothing was done with it.",
    )
