import pytest

from tests.world.control_plane import control_plane


@pytest.fixture
async def plane(tmp_path):
    async with control_plane(tmp_path) as running:
        yield running
