"""The records that telling people takes, together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from infra.core.store import Documents
from infra.records.announcements import Announcements, Checklists, Conversations
from infra.records.content_paces import ContentPaces


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    announcements: Announcements
    conversations: Conversations
    checklists: Checklists
    paces: ContentPaces

    @classmethod
    def on(cls, store: Documents) -> Self:
        return cls(
            announcements=Announcements(store),
            conversations=Conversations(store),
            checklists=Checklists(store),
            paces=ContentPaces(store),
        )
