"""Google's errors as sentences, and what a caller is told when nothing answers."""

import socket

import pytest
from google.api_core import exceptions as google
from google.auth.exceptions import DefaultCredentialsError

from infra.core.errors import AlreadyExists, Conflict, Forbidden, TooLarge, Unavailable
from infra.core.store import Create, Query
from infra.gcp.firestore import FirestoreDocuments
from infra.gcp.firestore_errors import ROLE, translated, translated_commit


@pytest.mark.parametrize(
    ("error", "expected", "code"),
    [
        (google.AlreadyExists("x"), AlreadyExists, "already_exists"),
        (google.FailedPrecondition("the stored version does not match"), Conflict, "conflict"),
        (google.NotFound("No document to update: projects/p"), Conflict, "conflict"),
        (google.NotFound("The database (default) does not exist for project p"), Unavailable, "store_missing"),
        (google.InvalidArgument("maximum entity size is 1048576 bytes"), TooLarge, "document_too_large"),
        (google.Aborted("too much contention"), Unavailable, "store_unavailable"),
        (google.DeadlineExceeded("late"), Unavailable, "store_unavailable"),
        (google.ResourceExhausted("quota"), Unavailable, "store_unavailable"),
        (google.InternalServerError("x"), Unavailable, "store_unavailable"),
        (google.PermissionDenied("x"), Forbidden, "store_forbidden"),
        (google.Unauthenticated("x"), Forbidden, "store_forbidden"),
    ],
)
def test_a_failed_commit_says_what_was_promised(error, expected, code):
    told = translated_commit(error)
    assert (type(told), told.code) == (expected, code)


def test_a_refused_identity_is_told_its_role():
    assert (
        ROLE
        in translated(google.PermissionDenied("x")).hint
        == "Grant roles/datastore.user on the project to the service account that this program runs as."
    )


def test_a_query_without_an_index_or_a_database_says_so():
    assert translated(google.FailedPrecondition("The query requires an index.")).code == "missing_index"
    assert translated(google.NotFound("The database (default) does not exist")).code == "store_missing"


def test_missing_credentials_name_the_command_that_makes_them():
    told = translated(DefaultCredentialsError("none found"))
    assert isinstance(told, Unavailable)
    assert "gcloud auth application-default login" in told.hint


async def test_a_database_that_does_not_answer_is_unavailable(monkeypatch):
    with socket.socket() as silent:  # bound, never listening: connections are refused
        silent.bind(("127.0.0.1", 0))
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{silent.getsockname()[1]}")
        store = FirestoreDocuments(project="nowhere", clock=lambda: 0, timeout_seconds=0.3)
        try:
            for action in (store.commit(Create("a/b", {})), store.get("a/b"), store.query("a", Query())):
                with pytest.raises(Unavailable):
                    await action
        finally:
            await store.close()
