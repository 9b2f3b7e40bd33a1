"""`/live`, `/ready` and `/metrics` of a consumer, answered by a thread of its own: also when the loop is stuck."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socket import AF_INET6
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from ingest.health import LIVE_WITHIN_S, Health
from ingest.metrics import Metrics
from sinks.errors import OperatorError

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


@contextmanager
def probes(health: Health, metrics: Metrics, *, host: str, port: int | None) -> Iterator[int | None]:
    """The port that answers while the block runs; None, and nothing answers, where `port` is None. 0 takes a free one.

    :raises OperatorError: when it cannot listen there.
    """
    if port is None:
        yield None
        return
    try:
        server = make_server(host, port, _application(health, metrics), _server_of(host), _Silent)
    except OSError as error:
        # The text of the error may name what the resolver was asked; its number says enough.
        raise OperatorError(
            f"nothing can listen on READINGS_HTTP_HOST {host}, READINGS_HTTP_PORT {port} ({error.strerror})"
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="probes", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _application(health: Health, metrics: Metrics) -> Callable[[dict[str, Any], StartResponse], Iterable[bytes]]:
    expose = make_wsgi_app(metrics.exposed)

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        def say(status: str, *lines: str) -> Iterable[bytes]:
            start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else ["".join(f"{line}\n" for line in lines).encode()]

        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return say("405 Method Not Allowed", "GET or HEAD")
        match environ["PATH_INFO"]:
            case "/live":
                if health.live:
                    return say("200 OK", "live")
                return say("503 Service Unavailable", f"the loop has not turned for {LIVE_WITHIN_S:g} s")
            case "/ready":
                hindrances = health.hindrances
                return say("503 Service Unavailable", *hindrances) if hindrances else say("200 OK", "ready")
            case "/metrics":
                return list(expose(environ, start_response))
            case _:
                return say("404 Not Found", "/live, /ready, /metrics")

    return answer


def _server_of(host: str) -> type[ThreadingWSGIServer]:
    class Server(ThreadingWSGIServer):
        if ":" in host:
            address_family = AF_INET6

    return Server


class _Silent(WSGIRequestHandler):
    """A probe every few seconds is no news."""

    timeout = 10  # seconds that a client may take over its request

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        pass
