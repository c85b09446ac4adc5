#!/usr/bin/env python3
"""The chat of examples/chat in two headless Chromiums. `run` installs what this needs and starts it.

Each page is cut off by a relay between it and the server, and comes back by itself when the relay lets it through.
"""

import asyncio
import json
import pathlib
import sys
import tempfile

from browser import SCREENSHOTS, Browser, Page
from peer import EXAMPLES, TIMEOUT, Checks, Server, equal

# What a page knows is read off what it shows. Settles when `condition` holds; a JavaScript promise, so nothing here polls.
UNTIL = """new Promise(resolve => {
    const texts = selector => Array.from(document.querySelectorAll(selector), node => node.textContent);
    const said = () => texts('#messages .text'), people = () => texts('#people li > span:last-child');
    const state = () => document.getElementById('state').dataset.state;
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
        await asyncio.gather(self._pass(reader, up_writer), self._pass(up_reader, writer))

    async def _pass(self, reader, writer):
        try:
            while data := await reader.read(65536):
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


CHECKS = [
    check_each_sees_the_other, check_text_stays_text, check_missed_messages_come, check_name_taken, check_server_restarted
]  # fmt: skip


async def run(check, browsers):
    with tempfile.TemporaryDirectory() as folder:
        servers = [Chat("chat", "--database", f"{folder}/chat.sqlite", scheme="http")]
        try:
            async with Relay() as cut, Relay() as other:
                cut.upstream = other.upstream = servers[0].address
                ada = await enter(browsers[0], cut.page, "Ada")
                # Bob comes through a relay as well where the server moves to another port.
                restarts = check is check_server_restarted
                bob = await enter(browsers[1], (cut if restarts else other).page, "Bob")
                await (check(ada, bob, cut, folder, servers) if restarts else check(ada, bob, cut))
                await ada.screenshot(SCREENSHOTS / f"chat_{check.__name__}.png")
        finally:
            for server in servers:
                await asyncio.to_thread(server.__exit__)


async def main():
    checks = Checks()
    async with Browser() as first, Browser() as second:
        for check in CHECKS:
            title = f"chromium, chat: {check.__name__.removeprefix('check_')}"
            try:
                await asyncio.wait_for(run(check, [first, second]), 3 * TIMEOUT)
            except Exception as error:
                checks.report(title, error)
            else:
                checks.report(title)
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
