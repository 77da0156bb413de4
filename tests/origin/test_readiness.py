import socket

from origin.readiness import READ, Loop


def test_a_connection_that_fails_stops_neither_the_others_nor_the_loop() -> None:
    loop = Loop()
    told = []

    def tell(events: int) -> None:
        told.append(events)
        loop.readiness.leave(good.fileno())
        loop.call_soon(loop.stop)

    def fail(_: int) -> None:
        loop.readiness.leave(bad.fileno())
        raise ValueError("broken")

    bad, bad_peer = socket.socketpair()
    good, good_peer = socket.socketpair()
    with bad, bad_peer, good, good_peer:
        loop.readiness.watch(bad.fileno(), fail)
        loop.readiness.watch(good.fileno(), tell)
        bad_peer.send(b"a")
        good_peer.send(b"a")
        loop.run_forever()
    loop.close()
    assert told == [READ]
