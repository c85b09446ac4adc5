"""The chat of examples/socketio on two nodes with Redis between them, which is stopped, hangs, and comes back."""

import asyncio
import os
import queue
import signal
import socket
import subprocess
import tempfile
import threading

from peer import TIMEOUT, equal
from socketio_peer import CLIENT_JS, PROGRAMS, Chat, Client


class Redis:
    """A server on a port of its own, with nothing on the disk."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        command = f"redis-server --bind 127.0.0.1 --port {self.port} --save --appendonly no --dir {self.folder.name}"
        self.process = subprocess.Popen(command.split(), stdout=subprocess.PIPE, text=True)
        lines = queue.Queue()
        threading.Thread(target=lambda: [lines.put(line) for line in self.process.stdout], daemon=True).start()
        try:
            while "Ready to accept connections" not in lines.get(timeout=TIMEOUT):
                pass
        except queue.Empty:
            self.process.kill()
            raise AssertionError("redis-server did not start")

    def stop(self):
        self.process.terminate()
        self.process.wait(TIMEOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


class Nodes:
    """Two nodes. Ada and Bob are on the first, Cid is on the second, all in one room."""

    async def __aenter__(self):
        self.redis = Redis()
        self.chats, self.clients = [], [Client("Ada"), Client("Bob"), Client("Cid")]
        try:
            for _ in range(2):
                self.chats.append(Chat("--redis", self.redis.url))
            for client, chat in zip(self.clients, [self.chats[0], self.chats[0], self.chats[1]]):
                await client.enter(chat, "here")
        except BaseException:
            await self.__aexit__()
            raise
        return (self, *self.clients)

    async def __aexit__(self, *_):
        try:
            for client in self.clients:
                await client.__aexit__()
            for chat in self.chats:
                # Some of the cases have ended it.
                await asyncio.to_thread(chat.__exit__)
        finally:
            self.redis.__exit__()

    async def told(self, reachable):
        """All are told whether the other node is in reach."""
        for client in self.clients:
            await client.until(lambda event, *values: event == "cluster" and values == (reachable,))


async def a_message_reaches_the_other_node_once():
    async with Nodes() as (_, ada, bob, cid):
        for i in range(20):
            await ada.say("here", f"from Ada {i}")
        await cid.say("here", "from Cid")
        await bob.hears(*(f"from Ada {i}" for i in range(20)), "from Cid")
        await cid.hears(*(f"from Ada {i}" for i in range(20)))
        await ada.hears("from Cid")


async def who_is_there_on_all_nodes():
    async with Nodes() as (_, ada, bob, cid):
        for client in ada, cid:
            equal((await client.ask("who", "here"))["people"], ["Ada", "Bob", "Cid"])
        await ada.until(lambda event, *values: event == "joined" and values[0]["name"] == "Cid")
        await cid.sio.disconnect()
        await ada.until(lambda event, *values: event == "left" and values[0]["name"] == "Cid")
        equal((await ada.ask("who", "here"))["people"], ["Ada", "Bob"])


async def a_name_belongs_to_one_on_all_nodes():
    async with Nodes() as (nodes, *_), Client("ada") as other:
        try:
            await other.enter(nodes.chats[1])
        except Exception:
            _, error = await other.until(lambda event, *_: event == "connect_error")
            assert "taken" in error["message"], error
        else:
            raise AssertionError("two have the name")


async def binary_and_questions_cross():
    async with Nodes() as (_, ada, bob, cid):
        data = os.urandom(1 << 20)
        await cid.ask("file", {"room": "here", "name": "x", "kind": "y", "data": data})
        for client in ada, bob:
            equal((await client.until(lambda event, *_: event == "file"))[1]["data"], data)
        cid.sio.on("knock", lambda question: f"for {question['from']}")
        equal(await ada.ask("knock", "Cid"), {"ok": True, "answer": "for Ada"})
        await cid.sio.emit("typing", "here")
        await ada.until(lambda event, *_: event == "typing")


async def without_redis(nodes, ada, bob, cid):
    """What goes on on each node alone."""
    await ada.say("here", "only here")
    await bob.hears("only here")
    equal((await ada.ask("who", "here"))["people"], ["Ada", "Bob"])
    equal((await cid.ask("who", "here"))["people"], ["Cid"])
    bob.sio.on("knock", lambda question: "in")
    equal(await ada.ask("knock", "Bob"), {"ok": True, "answer": "in"})
    async with Client("Dan") as dan:
        await dan.enter(nodes.chats[0], "here")
        await ada.until(lambda event, *values: event == "joined" and values[0]["name"] == "Dan")
        await dan.sio.disconnect()


async def as_before(ada, bob, cid):
    """What was said meanwhile does not come any more. What is said now comes once."""
    await ada.say("here", "again")
    await bob.hears("again")
    await cid.hears("again")
    equal((await cid.ask("who", "here"))["people"], ["Ada", "Bob", "Cid"])


async def redis_is_stopped_and_started():
    async with Nodes() as (nodes, ada, bob, cid):
        nodes.redis.stop()
        await nodes.told(False)
        await without_redis(nodes, ada, bob, cid)
        nodes.redis.start()
        await nodes.told(True)
        await as_before(ada, bob, cid)


async def redis_hangs_and_goes_on():
    async with Nodes() as (nodes, ada, bob, cid):
        nodes.redis.process.send_signal(signal.SIGSTOP)
        # It is a publication without an answer that shows it.
        for client in ada, cid:
            await client.say("here", "into the void")
        await bob.hears("into the void")
        await nodes.told(False)
        await without_redis(nodes, ada, bob, cid)
        nodes.redis.process.send_signal(signal.SIGCONT)
        await nodes.told(True)
        await cid.say("here", "and now")
        # What was under way when it hung may still come before that.
        await ada.until(lambda event, *values: event == "said" and values[0]["text"] == "and now")


async def a_node_is_killed():
    async with Nodes() as (nodes, ada, bob, cid):
        nodes.chats[1].process.kill()
        await cid.until(lambda event, *_: event == "disconnect")
        await ada.say("here", "still here")
        await bob.hears("still here")
        equal((await ada.ask("who", "here"))["people"], ["Ada", "Bob"])


async def no_redis_at_the_start():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{free.getsockname()[1]}"
    command = [PROGRAMS / "socketio", "--client-js", CLIENT_JS, "--listen", "127.0.0.1:0", "--redis", url]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=TIMEOUT)
    equal((done.returncode, done.stdout), (1, ""))
    assert done.stderr.startswith("socketio: --redis: "), done.stderr


CASES = [
    a_message_reaches_the_other_node_once, who_is_there_on_all_nodes, a_name_belongs_to_one_on_all_nodes, binary_and_questions_cross,
    redis_is_stopped_and_started, redis_hangs_and_goes_on, a_node_is_killed, no_redis_at_the_start,
]  # fmt: skip
