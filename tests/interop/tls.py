#!/usr/bin/env python3
"""bowline's server on TLS with aws-lc-rs: which key exchange Chromium, `connect` and OpenSSL agree on with it. `run` installs what
this needs and starts it."""

import asyncio
import pathlib
import ssl
import sys
import tempfile

from websockets.asyncio.client import connect

from browser import SELFCHECK, Browser, Page
from examples import run
from peer import TIMEOUT, Checks, Server, equal

HYBRID = "TLSv1_3 with X25519MLKEM768"


def agreed(server):
    """What the server says of the next connection."""
    return server.lines.get(timeout=TIMEOUT).strip()


async def chromium(server, _):
    # The certificate is the server's own.
    async with Browser("--ignore-certificate-errors") as browser:
        page = await Page.open(browser, f"https://{server.address}/?selfcheck")
        equal(await page.evaluate(SELFCHECK), "passed")
    lines = {agreed(server)}
    while not server.lines.empty():
        lines.add(agreed(server))
    equal(lines, {HYBRID})


async def our_client(server, certificate):
    result = await asyncio.to_thread(run, "connect", server.url, stdin="one\n", env={"SSL_CERT_FILE": str(certificate)})
    equal((result.returncode, result.stdout), (0, "one\n"))
    equal(agreed(server), HYBRID)


async def a_peer_without_it(server, certificate):
    context = ssl.create_default_context(cafile=certificate)
    # Python has no name for other groups. With this curve alone, there is no hybrid.
    context.set_ecdh_curve("prime256v1")
    async with connect(server.url, ssl=context, proxy=None) as ws:
        await ws.send("Hello")
        equal(await ws.recv(), "Hello")
    equal(agreed(server), "TLSv1_3 with secp256r1")


async def main():
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        certificate = pathlib.Path(folder, "cert.pem")
        for check in chromium, our_client, a_peer_without_it:
            try:
                with Server("tls_server", "--verbose", "--certificate", certificate, scheme="wss") as server:
                    await asyncio.wait_for(check(server, certificate), 2 * TIMEOUT)
            except Exception as error:
                checks.report(f"tls_server: {check.__name__}", error)
            else:
                checks.report(f"tls_server: {check.__name__}")
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
