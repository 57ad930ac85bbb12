"""What every check of the doctor needs: the project, what is known of it so far, and the sentences that recur."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.core.diagnosis import Finding, fine, unknown, wrong
from infra.gcp.console import Console, Seen


@dataclass(slots=True)
class Checkup:
    """``dispatcher`` and ``runner`` are names of Cloud Run services. ``clock``: seconds since 1970.

    ``settings`` are the deployed dispatcher's own, ``account`` is whom it runs as; both are known once it was found.
    ``project_policy``: members by role in the whole project, None when that may not be seen.
    """

    console: Console
    project: str
    region: str
    dispatcher: str = "pullwright-dispatcher"
    runner: str = "claude-code-runner"
    clock: Callable[[], float] = time.time
    settings: Mapping[str, str] = field(default_factory=dict)
    account: str = ""
    project_policy: Mapping[str, frozenset[str]] | None = None

    @property
    def place(self) -> str:
        return f"projects/{self.project}/locations/{self.region}"

    async def service(self, name: str) -> Seen:
        return await self.console.look("run", f"v2/{self.place}/services/{name}")

    def granted(self, topic: str, policy: Mapping[str, frozenset[str]] | None, role: str, add: str) -> Finding:
        """Whether the dispatcher's identity has a role, there or in the whole project."""
        member = f"serviceAccount:{self.account}"
        in_project = member in (self.project_policy or {}).get(role, frozenset())
        if policy is None and not in_project:
            return self.unseen(topic, Seen(403), "roles/iam.securityReviewer")
        if in_project or (policy and member in policy.get(role, frozenset())):
            return fine(topic, f"The dispatcher has {role}.")
        return wrong(topic, f"{self.account} lacks {role}.", self.gcloud(f"{add} --member {member} --role {role}"))

    def settled(self, topic: str, service: Mapping[str, Any], name: str) -> Finding:
        condition = service.get("terminalCondition", {})
        if condition.get("state") == "CONDITION_SUCCEEDED":
            return fine(topic, f"{name} is deployed.")
        logs = self.gcloud(f"run services logs read {name} --region {self.region} --limit 50")
        return wrong(
            topic, f"The last deployment of {name} failed: {condition.get('message', 'no reason given')}", logs
        )

    def unseen(self, topic: str, seen: Seen, role: str) -> Finding:
        if not seen.hidden:
            return unknown(topic, f"Google answered {seen.status}; ask again in a moment.")
        account = "user:$(gcloud config get-value account)"
        command = f"projects add-iam-policy-binding {self.project} --member {account} --role {role}"
        return unknown(topic, f"You may not look at this; it takes {role}.", self.gcloud(command))

    def gcloud(self, words: str) -> str:
        """A command for this project, ready to be typed."""
        return f"gcloud {words} --project {self.project}" if not words.startswith("projects ") else f"gcloud {words}"


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a service's first container."""
    containers = service.get("template", {}).get("containers", [{}])
    return {item["name"]: item.get("value", "") for item in containers[0].get("env", [])}
