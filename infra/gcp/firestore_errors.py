"""Google's exceptions as ours, with the next step for whoever runs the project."""

from __future__ import annotations

from google.api_core import exceptions as google
from google.auth.exceptions import GoogleAuthError

from infra.core.errors import AlreadyExists, Conflict, Forbidden, PullwrightError, TooLarge, Unavailable

ROLE = "roles/datastore.user"

Failure = google.GoogleAPICallError | google.RetryError | GoogleAuthError


def translated(error: Failure) -> PullwrightError:
    """The error that ``Documents`` promises in place of Google's."""
    if isinstance(error, GoogleAuthError):
        return Unavailable(
            f"There are no usable Google credentials: {error}.",
            code="no_credentials",
            hint="In the cloud, give the service an identity; elsewhere run: gcloud auth application-default login.",
        )
    if isinstance(error, google.PermissionDenied | google.Unauthenticated):
        return Forbidden(
            "Firestore refused this identity.",
            code="store_forbidden",
            hint=f"Grant {ROLE} on the project to the service account that this program runs as.",
        )
    return _of_the_database(error)


def translated_commit(error: Failure) -> PullwrightError:
    """The same for a commit, whose preconditions can fail."""
    if isinstance(error, google.AlreadyExists):
        return AlreadyExists("The document exists already.")
    if isinstance(error, google.NotFound) and "database" not in error.message.lower():
        return Conflict("The document is gone.")
    if isinstance(error, google.FailedPrecondition):
        return Conflict("The document was changed by somebody else.")
    if isinstance(error, google.InvalidArgument) and any(word in error.message for word in ("size", "bytes", "large")):
        return TooLarge(f"Firestore refused the size of the commit: {error.message}.", code="document_too_large")
    return translated(error)


def _of_the_database(error: Failure) -> PullwrightError:
    if isinstance(error, google.NotFound):
        return Unavailable(
            f"The Firestore database does not exist: {error.message}.",
            code="store_missing",
            hint="Run terraform apply, or check the project and database names in the settings.",
        )
    if isinstance(error, google.FailedPrecondition):
        return Unavailable(
            f"Firestore has no index for this query: {error.message}.",
            code="missing_index",
            hint="Run terraform apply; a new index takes some minutes to build.",
        )
    return Unavailable(
        f"Firestore did not do it: {error}.",
        code="store_unavailable",
        hint="It is safe to repeat the request.",
    )
