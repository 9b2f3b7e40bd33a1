"""Bodies that are malformed, huge, slow, or half sent: a clear 4xx, and nobody else waits. Over raw sockets."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from ingest.http import door
from tests.api import SECRET, Api, serving, settings_of
from tests.canaries import CANARY
from tests.conftest import Broker, MakeTopics
from tests.test_api_devices import PATIENTS, device

MOST = 4_096
RECEIVE_S = 1.0


@pytest.fixture
async def api(migrated: str, broker: Broker, make_topics: MakeTopics) -> AsyncIterator[Api]:
    names = await make_topics(raw=1, devices=1, patients=1)
    settings = await settings_of(
        migrated, broker, names, api_max_body_bytes=MOST, api_receive_timeout_s=RECEIVE_S, api_connections=2
    )
    async with serving(settings) as served:
        await served.tell(device(1), *PATIENTS)
        yield served


@asynccontextmanager
async def line(api: Api) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):  # cut off by the service, as some of these are to be
            await writer.wait_closed()


def head(api: Api, length: int | str | None, *, path: str = "/api/v3/device/1", method: str = "PATCH") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: here", "Content-Type: application/json",
             f"Impilo-API-Key: {api.keys[1]}", f"Impilo-Webhook-Secret: {SECRET}"]  # fmt: skip
    lines += [f"Content-Length: {length}"] if length is not None else ["Transfer-Encoding: chunked"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def answered(reader: asyncio.StreamReader) -> tuple[int, str | None]:
    """Status and code of the problem, if it is one."""
    async with asyncio.timeout(30):
        status_line = await reader.readline()
        length, media_type = 0, b""
        while (said := await reader.readline()).strip():
            name, _, value = said.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            if name.lower() == b"content-type":
                media_type = value.strip()
        body = await reader.readexactly(length)
    code = json.loads(body)["code"] if media_type == b"application/problem+json" else None
    return int(status_line.split()[1]), code


async def sent(api: Api, *pieces: bytes) -> tuple[int, str | None]:
    async with line(api) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            try:
                await writer.drain()
            except ConnectionError:
                break  # it has been answered, and is heard no more
        return await answered(reader)


DEEP = b'{"note":' + b"[" * 100 + b"]" * 100 + b"}"


MALFORMED = [
    b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"note": NaN}', b'{"note": "\\u0000"}', b'{"note": "\\ud800"}',
    DEEP, b'{"note": "x"} {}', f'{{"{CANARY}": '.encode(),
]  # fmt: skip


async def test_what_is_not_one_json_object_is_400(api: Api) -> None:
    for body in MALFORMED:
        for path, method in (("/api/v3/device/1", "PATCH"), ("/webhooks", "POST"), ("/api/v3/weight-reading", "POST")):
            answer = await sent(api, head(api, len(body), path=path, method=method) + body)
            assert answer == (400, "body_malformed"), (path, body)


async def test_what_is_not_said_to_be_json_is_415(api: Api) -> None:
    for said in (b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b""):
        request = head(api, 2).replace(b"application/json", said) + b"{}"
        assert await sent(api, request) == (415, "not_json")
    request = head(api, 12).replace(b"application/json", b"Application/JSON; charset=utf-8") + b'{"note":"x"}'
    assert await sent(api, request) == (200, None)


async def test_a_body_that_is_too_large_is_413_before_it_has_arrived(api: Api) -> None:
    """Announced or not; and whoever goes on sending still hears the answer."""
    large = b"x" * (MOST + 1)
    assert await sent(api, head(api, MOST + 1)) == (413, "body_too_large")
    assert await sent(api, head(api, 10**12)) == (413, "body_too_large")
    assert await sent(api, head(api, MOST + 1) + large) == (413, "body_too_large")
    chunk = b"%x\r\n%b\r\n" % (len(large), large)
    assert await sent(api, head(api, None) + chunk) == (413, "body_too_large")
    assert await sent(api, head(api, 8_000_000), *[b"x" * 80_000] * 100) == (413, "body_too_large")
    fits = json.dumps({"note": "x" * (MOST - 12)}).encode()
    assert len(fits) == MOST
    assert await sent(api, head(api, MOST) + fits) == (200, None)


async def test_a_body_that_comes_too_slowly_is_408(api: Api) -> None:
    async with line(api) as (reader, writer):
        writer.write(head(api, 100) + b"{")
        began = time.monotonic()
        assert await answered(reader) == (408, "body_too_slow")
        assert RECEIVE_S <= time.monotonic() - began < RECEIVE_S + 10
    async with line(api) as (reader, writer):  # a byte now and then does not help
        writer.write(head(api, 100))
        answer = asyncio.create_task(answered(reader))
        while not answer.done():
            writer.write(b" ")
            await asyncio.sleep(0.1)
        assert await answer == (408, "body_too_slow")


async def test_headers_that_do_not_end_are_408_and_silence_is_cut_off(api: Api) -> None:
    assert await sent(api, b"GET /api/v3/devices HTTP/1.1\r\nHost: here\r\n") == (408, None)
    async with line(api) as (reader, writer):
        writer.write(head(api, 12) + b'{"note":"x"}')
        assert await answered(reader) == (200, None)
        writer.write(b"GET /api/v3/dev")  # the second request on the same line
        assert await answered(reader) == (408, None)
    async with line(api) as (reader, _):
        began = time.monotonic()
        assert await asyncio.wait_for(reader.read(), 30) == b""
        assert RECEIVE_S <= time.monotonic() - began < RECEIVE_S + 10


@pytest.mark.thorough
async def test_a_connection_that_was_of_use_stays_open_for_longer_than_a_proxy_would_keep_it(api: Api) -> None:
    async with line(api) as (reader, writer):
        for wait_s in (0, 65):
            await asyncio.sleep(wait_s)
            writer.write(head(api, 12) + b'{"note":"x"}')
            assert await answered(reader) == (200, None)


async def test_what_is_no_http_is_400(api: Api) -> None:
    for junk in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET\r\n\r\n", head(api, -5), head(api, "five")):
        assert (await sent(api, junk + b"\r\n\r\n"))[0] == 400
    huge = b"GET / HTTP/1.1\r\nHost: here\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n"
    assert (await sent(api, huge))[0] == 400


async def test_a_client_that_leaves_in_the_middle_changes_nothing(api: Api) -> None:
    body = b'{"status":"decommissioned"}'
    async with line(api) as (_, writer):
        writer.write(head(api, len(body)) + body[:-1])
        await writer.drain()
    await asyncio.sleep(0.1)
    assert (await api.ask("GET", "device/1"))[1]["currentStatus"] == "availableAtSite"


async def test_two_hundred_bad_clients_hold_nobody_up(api: Api) -> None:
    """Half-sent bodies, endless headers and silence, all at once; a good client is answered as if it were alone."""
    held = [head(api, 100) + b"{", head(api, None), b"GET /", b""] * 50
    lines = [await asyncio.open_connection("127.0.0.1", api.port) for _ in held]
    for (_, writer), piece in zip(lines, held, strict=True):
        writer.write(piece)
    slowest = 0.0
    for n in range(20):
        began = time.monotonic()
        assert (await api.ask("PATCH", "device/1", {"note": str(n)}))[0] == 200
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 5
    async with asyncio.timeout(30):
        for reader, writer in lines:
            answer = await reader.read()  # until it is cut off
            assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
            writer.close()
    assert (await api.ask("GET", "device/1"))[1]["note"] == "19"


async def test_paths_and_methods_that_are_not_there_are_problems_too(api: Api) -> None:
    assert await api.problem("GET", "/") == (404, "no_such_path")
    assert await api.problem("GET", "device/1/") == (404, "no_such_path")
    assert await api.problem("DELETE", "device/1") == (405, "method_not_allowed")
    assert await api.problem("GET", "device/none") == (404, "no_such_path")
    assert await api.problem("GET", "device/associate-patient") == (405, "method_not_allowed")
    answer = await api.anonymous.request("OPTIONS", "/api/v3/heart-rate-reading")
    assert answer.headers["Allow"] == "POST, GET"
    assert await api.problem("GET", "device/0") == (422, "invalid")
    assert await api.problem("GET", f"device/{2**63}") == (422, "invalid")
    assert await api.problem("GET", "device/validate/%00") == (422, "invalid")
    assert await api.problem("GET", "devices?status=%00") == (422, "invalid")


async def test_what_is_no_id_is_told_what_an_id_is_and_where_identifiers_are_looked_up(api: Api) -> None:
    for path in ("device/SN-1", "device/-1", "patient/mrn-7", "weight-reading/5.0"):
        status, problem = await api.ask("GET", path)
        assert (status, problem["code"]) == (404, "no_such_path"), path
        assert "an id is a whole number from 1" in problem["detail"]
        assert "device/validate/" in problem["detail"]
        assert path.partition("/")[2] not in problem["detail"]
    status, problem = await api.ask("GET", "devices/1")
    assert (status, "detail" in problem) == (404, False)


async def test_a_fault_of_ours_is_500_and_its_text_is_told_nobody(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise KeyError(CANARY)

    monkeypatch.setattr("ingest.http.device_routes.device_body", fails)
    answer = await api.ask("GET", "device/1")
    assert answer[0] == 500
    assert answer[1]["code"] == "fault"
    assert CANARY not in json.dumps(answer[1])
    said = "".join(capsys.readouterr())
    assert "KeyError" in said
    assert CANARY not in said
    monkeypatch.undo()
    assert (await api.ask("GET", "device/1"))[0] == 200


async def test_an_outage_is_told_at_once_and_then_now_and_then_to_its_last_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[int] = []

    class Log:
        def warning(self, _: str, *, requests: int, last: str) -> None:
            assert last == "away"
            told.append(requests)

    monkeypatch.setattr(door, "log", Log())
    monkeypatch.setattr(door, "_TELL_UNSERVED_EVERY_S", 0.2)
    unserved = door._Unserved()
    for asked in (3, 2):
        for _ in range(asked):
            unserved.add("away")
    assert told == [1]
    async with asyncio.timeout(10):
        while told != [1, 4]:
            await asyncio.sleep(0.01)
        unserved.add("away")
        while told != [1, 4, 1]:
            await asyncio.sleep(0.01)
