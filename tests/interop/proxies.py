#!/usr/bin/env python3
"""bowline behind nginx and HAProxy, with the configurations of `proxies/`. `run proxies` installs what this needs and starts it.

Those are files to deploy; what is replaced in them here, addresses and times, has to stand in them.
"""

import asyncio
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

import h2.config
import h2.connection
import h2.events
import h2.settings
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from peer import EXAMPLES, ROOT, TIMEOUT, Checks, Server, equal

MIB = 1024 * 1024
HERE = pathlib.Path(__file__).resolve().parent

# Of a proxy here, in seconds: what takes a minute in the files.
IDLE = 2
# A third of it, so that one late ping is no end.
PING = ["--ping-interval", "0.6"]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def render(file, *changes):
    """A file of `proxies/` with what a check changes in it, and then what all of them do."""
    text = whole = (HERE / "proxies" / file).read_text()
    for old, new in [pair for some in changes for pair in some.items()]:
        assert old in whole, f"{file} does not say {old!r}"
        text = text.replace(old, new)
    return text


class Proxy:
    """A proxy in front of `address`, with a plain and a TLS port; `changes` are made in its file beside the usual ones."""

    def __init__(self, folder, address, changes=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=folder))
        self.certificate = pathlib.Path(folder, "certificate.pem")
        self.plain, self.secure = free_port(), free_port()
        self.write(address, changes or {})
        self.log = open(self.folder / "log", "w+")
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log)

    def url(self, scheme):
        return f"{scheme}://{self.host(scheme)}/"

    def host(self, scheme):
        return f"localhost:{self.secure if scheme == 'wss' else self.plain}"

    def connect(self, scheme="ws", **options):
        options = {"compression": None, "ping_interval": None, "open_timeout": TIMEOUT, "proxy": None} | options
        if scheme == "wss":
            options["ssl"] = ssl.create_default_context(cafile=self.certificate)
        return connect(self.url(scheme), **options)

    async def ready(self):
        """Waits until it answers, with anything."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                assert self.process.poll() is None, f"{self.NAME} ended: {self.said()}"
                with contextlib.suppress(OSError):
                    if await self.get("/health"):
                        return
                await asyncio.sleep(0.05)

    async def get(self, path, version="1.1"):
        """The status that a GET gets, or None if there was no answer."""
        reader, writer = await asyncio.open_connection("localhost", self.plain)
        with contextlib.closing(writer):
            writer.write(f"GET {path} HTTP/{version}\r\nHost: {self.host('ws')}\r\nConnection: close\r\n\r\n".encode())
            line = await reader.readline()
            return int(line.split()[1]) if line else None

    def said(self):
        self.log.seek(0)
        return self.log.read()

    async def __aenter__(self):
        try:
            await self.ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    async def __aexit__(self, *_):
        self.__exit__()

    def __exit__(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.log.close()


class Nginx(Proxy):
    NAME = "nginx"
    UNIX = "unix:"
    MAIN = """
daemon off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site;
}}
"""

    def write(self, address, changes):
        usual = {
            "server 127.0.0.1:9001;": f"server {address};",
            "listen 80;": f"listen 127.0.0.1:{self.plain};",
            "listen 443": f"listen 127.0.0.1:{self.secure}",
            "server_name chat.example;": "server_name localhost;",
            "/etc/ssl/private/chat.example.pem": str(self.certificate),
            "proxy_read_timeout 75s;": f"proxy_read_timeout {IDLE}s;",
        }
        (self.folder / "site").write_text(render("nginx.conf", changes, usual))
        (self.folder / "main").write_text(self.MAIN.format(folder=self.folder))

    def command(self):
        return ["nginx", "-e", "stderr", "-p", self.folder, "-c", self.folder / "main"]

    async def reload(self):
        self.process.send_signal(signal.SIGHUP)


class Haproxy(Proxy):
    NAME = "haproxy"
    UNIX = "unix@"

    def write(self, address, changes):
        usual = {
            "server one 127.0.0.1:9001 check inter 2s": f"server one {address} check inter 100ms",
            # It needs two file descriptors for each.
            "maxconn 20000": "maxconn 200",
            "bind :80\n": f"bind 127.0.0.1:{self.plain}\n",
            "bind :443 ssl": f"bind 127.0.0.1:{self.secure} ssl",
            "hdr Host chat.example": "hdr Host localhost",
            "/etc/ssl/private/chat.example.pem": str(self.certificate),
            "timeout tunnel 75s": f"timeout tunnel {IDLE}s",
        }
        (self.folder / "cfg").write_text(render("haproxy.cfg", changes, usual))

    def command(self):
        return ["haproxy", "-db", "-f", self.folder / "cfg"]

    async def reload(self):
        """As the system's service does: a new process that takes over, and lets the old one end when it is done."""
        self.old = self.process
        self.process = subprocess.Popen(
            [*self.command(), "-sf", str(self.old.pid)], stdout=self.log, stderr=self.log
        )  # fmt: skip

    def __exit__(self):
        super().__exit__()
        if old := getattr(self, "old", None):
            old.kill()
            old.wait(TIMEOUT)


def service(*flags, **options):
    return Server("service", *flags, **options)


async def closed(ws):
    """Waits for the end; the code of the peer's Close, or None without one."""
    try:
        async with asyncio.timeout(TIMEOUT):
            while True:
                await ws.recv()
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else None


async def status(connecting):
    """The status that a handshake is refused with."""
    try:
        async with connecting:
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


# Checks of both proxies: they take the proxy's class, a folder, and a scheme.


async def messages(proxy, folder, scheme):
    with service() as server:
        async with proxy(folder, server.address) as front, front.connect(scheme, max_size=None) as ws:
            for message in ["hello", "", b"\xff", "a" * 126, b"b" * 65536, bytes(range(256)) * (MIB // 256), "é" * (MIB // 2)]:
                await ws.send(message)
                equal(await ws.recv(), message)


async def compression(proxy, folder, scheme):
    with service("--deflate") as server:
        async with proxy(folder, server.address) as front, front.connect(scheme, compression="deflate") as ws:
            equal([extension.name for extension in ws.protocol.extensions], ["permessage-deflate"])
            for message in ["again and again and again", "again " * 10000]:
                await ws.send(message)
                equal(await ws.recv(), message)


async def subprotocol(proxy, folder, scheme):
    with service("--subprotocol", "chat") as server:
        async with proxy(folder, server.address) as front, front.connect(scheme, subprotocols=["other", "chat"]) as ws:
            equal(ws.subprotocol, "chat")


async def close_codes(proxy, folder, scheme):
    with service("--max-message-size", "1000") as server:
        async with proxy(folder, server.address) as front:
            for code, reason in [(1000, ""), (1001, "going"), (4999, "é" * 61)]:
                async with front.connect(scheme) as ws:
                    await ws.close(code, reason)
                    assert ws.protocol.close_rcvd, "no Close came back"
                    equal(ws.protocol.close_rcvd.code, code)
            async with front.connect(scheme) as ws:
                await ws.send("x" * 1001)
                equal(await closed(ws), 1009)


async def unix_socket(proxy, folder, scheme):
    with tempfile.TemporaryDirectory(dir=folder) as inner:
        os.chmod(inner, 0o755)
        with service(listen=f"unix:{inner}/socket") as server:
            # To connect is to write, and nginx's workers have a user of their own.
            os.chmod(server.address, 0o666)
            async with proxy(folder, proxy.UNIX + server.address) as front:
                equal(await status(front.connect(scheme, origin=f"https://{front.host(scheme)}")), 101)
                equal(await status(front.connect(scheme, origin="https://elsewhere.example")), 403)
                async with front.connect(scheme) as ws:
                    await ws.send("hello")
                    equal(await ws.recv(), "hello")
                    server.process.send_signal(signal.SIGTERM)
                    equal(await closed(ws), 1001)
                equal(server.process.wait(TIMEOUT), 0)
                assert not pathlib.Path(server.address).exists(), "the file is still there"


async def our_client(proxy, folder, scheme):
    with service() as server:
        async with proxy(folder, server.address) as front:
            process = await asyncio.create_subprocess_exec(
                EXAMPLES / "connect", front.url(scheme), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env={**os.environ, "SSL_CERT_FILE": str(front.certificate)},
            )  # fmt: skip
            process.stdin.write("one\nδύο\n".encode())
            for line in ["one\n", "δύο\n"]:
                equal((await asyncio.wait_for(process.stdout.readline(), TIMEOUT)).decode(), line)
            process.stdin.close()
            equal(await asyncio.wait_for(process.wait(), TIMEOUT), 0)


async def keepalive_outlives_the_timeout(proxy, folder, scheme):
    with service(*PING) as server:
        async with proxy(folder, server.address) as front, front.connect(scheme) as ws:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3 * IDLE):
                    raise AssertionError(f"received {await ws.recv()!r}")
            await ws.send("still there")
            equal(await ws.recv(), "still there")


async def without_keepalive_the_timeout_cuts(proxy, folder, scheme):
    with service("--ping-interval", "none") as server:
        async with proxy(folder, server.address) as front, front.connect(scheme) as ws:
            equal(await closed(ws), None)


async def origins(proxy, folder, scheme):
    """The scheme outside is not that of the server, and the port is not its."""
    with service() as server:
        async with proxy(folder, server.address) as front:
            http = scheme.replace("ws", "http")
            same = f"{http}://{front.host(scheme)}"
            async with front.connect(scheme, origin=same) as ws:
                await ws.send("same origin")
                equal(await ws.recv(), "same origin")
            for other in [f"{http}://elsewhere.example", f"{http}://localhost", f"{http}://{server.address}", "null"]:
                equal((other, await status(front.connect(scheme, origin=other))), (other, 403))


async def too_many(proxy, folder, scheme):
    with service("--max-connections", "2") as server:
        async with proxy(folder, server.address) as front, front.connect(scheme), front.connect(scheme):
            try:
                async with front.connect(scheme):
                    raise AssertionError("a third was let in")
            except InvalidStatus as refusal:
                equal(refusal.response.status_code, 503)


async def restart(proxy, folder, scheme):
    with service() as server:
        async with proxy(folder, server.address) as front, front.connect(scheme) as first, front.connect(scheme) as second:
            server.process.send_signal(signal.SIGTERM)
            equal([await closed(first), await closed(second)], [1001, 1001])
            equal(await asyncio.to_thread(server.process.wait, TIMEOUT), 0)
            # Nobody listens: the proxy's own answer.
            equal(await status(front.connect(scheme)), 502 if proxy is Nginx else 503)
            again = Server("service", "--listen", server.address)
            with again:
                async with asyncio.timeout(TIMEOUT):
                    # HAProxy asks for its health first.
                    while (answer := await status(front.connect(scheme))) != 101:
                        assert answer in (502, 503), answer
                        await asyncio.sleep(0.05)


async def reload_of_the_proxy(proxy, folder, scheme):
    with service(*PING) as server:
        async with proxy(folder, server.address) as front, front.connect(scheme) as old:
            await old.send("before")
            equal(await old.recv(), "before")
            await front.reload()
            await front.ready()
            for message in ["after", "x" * 65536]:
                await old.send(message)
                equal(await old.recv(), message)
            async with front.connect(scheme) as new:
                await new.send("new")
                equal(await new.recv(), "new")


async def one_of_two_ends(proxy, folder, scheme):
    """New connections go to the server that listens, and every one of them is opened."""
    two = {
        Nginx: {"server 127.0.0.1:9001;": "server 127.0.0.1:9001; server OTHER;"},
        Haproxy: {"maxconn 9000": "maxconn 9000\n    server two OTHER check inter 100ms"},
    }[proxy]
    with service() as one, service() as other:
        changes = {old: new.replace("OTHER", other.address) for old, new in two.items()}
        async with proxy(folder, one.address, changes) as front:
            async with contextlib.AsyncExitStack() as stack:
                peers = [await stack.enter_async_context(front.connect(scheme)) for _ in range(4)]
                other.process.send_signal(signal.SIGTERM)
                ends = asyncio.gather(*map(closed, peers))
                for _ in range(6):
                    async with front.connect(scheme) as ws:
                        try:
                            await ws.send("new")
                            equal(await ws.recv(), "new")
                        except ConnectionClosed as end:
                            # It opened as that server began to end.
                            equal(end.rcvd and end.rcvd.code, 1001)
                equal(await asyncio.to_thread(other.process.wait, TIMEOUT), 0)
                async with front.connect(scheme) as ws:
                    await ws.send("new")
                    equal(await ws.recv(), "new")
                one.process.send_signal(signal.SIGTERM)
                equal(await ends, [1001] * 4)


BOTH = [
    messages, compression, subprotocol, close_codes, our_client, keepalive_outlives_the_timeout,
    without_keepalive_the_timeout_cuts, origins, too_many, restart, one_of_two_ends, unix_socket,
    reload_of_the_proxy,
]  # fmt: skip


# What the lines of the files are for: without them.


async def nginx_http_1_0(folder):
    """nginx speaks HTTP/1.0 to servers unless told otherwise, which opens no WebSocket."""
    with service() as server:
        async with Nginx(folder, server.address, {"proxy_http_version 1.1;": "proxy_http_version 1.0;"}) as front:
            equal(await status(front.connect()), 505)


async def nginx_no_upgrade_headers(folder):
    with service() as server:
        lines = {"proxy_set_header Upgrade $http_upgrade;": "", "proxy_set_header Connection $connection_upgrade;": ""}
        async with Nginx(folder, server.address, lines) as front:
            # No Upgrade, but a key: it asks for a WebSocket and asks badly.
            equal(await status(front.connect()), 426)


async def nginx_host_without_port(folder):
    """$host has no port: right where the port is the scheme's own, and no other."""
    with service() as server:
        async with Nginx(folder, server.address, {"Host $http_host;": "Host $host;"}) as front:
            equal(await status(front.connect(origin=f"http://{front.host('ws')}")), 403)
            equal(await status(front.connect(origin="http://localhost")), 101)
            equal(await status(front.connect("wss", origin="https://localhost")), 101)


async def nginx_no_host(folder):
    """Without the line it is the name of the upstream, which is no page's origin."""
    with service() as server:
        async with Nginx(folder, server.address, {"proxy_set_header Host $http_host;": ""}) as front:
            equal(await status(front.connect(origin=f"http://{front.host('ws')}")), 403)
            equal(await status(front.connect()), 101)
    # Allowed by name, it does not depend on the proxy.
    with service("--allow-origin", "https://chat.example") as server:
        async with Nginx(folder, server.address, {"proxy_set_header Host $http_host;": ""}) as front:
            equal(await status(front.connect(origin="https://chat.example")), 101)


async def nginx_buffering(folder):
    """It is on by default and holds nothing back; off, all is the same."""
    for line in ["proxy_buffering on;", "proxy_buffering off;"]:
        with service(*PING) as server:
            async with Nginx(folder, server.address, {"proxy_http_version 1.1;": f"proxy_http_version 1.1; {line}"}) as front:
                async with front.connect() as ws:
                    for message in ["a", "b" * 100_000]:
                        await ws.send(message)
                        equal(await ws.recv(), message)


async def nginx_retry_after(folder):
    """The server's 503 comes through with its headers, and 431 as well."""
    with service("--max-connections", "1") as server:
        async with Nginx(folder, server.address) as front:
            try:
                async with front.connect(additional_headers={f"X-{n}": "x" for n in range(101)}):
                    raise AssertionError("101 headers were let in")
            except InvalidStatus as refusal:
                equal(refusal.response.status_code, 431)
            async with front.connect():
                try:
                    async with front.connect():
                        raise AssertionError("a second was let in")
                except InvalidStatus as refusal:
                    equal(refusal.response.headers["Retry-After"], "5")
                equal(await front.get("/health"), 503)
            equal(await front.get("/health"), 200)


async def haproxy_http_1_0_check(folder):
    """`option httpchk` alone asks in HTTP/1.0 and gets 505: the server counts as down."""
    lines = {
        "option httpchk\n": "option httpchk GET /health\n",
        "    http-check send meth GET uri /health ver HTTP/1.1 hdr Host chat.example\n": "",
    }
    with service() as server:
        async with Haproxy(folder, server.address, lines) as front:
            async with asyncio.timeout(TIMEOUT):
                # It counts as up until the check has failed three times.
                while (answer := await front.get("/health")) != 503:
                    equal(answer, 200)
                    await asyncio.sleep(0.05)


async def haproxy_queue(folder):
    """Who is too many for its limit of a server waits there, until there is room or the time is over."""
    with service(*PING) as server:
        async with Haproxy(folder, server.address, {"maxconn 9000": "maxconn 1"}) as front:
            async with front.connect():
                waiting = asyncio.ensure_future(status(front.connect()))
                equal(await asyncio.wait([waiting], timeout=0.5), (set(), {waiting}))
            equal(await waiting, 101)
        lines = {"maxconn 9000": "maxconn 1", "timeout queue 5s": "timeout queue 100ms"}
        async with Haproxy(folder, server.address, lines) as front, front.connect():
            equal(await status(front.connect()), 503)


async def haproxy_full_server_is_down(folder):
    """The health check gets the 503 as well; who is connected stays so."""
    with service("--max-connections", "1", *PING) as server:
        async with Haproxy(folder, server.address) as front:
            async with asyncio.timeout(TIMEOUT):
                # A check of its health takes the only place for a moment.
                while True:
                    try:
                        ws = await front.connect()
                        break
                    except InvalidStatus as refusal:
                        equal(refusal.response.status_code, 503)
            async with asyncio.timeout(TIMEOUT):
                while "is DOWN" not in front.said():
                    await asyncio.sleep(0.05)
            await ws.send("still there")
            equal(await ws.recv(), "still there")
            await ws.close()
            async with asyncio.timeout(TIMEOUT):
                while "is UP" not in front.said():
                    await asyncio.sleep(0.05)


# WebSocket over HTTP/2, RFC 8441.


class H2:
    """A client of HTTP/2 with one stream."""

    def __init__(self, front):
        self.front = front
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.events = []

    async def __aenter__(self):
        context = ssl.create_default_context(cafile=self.front.certificate)
        context.set_alpn_protocols(["h2"])
        self.reader, self.writer = await asyncio.open_connection("localhost", self.front.secure, ssl=context)
        equal(self.writer.get_extra_info("ssl_object").selected_alpn_protocol(), "h2")
        self.connection.initiate_connection()
        self.flush()
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    def flush(self):
        self.writer.write(self.connection.data_to_send())

    async def event(self, kind):
        async with asyncio.timeout(TIMEOUT):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        self.events.remove(event)
                        return event
                data = await self.reader.read(65536)
                assert data, "the connection ended"
                self.events += self.connection.receive_data(data)
                self.flush()

    async def has_extended_connect(self):
        settings = (await self.event(h2.events.RemoteSettingsChanged)).changed_settings
        changed = settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)
        return changed is not None and changed.new_value == 1

    async def open(self, **headers):
        authority = self.front.host("wss")
        self.connection.send_headers(1, [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/"),
            (":authority", authority), ("sec-websocket-version", "13"), *headers.items(),
        ])  # fmt: skip
        self.flush()
        return dict((await self.event(h2.events.ResponseReceived)).headers)[":status"]


async def haproxy_h2(folder):
    """Extended CONNECT becomes a request of HTTP/1.1 for the server."""
    with service() as server:
        async with Haproxy(folder, server.address) as front:
            async with H2(front) as client:
                assert await client.has_extended_connect(), "no extended CONNECT"
                equal(await client.open(origin=f"https://{front.host('wss')}"), "200")
                client.connection.send_data(1, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")
                client.flush()
                equal((await client.event(h2.events.DataReceived)).data, b"\x81\x05Hello")
                client.connection.send_data(1, b"\x88\x82\0\0\0\0\x0f\xa0")
                client.flush()
                equal((await client.event(h2.events.DataReceived)).data, b"\x88\x02\x0f\xa0")
            async with H2(front) as client:
                await client.has_extended_connect()
                equal(await client.open(origin="https://elsewhere.example"), "403")


async def nginx_h2(folder):
    """It announces none, so a browser opens another connection, with HTTP/1.1, for a WebSocket."""
    with service() as server:
        async with Nginx(folder, server.address, {"ssl;": "ssl http2;"}) as front:
            async with H2(front) as client:
                assert not await client.has_extended_connect(), "it has extended CONNECT now"
            async with front.connect("wss") as ws:
                await ws.send("over HTTP/1.1")
                equal(await ws.recv(), "over HTTP/1.1")


ALONE = [
    nginx_http_1_0, nginx_no_upgrade_headers, nginx_host_without_port, nginx_no_host, nginx_buffering, nginx_retry_after,
    haproxy_http_1_0_check, haproxy_queue, haproxy_full_server_is_down, haproxy_h2, nginx_h2,
]  # fmt: skip


async def documented():
    """The files stand in the guide as they are."""
    guide = (ROOT / "docs" / "deploying.md").read_text()
    for file in (HERE / "proxies").iterdir():
        assert f"\n{file.read_text()}```\n" in guide, f"{file.name} does not stand in docs/deploying.md"


async def unit():
    """systemd takes the unit, where there is one to ask."""
    if not shutil.which("systemd-analyze"):
        print("left out: the unit (systemd-analyze is not there)")
        return
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "bowline.service")
        file.write_text(render("bowline.service", {"/usr/local/bin/service": str(EXAMPLES / "service")}))
        result = subprocess.run(["systemd-analyze", "verify", file], capture_output=True, text=True, timeout=TIMEOUT)
        equal((result.returncode, result.stdout + result.stderr), (0, ""))
        command = next(line for line in file.read_text().splitlines() if line.startswith("ExecStart="))
    arguments = command.removeprefix("ExecStart=").split()[1:]
    at = arguments.index("--listen")
    with service(*arguments[:at], *arguments[at + 2 :]) as server:
        server.process.send_signal(signal.SIGTERM)
        equal(server.process.wait(TIMEOUT), 0)


async def main():
    checks = Checks()

    async def run(name, check):
        try:
            await asyncio.wait_for(check, 3 * TIMEOUT)
        except Exception as error:
            checks.report(name, error)
        else:
            checks.report(name)

    await run("docs/deploying.md has these files", documented())
    await run("systemd: unit", unit())
    with tempfile.TemporaryDirectory() as folder:
        # nginx's workers have a user of their own.
        os.chmod(folder, 0o755)
        certificate = pathlib.Path(folder, "certificate.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
             "-keyout", f"{folder}/key.pem", "-out", certificate],
            check=True, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        # HAProxy wants the key in the same file, and whoever reads certificates passes over it.
        certificate.write_text(certificate.read_text() + pathlib.Path(folder, "key.pem").read_text())
        for proxy in Nginx, Haproxy:
            for check in BOTH:
                for scheme in "ws", "wss":
                    await run(f"{proxy.NAME}, {scheme}: {check.__name__}", check(proxy, folder, scheme))
        for check in ALONE:
            await run(check.__name__.replace("_", ": ", 1), check(folder))
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
