#!/usr/bin/env python3
"""The chat of examples/chat on three nodes behind HAProxy, with Redis or NATS between them. `run nodes` installs what this needs and starts it.

What holds in each case: every client has every message once, in one order, or was told that something is missing. HAProxy sends each new
connection to another node, so a client that comes back is seldom where it was. With --full, there are more messages, and a lease is waited for.
"""

import asyncio
import contextlib
import http.client
import itertools
import json
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

import websockets

from peer import EXAMPLES, ROOT, TIMEOUT, Checks, Server, equal

FULL = "--full" in sys.argv
SCRIPT = ROOT / "examples/hub/src/broker/append.lua"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def answers(port):
    """Waits until something listens there."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)


class Broker:
    """A server on a port of its own. It keeps its data over a restart, unless it is to lose it."""

    def __init__(self, folder):
        self.folder, self.port = pathlib.Path(folder), free_port()
        self.process = None

    async def start(self):
        data = self.folder / "broker"
        data.mkdir(exist_ok=True)
        self.process = subprocess.Popen(self.command(str(data)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await answers(self.port)

    def stop(self):
        if self.process:
            # A process that is stopped does not end.
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(TIMEOUT)

    def lose_all(self):
        (self.folder / "broker").rename(self.folder / "lost")

    def hang(self):
        self.process.send_signal(signal.SIGSTOP)
        # Its threads go on to run for a moment. The state follows the name, which is in parentheses.
        threads = pathlib.Path(f"/proc/{self.process.pid}/task")
        while any((thread / "stat").read_text().rsplit(")", 1)[1].split()[0] != "T" for thread in threads.iterdir()):
            pass

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)


class Redis(Broker):
    NAME = "redis"

    def command(self, folder):
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "yes", "--dir", folder]

    async def publish(self, room, data):
        """As a program that is no node."""
        arguments = ["--eval", str(SCRIPT), f"hub:{{{room}}}", ",", "", "", data, "1", "1000", "600000"]
        process = await asyncio.create_subprocess_exec("redis-cli", "-p", str(self.port), *arguments, stdout=subprocess.PIPE)
        output, _ = await process.communicate()
        assert b"ERR" not in output, output

    async def publish_now(self, room, data):
        """Without a number: who is not there never sees it."""
        process = await asyncio.create_subprocess_exec(
            "redis-cli", "-p", str(self.port), "publish", f"hub:{{{room}}}", data, stdout=subprocess.DEVNULL
        )
        equal(await process.wait(), 0)


class Nats(Broker):
    NAME = "nats"

    def command(self, folder):
        return ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", folder]

    async def publish(self, room, data):
        """As a program that is no node: what `nats pub` sends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b'CONNECT {"verbose":false}\r\nPUB hub.in.%s %d\r\n%s\r\nPING\r\n' % (room.encode(), len(data.encode()), data.encode()))
        while await reader.readline() != b"PONG\r\n":
            pass
        writer.close()


class Node(Server):
    # Built without --release, as for chat.py.
    FOLDER = EXAMPLES.parent / "debug"

    def __init__(self, url, port):
        super().__init__("chat", "--broker", url, scheme="http", listen=f"127.0.0.1:{port}")

    def kill(self):
        self.process.kill()
        self.process.wait(TIMEOUT)


class Cluster:
    """Three nodes, a broker, and HAProxy in front."""

    def __init__(self, broker, folder):
        self.broker, self.folder = broker(folder), pathlib.Path(folder)
        self.ports, self.nodes = [free_port() for _ in range(3)], []
        self.port, self.haproxy, self.clients = free_port(), None, []

    async def __aenter__(self):
        try:
            await self.broker.start()
            for port in self.ports:
                self.nodes.append(self.node(port))
            servers = "".join(f"  server node{i} 127.0.0.1:{port} check inter 100ms fall 1 rise 1\n" for i, port in enumerate(self.ports))
            (self.folder / "haproxy.cfg").write_text(
                "defaults\n  mode http\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n  timeout tunnel 1h\n"
                "  option redispatch\n  retries 3\n"
                f"frontend front\n  bind 127.0.0.1:{self.port}\n  default_backend nodes\n"
                f"backend nodes\n  balance roundrobin\n  option httpchk GET /\n{servers}"
            )  # fmt: skip
            self.haproxy = subprocess.Popen(
                ["haproxy", "-db", "-f", self.folder / "haproxy.cfg"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            await answers(self.port)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_):
        for client in self.clients:
            await client.leave()
        for node in self.nodes:
            await asyncio.to_thread(node.__exit__)
        if self.haproxy:
            self.haproxy.kill()
            self.haproxy.wait(TIMEOUT)
        self.broker.stop()

    def node(self, port):
        return Node(f"{self.broker.NAME}://127.0.0.1:{self.broker.port}", port)

    async def enter(self, *names, room="lobby"):
        """Clients, one after the other: HAProxy sends each to the next node."""
        clients = [Client(self, name, room) for name in names]
        for client in clients:
            self.clients.append(client)
            await client.enter()
        return clients


class Client:
    """What the page does: it comes back with the last id that it has, and says again what is not confirmed."""

    def __init__(self, cluster, name, room):
        self.cluster, self.name, self.room = cluster, name, room
        # All that has an id, in the order in which it came.
        self.said, self.last = [], None
        # What came without an id, and what this client said that has none yet: key to text.
        self.early, self.outbox = {}, {}
        self.people, self.rooms, self.reachable, self.fresh = set(), [], None, 0
        self.changed, self.ws = asyncio.Event(), None
        self.refusals = []

    async def enter(self):
        self.task = asyncio.create_task(self.run())
        await self.until(lambda: self.people)

    async def leave(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def run(self):
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException):
                async with websockets.connect(f"ws://127.0.0.1:{self.cluster.port}/ws", ping_interval=None) as ws:
                    await ws.send(json.dumps({"type": "join", "room": self.room, "name": self.name, "secret": self.name, "since": self.last}))
                    try:
                        async for message in ws:
                            await self.receive(ws, json.loads(message))
                    finally:
                        self.ws, self.people = None, set()
            # A page waits longer. This is not to wait for anything, but not to spin.
            await asyncio.sleep(0.05)

    async def receive(self, ws, message):
        match message["type"]:
            case "welcome":
                if message["fresh"]:
                    self.said, self.last, self.early = [], None, {}
                    self.fresh += 1
            case "history":
                for said in message["messages"]:
                    self.add(said)
            case "here":
                self.people, self.ws = set(message["names"]), ws
                for key, text in self.outbox.items():
                    await self.send(key, text)
            case "said":
                self.add(message)
            case "kept":
                self.outbox.pop(message["key"], None)
            case "came":
                self.people.add(message["name"])
            case "left":
                self.people.discard(message["name"])
            case "reachable":
                self.reachable = message["yes"]
            case "rooms":
                self.rooms = message["rooms"]
            case "refused":
                self.refusals.append(message["why"])
        self.changed.set()

    def add(self, said):
        if said["id"] is None:
            self.early[said["key"]] = said["text"]
            return
        self.early.pop(said["key"], None)
        self.outbox.pop(said["key"], None)
        self.said.append(said)
        self.last = said["id"]

    async def send(self, key, text):
        if self.ws:
            with contextlib.suppress(websockets.ConnectionClosed):
                await self.ws.send(json.dumps({"type": "say", "key": key, "text": text}))

    async def say(self, text):
        """A text is its own key."""
        self.outbox[text] = text
        await self.send(text, text)

    async def until(self, condition):
        try:
            async with asyncio.timeout(TIMEOUT):
                while not condition():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"{self.name}: not in time; said {self.texts()[-5:]} of {len(self.said)}, early {self.early}, outbox {self.outbox}, "
                f"people {self.people}, reachable {self.reachable}, refusals {self.refusals}"
            ) from None

    async def has(self, *texts):
        await self.until(lambda: set(texts) <= set(self.texts()))

    def texts(self):
        return [said["text"] for said in self.said]


def check_order(*clients):
    """Each has the same, once, and without a hole."""
    for client in clients:
        ids = [said["id"].split("-") for said in client.said]
        offsets = [int(offset) for _, offset in ids]
        equal(len({epoch for epoch, _ in ids}), 1)
        equal(offsets, list(range(offsets[0], offsets[0] + len(offsets))))
        equal(len(set(client.texts())), len(client.said))
    for client in clients[1:]:
        equal([said["id"] for said in client.said[-20:]], [said["id"] for said in clients[0].said[-20:]])
        equal(client.texts()[-20:], clients[0].texts()[-20:])


async def all_have_one_order(cluster):
    clients = await cluster.enter(*(f"c{i}" for i in range(9 if FULL else 6)))
    # At first, more would be too fast for the chat.
    texts = [(client, f"{client.name}.{i}") for i in range(8) for client in clients]
    for client, text in texts:
        await client.say(text)
    for client in clients:
        await client.has(*(text for _, text in texts))
    check_order(*clients)
    equal(clients[0].people, {client.name for client in clients})
    await clients[0].until(lambda: clients[0].rooms == [{"name": "lobby", "people": len(clients)}])
    # Who is new gets the newest from the broker, whichever node it comes to.
    (late,) = await cluster.enter("late")
    equal(late.texts(), clients[0].texts()[-50:])


async def others_may_publish(cluster):
    ada, bob, cid = await cluster.enter("Ada", "Bob", "Cid")
    words = {"at": 1, "name": "Cron", "text": "from elsewhere ä"}
    await cluster.broker.publish("lobby", json.dumps(words))
    # What is no message of this chat is not shown.
    await cluster.broker.publish("lobby", "nonsense")
    await ada.say("after")
    for client in ada, bob, cid:
        await client.has("from elsewhere ä", "after")
        equal(client.texts(), ["from elsewhere ä", "after"])


async def the_broker_stops_and_comes_back(cluster, how="stop"):
    ada, bob, cid = clients = await cluster.enter("Ada", "Bob", "Cid")
    await ada.say("before")
    for client in clients:
        await client.has("before")
    if how == "hang":
        cluster.broker.hang()
    else:
        cluster.broker.stop()
    # A broker that hangs shows only when it is used.
    texts = [f"{client.name} alone {i}" for i in range(3) for client in clients]
    for client, text in zip(itertools.cycle(clients), texts):
        await client.say(text)
    for client in clients:
        await client.until(lambda: client.reachable is False)
        own = {text for text in texts if text.startswith(client.name)}
        await client.until(lambda: own <= set(client.early.values()))
        equal(set(client.early.values()), own)
    if how == "hang":
        cluster.broker.go_on()
    else:
        await cluster.broker.start()
    for client in clients:
        await client.has("before", *texts)
        await client.until(lambda: client.reachable)
        equal(client.early, {})
        equal(client.outbox, {})
    await bob.say("after")
    for client in clients:
        await client.has("after")
    check_order(*clients)
    equal(ada.fresh, 1)


async def who_comes_back_while_the_broker_is_away_misses_nothing(cluster):
    ada, bob, cid = clients = await cluster.enter("Ada", "Bob", "Cid")
    await bob.say("before")
    for client in clients:
        await client.has("before")
    await cid.leave()
    await bob.say("while Cid was gone")
    for client in ada, bob:
        await client.has("while Cid was gone")
    cluster.broker.stop()
    for client in ada, bob:
        await client.until(lambda: client.reachable is False)
    # To one of the three nodes, none of which can say what he missed.
    cid.task = asyncio.create_task(cid.run())
    await cid.until(lambda: cid.people and cid.reachable is False)
    for client in clients:
        await client.say(f"{client.name} alone")
    await cluster.broker.start()
    for client in clients:
        await client.has("while Cid was gone", "Ada alone", "Bob alone", "Cid alone")
        await client.until(lambda: client.reachable)
        equal(client.early, {})
    check_order(*clients)


async def the_broker_hangs(cluster):
    await the_broker_stops_and_comes_back(cluster, "hang")


async def the_broker_loses_its_data(cluster):
    ada, bob, cid = clients = await cluster.enter("Ada", "Bob", "Cid")
    await ada.say("before")
    for client in clients:
        await client.has("before")
    cluster.broker.stop()
    for client in clients:
        await client.until(lambda: client.reachable is False)
    cluster.broker.lose_all()
    await cluster.broker.start()
    # All are told that what they had is not there any more.
    for client in clients:
        await client.until(lambda: client.fresh == 2 and client.reachable)
    await bob.say("after")
    for client in clients:
        await client.has("after")
        equal(client.texts(), ["after"])


async def a_node_is_killed(cluster):
    clients = await cluster.enter(*(f"c{i}" for i in range(6)))
    expected = []
    for number in range(3 if FULL else 2):
        # While all talk, one node dies.
        texts = [f"{client.name} round {number}.{i}" for i in range(2) for client in clients]
        expected += texts
        for i, (client, text) in enumerate(zip(itertools.cycle(clients), texts)):
            if i == len(clients) // 2:
                cluster.nodes[number].kill()
            await client.say(text)
        for client in clients:
            await client.has(*expected)
            equal(client.outbox, {})
        cluster.nodes[number] = cluster.node(cluster.ports[number])
    for client in clients:
        await client.until(lambda: client.people == {f"c{i}" for i in range(6)})
    check_order(*clients)


async def a_node_is_replaced(cluster):
    """As for a new version: each node in turn ends well, and starts again. Its pages go to the others."""
    clients = await cluster.enter(*(f"c{i}" for i in range(6)))
    expected = []
    for number, port in enumerate(cluster.ports):
        ending = asyncio.create_task(asyncio.to_thread(cluster.nodes[number].interrupt))
        texts = [f"{client.name} during {number}" for client in clients]
        expected += texts
        for client, text in zip(clients, texts):
            await client.say(text)
        equal(await ending, 0)
        cluster.nodes[number] = cluster.node(port)
        for client in clients:
            await client.has(*expected)
    check_order(*clients)
    for client in clients:
        await client.until(lambda: client.people == {f"c{i}" for i in range(6)})


async def who_died_with_its_node_is_gone_after_the_lease(cluster):
    ada, bob, cid = await cluster.enter("Ada", "Bob", "Cid")
    await ada.until(lambda: ada.people == {"Ada", "Bob", "Cid"})
    # Bob is on the second node, and never comes back.
    begin = asyncio.get_running_loop().time()
    bob.task.cancel()
    cluster.nodes[1].kill()
    await ada.until(lambda: ada.people == {"Ada", "Cid"})
    await cid.until(lambda: cid.people == {"Ada", "Cid"})
    assert asyncio.get_running_loop().time() - begin < TIMEOUT


async def one_name_is_one_person_on_all_nodes(cluster):
    ada, bob = await cluster.enter("Ada", "Bob")
    async with websockets.connect(f"ws://127.0.0.1:{cluster.port}/ws") as ws:
        await ws.send(json.dumps({"type": "join", "room": "lobby", "name": "ADA", "secret": "other", "since": None}))
        # A node that is new in the room lets her in, and hears of Ada then.
        messages = []
        with contextlib.suppress(websockets.ConnectionClosed):
            async with asyncio.timeout(TIMEOUT):
                while True:
                    messages.append(json.loads(await ws.recv()))
        equal([message["why"] for message in messages if message["type"] == "refused"], ["name_taken"])
        equal(ws.close_code, 4000)
    equal(bob.people, {"Ada", "Bob"})
    # With the secret, she takes over her own seat from another node.
    async with websockets.connect(f"ws://127.0.0.1:{cluster.port}/ws") as ws:
        ada.task.cancel()
        await ws.send(json.dumps({"type": "join", "room": "lobby", "name": "Ada", "secret": "Ada", "since": None}))
        equal(json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT))["type"], "welcome")
        await bob.until(lambda: bob.people == {"Ada", "Bob"})


def post(port, path, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    return json.loads(connection.getresponse().read())


async def a_post_may_come_to_any_node(cluster):
    """Somebody hears through one node, and what she says comes to another one, in whose rooms nobody is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.ports[0])
    writer.write(b"GET /events?room=lobby&name=Ada&secret=Ada HTTP/1.1\r\nHost: chat\r\n\r\n")
    async with asyncio.timeout(TIMEOUT):
        while b'"type":"here"' not in await reader.readline():
            pass
    say = {"room": "lobby", "name": "Ada", "secret": "Ada", "since": None, "key": "k", "text": "from elsewhere"}
    equal(await asyncio.to_thread(post, cluster.ports[1], "/say", say), {"type": "kept", "key": "k"})
    async with asyncio.timeout(TIMEOUT):
        while b"from elsewhere" not in await reader.readline():
            pass
    # Another secret is somebody else, also there.
    stranger = {**say, "secret": "other", "key": "k2"}
    equal((await asyncio.to_thread(post, cluster.ports[2], "/say", stranger))["why"], "not_here")
    writer.close()


async def who_polls_may_come_to_any_node(cluster):
    """HAProxy sends each poll to another node, and yet each message comes once."""
    (ada,) = await cluster.enter("Ada")
    who = {"room": "lobby", "name": "Bob", "secret": "Bob", "since": None}
    turn, heard = 0, []
    expected = []
    for i in range(9):
        if i % 3 == 1:
            await ada.say(f"Ada {i}")
            expected.append(f"Ada {i}")
            await ada.has(f"Ada {i}")
        answer = await asyncio.to_thread(post, cluster.port, "/poll", {**who, "turn": turn, "wait": 0})
        turn = answer["turn"]
        for message in answer["messages"]:
            for said in message.get("messages", [message] if message["type"] == "said" else []):
                heard.append(said["text"])
                who["since"] = said["id"]
        if i == 4:
            equal((await asyncio.to_thread(post, cluster.port, "/say", {**who, "key": "k", "text": "Bob"}))["type"], "kept")
            await ada.has("Bob")
            expected.append("Bob")
    equal(heard, expected)


CASES = [
    all_have_one_order, others_may_publish, the_broker_stops_and_comes_back, the_broker_hangs, the_broker_loses_its_data,
    who_comes_back_while_the_broker_is_away_misses_nothing,
    a_node_is_killed, a_node_is_replaced, one_name_is_one_person_on_all_nodes, a_post_may_come_to_any_node,
    who_polls_may_come_to_any_node,
]  # fmt: skip
if FULL:
    CASES.append(who_died_with_its_node_is_gone_after_the_lease)


async def run(case, broker):
    with tempfile.TemporaryDirectory() as folder:
        async with Cluster(broker, folder) as cluster:
            await case(cluster)


async def main():
    checks = Checks()
    wanted = [name for name in sys.argv[1:] if not name.startswith("-")]
    for broker in Redis, Nats:
        for case in CASES:
            if wanted and case.__name__ not in wanted and broker.NAME not in wanted:
                continue
            title = f"three nodes, {broker.NAME}: {case.__name__}"
            await checks.run(title, run(case, broker), 6 * TIMEOUT)
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
