#!/usr/bin/env python3
"""`reconnect` with servers of Python's `websockets` and Node's `ws` that close and refuse as each check wants, over both adapters.

`run` installs the libraries and starts this. Each check has a time, in which the server counts connections. With --full, some wait longer.
"""

import asyncio
import contextlib
import email.utils
import http
import itertools
import json
import pathlib
import re
import resource
import signal
import sys
import tempfile
import time

from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.http11 import Response

from peer import EXAMPLES, Checks, Server, equal

HERE = pathlib.Path(__file__).resolve().parent
FULL = "--full" in sys.argv[1:]
# Seconds in which nothing may happen that a client in a loop would do hundreds of times.
SOME = 4
# Waits are short, so that a check does not take minutes. What counts as a long session stays as it is.
QUICK = ["--first-delay", "0.2", "--spread", "0.2", "--max-delay", "0.5"]
ADAPTERS = {"tokio": [], "blocking": ["--blocking"]}
# So many checks run at a time: the time goes into waits.
AT_ONCE = 10
# What runs: a name and a function that gives a coroutine.
PLANNED = []


def check(function):
    """A check that gets the flags which choose the adapter."""
    for adapter, flags in ADAPTERS.items():
        PLANNED.append((f"{adapter}: {function.__name__}", lambda flags=flags: function(flags)))
    return function


def check_each_server(function):
    """The same, with each of the servers."""
    for adapter, flags in ADAPTERS.items():
        for server, kind in SERVERS.items():
            name = f"{adapter}, {server}: {function.__name__}"
            PLANNED.append((name, lambda flags=flags, kind=kind: function(flags, kind)))
    return function


# The steps of a script, which both servers know.


def closing(code=None, after=0):
    """Closes with this code, or without one."""
    return {"close": code, "after": after}


def dropping():
    """Drops the connection without a Close."""
    return {"drop": True}


def answering(status, *headers):
    """Gives a response in place of a WebSocket."""
    return {"status": status, "headers": headers}


STAYING = {"stay": True}


async def counted(server, count):
    """Waits for so many connections, and expects no more of them at that moment."""
    end = time.monotonic() + SOME
    while len(server.times) < count and time.monotonic() < end:
        await asyncio.sleep(0.01)
    equal(len(server.times), count)


class Python:
    """A server of `websockets` that does with each connection what its script says. Each item is a step, or a function of the
    connection, and the last is for all that follow."""

    def __init__(self, *script, port=0):
        self.script, self.port, self.times, self.heads = script or [STAYING], port, [], []

    async def __aenter__(self):
        def process_request(connection, request):
            self.times.append(time.monotonic())
            self.heads.append(request.headers)
            connection.step = step = self.script[min(len(self.times), len(self.script)) - 1]
            if not callable(step) and "status" in step:
                fields = Headers([*step["headers"], ("Content-Length", "0"), ("Connection", "close")])
                return Response(step["status"], http.HTTPStatus(step["status"]).phrase, fields, b"")

        self.server = await serve(self._act, "127.0.0.1", self.port, process_request=process_request, close_timeout=1)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/"
        return self

    async def _act(self, ws):
        with contextlib.suppress(Exception):
            step = ws.step
            if callable(step):
                await step(ws)
            elif "drop" in step:
                ws.transport.abort()
            elif "stay" in step:
                await ws.send("Hello")
                await ws.wait_closed()
            else:
                await asyncio.sleep(step["after"])
                if step["close"] is not None:
                    await ws.close(step["close"])
                # The library sends a code with each close.
                else:
                    ws.transport.write(b"\x88\x00")
                    await ws.wait_closed()

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()


class Node:
    """The same with `ws`. One process, `ws_scripted.cjs`, has all of these servers. It knows no functions."""

    process = None
    numbers = itertools.count()
    servers = {}

    def __init__(self, *script):
        self.script, self.times, self.heads, self.number = script or [STAYING], [], [], next(Node.numbers)

    @classmethod
    async def start(cls):
        pipe = asyncio.subprocess.PIPE
        cls.process = await asyncio.create_subprocess_exec("node", HERE / "ws_scripted.cjs", stdin=pipe, stdout=pipe)
        cls.reader = asyncio.create_task(cls._read())

    @classmethod
    async def _read(cls):
        async for line in cls.process.stdout:
            number, what, *values = json.loads(line)
            # A request may come while the server is stopped.
            if server := cls.servers.get(number):
                server._told(what, *values)

    @classmethod
    async def end(cls):
        cls.process.stdin.close()
        equal(await asyncio.wait_for(cls.process.wait(), SOME), 0)
        await cls.reader

    def _tell(self, script):
        Node.process.stdin.write(f"{json.dumps([self.number, script])}\n".encode())

    def _told(self, what, value, head=None):
        if what == "port":
            self.port.set_result(value)
        else:
            # Both processes read the same clock.
            self.times.append(value)
            self.heads.append(head)

    async def __aenter__(self):
        Node.servers[self.number] = self
        self.port = asyncio.get_running_loop().create_future()
        self._tell(self.script)
        self.url = f"ws://127.0.0.1:{await asyncio.wait_for(self.port, SOME)}/"
        return self

    async def __aexit__(self, *_):
        self._tell(None)
        del Node.servers[self.number]


SERVERS = {"websockets": Python, "ws": Node}


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


async def stops_after(flags, kind, *script, connections=1, code=1, says=None):
    """The client ends by itself, and the server has seen so many connections."""
    async with kind(*script) as server, Client(server.url, *QUICK, *flags) as client:
        await client.ends(code)
        await asyncio.sleep(0.2)
        await counted(server, connections)
        if says:
            assert any(re.search(says, line) for line in client.said), client.said


async def comes_back_after(flags, kind, first, says):
    """The client comes back once and stays, and says how the session before ended."""
    async with kind(first, STAYING) as server, Client(server.url, *QUICK, *flags) as client:
        await client.says(r"attempt 1, after [0-9.]+ s" + says)
        await counted(server, 2)


@check_each_server
async def close_1008_gets_at_most_three_connections(flags, kind):
    async with kind(closing(1008)) as server, Client(server.url, *flags) as client:
        await client.says("reconnect: .*1008")
        time = 60 if FULL else SOME
        await asyncio.sleep(time)
        assert 1 <= len(server.times) <= 3, f"{len(server.times)} connections in {time} s"


@check_each_server
async def an_accept_that_closes_at_once_is_no_success(flags, kind):
    """Every opening would reset the wait, if it counted."""
    waits = ["--first-delay", "0.5", "--spread", "0.5", "--max-delay", "60"]
    async with kind(closing(1011)) as server, Client(server.url, *waits, *flags):
        await asyncio.sleep(2 * SOME)
        # Ceilings of 0.5, 1, 2, 4, 8 and 16 s. A loop would make hundreds.
        assert 2 <= len(server.times) <= 20, f"{len(server.times)} connections in {2 * SOME} s"


@check_each_server
async def codes_that_stop(flags, kind):
    codes = [1002, 1003, 1007, 1008, 1009, 1010, 3000, 4000, 4999]
    await asyncio.gather(*(stops_after(flags, kind, closing(code), says=f"code {code}") for code in codes))


@check_each_server
async def code_1000_is_the_end(flags, kind):
    await stops_after(flags, kind, closing(1000), code=0)


@check_each_server
async def code_1000_with_back_off(flags, kind):
    await comes_back_after([*flags, "--back-off", "1000"], kind, closing(1000), "; before: .*code 1000")


@check_each_server
async def codes_that_come_back(flags, kind):
    codes = [1001, 1011, 1012, 1014]
    await asyncio.gather(*(comes_back_after(flags, kind, closing(code), f"; before: .*code {code}") for code in codes))


@check_each_server
async def a_close_without_a_code_comes_back(flags, kind):
    await comes_back_after(flags, kind, closing(), "; before: .*code 1005")


@check_each_server
async def a_dropped_connection_comes_back(flags, kind):
    await comes_back_after(flags, kind, dropping(), "; before: peer gone")


@check_each_server
async def code_1013_waits_for_longer(flags, kind):
    async with kind(closing(1013)) as server, Client(server.url, *QUICK, *flags) as client:
        found = await client.says(r"waiting ([0-9.]+) s: .*1013")
        assert 15 <= float(found[1]) < 16, found[0]
        await asyncio.sleep(SOME)
        await counted(server, 1)


@check_each_server
async def the_user_says_what_codes_mean(flags, kind):
    await comes_back_after([*flags, "--back-off", "4000-4999", "--stop", "4001"], kind, closing(4002), "; before: .*code 4002")
    await stops_after([*flags, "--back-off", "4000-4999", "--stop", "4001"], kind, closing(4001))


@check_each_server
async def statuses_that_stop(flags, kind):
    statuses = [301, 400, 401, 403, 404, 405, 407, 410, 426, 501, 505]
    await asyncio.gather(*(stops_after(flags, kind, answering(status), says=f"status {status}") for status in statuses))


@check_each_server
async def statuses_that_come_back(flags, kind):
    async def comes_back(status):
        async with kind(answering(status), STAYING) as server, Client(server.url, *QUICK, *flags) as client:
            await client.says(f"waiting .*status {status}")
            await client.says("connected, attempt 2")
            await counted(server, 2)

    await asyncio.gather(*map(comes_back, [408, 425, 429, 500, 502, 503, 504]))


@check_each_server
async def retry_after_in_seconds(flags, kind):
    async with kind(answering(503, ("Retry-After", "2")), STAYING) as server, Client(server.url, *QUICK, *flags) as client:
        await client.says("connected, attempt 2")
        await counted(server, 2)
        waited = server.times[1] - server.times[0]
        assert 2 <= waited < 3, f"it waited {waited:.2f} s"


@check_each_server
async def retry_after_as_a_date(flags, kind):
    date = email.utils.formatdate(time.time() + 3, usegmt=True)
    async with kind(answering(429, ("Retry-After", date)), STAYING) as server, Client(server.url, *QUICK, *flags) as client:
        await client.says("connected, attempt 2", within=2 * SOME)
        await counted(server, 2)
        waited = server.times[1] - server.times[0]
        assert 1.5 <= waited < 4, f"it waited {waited:.2f} s"


@check_each_server
async def attempts_have_an_end(flags, kind):
    await stops_after([*flags, "--max-attempts", "3"], kind, answering(503), connections=3, says="3 attempts in a row failed")


@check
async def a_server_that_is_not_there_yet(flags):
    async with Python() as server:
        port = server.port
    async with Client(server.url, *QUICK, *flags) as client:
        await client.says("waiting .*refused")
        async with Python(port=port):
            await client.says("connected, attempt")


@check
async def a_nudge_ends_the_wait(flags):
    long = ["--first-delay", "100000", "--max-delay", "100000"]
    async with Python() as server:
        port = server.port
    async with Client(server.url, *long, *flags) as client:
        await client.says("waiting .*refused")
        async with Python(port=port):
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
    async with Python() as server:
        port = server.port
    async with Client(server.url, *long, *flags) as client:
        await client.says("waiting .*refused")
        client.process.stdin.write(b"one\ntwo\nthree\n")
        await client.says("waiting .*refused", count=2)
        async with Python(handler, port=port):
            client.process.stdin.write(b"four\n")
            await client.says("dropped 1 lines")
            await client.says("3 lines were sent in this session, and may not have arrived")
            equal(received, ["two", "three", "four"])
            client.process.stdin.write(b"five\n")
            await client.says("connected", count=2)
            await asyncio.sleep(0.2)
            equal(received[3:], ["five"])


@check_each_server
async def each_attempt_has_a_new_token(flags, kind):
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("first")
        file.flush()
        async with kind(answering(503, ("Retry-After", "1")), STAYING) as server:
            async with Client(server.url, *QUICK, *flags, "--token-file", file.name) as client:
                await client.says("waiting .*503")
                file.seek(0)
                file.write("second")
                file.flush()
                await client.says("connected")
                await counted(server, 2)
                equal([head["authorization"] for head in server.heads], ["Bearer first", "Bearer second"])


@check
async def each_session_subscribes_again(flags):
    received = []

    async def handler(ws):
        received.append(await ws.recv())
        if len(received) < 2:
            await ws.close(1001)
        await ws.wait_closed()

    async with Python(handler) as server, Client(server.url, *QUICK, *flags, "--send", "subscribe") as client:
        await client.says("; before: ")
        await asyncio.sleep(0.2)
        equal(received, ["subscribe", "subscribe"])


@check
async def a_session_ends_on_time(flags):
    closed = []

    async def handler(ws):
        await ws.wait_closed()
        closed.append(ws.protocol.close_rcvd.code)

    async with Python(handler) as server, Client(server.url, *QUICK, *flags, "--max-session", "1") as client:
        await client.says("connected.*before: closed by us")
        equal(closed[:1], [1000])
        lasted = server.times[1] - server.times[0]
        assert 0.9 <= lasted < 2.5, f"it lasted {lasted:.2f} s"


class Relay:
    """A TCP proxy in front of a server, in a process that can be stopped."""

    def __init__(self, port):
        self.to = port

    async def __aenter__(self):
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, HERE / "relay.py", str(self.to), stdout=asyncio.subprocess.PIPE
        )
        self.url = f"ws://127.0.0.1:{int(await asyncio.wait_for(self.process.stdout.readline(), SOME))}/"
        return self

    def send_signal(self, signal):
        self.process.send_signal(signal)

    async def __aexit__(self, *_):
        # This ends a process that is stopped too.
        self.process.kill()
        await self.process.wait()


@check
async def a_proxy_that_is_stopped_is_found_out(flags):
    """Nothing is closed, and the kernel goes on to acknowledge what is sent. Only the pong is missing."""
    interval, timeout, slack = 1, 1, 1
    keepalive = ["--ping-interval", str(interval), "--pong-timeout", str(timeout)]
    async with Python() as server, Relay(server.port) as relay, Client(relay.url, *QUICK, *keepalive, *flags) as client:
        await client.says("connected")
        # Keepalive leaves a connection alone that is fine.
        await asyncio.sleep(3 * interval)
        await counted(server, 1)
        relay.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        await client.says("waiting .*pong", within=interval + timeout + slack)
        took = time.monotonic() - stopped
        assert took > timeout / 2, f"found after {took:.2f} s"
        # The kernel accepts connections, and nobody answers: with --full, until attempts have timed out.
        await asyncio.sleep(25 if FULL else 1)
        await counted(server, 1)
        relay.send_signal(signal.SIGCONT)
        await client.says("connected, attempt .*; before: .*pong", within=2)


def most_at_once(times, window=0.1):
    """The most of these within 100 ms, wherever they begin."""
    times = sorted(times)
    first = most = 0
    for last, at in enumerate(times):
        while at - times[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


class Fleet:
    """`fleet`, with the times at which its sessions opened."""

    def __init__(self, url, count, *spread):
        self.command, self.times = [EXAMPLES / "fleet", url, count, *spread], []

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(*map(str, self.command), stdout=pipe)
        self.reader = asyncio.create_task(self._read())
        return self

    async def _read(self):
        async for line in self.process.stdout:
            self.times.append(float(line.split()[0]))

    async def opened(self, count, within):
        """Waits for so many sessions."""
        end = time.monotonic() + within
        while len(self.times) < count:
            assert time.monotonic() < end, f"{len(self.times)} of {count} sessions in {within} s"
            await asyncio.sleep(0.05)

    async def __aexit__(self, *_):
        self.process.kill()
        await self.process.wait()
        await self.reader


async def a_thousand_clients_come_back_apart():
    """A server ends by SIGTERM, which closes with 1001, and starts again. No 100 ms get more than 3 % of its clients."""
    count, most = 1000, 30
    with Server("service") as server:
        async with Fleet(server.url, count) as fleet:
            await fleet.opened(count, 10)
            server.process.terminate()
            equal(await asyncio.to_thread(server.process.wait, 10), 0)
            with Server("service", listen=server.address):
                # The spread is 12 s. A few clients come before the server is there again, and wait for up to 24 s more.
                await fleet.opened(2 * count if FULL else 2 * count - count // 10, 60 if FULL else 20)
            back = fleet.times[count:]
    assert most_at_once(back) <= most, f"{most_at_once(back)} in 100 ms"
    return f"{len(back)} in {max(back) - min(back):.1f} s, at most {most_at_once(back)} in 100 ms"


PLANNED.append(("tokio: a_thousand_clients_come_back_apart", a_thousand_clients_come_back_apart))


async def all_checks(checks):
    places = asyncio.Semaphore(AT_ONCE)

    async def run(name, check):
        try:
            async with places:
                found = await asyncio.wait_for(check(), 120)
        except Exception as error:
            checks.report(name, error)
        else:
            checks.report(f"{name}: {found}" if found else name)

    await Node.start()
    # The longest comes first, so that all end together.
    await asyncio.gather(*(run(*planned) for planned in reversed(PLANNED)))
    await Node.end()


def main():
    # A thousand clients and their server.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    checks = Checks()
    asyncio.run(all_checks(checks))
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(main())
