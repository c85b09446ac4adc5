#!/usr/bin/env python3
"""bowline against the `websockets` library for Python, in both roles. `run` installs the library and starts this."""

import asyncio
import subprocess
import sys
import urllib.request

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from peer import EXAMPLES, SERVERS, TIMEOUT, Checks, Server, equal

MIB = 1024 * 1024


# The echo servers, with flags they are started with and a check that takes the server.


async def text(server):
    async with connect(server.url) as ws:
        for message in ["hello", "", "Καλημέρα κόσμε \U0001f600", "a" * 126, "b" * 65536]:
            await ws.send(message)
            equal(await ws.recv(), message)


async def binary(server):
    async with connect(server.url) as ws:
        for message in [b"", bytes(range(256)), b"\xff" * 65535]:
            await ws.send(message)
            equal(await ws.recv(), message)


async def one_mebibyte(server):
    async with connect(server.url, max_size=None) as ws:
        for message in [bytes(range(256)) * (MIB // 256), "é" * (MIB // 2)]:
            await ws.send(message)
            equal(await ws.recv(), message)


async def fragmented(server):
    async with connect(server.url) as ws:
        await ws.send(["frag", "", "mented"])
        equal(await ws.recv(), "fragmented")
        await ws.send([b"\x00", b"\x01\x02"])
        equal(await ws.recv(), b"\x00\x01\x02")


async def ping(server):
    async with connect(server.url) as ws:
        await (await ws.ping(b"payload"))

        async def fragments():
            yield "before "
            # The pong has to come while the message is still open.
            await (await ws.ping())
            yield "after"

        await ws.send(fragments())
        equal(await ws.recv(), "before after")


async def pipelined(server):
    async with connect(server.url) as ws:
        messages = [f"message {n}" for n in range(1000)]

        async def send_all():
            for message in messages:
                await ws.send(message)

        sending = asyncio.create_task(send_all())
        equal([await ws.recv() for _ in messages], messages)
        await sending


async def no_compression(server):
    # The client offers permessage-deflate.
    async with connect(server.url, compression="deflate") as ws:
        equal(ws.protocol.extensions, [])
        await ws.send("plain")
        equal(await ws.recv(), "plain")


async def close_is_echoed(server):
    for code, reason in [(1000, ""), (1001, "going"), (3000, "é" * 61), (4999, "private")]:
        async with connect(server.url) as ws:
            await ws.close(code, reason)
            received = ws.protocol.close_rcvd
            assert received, "no Close came back"
            equal(received.code, code)


async def ctrl_c(server):
    async with connect(server.url) as first, connect(server.url) as second:
        exit_code = asyncio.create_task(asyncio.to_thread(server.interrupt))
        for ws in [first, second]:
            try:
                await ws.recv()
            except ConnectionClosed as closed:
                assert closed.rcvd, "the connection ended without a Close"
                equal(closed.rcvd.code, 1001)
        equal(await exit_code, 0)


async def page(server):
    def get():
        with urllib.request.urlopen(server.page, timeout=TIMEOUT) as response:
            return response.status, response.headers.get_content_type(), response.read().decode()

    status, content_type, body = await asyncio.to_thread(get)
    equal((status, content_type), (200, "text/html"))
    assert 'id="selfcheck"' in body, "the page has no element selfcheck"


async def refused(server, origin):
    try:
        async with connect(server.url, origin=origin):
            pass
    except InvalidStatus as refusal:
        equal(refusal.response.status_code, 403)
        assert refusal.response.body, "the 403 does not say why"
    else:
        raise AssertionError(f"origin {origin} was let in")


async def origins(server):
    await refused(server, "http://elsewhere.example")
    await refused(server, "http://127.0.0.1:1")
    await refused(server, "null")
    async with connect(server.url, origin=f"http://{server.address}") as ws:
        await ws.send("same origin")
        equal(await ws.recv(), "same origin")


async def any_origin(server):
    async with connect(server.url, origin="http://elsewhere.example") as ws:
        await ws.send("let in")
        equal(await ws.recv(), "let in")


async def subprotocol(server):
    async with connect(server.url, subprotocols=["other", "chat"]) as ws:
        equal(ws.subprotocol, "chat")
    async with connect(server.url) as ws:
        equal(ws.subprotocol, None)


async def message_too_big(server):
    async with connect(server.url) as ws:
        await ws.send("x" * 1000)
        equal(await ws.recv(), "x" * 1000)
        await ws.send("x" * 1001)
        try:
            await ws.recv()
        except ConnectionClosed as closed:
            assert closed.rcvd, "the connection ended without a Close"
            equal(closed.rcvd.code, 1009)
        else:
            raise AssertionError("1001 bytes went through")


SERVER_CHECKS = [
    ([], text),
    ([], binary),
    ([], one_mebibyte),
    ([], fragmented),
    ([], ping),
    ([], pipelined),
    ([], no_compression),
    ([], close_is_echoed),
    ([], page),
    ([], origins),
    ([], ctrl_c),
    (["--any-origin"], any_origin),
    (["--subprotocol", "chat"], subprotocol),
    (["--max-message-size", "1000"], message_too_big),
]


# The `connect` example, which runs against a server here.


async def run_connect(handler, stdin, *flags, **options):
    """Runs `connect` against `handler`; its exit code, stdout and stderr, and what the server saw of the connection."""
    seen = asyncio.get_running_loop().create_future()

    async def handle(ws):
        await handler(ws)
        await ws.wait_closed()
        seen.set_result(ws)

    async with serve(handle, "127.0.0.1", 0, **options) as server:
        port = server.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            EXAMPLES / "connect", f"ws://127.0.0.1:{port}/path?query", *flags,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            # None keeps stdin open, so that it is the server that ends the conversation.
            if stdin is None:
                streams = asyncio.gather(process.stdout.read(), process.stderr.read())
            else:
                streams = talk(process, stdin)
            out, err = await asyncio.wait_for(streams, TIMEOUT)
            code = await asyncio.wait_for(process.wait(), TIMEOUT)
            return code, out.decode(), err.decode(), await asyncio.wait_for(seen, TIMEOUT)
        finally:
            if process.returncode is None:
                process.kill()


async def talk(process, lines):
    """Sends lines and waits for an answer to each before the input ends: a server cannot answer behind the Close."""
    process.stdin.write(lines.encode())
    await process.stdin.drain()
    answers = [await process.stdout.readline() for _ in lines.splitlines()]
    process.stdin.close()
    out, err = await asyncio.gather(process.stdout.read(), process.stderr.read())
    return b"".join(answers) + out, err


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def lines_are_echoed():
    code, out, err, ws = await run_connect(echo, "hello\nKαλημέρα\n\nlast\n")
    equal(out.splitlines(), ["hello", "Kαλημέρα", "", "last"])
    equal((code, ws.close_code, ws.request.path), (0, 1000, "/path?query"))


async def request_flags():
    flags = ["--header", "X-Test: some value", "--subprotocol", "chat", "--origin", "http://example.com"]
    code, out, err, ws = await run_connect(echo, "hello\n", *flags, subprotocols=["chat"])
    headers = ws.request.headers
    equal((code, out, ws.subprotocol), (0, "hello\n", "chat"))
    equal((headers["X-Test"], headers["Origin"]), ("some value", "http://example.com"))


async def large_and_fragmented():
    async def send(ws):
        await ws.send("x" * MIB)
        await ws.send(["frag", "mented"])
        await (await ws.ping())
        await ws.close()

    # With stdin open: at its end the example closes, and nothing that comes later would count.
    code, out, err, ws = await run_connect(send, None)
    equal([len(line) for line in out.splitlines()], [MIB, 10])
    equal(code, 0)


async def server_closes():
    async def close(ws):
        await ws.close(4002, "enough")

    code, out, err, ws = await run_connect(close, None)
    assert "4002" in out + err and "enough" in out + err, f"the close is not shown: {out + err!r:.200}"
    # The echoed code.
    equal(ws.protocol.close_rcvd.code, 4002)


CLIENT_CHECKS = [lines_are_echoed, request_flags, large_and_fragmented, server_closes]


async def main():
    checks = Checks()

    async def run(name, check, *arguments):
        try:
            await asyncio.wait_for(check(*arguments), 2 * TIMEOUT)
        except Exception as error:
            checks.report(name, error)
        else:
            checks.report(name)

    for name in SERVERS:
        for flags, check in SERVER_CHECKS:

            async def with_server():
                with Server(name, *flags) as server:
                    await check(server)

            await run(f"{name}: {check.__name__}", with_server)
    for check in CLIENT_CHECKS:
        await run(f"connect: {check.__name__}", check)
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
