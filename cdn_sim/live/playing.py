"""Plays a part of a scenario in real time, with servers in processes, shaped links, and viewers as HTTP clients."""

import asyncio
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from cdn_sim import popularity, viewing
from cdn_sim.accounting import DAY_HOURS, Tally
from cdn_sim.live.fleet import Child, remove_cache
from cdn_sim.live.shaping import BIN_S, Link
from cdn_sim.live.titles import LiveTitle, read_titles
from cdn_sim.live.watching import Audience, Viewer, warm_up
from cdn_sim.model import Days, Event, Isp, Scenario
from cdn_sim.outcomes import CONTENT_MISS, DECISIONS, DELAYED, FAILED, HIT, PASSED
from cdn_sim.request_logs.decisions import Decision, Kind, parse
from cdn_sim.results import Results, Run
from cdn_sim.scenario import BASE, size_bytes, time_ms
from cdn_sim.viewing import DAY_MS
from headend.core.errors import ConfigError

CHECK_S = 0.5
"""Time between the steering server's health checks."""
TTL_S = 3
"""How long viewers use a steering manifest."""
PROGRESS_S = 5.0
"""Time between progress reports."""
STEERED_S = 60.0
"""Timeout for the steering server to find that all edges are up."""
_DECISION_NUMBERS = {Decision.HIT: HIT, Decision.DELAYED: DELAYED, Decision.MISS: CONTENT_MISS, Decision.PASSED: PASSED}
LIVE_EVENTS = ("lost", "slow", "origin")
"""Kinds of events that can be played live; the others are ignored."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The part of a scenario to play.

    Attributes:
        scenario: The scenario.
        store: Store with the releases to watch.
        endpoint_url: The store's S3 endpoint; None for AWS or a folder.
        seed: Seed of the viewers.
        seconds: Length in seconds.
        folder: Folder for decision logs; created if it is missing.
    """

    scenario: Scenario
    store: str
    endpoint_url: str | None
    seed: int
    seconds: float
    folder: Path

    @property
    def starts_ms(self) -> int:
        """Start of the slice: the first live event, or the first day's busiest hour if that event is in the warm-up."""
        first_ms = self.scenario.days.warm_up * DAY_MS
        events_ms = [time_ms(event.at) for event in self.scenario.events if event.kind in LIVE_EVENTS]
        if events_ms and min(events_ms) >= first_ms:
            return min(events_ms)
        hours = self.scenario.viewers.hours
        return first_ms + hours.index(max(hours)) * 3_600_000


def play(part: Slice, on_progress: Callable[[str], object]) -> tuple[Results, bool]:
    """Play a slice; returns the results, and whether SIGINT or SIGTERM stopped it early.

    Raises:
        ConfigError: A server does not start, or the store has no release.
    """
    warm_up()
    return asyncio.run(_play(part, on_progress))


class _Site:
    """One provider's servers and links."""

    def __init__(self, number: int, isp: Isp) -> None:
        self.number, self.isp = number, isp
        self.shield: Child
        self.edges: list[Child] = []
        self.edge_links: list[Link] = []
        self.transit: Link
        self.origin_link: Link
        self.audience: Audience
        self.logs: list[Path] = []

    def host(self, edge: int) -> str:
        """Address of an edge, counted from 0; all addresses in 127.0.0.0/8 are this machine."""
        return f"127.{10 + self.number}.0.{edge + 1}"

    @property
    def network(self) -> str:
        """Network of the provider's viewers."""
        return f"127.{10 + self.number}.0.0/16"

    @property
    def viewers(self) -> str:
        """Source address of the viewers' connections."""
        return f"127.{10 + self.number}.1.1"


async def _play(part: Slice, on_progress: Callable[[str], object]) -> tuple[Results, bool]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    part.folder.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as held:
        scratch = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="headend-live-")))
        sites = [_Site(number, isp) for number, isp in enumerate(part.scenario.isps)]
        on_progress(f"starting an origin and {sum(isp.edges + 1 for isp in part.scenario.isps)} caches")
        starting = asyncio.ensure_future(_start(part, sites, held, scratch))
        stopping = asyncio.ensure_future(stop.wait())
        held.callback(stopping.cancel)
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
            raise KeyboardInterrupt
        try:
            titles = starting.result()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        played_s = await _run_viewers(part, sites, titles, stop, on_progress)
    return _results(part, sites, titles, played_s), played_s < part.seconds


async def _start(part: Slice, sites: Sequence[_Site], stack: AsyncExitStack, scratch: Path) -> tuple[LiveTitle, ...]:
    """Start all servers concurrently; their addresses are fixed in advance."""
    scenario = part.scenario
    children: list[Child] = []

    def add_child(name: str, *command: str) -> tuple[Child, tuple[str, int]]:
        # Fix the port in advance, so that a killed server can restart at the same address.
        address = "127.0.0.1", _reserve_port("127.0.0.1", stack)
        children.append(Child((*command, "--port", str(address[1]), "--json"), scratch / f"{name}.err"))
        stack.push_async_callback(children[-1].stop)
        return children[-1], address

    def add_cache(site: _Site, name: str, policy: str, disk: str, *options: str) -> tuple[Child, tuple[str, int]]:
        full = f"{site.isp.name}-{name}"
        log = part.folder / f"{full}.decisions"
        log.unlink(missing_ok=True)
        site.logs.append(log)
        common = ("--disk", str(scratch / full), "--disk-bytes", str(size_bytes(disk)), "--decisions", str(log))
        return add_child(full, "edge", "--name", full, "--policy", policy, *common, *options)

    endpoint = ("--s3-endpoint", part.endpoint_url) if part.endpoint_url else ()
    _, origin = add_child("origin", "serve", "--store", part.store, *endpoint, "--open")
    port = _reserve_port(sites[0].host(0), stack)
    steered: list[str] = []
    for site in sites:
        isp, edge = site.isp, scenario.edge_of(site.isp)
        site.origin_link = Link(max(scenario.origin.link.gbps * isp.share * 1e9, 1e3), scenario.origin.link.rtt_ms)
        upstream = await stack.enter_async_context(site.origin_link.proxy("127.0.0.1", 0, origin))
        site.shield, shield = add_cache(
            site, "shield", isp.shield.policy, isp.shield.disk, "--origin", upstream, "--tier", "shield"
        )
        site.transit = Link(isp.transit.gbps * 1e9, isp.transit.rtt_ms)
        transit = await stack.enter_async_context(site.transit.proxy("127.0.0.1", 0, shield))
        for number in range(isp.edges):
            upstreams = ("--origin", upstream, "--shield", transit)
            options = ("--admission", edge.admission, "--mbps", str(edge.gbps * 1000))
            server, address = add_cache(site, str(number + 1), edge.policy, edge.disk, *upstreams, *options)
            link = Link(edge.gbps * 1e9)
            url = await stack.enter_async_context(link.proxy(site.host(number), port, address))
            site.edges.append(server)
            site.edge_links.append(link)
            steered += ["--edge", f"{_slug(isp.name)}/{number + 1}={url}"]
        steered += ["--network", f"{_slug(isp.name)}={site.network}"]
    replicas = max(isp.replicas_of_top for isp in scenario.isps)
    steering_options = ("--replicas", str(replicas), "--check", str(CHECK_S), "--ttl", str(TTL_S))
    _, steering = add_child("steering", "steer", *steered, *steering_options)
    for site in sites:
        site.audience = Audience(f"http://{steering[0]}:{steering[1]}", site.viewers)
        stack.push_async_callback(site.audience.close)
    async with asyncio.TaskGroup() as starting:
        for child in children:
            starting.create_task(child.start())
    await _until_steered(sites)
    return await read_titles(f"http://{origin[0]}:{origin[1]}", scenario.catalogue.titles)


async def _until_steered(sites: Sequence[_Site]) -> None:
    """Wait until the steering server has found all edges to be up."""
    edges = sum(len(site.edges) for site in sites)
    deadline_s = asyncio.get_running_loop().time() + STEERED_S
    while asyncio.get_running_loop().time() < deadline_s:
        pathways, _, _ = await sites[0].audience.order("title", 0, "")
        if len(pathways) == edges:
            return
        await asyncio.sleep(CHECK_S)
    raise ConfigError("the edges did not start in time: play a smaller scenario, or use a less busy machine")


async def _run_viewers(
    part: Slice,
    sites: Sequence[_Site],
    titles: Sequence[LiveTitle],
    stop: asyncio.Event,
    on_progress: Callable[[str], object],
) -> float:
    """Run the viewers and the events; returns the seconds played."""
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    tasks: set[asyncio.Task[None]] = set()

    async def start(site: _Site, viewer: Viewer) -> None:
        await asyncio.sleep(max(0.0, started_s + viewer.starts_s - loop.time()))
        await site.audience.watch(viewer)

    for site in sites:
        tasks |= {loop.create_task(start(site, viewer)) for viewer in viewers(part, site.number, titles)}
    expected = len(tasks)
    for event in part.scenario.events:
        after_s = (time_ms(event.at) - part.starts_ms) / 1000
        if event.kind in LIVE_EVENTS and 0 <= after_s < part.seconds:
            tasks.add(loop.create_task(_apply(event, started_s + after_s, sites)))
    try:
        while not stop.is_set() and (left_s := started_s + part.seconds - loop.time()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(PROGRESS_S, left_s))
            active = sum(site.audience.active for site in sites)
            started = int(sum(site.audience.experience[0] for site in sites))
            on_progress(f"{active} viewers playing; {started} of {expected} sessions started")
        return min(part.seconds, loop.time() - started_s)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def viewers(part: Slice, isp_number: int, titles: Sequence[LiveTitle]) -> list[Viewer]:
    """The sessions that start in the slice: those of the simulation, with the titles of the store."""
    scenario = part.scenario
    day = part.starts_ms // DAY_MS
    ranking = popularity.rank_titles(scenario.popularity, len(titles), scenario.days.all, part.seed)
    segments = np.array([title.segments for title in titles])
    weights = ranking.weights(day, isp_number)[: len(titles)]
    sessions = viewing.sessions(scenario, isp_number, day, part.seed, weights, segments)
    end_ms = part.starts_ms + part.seconds * 1000
    numbers = np.flatnonzero((sessions.start_ms >= part.starts_ms) & (sessions.start_ms < end_ms))
    return [
        Viewer(
            starts_s=float(sessions.start_ms[number] - part.starts_ms) / 1000,
            title=titles[int(sessions.title[number])],
            codec=scenario.viewers.devices[int(sessions.device[number])].codec,
            most_kbps=scenario.viewers.devices[int(sessions.device[number])].most_kbps,
            left=int(sessions.left[number]),
            rule=int(sessions.rule[number]),
            quality=int(sessions.quality[number]),
            most_ms=float(sessions.most_ms[number]),
            kbps=float(sessions.kbps[number]),
            rtt_ms=float(sessions.rtt_ms[number]),
            draw=int(sessions.draw[number]),
        )
        for number in numbers
    ]


async def _apply(event: Event, at_s: float, sites: Sequence[_Site]) -> None:
    """Apply an event to servers and links at its time, and end it after its length."""
    await asyncio.sleep(max(0.0, at_s - asyncio.get_running_loop().time()))
    if event.lost is not None:
        isp, _, number = (event.lost.edge or event.lost.shield).partition("/")
        site = next(site for site in sites if site.isp.name == isp)
        server = site.edges[int(number) - 1] if number else site.shield
        await server.kill()
        await asyncio.sleep(event.lost.minutes * 60)
        if event.lost.returns == "cold":
            await asyncio.to_thread(remove_cache, Path(server.command[server.command.index("--disk") + 1]))
        await server.start()
    elif event.slow is not None:
        link = next(site for site in sites if site.isp.name == event.slow.transit).transit
        full_bps = link.bps
        if event.slow.keeps > 0:
            link.bps = full_bps * event.slow.keeps
        else:
            link.cut()
        await asyncio.sleep(event.slow.minutes * 60)
        link.bps = full_bps
        link.restore()
    elif event.origin is not None:
        for site in sites:
            site.origin_link.delay_s += event.origin.extra_ms / 2000
        await asyncio.sleep(event.origin.minutes * 60)
        for site in sites:
            site.origin_link.delay_s -= event.origin.extra_ms / 2000


def _results(part: Slice, sites: Sequence[_Site], titles: Sequence[LiveTitle], played_s: float) -> Results:
    scenario = part.scenario
    hour = part.starts_ms % DAY_MS // 3_600_000
    day_ms = part.starts_ms // DAY_MS * DAY_MS
    events = tuple(
        msgspec.structs.replace(event, at=f"day 1 {event.at.rpartition(' ')[2]}")
        for event in scenario.events
        if event.kind in LIVE_EVENTS and 0 <= time_ms(event.at) - part.starts_ms < part.seconds * 1000
    )
    clock = f"{(part.starts_ms - day_ms) // 3_600_000:02}:{(part.starts_ms - day_ms) // 60_000 % 60:02}"
    played = msgspec.structs.replace(
        scenario,
        summary=f"{scenario.summary} Played live from {clock} for {played_s:.0f} s, with real servers and clients.",
        days=Days(counted=1),
        events=events,
        alternatives={},
        seeds=(part.seed,),
    )
    tallies = tuple(_tally(part, site, titles, hour, played_s) for site in sites)
    segment_ms = titles[0].segment_ms
    missing = int(played_s < part.seconds)
    return Results({BASE: played}, (Run(BASE, part.seed, tallies),), segment_ms, missing, played_s)


def _tally(part: Slice, site: _Site, titles: Sequence[LiveTitle], hour: int, played_s: float) -> Tally:
    isp = site.isp
    requests = np.zeros((isp.edges + 1, len(DECISIONS), DAY_HOURS))
    sent = np.zeros_like(requests)
    # The shield's log is first, but its row in the arrays is last.
    for cache, log in enumerate((*site.logs[1:], site.logs[0])):
        counts, sizes = _decisions(log)
        requests[cache, :, hour], sent[cache, :, hour] = counts, sizes
    bins = max(1, int(np.ceil(played_s / BIN_S)))
    traffic = np.zeros((isp.edges + 2, bins))
    for row, link in enumerate((*site.edge_links, site.transit, site.origin_link)):
        for number, size in link.carried.items():
            traffic[row, min(number, bins - 1)] += size
    # Rates are per whole bin, so extrapolate the last, partial one.
    traffic[:, -1] *= BIN_S / max(1.0, played_s - BIN_S * (bins - 1))
    experience = np.zeros((DAY_HOURS, len(site.audience.experience)))
    experience[hour] = site.audience.experience
    renditions = sum(len(levels) for levels in titles[0].levels.values())
    return Tally(
        isp.name, part.seed, isp.edges, 0, requests, sent, traffic, np.zeros_like(traffic), experience, (),
        site.audience.peak, site.audience.active, np.zeros(isp.edges + 2), 0.0, 0,
        sum(title.segments for title in titles) * renditions,
    )  # fmt: skip


def _decisions(log: Path) -> tuple[np.ndarray, np.ndarray]:
    """Requests and bytes by decision, from a log; a miss whose fetch fails counts as failed."""
    counts, sizes = np.zeros(len(DECISIONS)), np.zeros(len(DECISIONS))
    known_sizes: dict[str, int] = {}
    with suppress(FileNotFoundError), log.open(encoding="ascii") as lines:
        for record in parse(lines, log.name):
            if record.kind is Kind.REQUEST and record.decision is not None:
                counts[_DECISION_NUMBERS[record.decision]] += 1
                sizes[_DECISION_NUMBERS[record.decision]] += record.size_bytes
                known_sizes[record.key] = record.size_bytes
            elif record.kind is Kind.FAILED and counts[CONTENT_MISS]:
                counts[CONTENT_MISS] -= 1
                counts[FAILED] += 1
                sizes[CONTENT_MISS] -= known_sizes.get(record.key, 0)
    return counts, sizes


def _reserve_port(host: str, stack: AsyncExitStack) -> int:
    """Reserve a port while ``held`` is open: bind a socket that doesn't listen, so that a server can still listen."""
    reserved = stack.enter_context(socket.socket())
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((host, 0))
    return int(reserved.getsockname()[1])


def _slug(name: str) -> str:
    """A provider's name in the form that ``headend steer`` accepts."""
    return "".join(character if character.isalnum() else "-" for character in name.lower())
