#!/usr/bin/env python3
"""The rules of Engine.IO 4 and Socket.IO 5 against a server that sends back what it gets: 25 and 32 cases.

The protocols' documents come with a list of cases that each server has to pass. Here are the same cases, written anew. The server is
`suite` of examples/socketio. It asks for a sign of life each 300 ms and waits 200 ms for it.

When the first ping comes differs: socketioxide sends it at once, the servers in JavaScript after 300 ms. Cases that are not about pings
answer them and look at the rest, so they hold for both.

    socketio_suite.py http://HOST:PORT    the cases against a server that runs already
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from peer import Checks, equal

PING_INTERVAL, PING_TIMEOUT = 0.3, 0.2
# A case that takes longer has failed. The longest waits for a second.
DEADLINE = 5
# Nothing shows that the server has begun to hold a poll. A case that needs one that is held waits longer each time, until it was.
PAUSES = [0.005, 0.02, 0.08]
CASES = []

# What socketioxide does otherwise, over tungstenite as well. A case that is here and passes is a failure: the list is out of date.
DEVIATIONS = {
    "engine.io: polling_ends_the_session_at_a_poll_that_is_given_up": "socketioxide keeps the session, and the next poll goes on with it",
}


def case(*protocols):
    """Marks a case, and says to which protocol's list it belongs. Some are in both, with another path."""

    def add(function):
        CASES.extend((protocol, function) for protocol in protocols)
        return function

    return add


class Server:
    """The server under test, on the path of one protocol."""

    def __init__(self, address, protocol):
        self.host, port = address.rsplit(":", 1)
        self.port = int(port)
        self.path = f"/{protocol}.io/"

    async def send(self, method, query, body=None):
        """Sends a request of HTTP, and returns the connection."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        head = f"{method} {self.path}?{query} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nConnection: close\r\n"
        if body is not None:
            head += f"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}\r\n{body or ''}".encode())
        await writer.drain()
        return reader, writer

    async def request(self, method, query, body=None):
        """One request; its status and body."""
        reader, writer = await self.send(method, query, body)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            rest = await reader.read()
        finally:
            writer.close()
        if "transfer-encoding: chunked" in head:
            rest = unchunked(rest)
        return int(head.split()[1]), rest.decode()

    async def poll(self, sid):
        return await self.request("GET", f"EIO=4&transport=polling&sid={sid}")

    async def push(self, sid, body):
        return await self.request("POST", f"EIO=4&transport=polling&sid={sid}", body)

    async def open_polling(self):
        """A session over polling; its id."""
        status, body = await self.request("GET", "EIO=4&transport=polling")
        equal(status, 200)
        return json.loads(body[1:])["sid"]

    async def open_quiet_polling(self):
        """The same, after its first ping: the next one is 300 ms away."""
        sid = await self.open_polling()
        equal(await self.poll(sid), (200, "2"))
        equal(await self.push(sid, "3"), (200, "ok"))
        return sid

    def websocket(self, query="EIO=4&transport=websocket"):
        url = f"ws://{self.host}:{self.port}{self.path}?{query}"
        return connect(url, proxy=None, ping_interval=None, close_timeout=1, max_size=None)

    async def refuses(self, query):
        """No WebSocket comes of it: the handshake is refused, or the connection closed at once."""
        try:
            async with self.websocket(query) as ws:
                await ended(ws)
        except (InvalidStatus, ConnectionClosed, EOFError):
            pass


def unchunked(data):
    whole = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        size = int(size, 16)
        whole, data = whole + data[:size], data[size + 2 :]
    return whole


async def ended(ws):
    """Reads until the server has closed, with Close or without. Whatever comes before does not matter."""
    try:
        while True:
            await ws.recv()
    except ConnectionClosed:
        pass


async def next_event(ws):
    """The next message that is no ping of Engine.IO. Pings are answered."""
    while (message := await ws.recv()) == "2":
        await ws.send("3")
    return message


async def ended_without_events(ws):
    """Reads until the server has closed. It may say so in a packet before."""
    try:
        equal(await next_event(ws), "1")
        await ended(ws)
    except ConnectionClosed:
        pass


def is_open_packet(packet, upgrades):
    """What each session begins with."""
    equal(packet[0], "0")
    fields = json.loads(packet[1:])
    equal(set(fields), {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"})
    assert isinstance(fields["sid"], str) and fields["sid"], fields
    equal(fields["upgrades"], upgrades)
    equal((fields["pingInterval"], fields["pingTimeout"], fields["maxPayload"]), (300, 200, 1_000_000))


# Opening a session


@case("engine", "socket")
async def polling_opens_a_session(server):
    status, body = await server.request("GET", "EIO=4&transport=polling")
    equal(status, 200)
    is_open_packet(body, ["websocket"])


@case("engine", "socket")
async def polling_needs_the_version(server):
    for query in "transport=polling", "EIO=abc&transport=polling":
        equal((await server.request("GET", query))[0], 400)


@case("engine", "socket")
async def polling_needs_a_transport_that_is_known(server):
    for query in "EIO=4", "EIO=4&transport=abc":
        equal((await server.request("GET", query))[0], 400)


@case("engine", "socket")
async def only_get_opens_a_session(server):
    for method in "POST", "PUT":
        equal((await server.request(method, "EIO=4&transport=polling", ""))[0], 400)


@case("engine", "socket")
async def websocket_opens_a_session(server):
    async with server.websocket() as ws:
        is_open_packet(await ws.recv(), [])


@case("engine", "socket")
async def websocket_needs_the_version(server):
    for query in "transport=websocket", "EIO=abc&transport=websocket":
        await server.refuses(query)


@case("engine", "socket")
async def websocket_needs_a_transport_that_is_known(server):
    for query in "EIO=4", "EIO=4&transport=abc":
        await server.refuses(query)


# Messages of Engine.IO


async def polling_returns(server, payload):
    sid = await server.open_quiet_polling()
    equal(await server.push(sid, payload), (200, "ok"))
    equal(await server.poll(sid), (200, payload))


@case("engine")
async def polling_takes_one_text(server):
    await polling_returns(server, "4hello")


@case("engine")
async def polling_takes_several_texts_at_once(server):
    await polling_returns(server, "4one\x1e4two\x1e4three")


@case("engine")
async def polling_takes_text_and_binary_at_once(server):
    await polling_returns(server, "4hello\x1ebAQIDBA==")


@case("engine")
async def polling_ends_the_session_at_a_broken_packet(server):
    sid = await server.open_polling()
    equal((await server.push(sid, "abc"))[0], 400)
    equal((await server.poll(sid))[0], 400)


@case("engine")
async def polling_ends_the_session_at_two_polls_at_once(server):
    sid = await server.open_quiet_polling()
    # Which of the two comes first is not certain, and does not matter: it is told that the session ends, the other is refused.
    first, second = sorted(await asyncio.gather(server.poll(sid), server.poll(sid)))
    equal(first, (200, "1"))
    assert second[0] in (400, 500), second
    equal((await server.poll(sid))[0], 400)


@case("engine")
async def polling_ends_the_session_at_a_poll_that_is_given_up(server):
    for pause in PAUSES:
        sid = await server.open_quiet_polling()
        _, writer = await server.send("GET", f"EIO=4&transport=polling&sid={sid}")
        await asyncio.sleep(pause)
        writer.close()
        await writer.wait_closed()
        # One ping would come if the session went on, and it would not end for want of a pong yet.
        if (await server.poll(sid))[0] == 400:
            return
    raise AssertionError("the session goes on")


@case("engine")
async def websocket_takes_text(server):
    async with server.websocket() as ws:
        await ws.recv()
        await ws.send("4hello")
        equal(await next_event(ws), "4hello")


@case("engine")
async def websocket_takes_binary(server):
    async with server.websocket() as ws:
        await ws.recv()
        await ws.send(bytes([1, 2, 3, 4]))
        equal(await next_event(ws), bytes([1, 2, 3, 4]))


@case("engine")
async def websocket_is_closed_at_a_broken_packet(server):
    async with server.websocket() as ws:
        await ws.recv()
        await ws.send("abc")
        await ended(ws)


# Signs of life


@case("engine", "socket")
async def polling_is_pinged(server):
    sid = await server.open_polling()
    for _ in range(3):
        equal(await server.poll(sid), (200, "2"))
        equal((await server.push(sid, "3"))[0], 200)


@case("engine", "socket")
async def polling_ends_without_a_pong(server):
    sid = await server.open_polling()
    # Silence is what is tested, so time has to pass. The server may be a little late.
    await asyncio.sleep(PING_INTERVAL + PING_TIMEOUT + 0.1)
    equal((await server.poll(sid))[0], 400)


@case("engine", "socket")
async def websocket_is_pinged(server):
    async with server.websocket() as ws:
        await ws.recv()
        for _ in range(3):
            equal(await ws.recv(), "2")
            await ws.send("3")


@case("engine", "socket")
async def websocket_is_closed_without_a_pong(server):
    async with server.websocket() as ws:
        await ended(ws)


# The end of a session


@case("engine", "socket")
async def polling_ends_when_the_client_says_so(server):
    for pause in PAUSES:
        sid = await server.open_quiet_polling()
        waiting = asyncio.create_task(server.poll(sid))
        await asyncio.sleep(pause)
        equal(await server.push(sid, "1"), (200, "ok"))
        polled = await waiting
        equal((await server.poll(sid))[0], 400)
        if polled[0] == 200:
            break
    # 6 is the packet that means nothing: it ends the poll.
    equal(polled, (200, "6"))


@case("engine", "socket")
async def websocket_ends_when_the_client_says_so(server):
    async with server.websocket() as ws:
        await ws.recv()
        await ws.send("1")
        await ended(ws)


# From polling to WebSocket


async def upgraded(server, ws):
    await ws.send("2probe")
    equal(await ws.recv(), "3probe")
    await ws.send("5")


@case("engine", "socket")
async def polling_becomes_a_websocket(server):
    sid = await server.open_polling()
    async with server.websocket(f"EIO=4&transport=websocket&sid={sid}") as ws:
        await ws.send("2probe")
        equal(await ws.recv(), "3probe")
        # A poll that waits is ended, so that no packet gets lost between the two.
        equal(await server.poll(sid), (200, "6"))
        await ws.send("5")
        if server.path == "/engine.io/":
            await ws.send("4hello")
            equal(await next_event(ws), "4hello")


@case("engine", "socket")
async def polls_are_refused_after_the_upgrade(server):
    sid = await server.open_polling()
    async with server.websocket(f"EIO=4&transport=websocket&sid={sid}") as ws:
        await upgraded(server, ws)
        if server.path == "/engine.io/":
            await ws.send("4hello")
            equal(await next_event(ws), "4hello")
        equal((await server.poll(sid))[0], 400)


@case("engine", "socket")
async def a_second_websocket_is_refused_after_the_upgrade(server):
    sid = await server.open_polling()
    query = f"EIO=4&transport=websocket&sid={sid}"
    async with server.websocket(query) as ws:
        await upgraded(server, ws)
        await server.refuses(query)
        if server.path == "/engine.io/":
            await ws.send("4hello")
            equal(await next_event(ws), "4hello")


# Socket.IO: coming into a namespace


async def comes_in(server, sent, prefix, auth):
    async with server.websocket() as ws:
        await ws.recv()
        await ws.send(sent)
        answer = await next_event(ws)
        assert answer.startswith(prefix), answer
        fields = json.loads(answer.removeprefix(prefix))
        equal(set(fields), {"sid"})
        assert isinstance(fields["sid"], str) and fields["sid"], fields
        equal(await next_event(ws), auth)


@case("socket")
async def the_main_namespace(server):
    await comes_in(server, "40", "40", '42["auth",{}]')


@case("socket")
async def the_main_namespace_with_credentials(server):
    await comes_in(server, '40{"token":"123"}', "40", '42["auth",{"token":"123"}]')


@case("socket")
async def another_namespace(server):
    await comes_in(server, "40/custom,", "40/custom,", '42/custom,["auth",{}]')


@case("socket")
async def another_namespace_with_credentials(server):
    await comes_in(server, '40/custom,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]')


@case("socket")
async def a_namespace_that_is_not_there(server):
    async with server.websocket() as ws:
        await ws.recv()
        await ws.send("40/random")
        equal(await next_event(ws), '44/random,{"message":"Invalid namespace"}')


@case("socket")
async def a_broken_first_packet(server):
    async with server.websocket() as ws:
        await ws.recv()
        await ws.send("4abc")
        await ended(ws)


@case("socket")
async def nobody_stays_without_a_namespace(server):
    async with server.websocket() as ws:
        await ws.recv()
        # Pings are answered, so it is not for want of them that the server closes.
        await ended_without_events(ws)


# Socket.IO: leaving one


async def connected(ws):
    """In the main namespace."""
    await ws.recv()
    await ws.send("40")
    assert (await next_event(ws)).startswith("40{")
    equal(await next_event(ws), '42["auth",{}]')


@case("socket")
async def the_main_namespace_is_left(server):
    async with server.websocket() as ws:
        await connected(ws)
        await ws.send("41")
        # The connection stays, and nothing but the ping comes.
        equal(await ws.recv(), "2")


@case("socket")
async def one_of_two_namespaces_is_left(server):
    async with server.websocket() as ws:
        await connected(ws)
        await ws.send("40/custom")
        assert (await next_event(ws)).startswith("40/custom,{")
        equal(await next_event(ws), '42/custom,["auth",{}]')
        await ws.send("41/custom")
        await ws.send('42["message","to the main namespace"]')
        equal(await next_event(ws), '42["message-back","to the main namespace"]')


# Socket.IO: events


async def in_return(server, sent, expected):
    async with server.websocket() as ws:
        await connected(ws)
        for message in sent:
            await ws.send(message)
        for message in expected:
            equal(await next_event(ws), message)


FILES = [bytes([1, 2, 3]), bytes([4, 5, 6])]
PLACES = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'


@case("socket")
async def an_event(server):
    await in_return(server, ['42["message",1,"2",{"3":[true]}]'], ['42["message-back",1,"2",{"3":[true]}]'])


@case("socket")
async def an_event_with_binary(server):
    await in_return(server, [f'452-["message",{PLACES}]', *FILES], [f'452-["message-back",{PLACES}]', *FILES])


@case("socket")
async def an_event_with_an_acknowledgement(server):
    await in_return(server, ['42456["message-with-ack",1,"2",{"3":[false]}]'], ['43456[1,"2",{"3":[false]}]'])


@case("socket")
async def an_event_with_binary_and_an_acknowledgement(server):
    await in_return(server, [f'452-789["message-with-ack",{PLACES}]', *FILES], [f"462-789[{PLACES}]", *FILES])


async def is_closed_at(server, packet):
    async with server.websocket() as ws:
        await connected(ws)
        await ws.send(packet)
        # Pings are answered, so the packet is the reason.
        await ended_without_events(ws)


@case("socket")
async def an_unknown_type_of_packet(server):
    await is_closed_at(server, "4abc")


@case("socket")
async def an_event_that_is_no_list(server):
    await is_closed_at(server, "42{}")


@case("socket")
async def an_acknowledgement_without_a_number(server):
    await is_closed_at(server, '42abc["message-with-ack",1,"2",{"3":[false]}]')


async def run(address, checks):
    """All cases, each with its name."""
    counts = {}
    for protocol, function in CASES:
        counts[protocol] = counts.get(protocol, 0) + 1
        title = f"{protocol}.io: {function.__name__}"
        try:
            await asyncio.wait_for(function(Server(address, protocol)), DEADLINE)
        except Exception as error:
            if title in DEVIATIONS:
                print(f"known   {title}: {DEVIATIONS[title]}", flush=True)
            else:
                checks.report(title, error)
        else:
            stale = title in DEVIATIONS
            checks.report(title, AssertionError("it passes; take it out of DEVIATIONS") if stale else None)
    equal(counts, {"engine": 25, "socket": 32})


async def main():
    checks = Checks()
    await run(sys.argv[1].removeprefix("http://").rstrip("/"), checks)
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
