"""One installation for all stories of a worker; stories that break things start their own."""

import pytest

from tests.world.stack import Up


@pytest.fixture(scope="session")
def up(tmp_path_factory):
    with Up(tmp_path_factory.mktemp("up")) as running:
        yield running


@pytest.fixture
def own_up(tmp_path):
    """A fresh installation for this test alone, with a lease short enough to watch it run out."""
    with Up(tmp_path, LEASE_SECONDS="2", HEARTBEAT_SECONDS="0.4") as running:
        yield running
