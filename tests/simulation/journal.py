"""What the world saw, in order: kept by the fakes, never by the system under test."""

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    at: float
    kind: str
    facts: dict


class Journal:
    def __init__(self, time):
        self._time = time
        self.entries = []

    def add(self, kind, **facts):
        self.entries.append(Entry(round(self._time(), 6), kind, facts))

    def of(self, *kinds):
        return [entry for entry in self.entries if entry.kind in kinds]

    def hash(self):
        """The same for the same story, whatever the machine."""
        text = json.dumps([(entry.at, entry.kind, entry.facts) for entry in self.entries], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def story(self, *hidden):
        """For people: one line an entry."""
        return "\n".join(
            f"{entry.at:10.3f}  {entry.kind:<10} "
            + " ".join(f"{name}={value}" for name, value in entry.facts.items() if value not in ("", None))
            for entry in self.entries
            if entry.kind not in hidden
        )
