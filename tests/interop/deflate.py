#!/usr/bin/env python3
"""Compression (RFC 7692) against `websockets` for Python and `ws` for Node.js, in both roles, and against zlib, which knows
how far a text reaches back. `run` installs what this needs and starts it.

    deflate.py [--full]

Both sides' settings vary: of all pairs some are taken, and with --full all, with small messages. Who compresses how follows
from the settings, and what the peer says it agreed to has to be that.
"""

import asyncio
import base64
import itertools
import json
import os
import random
import socket
import struct
import subprocess
import sys
import zlib
from typing import NamedTuple

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

from peer import EXAMPLES, TIMEOUT, Checks, equal

FULL = "--full" in sys.argv[1:]

# As in deflate_peer.rs.
SIZES = [0, 1, 127, 128, 1024, 16384, 1024, 65537, 1000000, 300]
SMALL = 1024


class Settings(NamedTuple):
    """Of either side. A window of None is not mentioned; a client's window of True is mentioned without a limit."""

    server: int | bool | None = None
    client: int | bool | None = True
    no_server_takeover: bool = False
    no_client_takeover: bool = False

    def bowline(self, *more):
        words = [f"server={self.server}", f"client={self.client}"]
        words += ["no-server-takeover"] * self.no_server_takeover + ["no-client-takeover"] * self.no_client_takeover
        return ",".join([*words, *more])

    def parameters(self):
        """As the factories of `websockets` want it."""
        return {
            "server_no_context_takeover": self.no_server_takeover,
            "client_no_context_takeover": self.no_client_takeover,
            "server_max_window_bits": self.server,
            "client_max_window_bits": self.client,
        }

    def ws(self):
        """The options of `perMessageDeflate`."""
        options = {"serverNoContextTakeover": self.no_server_takeover or None, "clientNoContextTakeover": self.no_client_takeover or None}
        options |= {"serverMaxWindowBits": self.server, "clientMaxWindowBits": False if self.client is None else self.client}
        return {name: value for name, value in options.items() if value is not None and value is not True or "Takeover" in name and value}


BITS = range(9, 16)
FLAGS = list(itertools.product([False, True], repeat=2))

# bowline's own settings.
OURS = [Settings(12, 12), Settings(15, 15), Settings(15, 15, True, True), Settings(9, 9), Settings(9, 15, False, True), Settings(15, 9, True, False)]
OURS += [Settings(bits, 24 - bits, *FLAGS[bits % 4]) for bits in range(10, 15)]

# A client can ask for windows of 8 bits; no peer can compress with one.
CLIENTS = [Settings(*windows, *flags) for windows in itertools.product([None, 8, *BITS], [None, True, *BITS]) for flags in FLAGS]
SERVERS = [Settings(*windows, *flags) for windows in itertools.product([None, *BITS], [None, *BITS]) for flags in FLAGS]


def pairs(theirs):
    """What is tried: pairs of settings, each with its largest message."""
    plain = theirs[0]._replace(client=None if theirs is SERVERS else True)
    # Each of ours against a peer without wishes, and one of ours against each wish alone.
    some = [(ours, plain) for ours in OURS]
    some += [(OURS[0], wish) for wish in theirs if sum(a != b for a, b in zip(wish, plain)) == 1]
    everything = [(ours, wish) for ours in OURS for wish in theirs]
    some += random.Random(7692).sample(everything, 12)
    chosen = [(ours, wish, SIZES[-2] if i % 4 == 0 else 65537) for i, (ours, wish) in enumerate(some)]
    return chosen + [(ours, wish, SMALL) for ours, wish in everything] if FULL else chosen


def agreed(ours, theirs):
    """What bowline as a server makes of a client's offer: the windows, and who takes no context over."""
    client = 15
    if theirs.client is not None:
        client = min(ours.client, 15 if theirs.client is True else theirs.client)
    return (
        min(ours.server, theirs.server or 15),
        client,
        ours.no_server_takeover or theirs.no_server_takeover,
        ours.no_client_takeover or theirs.no_client_takeover,
    )


def text(size, seed):
    words, length = [], 0
    for n in itertools.count(seed):
        if length >= size:
            return "".join(words)[:size]
        words.append(json.dumps({"id": n * 7919, "name": f"user{n % 89}", "tags": ["α", "β"]}, ensure_ascii=False))
        length += len(words[-1])


def messages(largest):
    for i, size in enumerate(size for size in SIZES if size <= largest):
        yield text(size, i)
        yield random.Random(i).randbytes(size)


async def send(ws, message, way):
    half = len(message) // 2
    await ws.send([message[:half], message[half:]] if way % 3 == 0 else message)


class Process:
    """Echo servers in one process, one for each argument."""

    def __init__(self, command, arguments):
        self.process = subprocess.Popen([*command, "serve", *arguments], stdout=subprocess.PIPE, text=True)
        self.urls = []
        for line in self.process.stdout:
            if line == "listening\n":
                return
            self.urls.append(f"ws://{line.strip()}/")
        raise AssertionError(f"{command[0]} ended with {self.process.wait()}")

    def __enter__(self):
        return self.urls

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


BOWLINE = [EXAMPLES / "deflate_peer"]
WS = ["node", os.path.join(os.path.dirname(os.path.abspath(__file__)), "ws_peer.cjs")]


# bowline's server.


async def websockets_client(url, ours, theirs, largest):
    factory = ClientPerMessageDeflateFactory(**theirs.parameters())
    async with connect(url, compression=None, extensions=[factory], max_size=None) as ws:
        [extension] = ws.protocol.extensions
        found = extension.remote_max_window_bits, extension.local_max_window_bits
        found += extension.remote_no_context_takeover, extension.local_no_context_takeover
        equal(found, agreed(ours, theirs))
        for way, message in enumerate(messages(largest)):
            await send(ws, message, way)
            equal(await ws.recv(), message)


async def websockets_clients(urls, chosen):
    limit = asyncio.Semaphore(6)

    async def one(ours, theirs, largest):
        async with limit:
            await websockets_client(urls[OURS.index(ours)], ours, theirs, largest)

    return await asyncio.gather(*(one(*pair) for pair in chosen), return_exceptions=True)


async def ws_clients(urls, chosen):
    jobs = [[urls[OURS.index(ours)], theirs.ws(), largest] for ours, theirs, largest in chosen]
    process = await asyncio.create_subprocess_exec(*WS, "connect", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = await process.communicate(json.dumps(jobs).encode())
    results = [json.loads(line) for line in out.splitlines()]
    equal(len(results), len(chosen))
    return [ws_verdict(result, ours, theirs) for result, (ours, theirs, _) in zip(results, chosen)]


def ws_verdict(result, ours, theirs):
    if "error" in result:
        return AssertionError(result["error"])
    if result["agreed"] is None:
        return AssertionError("no compression")
    found = [result["agreed"].get(name, default) for name, default in zip(theirs.parameters(), [False, False, 15, 15])]
    server, client, no_server, no_client = agreed(ours, theirs)
    return None if found == [no_server, no_client, server, client] else AssertionError(f"agreed on {found}")


# bowline's client.


async def bowline_clients(url, group):
    """Runs bowline's clients of one server at once, in one process."""
    arguments = [ours.bowline(f"largest={largest}") for ours, _, largest in group]
    process = await asyncio.create_subprocess_exec(*BOWLINE, "connect", url, *arguments, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    answers = out.decode().splitlines()
    equal(len(answers), len(group))
    return [verdict(answer, ours, theirs) for answer, (ours, theirs, _) in zip(answers, group)]


def verdict(answer, ours, theirs):
    if not answer.startswith("permessage-deflate"):
        return AssertionError(answer or "no compression")
    for name in ["server", "client"]:
        flag = f"no_{name}_takeover"
        if getattr(ours, flag) or getattr(theirs, flag):
            if f"{name}_no_context_takeover" not in answer and (name == "server" or getattr(theirs, flag)):
                return AssertionError(f"takeover of the {name}: {answer}")
    return None


async def bowline_to_all(urls, chosen):
    """Of each server's clients at most six at once."""
    results = {}
    for theirs, url in urls.items():
        group = [pair for pair in chosen if pair[1] == theirs]
        for at in range(0, len(group), 6):
            some = group[at : at + 6]
            results |= zip(some, await bowline_clients(url, some))
    return [results[pair] for pair in chosen]


async def to_websockets(chosen):
    async def echo(ws):
        way = 0
        async for message in ws:
            await send(ws, message, way := way + 1)

    servers = {}
    for theirs in {theirs for _, theirs, _ in chosen}:
        factory = ServerPerMessageDeflateFactory(**theirs.parameters())
        servers[theirs] = await serve(echo, "127.0.0.1", 0, compression=None, extensions=[factory], max_size=None)
    try:
        urls = {theirs: f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/" for theirs, server in servers.items()}
        return await bowline_to_all(urls, chosen)
    finally:
        for server in servers.values():
            server.close()


async def to_ws(chosen):
    settings = list({theirs for _, theirs, _ in chosen})
    with Process(WS, [json.dumps(theirs.ws()) for theirs in settings]) as urls:
        return await bowline_to_all(dict(zip(settings, urls)), chosen)


# What bowline compresses, read with windows of exactly the size that was agreed on.


class Strict:
    """A client that sends uncompressed and reads compressed."""

    def __init__(self, url, bits, takeover):
        host, port = url.removeprefix("ws://").strip("/").split(":")
        self.socket = socket.create_connection((host, int(port)), TIMEOUT)
        self.file = self.socket.makefile("rb")
        self.bits, self.takeover, self.inflater = bits, takeover, None
        # The same texts, with a window of half the size.
        self.reaches_far = False
        offer = f"permessage-deflate; server_max_window_bits={bits}" + ("" if takeover else "; server_no_context_takeover")
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n".encode()
        )
        head = b"".join(iter(self.file.readline, b"\r\n")).decode()
        answer = next(line for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Extensions: "))
        assert f"server_max_window_bits={bits}" in answer, answer

    def send(self, data):
        # A key of zeros changes nothing.
        length = bytes([0xFE]) + struct.pack(">H", len(data)) if 125 < len(data) < 65536 else bytes([0xFF]) + struct.pack(">Q", len(data))
        self.socket.sendall(b"\x82" + (bytes([0x80 | len(data)]) if len(data) < 126 else length) + bytes(4) + data)

    def check(self, data):
        first, length = self.file.read(2)
        equal(first, 0xC2)
        if length > 125:
            length = int.from_bytes(self.file.read(2 if length == 126 else 8))
        payload = self.file.read(length) + b"\x00\x00\xff\xff"
        if self.inflater is None or not self.takeover:
            self.inflater = Inflater(self.bits)
            self.half = Inflater(max(self.bits - 1, 8))
        equal(self.inflater.read(payload), data)
        try:
            self.reaches_far |= self.half.read(payload) != data
        except zlib.error:
            self.reaches_far = True

    def say_goodbye(self):
        self.socket.sendall(b"\x88\x80" + bytes(4))
        equal(self.file.read(2), b"\x88\x00")

    def close(self):
        self.file.close()
        self.socket.close()


class Inflater:
    """zlib keeps to its window only between two calls, so that each gives one byte."""

    def __init__(self, bits):
        self.zlib = zlib.decompressobj(wbits=-bits)

    def read(self, payload):
        out = []
        for i in range(len(payload)):
            byte = self.zlib.decompress(payload[i : i + 1], 1)
            while byte:
                out.append(byte)
                byte = self.zlib.decompress(self.zlib.unconsumed_tail, 1)
        assert not self.zlib.eof and not self.zlib.unconsumed_tail
        return b"".join(out)


def reaching_back(bits, count):
    """Messages in which the same comes again about as far back as the window reaches."""
    rng = random.Random(bits)
    piece = rng.randbytes(40)
    # zlib looks back 262 bytes less than its window has.
    offsets = itertools.cycle([-300, -262, 0, -261, -1, 1, -250, -100, -41, -40, 50])
    for offset in itertools.islice(offsets, count):
        gap = max((1 << bits) + offset - len(piece), 0)
        yield piece + rng.randbytes(gap) + piece + bytes(rng.choices(b"ab", k=rng.choice([0, 100])))
        # Across messages.
        yield piece


def windows(url, takeover, at_once, compressed):
    """Several connections in turn, so that they get each other's compressors, or one after the other."""
    sets = [list(range(8, 16))] if at_once else [[bits] for bits in range(8, 16)]
    for bits in sets:
        clients = [Strict(url, bits, takeover) for bits in bits]
        try:
            for turn in zip(*(reaching_back(client.bits, 12 if FULL else 3) for client in clients)):
                for client, data in zip(clients, turn):
                    client.send(data)
                for client, data in zip(clients, turn):
                    client.check(data)
            for client in clients:
                # Else this shows nothing. With 8 bits and 9, zlib looks back 250 bytes at most.
                assert client.reaches_far or client.bits <= 9 or not (takeover and compressed), f"nothing reached beyond half of {client.bits} bits"
                client.say_goodbye()
        finally:
            for client in clients:
                client.close()


async def main():
    checks = Checks()

    def report(name, chosen, results):
        failed = [(pair, error) for pair, error in zip(chosen, results) if error]
        for (ours, theirs, largest), error in failed[:10]:
            print(f"        bowline {ours.bowline()}, peer {theirs}, up to {largest} bytes: {error!r:.300}")
        error = AssertionError(f"{len(failed)} of {len(chosen)}") if failed else None
        checks.report(f"{name}: {len(chosen)} pairs of settings", error)

    async def run(name, chosen, check):
        try:
            results = await asyncio.wait_for(check(chosen), 3000)
        except Exception as error:
            checks.report(name, error)
        else:
            report(name, chosen, results)

    with Process(BOWLINE, [ours.bowline() for ours in OURS]) as urls:
        await run("websockets as a client", pairs(CLIENTS), lambda chosen: websockets_clients(urls, chosen))
        await run("ws as a client", pairs(CLIENTS), lambda chosen: ws_clients(urls, chosen))
    await run("websockets as a server", pairs(SERVERS), to_websockets)
    await run("ws as a server", pairs(SERVERS), to_ws)

    levels = range(10) if FULL else [0, 1, 2, 5, 9]
    for level in levels:
        with Process(BOWLINE, [f"level={level},memory={memory}" for memory in (1, 9)]) as urls:
            for (memory, url), takeover, at_once in itertools.product(zip((1, 9), urls), [True, False], [True, False]):
                name = f"zlib, level {level}, memory {memory}, {'with' if takeover else 'no'} takeover, {'in turn' if at_once else 'alone'}"
                try:
                    windows(url, takeover, at_once, level > 0)
                except Exception as error:
                    checks.report(name, error)
                else:
                    checks.report(name)
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
