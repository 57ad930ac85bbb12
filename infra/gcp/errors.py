"""Google's exceptions as ours: what was refused, and the role to grant or the command to type next."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from google.api_core import exceptions as google
from google.auth.exceptions import GoogleAuthError

from infra.core.errors import Forbidden, Invalid, PullwrightError, Unavailable

Failure = google.GoogleAPICallError | google.RetryError | GoogleAuthError
FAILURES = (google.GoogleAPICallError, google.RetryError, GoogleAuthError)

_PERMISSION = re.compile(r"[a-z]+(?:\.[A-Za-z]+){2}")

ROLES: Mapping[str, str] = {
    "cloudtasks.tasks.create": "roles/cloudtasks.enqueuer",
    "iam.serviceAccounts.actAs": "roles/iam.serviceAccountUser",
    "run.executions.cancel": "roles/run.jobsExecutorWithOverrides",
    "run.executions.get": "roles/run.viewer",
    "run.jobs.get": "roles/run.viewer",
    "run.jobs.run": "roles/run.jobsExecutorWithOverrides",
    "run.jobs.runWithOverrides": "roles/run.jobsExecutorWithOverrides",
    "secretmanager.secrets.create": "roles/secretmanager.admin",
    "secretmanager.versions.access": "roles/secretmanager.secretAccessor",
    "secretmanager.versions.add": "roles/secretmanager.secretVersionAdder",
    "secretmanager.versions.destroy": "roles/secretmanager.secretVersionManager",
    "secretmanager.versions.list": "roles/secretmanager.viewer",
    "storage.objects.create": "roles/storage.objectUser",
    "storage.objects.delete": "roles/storage.objectUser",
    "storage.objects.get": "roles/storage.objectUser",
    "storage.objects.list": "roles/storage.objectUser",
}
"""Permission → the narrowest predefined role with it. https://cloud.google.com/iam/docs/roles-permissions"""


@dataclass(frozen=True, slots=True)
class Service:
    """``host`` names the API; ``permission`` is what the call needs when Google's own words do not say; ``on``: of what."""

    name: str
    host: str
    permission: str
    on: str


@contextmanager
def errors(service: Service) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise translated(error, service) from error


def translated(error: Failure, service: Service) -> PullwrightError:
    """``Forbidden`` with the role to grant, ``Invalid`` for what Google will never take, else ``Unavailable``."""
    if isinstance(error, GoogleAuthError):
        return no_credentials(error)
    if isinstance(error, google.Forbidden | google.Unauthorized):
        return _refused(error, service)
    if isinstance(error, google.NotFound):
        return Unavailable(
            f"{service.name} does not know {service.on}: {_words(error)}.",
            code="google_resource_missing",
            hint="Run terraform apply, or correct the names in the settings (docs/settings.md).",
        )
    if isinstance(error, google.TooManyRequests):
        return Unavailable(
            f"{service.name} has no quota left for this: {_words(error)}.",
            code="google_quota",
            hint="It is tried again by itself; for good, raise the quota: https://console.cloud.google.com/iam-admin/quotas",
        )
    if isinstance(error, google.BadRequest):
        return Invalid(f"{service.name} refused the request: {_words(error)}.", code="google_refused")
    return Unavailable(
        f"{service.name} did not do it: {_words(error)}.",
        code="google_unavailable",
        hint="It is safe to repeat the request.",
    )


def no_credentials(error: GoogleAuthError) -> Unavailable:
    return Unavailable(
        f"There are no usable Google credentials: {error}.",
        code="no_credentials",
        hint="In the cloud, give the service an identity; elsewhere run: gcloud auth application-default login.",
    )


def _refused(error: google.GoogleAPICallError, service: Service) -> Forbidden:
    if error.reason == "SERVICE_DISABLED" or "it is disabled" in error.message:
        return Forbidden(
            f"The API of {service.name} is not enabled in this project.",
            code="google_api_disabled",
            hint=f"Type: gcloud services enable {service.host}",
        )
    permission = next((name for name in _PERMISSION.findall(error.message) if name in ROLES), service.permission)
    where = "the service account that the tasks' tokens are for" if permission.endswith(".actAs") else service.on
    return Forbidden(
        f"{service.name} refused this identity: it lacks {permission}.",
        code="google_forbidden",
        hint=f"Grant {ROLES[permission]} on {where} to the service account that this program runs as.",
    )


def _words(error: google.GoogleAPICallError | google.RetryError) -> str:
    return str(getattr(error, "message", error)).strip().rstrip(".") or type(error).__name__
