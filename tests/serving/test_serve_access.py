"""``flowers serve``: keys, other origins, all interfaces, and the files of a page."""

from __future__ import annotations

import pytest
from support.serve_server import JPEG, PICTURE, serving

KEY = "correct horse"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    arguments = ("--cors-origin", "https://example.org", "--host", "0.0.0.0")  # noqa: S104  (the test of it)
    with serving(tmp_path_factory.mktemp("serve"), *arguments, FLOWERS_API_KEY=KEY) as running:
        yield running


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"X-API-Key": KEY + "x"}, 401),
        ({"X-API-Key": "\xe4"}, 401),
        ({"X-API-Key": KEY, "Authorization": "Bearer wrong"}, 401),
        ({"X-API-Key": KEY}, 200),
        ({"Authorization": f"bearer {KEY}"}, 200),
    ],
)
def test_only_the_key_opens(server, headers, status):
    for method, path, body in (("POST", "/v1/classify", PICTURE), ("GET", "/metrics", None), ("GET", "/v2", None)):
        reply = server.ask(method, path, body, {**JPEG, **headers})
        assert reply.status == status
        if status == 401:
            assert reply.problem() == (401, "no_key")
            assert reply.headers["WWW-Authenticate"] == 'Bearer realm="flowers"'
    assert KEY not in server.text


def test_probes_need_no_key(server):
    assert server.ask("GET", "/v2/health/live").json == {"live": True}
    assert server.ask("GET", "/v2/health/ready").json == {"name": "flowers", "ready": True}


def test_other_origins_are_let_in_by_name_only(server):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    reply = server.ask("OPTIONS", "/v1/classify", headers={"Origin": "https://example.org", **asked})
    assert reply.status == 200
    assert reply.headers["Access-Control-Allow-Origin"] == "https://example.org"
    reply = server.ask("GET", "/v2", headers={"Origin": "https://example.org", "X-API-Key": KEY})
    assert reply.headers["Access-Control-Allow-Origin"] == "https://example.org"
    reply = server.ask("GET", "/v2", headers={"Origin": "https://example.com", "X-API-Key": KEY})
    assert "Access-Control-Allow-Origin" not in reply.headers


def test_a_key_silences_the_warning_about_all_interfaces(server, tmp_path):
    assert "Warning" not in server.text
    assert "Ready: http://localhost:" in server.text
    with serving(tmp_path, "--host", "0.0.0.0") as open_to_all:  # noqa: S104
        assert "Warning: Everybody who reaches this machine can ask, without a key." in open_to_all.text
