#!/usr/bin/env python3
"""bowline's echo servers against headless Chromium. `run` installs what this needs and starts it.

The page of an echo server, opened with ?selfcheck, does its round trips and then writes "passed" or "failed: reason" into
its element `selfcheck`, and only then ends loading, so `chromium --headless --dump-dom` shows the result. The other checks
need a page that goes on, so they drive Chromium over its debugging protocol.
"""

import asyncio
import base64
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from websockets.asyncio.client import connect

from peer import SERVERS, TIMEOUT, Checks, Server, equal

HERE = pathlib.Path(__file__).resolve().parent
SCREENSHOTS = HERE / ".cache" / "screenshots"
CHROMIUM = """chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --window-size=900,700""".split()

# Settles when the self-check has ended. A JavaScript promise, so that nothing here polls.
SELFCHECK = """new Promise(resolve => {
    const ended = () => /^(passed|failed)/.test(document.getElementById('selfcheck')?.textContent ?? '');
    const look = () => ended() && resolve(document.getElementById('selfcheck').textContent);
    new MutationObserver(look).observe(document, {subtree: true, childList: true, characterData: true});
    look();
})"""

# What the page shows of its connection.
STATE = """new Promise(resolve => {
    const look = () => {
        const text = document.getElementById('state')?.textContent ?? '';
        if (text.startsWith('connected')) resolve(text);
    };
    new MutationObserver(look).observe(document, {subtree: true, childList: true, characterData: true});
    look();
})"""

CONNECT = """new Promise(resolve => {
    const ws = new WebSocket(%s);
    ws.onopen = () => { ws.close(); resolve('opened'); };
    ws.onerror = () => resolve('refused');
})"""


class Browser:
    """A headless Chromium with a profile of its own, and commands of its debugging protocol."""

    def __init__(self, *flags):
        self.flags = flags

    async def __aenter__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        log = open(pathlib.Path(self.profile.name) / "log", "w")
        self.process = subprocess.Popen(
            [*CHROMIUM, *self.flags, "--remote-debugging-port=0", f"--user-data-dir={self.profile.name}", "about:blank"],
            stdout=log, stderr=log, start_new_session=True,
        )
        try:
            self.socket = await connect(await asyncio.wait_for(self._address(), TIMEOUT), max_size=None)
        except BaseException:
            await self.__aexit__()
            raise
        self.calls = 0
        return self

    async def _address(self):
        # Chromium writes the port that it chose and the path into this file.
        file = pathlib.Path(self.profile.name) / "DevToolsActivePort"
        while not file.exists() or len(lines := file.read_text().splitlines()) < 2:
            assert self.process.poll() is None, f"chromium ended with {self.process.returncode}"
            await asyncio.sleep(0.05)
        return f"ws://127.0.0.1:{lines[0]}{lines[1]}"

    async def __aexit__(self, *_):
        try:
            if hasattr(self, "socket"):
                await self.call("Browser.close")
                await asyncio.to_thread(self.process.wait, TIMEOUT)
        finally:
            if self.process.poll() is None:
                # The session, because Chromium is many processes.
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.profile.cleanup()

    async def call(self, method, session=None, **parameters):
        """One command and its result. Events that come in between are of no interest."""
        self.calls += 1
        command = {"id": self.calls, "method": method, "params": parameters}
        await self.socket.send(json.dumps(command | ({"sessionId": session} if session else {})))
        while True:
            answer = json.loads(await asyncio.wait_for(self.socket.recv(), TIMEOUT))
            if answer.get("id") == self.calls:
                assert "error" not in answer, f"{method}: {answer.get('error')}"
                return answer["result"]


class Page:
    """A tab that shows `url`."""

    @classmethod
    async def open(cls, browser, url):
        page = cls()
        page.browser = browser
        page.target = (await browser.call("Target.createTarget", url="about:blank"))["targetId"]
        attached = await browser.call("Target.attachToTarget", targetId=page.target, flatten=True)
        page.session = attached["sessionId"]
        await browser.call("Page.enable", page.session)
        # Answered when the navigation is committed: from then on scripts run in the new document.
        result = await browser.call("Page.navigate", page.session, url=url)
        assert "errorText" not in result, f"{url}: {result.get('errorText')}"
        return page

    async def evaluate(self, expression):
        """The value of a JavaScript expression, or of the promise that it gives."""
        result = await self.browser.call(
            "Runtime.evaluate", self.session, expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, f"{result.get('exceptionDetails')}"
        return result["result"]["value"]

    async def screenshot(self, file):
        image = await self.browser.call("Page.captureScreenshot", self.session)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(image["data"]))
        print(f"        screenshot: {file}")


async def dump_dom(browser, server):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *CHROMIUM, f"--user-data-dir={profile}", "--dump-dom", f"{server.page}?selfcheck",
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        dom, _ = await asyncio.wait_for(process.communicate(), TIMEOUT)
    assert '<p id="selfcheck">passed</p>' in dom.decode(), dom.decode()


async def selfcheck(browser, server):
    page = await Page.open(browser, f"{server.page}?selfcheck")
    verdict = await page.evaluate(SELFCHECK)
    await page.screenshot(SCREENSHOTS / f"{server.name}{'_deflate' if server.flags else ''}.png")
    equal(verdict, "passed")


async def extensions(browser, server):
    page = await Page.open(browser, server.page)
    state = await page.evaluate(STATE)
    expected = "permessage-deflate" if "--deflate" in server.flags else "none"
    assert f"extensions: {expected}" in state, state


async def page_of_its_own(browser, server):
    page = await Page.open(browser, server.page)
    equal(await page.evaluate(CONNECT % json.dumps(server.url)), "opened")


async def page_from_elsewhere(browser, server):
    # Another port is another origin.
    with Server(server.name) as elsewhere:
        page = await Page.open(browser, elsewhere.page)
        equal(await page.evaluate(CONNECT % json.dumps(server.url)), "refused")
        with Server(server.name, "--any-origin") as tolerant:
            equal(await page.evaluate(CONNECT % json.dumps(tolerant.url)), "opened")


async def local_network_access():
    """What docs/deploying.md says: a page of the public network needs the user's permission for a server on loopback, and the server sees
    no request without it. There is no preflight. Returns what to add to the name."""
    requests = []

    async def see(reader, writer):
        requests.append(await reader.read(4096))
        writer.close()

    async with await asyncio.start_server(see, "127.0.0.1", 0) as listener:
        url = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
        with Server("tls_server", scheme="wss") as public, Server("echo_server", "--any-origin") as server:
            # Chromium takes this address for one of the public network.
            flags = ["--ignore-certificate-errors", f"--ip-address-space-overrides={public.address}=public"]
            async with Browser(*flags) as browser:
                version = (await browser.call("Browser.getVersion"))["product"].split("/")[1]
                if int(version.split(".")[0]) < 147:
                    return f"left out, Chromium {version} does not ask for WebSockets"
                page = await Page.open(browser, public.url.replace("wss", "https"))
                equal(await page.evaluate(CONNECT % json.dumps(server.url)), "refused")
                equal(await page.evaluate(CONNECT % json.dumps(url)), "refused")
                assert not any(requests), f"a request came: {requests}"
                await browser.call("Browser.setPermission", permission={"name": "loopback-network"}, setting="granted")
                equal(await page.evaluate(CONNECT % json.dumps(server.url)), "opened")
                await page.evaluate(CONNECT % json.dumps(url))
                asked = [request for request in requests if request]
                equal(len(asked), 1)
                assert asked[0].startswith(b"GET / HTTP/1.1\r\n") and b"\r\nOrigin: https://" in asked[0], asked
                assert b"Private-Network" not in asked[0], asked
                # A page of loopback needs none.
                page = await Page.open(browser, server.page)
                await browser.call("Browser.resetPermissions")
                equal(await page.evaluate(CONNECT % json.dumps(server.url)), "opened")


CHECKS = [
    (dump_dom,),
    (selfcheck,),
    (extensions,),
    (dump_dom, "--deflate"),
    (selfcheck, "--deflate"),
    (extensions, "--deflate"),
    (page_of_its_own,),
    (page_from_elsewhere,),
]


async def main():
    checks = Checks()
    try:
        found = await asyncio.wait_for(local_network_access(), 2 * TIMEOUT)
    except Exception as error:
        checks.report("chromium: local_network_access", error)
    else:
        checks.report(f"chromium: local_network_access{f': {found}' if found else ''}")
    async with Browser() as browser:
        for name in SERVERS:
            for check, *flags in CHECKS:
                title = f"chromium, {' '.join([name, *flags])}: {check.__name__}"
                try:
                    with Server(name, *flags) as server:
                        await asyncio.wait_for(check(browser, server), 2 * TIMEOUT)
                except Exception as error:
                    checks.report(title, error)
                else:
                    checks.report(title)
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
