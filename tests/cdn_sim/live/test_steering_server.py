"""The steering server over real edges."""

import ipaddress
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cdn_sim.live.load import LoadMeter
from cdn_sim.live.serving import EdgeSettings
from cdn_sim.live.serving import running as edge_running
from cdn_sim.live.steering_server import SteeringSettings, running
from cdn_sim.pathways import SteeringMap, parse_edge
from headend.core.http.listening import listen
from tests.cdn_sim.live.faulty_origin import FaultyOrigin, path_of
from tests.cdn_sim.live.faulty_origin import running as origin_running
from tests.cdn_sim.live.test_edge import get, metric
from tests.support.waiting import wait_until

HOSTS = ("127.0.0.2", "127.0.0.3")


@pytest.fixture
def port() -> int:
    [listener] = listen("127.0.0.1", 0)
    with listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def steering_map(port: int) -> SteeringMap:
    edges = tuple(parse_edge(f"north/{number}=http://{host}:{port}") for number, host in enumerate(HOSTS, 1))
    return SteeringMap(edges, ttl_s=1)


@pytest.fixture
def upstream() -> Iterator[FaultyOrigin]:
    with origin_running(FaultyOrigin()) as faulty_origin:
        yield faulty_origin


def pathways(url: str, query: str = "", title: str = "film", **headers: str) -> list[str]:
    status, body, found = get(f"{url}/{title}{query}", **headers)
    assert (status, found["Cache-Control"]) == (200, "no-store")
    assert found["Access-Control-Allow-Origin"] == "*"
    document = json.loads(body)
    assert document["VERSION"] == 1 and document["RELOAD-URI"].startswith(f"{title}?viewer=")
    assert document["PATHWAY-PRIORITY"][-1] == "."
    assert [each["ID"] for each in document.get("PATHWAY-CLONES", [])] == document["PATHWAY-PRIORITY"][:-1]
    return list(document["PATHWAY-PRIORITY"][:-1])


def test_a_dead_edge_is_left_out_of_the_next_answer_until_it_recovers(
    upstream: FaultyOrigin, steering_map: SteeringMap, port: int, tmp_path: Path
) -> None:
    settings = [EdgeSettings(upstream.url, tmp_path / host, 10_000_000, name=host) for host in HOSTS]
    with running(SteeringSettings(steering_map, check_s=0.1)) as url, ExitStack() as stack:
        wait_until(lambda: pathways(url) == [])
        stack.enter_context(edge_running(settings[0], host=HOSTS[0], port=port))
        with edge_running(settings[1], host=HOSTS[1], port=port):
            wait_until(lambda: sorted(pathways(url)) == ["north.1", "north.2"])
            assert metric(url, "headend_steering_edges_up") == 2
        wait_until(lambda: pathways(url) == ["north.1"])
        with edge_running(settings[1], host=HOSTS[1], port=port):
            wait_until(lambda: sorted(pathways(url)) == ["north.1", "north.2"])


def test_no_new_viewers_are_sent_to_a_full_edge(
    upstream: FaultyOrigin, steering_map: SteeringMap, port: int, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        for host in HOSTS:
            edge_settings = EdgeSettings(upstream.url, tmp_path / host, 10_000_000, name=host, rate_bps=40_000)
            stack.enter_context(edge_running(edge_settings, host=host, port=port))
        url = stack.enter_context(running(SteeringSettings(steering_map, check_s=0.1)))
        wait_until(lambda: len(pathways(url)) == 2)
        first, second = pathways(url)
        number = int(first[-1])
        assert get(f"http://{HOSTS[number - 1]}:{port}" + path_of("film", 1))[0] == 200
        wait_until(lambda: pathways(url) == [second, first])


def test_a_viewer_keeps_its_number_and_its_edge(steering_map: SteeringMap) -> None:
    two = SteeringMap(steering_map.edges, replicas=2, ttl_s=1)
    with running(SteeringSettings(two, check_s=60)) as url:
        wait_until(lambda: pathways(url) == [])  # these edges don't run
    with running(SteeringSettings(two, check_s=60)) as url:
        document = json.loads(get(f"{url}/film?viewer=7&_HLS_pathway=.&_HLS_throughput=1")[1])
        assert document["RELOAD-URI"] == "film?viewer=7"


def test_viewers_are_assigned_by_network_and_only_trusted_proxies_may_state_their_address(port: int) -> None:
    edges = tuple(parse_edge(f"{isp}/1=http://{host}:{port}") for isp, host in zip("ab", HOSTS, strict=True))
    networks = (("a", ipaddress.ip_network("10.1.0.0/16")), ("b", ipaddress.ip_network("127.0.0.0/8")))
    loopback = (ipaddress.ip_network("127.0.0.1/32"),)
    upstreams = SteeringMap(edges, networks)
    for proxies, forwarded, first in (
        ((), "", "b.1"),
        ((), "10.1.0.1", "b.1"),
        (loopback, "10.1.0.1", "a.1"),
        (loopback, "10.1.0.1, 127.0.0.9", "b.1"),
        (loopback, "127.0.0.9, 10.1.0.1, 127.0.0.1", "a.1"),
    ):
        with ExitStack() as stack:
            for host in HOSTS:
                stack.enter_context(_answering(host, port))
            url = stack.enter_context(running(SteeringSettings(upstreams, proxies, check_s=0.1)))
            assert pathways(url, X_Forwarded_For=forwarded)[0] == first, (proxies, forwarded)


def _answering(host: str, port: int) -> ExitStack:
    """Return a server that says it is ready."""
    import http.server
    import threading

    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Headend-Load", "nonsense")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((host, port), Ready)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    stack = ExitStack()
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return stack


@pytest.mark.parametrize("path", ["/", "/a/b", "/A", "/film%2f", "/" + "a" * 65, "/film/../x"])
def test_an_invalid_title_is_404(path: str, steering_map: SteeringMap) -> None:
    with running(SteeringSettings(steering_map)) as url:
        assert get(url + path)[0] == 404


@pytest.mark.parametrize(
    "query", ["?" + "_HLS_pathway=" * 100, "?viewer=99999999999999", "?viewer=-1", "?_DASH_pathway=%22a,b%22", "?%00"]
)
def test_malformed_queries_are_still_answered(query: str, steering_map: SteeringMap) -> None:
    with running(SteeringSettings(steering_map)) as url:
        pathways(url, query)


def test_load_is_a_mean_over_ten_seconds_even_if_the_clock_jumps() -> None:
    now = 100.0
    meter = LoadMeter(8_000, lambda: now)
    meter.add(5_000)
    assert meter.load == 0.5
    now += 9
    meter.add(5_000)
    assert meter.load == 1.0
    now += 1
    assert meter.load == 0.5
    now += 1e6
    assert meter.load == 0.0
    assert LoadMeter().load == 0.0
