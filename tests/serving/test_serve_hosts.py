"""Which names ``flowers serve`` answers to, and whose pages may have something classified."""

from __future__ import annotations

import fnmatch
import socket

import pytest
from support.serve_server import JPEG, PICTURE, serving

from flowercli.serving.hosts import Hosts

OWN = "flowers.example.org"
CORS = "https://friend.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    options = ("--cors-origin", CORS, "--allow-host", OWN, "--allow-host", "*.lan")
    with serving(tmp_path_factory.mktemp("serve"), *options) as running:
        yield running


def status_of(server, head: bytes) -> int:
    """Send a request, line for line, and return the status of the answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head + b"\r\nConnection: close\r\n\r\n")
        return int(connection.recv(65536).split()[1])


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"GET /v2 HTTP/1.1", 400),
        (b"GET /v2 HTTP/1.0", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nHost: localhost", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: localhost, evil.example", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: user@localhost", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: ", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: evil.example", 403),
        (b"GET / HTTP/1.1\r\nHost: localhost.evil.example", 403),
        (b"GET /metrics HTTP/1.1\r\nHost: 10.0.0.1:8000", 403),
        (b"GET /v2/health/live HTTP/1.1\r\nHost: evil.example", 403),
        (b"GET /v2 HTTP/1.1\r\nHost: LOCALHOST", 200),
        (b"GET /v2 HTTP/1.1\r\nHost: localhost.:8000", 200),
        (b"GET /v2 HTTP/1.1\r\nHost: [::1]:8000", 200),
        (b"GET /v2 HTTP/1.1\r\nHost: flowers.example.org:443", 200),
        (b"GET /v2 HTTP/1.1\r\nHost: garden.lan", 200),
    ],
)
def test_names(server, lines, status):
    assert status_of(server, lines) == status


def test_pages(server):
    own = f"127.0.0.1:{server.port}"
    for origin, status in {
        f"http://{own}": 200,
        CORS: 200,
        "https://evil.example": 403,
        "null": 403,
        "http://[": 403,
    }.items():
        reply = server.classify(PICTURE, {**JPEG, "Origin": origin})
        assert reply.status == status, origin
        if status == 403:
            assert reply.problem() == (403, "foreign_origin")
    # Reading is what the browser itself prevents.
    assert server.ask("GET", "/v2", headers={"Origin": "https://evil.example"}).status == 200


def test_what_a_service_on_all_addresses_answers_to():
    everywhere = Hosts.of("0.0.0.0", ())  # noqa: S104  (not bound)

    def status(hosts: Hosts, host: str) -> int:
        scope = {"method": "GET", "headers": [(b"host", host.encode())]}
        problem = hosts.problem(scope)
        return problem.status if problem else 200

    assert status(everywhere, "192.168.1.5:8000") == 200
    assert status(everywhere, "[fe80::1]:8000") == 200
    assert status(everywhere, f"{socket.gethostname()}:8000") == 200
    assert status(everywhere, "evil.example") == 403
    assert status(Hosts.of("::", ["*"]), "evil.example") == 200
    assert status(Hosts.of("fe80::1%eth0", ()), "[fe80::1]:80") == 200
    assert status(Hosts.of("fe80::1%eth0", ()), "[fe80:0:0::1]:80") == 200
    assert status(Hosts.of("localhost", ()), "127.0.0.1:80") == 200
    assert status(Hosts.of("fe80::1%eth0", ()), "[fe80::2]:80") == 403


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("10.0.0.7", True), ("192.168.1.20:5000", True), ("172.31.255.1", True), ("[fd00::1]:5000", True),
        ("10.evil.com", False), ("10.evil.com:5000", False), ("192.168.1.evil.com", False), ("172.32.0.1", False),
        ("10.1.2.3.evil.com", False),
    ],
)  # fmt: skip
def test_mlflows_patterns_of_private_addresses_fit_no_name(host, answered):
    from flowercli.tracking.server import PRIVATE

    patterns = [form for pattern in PRIVATE for form in (pattern, f"{pattern}:*")]
    assert any(fnmatch.fnmatch(host, pattern) for pattern in patterns) is answered
