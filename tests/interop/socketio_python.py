"""The chat of examples/socketio against python-socketio, over aiohttp."""

import json
import os

import socketio

from peer import equal
from socketio_peer import Chat, Client


async def polling_comes_first_and_becomes_a_websocket(server):
    async with Client("Ada") as ada:
        await ada.enter(server)
        equal(ada.sio.transport(), "websocket")
        equal(await ada.ask("join", "here"), {"ok": True, "people": ["Ada"]})


async def one_transport_alone(server):
    async with Client("Ada") as ada, Client("Bob") as bob:
        await ada.enter(server, "here", transports=["websocket"])
        await bob.enter(server, "here", transports=["polling"])
        equal((ada.sio.transport(), bob.sio.transport()), ("websocket", "polling"))
        await ada.say("here", "by WebSocket")
        await bob.hears("by WebSocket")
        await bob.say("here", "by polling")
        await ada.hears("by polling")


async def acknowledgements_both_ways(server):
    async with Client("Ada") as ada, Client("Bob") as bob:
        await ada.enter(server)
        equal(await ada.ask("say", {"room": "here", "text": "x"}), {"ok": False, "error": "you are not in this room"})
        bob.sio.on("knock", lambda question: {"to": question["from"]})
        await bob.enter(server)
        equal(await ada.ask("knock", "Bob"), {"ok": True, "answer": {"to": "Ada"}})


async def rooms(server):
    async with Client("Ada") as ada, Client("Bob") as bob, Client("Cid") as cid:
        await ada.enter(server, "one", "two")
        await bob.enter(server, "one", "last")
        await cid.enter(server, "two", "last")
        equal((await ada.ask("who", "one"))["people"], ["Ada", "Bob"])
        await ada.say("one", "to one")
        await ada.say("two", "to two")
        await ada.ask("join", "last")
        await ada.say("last", "to all")
        await bob.hears("to one", "to all")
        await cid.hears("to two", "to all")
        # The sender hears nothing of itself.
        await bob.say("one", "to Ada")
        await ada.hears("to Ada")


async def binary(server):
    async with Client("Ada") as ada, Client("Bob") as bob:
        await ada.enter(server, "here")
        await bob.enter(server, "here")
        for size in 1, 126, 65536, 1 << 20:
            data = os.urandom(size)
            answer = await ada.ask("file", {"room": "here", "name": "x", "kind": "y", "data": data})
            equal(answer["bytes"], size)
            _, file = await bob.until(lambda event, *_: event == "file")
            equal(file["data"], data)


async def a_refusal(server):
    async with Client("") as nobody:
        try:
            await nobody.enter(server)
        except socketio.exceptions.ConnectionError:
            pass
        else:
            raise AssertionError("it was let in")
        _, error = await nobody.until(lambda event, *_: event == "connect_error")
        equal(json.loads(error["message"])["code"], "name")


async def the_server_closes(server):
    async with Client("Ada") as ada:
        await ada.enter(server)
        for _ in range(10):
            await ada.sio.emit("say", {"room": "nowhere", "text": "x"})
        equal((await ada.until(lambda event, *_: event == "disconnect"))[1], "server disconnect")


async def the_server_is_killed_and_started(server):
    # If it ends in good order, it says so, and this client takes that for the end. The client of npm comes back.
    async with Client("Ada") as ada:
        await ada.enter(server, "here")
        await ada.until(lambda event, *_: event == "connect")
        server.process.kill()
        await ada.until(lambda event, *_: event == "disconnect")
        with Chat(listen=server.address):
            await ada.until(lambda event, *_: event == "connect")
            equal(await ada.ask("join", "here"), {"ok": True, "people": ["Ada"]})
            await ada.sio.disconnect()


CASES = [
    polling_comes_first_and_becomes_a_websocket, one_transport_alone, acknowledgements_both_ways, rooms, binary, a_refusal,
    the_server_closes, the_server_is_killed_and_started,
]  # fmt: skip
