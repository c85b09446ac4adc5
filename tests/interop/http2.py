#!/usr/bin/env python3
"""bowline's server over HTTP/2 against headless Chromium, which opens WebSockets as streams of the page's connection
(RFC 8441). The server says over which version of HTTP each came. `run` installs what this needs and starts it."""

import asyncio
import json
import queue
import ssl
import sys

from websockets.asyncio.client import connect

from browser import CONNECT, SCREENSHOTS, SELFCHECK, STATE, Browser, Page
from peer import TIMEOUT, Checks, Server, equal

PROTOCOL = "performance.getEntriesByType('navigation')[0].nextHopProtocol"

# Many at once, each with a message of its own; how each was closed.
MANY = """Promise.all([...Array(50).keys()].map(i => new Promise((resolve, reject) => {
    const ws = new WebSocket(location.origin.replace(/^http/, 'ws') + '/ws');
    ws.onopen = () => ws.send(`message ${i}`);
    ws.onmessage = event => event.data === `message ${i}` ? ws.close(4000 + i) : reject(event.data);
    ws.onclose = event => resolve([event.code - i, event.wasClean]);
})))"""

CLOSED = """new Promise(resolve => {
    const ws = new WebSocket(location.origin.replace(/^http/, 'ws') + '/ws');
    ws.onclose = event => resolve([event.code, event.wasClean]);
})"""


def secure_server(*flags):
    server = Server("http2_server", *flags, scheme="wss")
    server.page = f"https://{server.address}/"
    return server


def versions(server):
    """What the server has said since the last call, of how many WebSockets."""
    lines = []
    while True:
        try:
            lines.append(server.lines.get(timeout=0.5 if lines else TIMEOUT).strip())
        except queue.Empty:
            return lines


def over_http2(server, count):
    equal(versions(server), ["WebSocket over HTTP/2.0"] * count)


async def open_page(browser, server, query=""):
    page = await Page.open(browser, server.page + query)
    equal(await page.evaluate(PROTOCOL), "h2")
    return page


async def page_and_echo(browser, server):
    page = await open_page(browser, server, "?selfcheck")
    equal(await page.evaluate(SELFCHECK), "passed")
    await page.screenshot(SCREENSHOTS / f"http2{'_deflate' if server.flags else ''}.png")
    lines = versions(server)
    assert lines and set(lines) == {"WebSocket over HTTP/2.0"}, lines


async def extensions(browser, server):
    page = await open_page(browser, server)
    state = await page.evaluate(STATE)
    expected = "permessage-deflate" if "--deflate" in server.flags else "none"
    assert f"extensions: {expected}" in state, state
    over_http2(server, 1)


async def many_on_one_connection(browser, server):
    page = await open_page(browser, server)
    await page.evaluate(STATE)
    over_http2(server, 1)
    equal(await page.evaluate(MANY), [[4000, True]] * 50)
    over_http2(server, 50)


async def page_from_elsewhere(browser, server):
    with secure_server() as elsewhere:
        page = await open_page(browser, elsewhere)
        equal(await page.evaluate(CONNECT % json.dumps(server.url)), "refused")


async def ctrl_c_closes_with_1001(browser, server):
    page = await open_page(browser, server)
    await page.evaluate(STATE)
    closed = asyncio.create_task(page.evaluate(CLOSED))
    await asyncio.to_thread(over_http2, server, 2)
    equal(await asyncio.to_thread(server.interrupt), 0)
    equal(await closed, [1001, True])


async def http_1_1_on_the_same_port(_, server):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with connect(server.url, ssl=context) as ws:
        await ws.send("Hello")
        equal(await ws.recv(), "Hello")
    equal(versions(server), ["WebSocket over HTTP/1.1"])


CHECKS = [
    (page_and_echo,),
    (page_and_echo, "--deflate"),
    (extensions,),
    (extensions, "--deflate"),
    (many_on_one_connection,),
    (page_from_elsewhere,),
    (ctrl_c_closes_with_1001,),
    (http_1_1_on_the_same_port,),
]


async def main():
    checks = Checks()
    # The certificate is the server's own.
    async with Browser("--ignore-certificate-errors") as browser:
        for check, *flags in CHECKS:
            title = f"chromium, {' '.join(['http2_server', *flags])}: {check.__name__}"
            try:
                with secure_server(*flags) as server:
                    await asyncio.wait_for(check(browser, server), 2 * TIMEOUT)
            except Exception as error:
                checks.report(title, error)
            else:
                checks.report(title)
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
