#!/usr/bin/env python3
"""`reconnect` with a server of Python's `websockets` that closes and refuses as each check wants, over both adapters.

`run` installs the library and starts this. Each check has a time, in which the server counts connections.
"""

import asyncio
import contextlib
import email.utils
import http
import re
import sys
import tempfile
import time

from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from peer import EXAMPLES, Checks, equal

# Seconds in which nothing may happen that a client in a loop would do hundreds of times.
SOME = 4
# Waits are short, so that a check does not take minutes. What counts as a long session stays as it is.
QUICK = ["--first-delay", "0.2", "--spread", "0.2", "--max-delay", "0.5"]
ADAPTERS = {"tokio": [], "blocking": ["--blocking"]}
# The checks, each of which gets the flags that choose the adapter.
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def closing(code, after=0):
    """A handler that closes with this code."""

    async def handler(ws):
        await asyncio.sleep(after)
        await ws.close(code)

    return handler


def dropping():
    """A handler that drops the connection without a Close."""

    async def handler(ws):
        ws.transport.abort()

    return handler


def answering(status, *headers):
    """A response in place of a WebSocket."""

    fields = Headers([*headers, ("Content-Length", "0"), ("Connection", "close")])
    return Response(status, http.HTTPStatus(status).phrase, fields, b"")


async def staying(ws):
    await ws.send("Hello")
    await ws.wait_closed()


class Scripted:
    """A server that does with each connection what its script says. Each item is a handler or a response, and the last is for all
    that follow."""

    def __init__(self, *script, port=0):
        self.script, self.port, self.times, self.heads = script or [staying], port, [], []

    def _next(self):
        return self.script[min(len(self.times), len(self.script)) - 1]

    async def __aenter__(self):
        def process_request(connection, request):
            self.times.append(time.monotonic())
            self.heads.append(request.headers)
            what = self._next()
            if isinstance(what, Response):
                return what
            connection.handle = what

        async def handle(ws):
            with contextlib.suppress(Exception):
                await ws.handle(ws)

        self.server = await serve(handle, "127.0.0.1", self.port, process_request=process_request, close_timeout=1)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()


class Client:
    """`reconnect`, with what it prints. It is killed at the end."""

    def __init__(self, url, *flags):
        self.command = [EXAMPLES / "reconnect", *flags, url]

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(*map(str, self.command), stdin=pipe, stdout=pipe, stderr=pipe)
        self.said = []
        self.reader = asyncio.create_task(self._read())
        return self

    async def _read(self):
        async for line in self.process.stderr:
            self.said.append(line.decode().rstrip())

    async def says(self, pattern, within=SOME, count=1):
        """Waits for a line on standard error, or for so many."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            found = [found for line in self.said if (found := re.search(pattern, line))]
            if len(found) >= count:
                return found[count - 1]
            await asyncio.sleep(0.01)
        raise AssertionError(f"it did not say {pattern!r}: {self.said}")

    async def ends(self, code):
        equal(await asyncio.wait_for(self.process.wait(), SOME), code)
        await self.reader

    async def __aexit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self.reader


async def stops_after(flags, *script, connections=1, code=1, says=None):
    """The client ends by itself, and the server has seen so many connections."""
    async with Scripted(*script) as server, Client(server.url, *QUICK, *flags) as client:
        await client.ends(code)
        await asyncio.sleep(0.2)
        equal(len(server.times), connections)
        if says:
            assert any(re.search(says, line) for line in client.said), client.said


async def comes_back_after(flags, first, says):
    """The client comes back once and stays, and says how the session before ended."""
    async with Scripted(first, staying) as server, Client(server.url, *QUICK, *flags) as client:
        await client.says(r"attempt 1, after [0-9.]+ s" + says)
        equal(len(server.times), 2)


@check
async def close_1008_gets_at_most_three_connections(flags):
    async with Scripted(closing(1008)) as server, Client(server.url, *flags) as client:
        await client.says("reconnect: .*1008")
        await asyncio.sleep(SOME)
        assert 1 <= len(server.times) <= 3, f"{len(server.times)} connections in {SOME} s"


@check
async def an_accept_that_closes_at_once_is_no_success(flags):
    """Every opening would reset the wait, if it counted."""
    waits = ["--first-delay", "0.5", "--spread", "0.5", "--max-delay", "60"]
    async with Scripted(closing(1011)) as server, Client(server.url, *waits, *flags):
        await asyncio.sleep(2 * SOME)
        # Ceilings of 0.5, 1, 2, 4, 8 and 16 s. A loop would make hundreds.
        assert 2 <= len(server.times) <= 20, f"{len(server.times)} connections in {2 * SOME} s"


@check
async def codes_that_stop(flags):
    for code in [1002, 1003, 1007, 1008, 1009, 1010, 3000, 4000, 4999]:
        await stops_after(flags, closing(code), says=f"code {code}")


@check
async def code_1000_is_the_end(flags):
    await stops_after(flags, closing(1000), code=0)


@check
async def code_1000_with_back_off(flags):
    await comes_back_after([*flags, "--back-off", "1000"], closing(1000), "; before: .*code 1000")


@check
async def codes_that_come_back(flags):
    for code in [1001, 1011, 1012, 1014]:
        await comes_back_after(flags, closing(code), f"; before: .*code {code}")


@check
async def a_close_without_a_code_comes_back(flags):
    async def handler(ws):
        # The library sends a code with each close.
        ws.transport.write(b"\x88\x00")
        await ws.wait_closed()

    await comes_back_after(flags, handler, "; before: .*code 1005")


@check
async def a_dropped_connection_comes_back(flags):
    await comes_back_after(flags, dropping(), "; before: peer gone")


@check
async def code_1013_waits_for_longer(flags):
    async with Scripted(closing(1013)) as server, Client(server.url, *QUICK, *flags) as client:
        found = await client.says(r"waiting ([0-9.]+) s: .*1013")
        assert 15 <= float(found[1]) < 16, found[0]
        await asyncio.sleep(SOME)
        equal(len(server.times), 1)


@check
async def the_user_says_what_codes_mean(flags):
    await comes_back_after([*flags, "--back-off", "4000-4999", "--stop", "4001"], closing(4002), "; before: .*code 4002")
    await stops_after([*flags, "--back-off", "4000-4999", "--stop", "4001"], closing(4001))


@check
async def statuses_that_stop(flags):
    for status in [301, 400, 401, 403, 404, 405, 407, 410, 426, 501, 505]:
        await stops_after(flags, answering(status), says=f"status {status}")


@check
async def statuses_that_come_back(flags):
    for status in [408, 425, 429, 500, 502, 503, 504]:
        async with Scripted(answering(status), staying) as server, Client(server.url, *QUICK, *flags) as client:
            await client.says(f"waiting .*status {status}")
            await client.says("connected, attempt 2")
            equal(len(server.times), 2)


@check
async def retry_after_in_seconds(flags):
    async with Scripted(answering(503, ("Retry-After", "2")), staying) as server, Client(server.url, *QUICK, *flags) as client:
        await client.says("connected, attempt 2")
        waited = server.times[1] - server.times[0]
        assert 2 <= waited < 3, f"it waited {waited:.2f} s"


@check
async def retry_after_as_a_date(flags):
    date = email.utils.formatdate(time.time() + 3, usegmt=True)
    async with Scripted(answering(429, ("Retry-After", date)), staying) as server, Client(server.url, *QUICK, *flags) as client:
        await client.says("connected, attempt 2", within=2 * SOME)
        waited = server.times[1] - server.times[0]
        assert 1.5 <= waited < 4, f"it waited {waited:.2f} s"


@check
async def attempts_have_an_end(flags):
    await stops_after([*flags, "--max-attempts", "3"], answering(503), connections=3, says="3 attempts in a row failed")


@check
async def a_server_that_is_not_there_yet(flags):
    async with Scripted() as server:
        port = server.port
    async with Client(server.url, *QUICK, *flags) as client:
        await client.says("waiting .*refused")
        async with Scripted(port=port):
            await client.says("connected, attempt")


@check
async def a_nudge_ends_the_wait(flags):
    long = ["--first-delay", "100000", "--max-delay", "100000"]
    async with Scripted() as server:
        port = server.port
    async with Client(server.url, *long, *flags) as client:
        await client.says("waiting .*refused")
        async with Scripted(port=port):
            client.process.stdin.write(b"now\n")
            await client.says("connected, attempt 2")


@check
async def lines_wait_for_a_session(flags):
    """In order, and without those that were dropped to keep the limit. What a session got is not sent again."""
    received = []

    async def handler(ws):
        async for message in ws:
            received.append(message)
            if message == "four":
                await ws.close(1001)

    long = ["--first-delay", "100000", "--max-delay", "100000", "--keep", "3"]
    async with Scripted() as server:
        port = server.port
    async with Client(server.url, *long, *flags) as client:
        await client.says("waiting .*refused")
        client.process.stdin.write(b"one\ntwo\nthree\n")
        await client.says("waiting .*refused", count=2)
        async with Scripted(handler, port=port):
            client.process.stdin.write(b"four\n")
            await client.says("dropped 1 lines")
            await client.says("3 lines were sent in this session, and may not have arrived")
            equal(received, ["two", "three", "four"])
            client.process.stdin.write(b"five\n")
            await client.says("connected", count=2)
            await asyncio.sleep(0.2)
            equal(received[3:], ["five"])


@check
async def each_attempt_has_a_new_token(flags):
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("first")
        file.flush()
        async with Scripted(answering(503, ("Retry-After", "1")), staying) as server:
            async with Client(server.url, *QUICK, *flags, "--token-file", file.name) as client:
                await client.says("waiting .*503")
                file.seek(0)
                file.write("second")
                file.flush()
                await client.says("connected")
                equal([head["Authorization"] for head in server.heads], ["Bearer first", "Bearer second"])


@check
async def each_session_subscribes_again(flags):
    received = []

    async def handler(ws):
        received.append(await ws.recv())
        if len(received) < 2:
            await ws.close(1001)
        await ws.wait_closed()

    async with Scripted(handler) as server, Client(server.url, *QUICK, *flags, "--send", "subscribe") as client:
        await client.says("; before: ")
        await asyncio.sleep(0.2)
        equal(received, ["subscribe", "subscribe"])


@check
async def a_session_ends_on_time(flags):
    closed = []

    async def handler(ws):
        await ws.wait_closed()
        closed.append(ws.protocol.close_rcvd.code)

    async with Scripted(handler) as server, Client(server.url, *QUICK, *flags, "--max-session", "1") as client:
        await client.says("connected.*before: closed by us")
        equal(closed[:1], [1000])
        lasted = server.times[1] - server.times[0]
        assert 0.9 <= lasted < 2.5, f"it lasted {lasted:.2f} s"


async def all_checks(checks):
    async def run(adapter, check):
        try:
            await asyncio.wait_for(check(ADAPTERS[adapter]), 60)
        except Exception as error:
            checks.report(f"{adapter}: {check.__name__}", error)
        else:
            checks.report(f"{adapter}: {check.__name__}")

    for check in CHECKS:
        # Both adapters at once: the time goes into waits.
        await asyncio.gather(*(run(adapter, check) for adapter in ADAPTERS))


def main():
    checks = Checks()
    asyncio.run(all_checks(checks))
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(main())
