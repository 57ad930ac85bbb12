"""What the queries of these repositories compare and order by, by the last segment of a collection's path.

The embedded store builds its indexes from this. Firestore has one for every single field by itself, so that only those of
several fields and the fields that documents expire by are declared to it; ``terraform/firestore.tf`` says the same, and a
test compares the two – and both with the queries in the code.
"""

from __future__ import annotations

INDEXES: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "runs": ("wake_at", "created_at", ("state", "created_at"), ("owner", "repo", "created_at")),
    "chunks": ("last",),
    "commands": ("sequence",),
    "announcements": ("due_at",),
    "deliveries": ("received_at", ("outcome", "received_at")),
    "missed": ("next_at",),
    "subjects": ("wake_at",),
}

COMPOSITE: tuple[tuple[str, tuple[str, ...]], ...] = tuple(
    (collection, fields) for collection, listed in INDEXES.items() for fields in listed if isinstance(fields, tuple)
)
"""(collection, fields) of the indexes that Firestore must be told of; the last field is the order, newest first."""

EXPIRING = ("chunks", "commands", "commands_keys", "deliveries", "missed", "nonces")
"""Collections whose documents have a time after which they may be removed: the store's TTL field ``expire_at``."""
