"""What the queries of these repositories compare and order by, by the last segment of a collection's path.

The embedded store builds its indexes from this, and so does Firestore's index definition.
"""

from __future__ import annotations

INDEXES: dict[str, tuple[str | tuple[str, ...], ...]] = {
    "runs": ("wake_at", "created_at", ("state", "created_at")),
    "chunks": ("last",),
    "commands": ("sequence",),
    "announcements": ("due_at",),
    "deliveries": ("received_at", ("outcome", "received_at")),
    "subjects": ("wake_at",),
}
