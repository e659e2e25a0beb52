"""A Hub of our own and processes that use it, one of each for all tests."""

import pytest
from hub.client import Client
from hub.server import Hub


@pytest.fixture(scope="session")
def server():
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture(scope="session")
def clients(server, tmp_path_factory):
    """Processes started together, as each imports torch: two online, one offline, sharing one home."""
    home = tmp_path_factory.mktemp("home")
    started = {
        "online": Client(home, HF_ENDPOINT=server.url),
        "second": Client(home, HF_ENDPOINT=server.url),
        "offline": Client(home, HF_ENDPOINT=server.url, HF_HUB_OFFLINE="1"),
    }
    yield started
    for client in started.values():
        client.close()


@pytest.fixture
def hub(server):
    """The server without repositories, faults or past requests."""
    for kept in (server.repos, server.lfs, server.log, server.faults, server.tokens_at_cdn, server.ranges):
        kept.clear()
    return server


@pytest.fixture
def client(clients):
    return clients["online"]


@pytest.fixture
def second(clients):
    return clients["second"]


@pytest.fixture
def offline(clients):
    return clients["offline"]
