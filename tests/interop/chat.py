#!/usr/bin/env python3
"""The chat of examples/chat in two headless Chromiums. `run` installs what this needs and starts it.

Each page comes through a relay. It cuts a page off, and the page comes back by itself when it may. It also refuses what some proxies refuse:
WebSockets, streams, and requests that wait. Then the page has to find another way.
"""

import asyncio
import json
import pathlib
import sys
import tempfile

from browser import SCREENSHOTS, Browser, Page
from chat_nodes import Redis
from peer import EXAMPLES, TIMEOUT, Checks, Server, equal

# What a page knows is read off what it shows. Settles when `condition` holds; a JavaScript promise, so nothing here polls.
UNTIL = """new Promise(resolve => {
    const texts = selector => Array.from(document.querySelectorAll(selector), node => node.textContent);
    const said = () => texts('#messages .text'), people = () => texts('#people li > span:last-child');
    const state = () => document.getElementById('state').dataset.state;
    const by = () => state() === 'online' && document.getElementById('transport').textContent;
    const look = () => { if (%s) { observer.disconnect(); resolve({said: said(), people: people(), title: document.title}); } };
    const observer = new MutationObserver(look);
    observer.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
    look();
})"""

LOADED = "document.readyState === 'complete' || new Promise(resolve => addEventListener('load', () => resolve(true)))"


class Chat(Server):
    # Built without --release: SQLite takes minutes with it.
    FOLDER = EXAMPLES.parent / "debug"


class Relay:
    """Passes bytes on to the server, until it is cut. The page connects to it, so to the page it is the server."""

    async def __aenter__(self):
        self.writers, self.open, self.upstream = set(), True, None
        # What it refuses: pieces of requests. And what it takes, and never answers.
        self.refuses, self.swallows = set(), set()
        self.server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = "127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]
        self.page = f"http://{self.address}/"
        return self

    async def __aexit__(self, *_):
        self.cut()
        self.server.close()

    async def _connected(self, reader, writer):
        if not self.open:
            return writer.close()
        host, port = self.upstream.split(":")
        try:
            up_reader, up_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return writer.close()
        self.writers |= {writer, up_writer}
        await asyncio.gather(self._pass(reader, up_writer, writer), self._pass(up_reader, writer))

    async def _pass(self, reader, writer, back=None):
        try:
            while data := await reader.read(65536):
                if back and any(piece in data for piece in self.refuses):
                    back.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    back.close()
                    break
                if back and any(piece in data for piece in self.swallows):
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()
            self.writers.discard(writer)

    def cut(self):
        """As when a network is gone: without Close, and nothing gets through."""
        self.open = False
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    def mend(self):
        self.open = True


async def until(page, condition):
    try:
        return await asyncio.wait_for(page.evaluate(UNTIL % condition), TIMEOUT)
    except TimeoutError:
        raise AssertionError(f"never: {condition}; the page says {await page.evaluate('document.body.innerText')!r}")


async def enter(browser, url, name):
    page = await ask_to_enter(browser, url, name)
    await until(page, "state() === 'online'")
    return page


async def ask_to_enter(browser, url, name):
    page = await Page.open(browser, url)
    await page.evaluate(LOADED)
    await page.evaluate(
        f"""(document.getElementById('name').value = {json.dumps(name)}, document.querySelector('#enter form').requestSubmit(), true)"""
    )
    return page


async def say(page, text):
    await page.evaluate(
        f"""(document.getElementById('say').value = {json.dumps(text)}, document.getElementById('composer').requestSubmit(), true)"""
    )


def has(*texts):
    """All of these were said, and nothing else."""
    return f"JSON.stringify(said()) === JSON.stringify({json.dumps(texts)})"


async def check_each_sees_the_other(ada, bob, _):
    await say(ada, "Hello")
    await until(bob, has("Hello"))
    await say(bob, "Hello yourself")
    for page in ada, bob:
        await until(page, has("Hello", "Hello yourself"))
        equal((await until(page, "true"))["people"], ["Ada (you)", "Bob"] if page is ada else ["Ada", "Bob (you)"])


async def check_text_stays_text(ada, bob, _):
    text = "<img src=x onerror=\"document.title='caught'\"> &amp; <b>bold</b>"
    await say(ada, text)
    shown = await until(bob, has(text))
    equal(await bob.evaluate("document.querySelectorAll('#messages img, #messages .text b').length"), 0)
    assert "caught" not in shown["title"], "a script ran"


async def check_missed_messages_come(ada, bob, relay):
    relay.cut()
    await until(ada, "state() === 'waiting'")
    # A message that is written meanwhile waits.
    await say(ada, "from Ada, cut off")
    for i in range(3):
        await say(bob, f"missed {i}")
    missed = [f"missed {i}" for i in range(3)]
    await until(bob, has(*missed))
    equal((await until(ada, "true"))["said"], [])
    relay.mend()
    await until(ada, f"state() === 'online' && {has(*missed, 'from Ada, cut off')}")
    await until(bob, has(*missed, "from Ada, cut off"))
    equal(await ada.evaluate("document.querySelectorAll('#outbox > *').length"), 0)


async def check_name_taken(ada, bob, relay):
    page = await ask_to_enter(ada.browser, relay.page, "bob")
    await until(page, "document.getElementById('problem').textContent.includes('has this name already')")
    assert await page.evaluate("document.getElementById('app').hidden"), "it is let in"


async def check_server_restarted(ada, bob, relay, folder, servers):
    await say(ada, "before")
    await until(bob, has("before"))
    # In a thread, because the relay has to pass Close on meanwhile.
    equal(await asyncio.to_thread(servers.pop().interrupt), 0)
    for page in ada, bob:
        await until(page, "state() === 'waiting'")
    await say(bob, "from Bob, meanwhile")
    servers.append(Chat("chat", "--database", f"{folder}/chat.sqlite", scheme="http"))
    relay.upstream = servers[0].address
    for page in ada, bob:
        await until(page, f"state() === 'online' && {has('before', 'from Bob, meanwhile')}")


WEBSOCKET, EVENTS, HELD = b"GET /ws ", b"GET /events?", b'"wait":25'
# What is refused, and what is left.
WAYS = [((), "WebSocket"), ((WEBSOCKET,), "SSE"), ((WEBSOCKET, EVENTS), "long polling"), ((WEBSOCKET, EVENTS, HELD), "short polling")]


async def check_finds_a_way(ada, bob, relay):
    """Through ever fewer ways, while both talk: each message comes once and in order, whichever way it came."""
    expected = []
    for refused, way in WAYS:
        relay.refuses = set(refused)
        relay.cut()
        # Each says something while Ada is cut off.
        await say(bob, f"Bob before {way}")
        expected.append(f"Bob before {way}")
        await until(bob, has(*expected))
        await say(ada, f"Ada over {way}")
        relay.mend()
        await until(ada, f"by() === {json.dumps(way)}")
        expected.append(f"Ada over {way}")
        for page in ada, bob:
            await until(page, has(*expected))
        for i in range(3):
            await say(bob, f"{i} to Ada over {way}")
            expected.append(f"{i} to Ada over {way}")
        await until(ada, has(*expected))
        equal((await until(bob, "people().length === 2"))["people"], ["Ada", "Bob (you)"])
        await ada.screenshot(SCREENSHOTS / f"chat_over_{way.replace(' ', '_')}.png")
    # Nothing is refused any more. The page finds that out by itself.
    relay.refuses = set()
    await until(ada, "by() === 'WebSocket'")
    await say(bob, "Back again")
    await until(ada, has(*expected, "Back again"))


async def check_a_stream_that_is_held_back(ada, bob, relay):
    """As behind a proxy that collects an answer before it passes it on."""
    relay.refuses, relay.swallows = {WEBSOCKET}, {EVENTS}
    relay.cut()
    await until(ada, "state() !== 'online'")
    relay.mend()
    await until(ada, "by() === 'long polling'")
    await say(bob, "Hello")
    await until(ada, has("Hello"))


async def check_closed_page_is_gone(ada, bob, relay):
    """The others see at once that a page that polls was closed."""
    relay.refuses = {WEBSOCKET, EVENTS}
    relay.cut()
    await until(ada, "state() !== 'online'")
    relay.mend()
    await until(ada, "by() === 'long polling'")
    await until(bob, "people().length === 2")
    await ada.evaluate("(location.href = 'about:blank', true)")
    await until(bob, "people().length === 1")


async def check_broker_away(ada, bob, relay, folder, servers):
    """On a node of many: while the broker is away, the people of the node go on, and are told."""
    shown = "!document.getElementById('away').hidden"
    broker = Redis(folder)
    await broker.start()
    try:
        servers.append(Chat("chat", "--broker", f"redis://127.0.0.1:{broker.port}", scheme="http"))
        relay.upstream = servers[-1].address
        relay.cut()
        relay.mend()
        for page in ada, bob:
            await until(page, f"state() === 'online' && {has()} && people().length === 2")
        await say(ada, "before")
        await until(bob, has("before"))
        broker.stop()
        for page in ada, bob:
            await until(page, shown)
        await say(ada, "meanwhile")
        waiting = "texts('#messages .waiting .text')"
        await until(bob, f"JSON.stringify({waiting}) === '[\"meanwhile\"]'")
        await say(bob, "me too")
        await until(ada, f"JSON.stringify({waiting}) === '[\"me too\"]'")
        await ada.screenshot(SCREENSHOTS / "chat_broker_away.png")
        await broker.start()
        for page in ada, bob:
            await until(page, f"!({shown}) && {has('before', 'meanwhile', 'me too')} && {waiting}.length === 0")
            equal(await page.evaluate("document.querySelectorAll('#outbox > *').length"), 0)
        # Another program may say something that is not kept, also twice.
        for _ in range(2):
            await broker.publish_now("lobby", json.dumps({"at": 1, "name": "Cron", "text": "now"}))
        await until(bob, f"{has('before', 'meanwhile', 'me too', 'now', 'now')} && {waiting}.length === 0")
    finally:
        broker.stop()


def over(way, check):
    """A check through one way alone."""

    async def checked(*arguments):
        await check(*arguments)

    checked.__name__ = f"{check.__name__}_over_{way}"
    checked.way = way
    checked.restarts = check in RESTARTS
    return checked


# These start a server of their own.
RESTARTS = [check_server_restarted, check_broker_away]
CHECKS = [
    check_each_sees_the_other, check_text_stays_text, check_missed_messages_come, check_name_taken, check_server_restarted,
    check_finds_a_way, check_a_stream_that_is_held_back, check_closed_page_is_gone, check_broker_away,
    *(over(way, check) for way in ("sse", "long-polling", "short-polling") for check in (check_missed_messages_come, check_server_restarted)),
]  # fmt: skip


async def run(check, browsers):
    with tempfile.TemporaryDirectory() as folder:
        servers = [Chat("chat", "--database", f"{folder}/chat.sqlite", scheme="http")]
        query = f"?transport={check.way}" if hasattr(check, "way") else ""
        try:
            async with Relay() as cut, Relay() as other:
                cut.upstream = other.upstream = servers[0].address
                ada = await enter(browsers[0], cut.page + query, "Ada")
                # Bob comes through a relay as well where the server moves to another port.
                restarts = getattr(check, "restarts", check in RESTARTS)
                bob = await enter(browsers[1], (cut if restarts else other).page + query, "Bob")
                await (check(ada, bob, cut, folder, servers) if restarts else check(ada, bob, cut))
                if check is check_each_sees_the_other:
                    await ada.screenshot(SCREENSHOTS / f"chat_{check.__name__}.png")
        finally:
            for server in servers:
                await asyncio.to_thread(server.__exit__)


async def main():
    checks = Checks()
    async with Browser() as first, Browser() as second:
        for check in CHECKS:
            title = f"chromium, chat: {check.__name__.removeprefix('check_')}"
            await checks.run(title, run(check, [first, second]), 3 * TIMEOUT)
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
