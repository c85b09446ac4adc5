"""The default offer of compression, `--deflate`, with servers that nobody here wrote, and their clients with ours.

A server that cannot do what an offer asks for may refuse the connection, or agree and deliver nothing. So the offer is that of Chromium,
which each server has seen. What was offered and agreed to is read on the wire. Bun and Netty are large: DIAL_FULL=1, as `run dial --full`
sets it.
"""

import os
import pathlib
import queue
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

from dial import Case, Scripted, both_adapters, environment, field, fields, relay
from peer import TIMEOUT, Server

CACHE = pathlib.Path(__file__).resolve().parents[1] / ".cache"
PEERS = pathlib.Path(__file__).resolve().parent / "peers"
FULL = os.environ.get("DIAL_FULL") == "1"
OFFER = "permessage-deflate; client_max_window_bits"
# What compresses well, not at all, and what is the same again: with a context that is kept, and across the window.
NOISE = random.Random(1).randbytes(30_000).hex()
LINES = ["", "one", "again and again and again", "again and again and again", NOISE, NOISE, "again " * 50_000, "δύο " * 1000, "x"]


class Peer:
    """A server as a process, which prints its port first."""

    def __init__(self, command, **variables):
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment(**variables),
        )  # fmt: skip
        line = queue.Queue()
        threading.Thread(target=lambda: line.put(self.process.stdout.readline()), daemon=True).start()
        try:
            self.port = int(line.get(timeout=3 * TIMEOUT))
        except (queue.Empty, ValueError) as error:
            self.process.kill()
            raise AssertionError(f"{command}: no port: {self.process.communicate(timeout=TIMEOUT)[1]:.1000}") from error

    def stop(self):
        self.process.kill()
        self.process.communicate(timeout=TIMEOUT)


class Tap(Scripted):
    """Stands between a client and a server, and has the heads of both in `heads`."""

    def __init__(self, port):
        super().__init__()
        self.to, self.heads = port, []

    def script(self, peer):
        head = peer.until(b"\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self.to), TIMEOUT) as there:
            there.sendall(head)
            answer = b""
            while b"\r\n\r\n" not in answer:
                data = there.recv(65536)
                if not data:
                    break
                answer += data
            self.heads.append((head.decode().removesuffix("\r\n\r\n"), answer.split(b"\r\n\r\n")[0].decode()))
            peer.send(answer)
            relay(peer, there)


def servers(case):
    """Starts the server of a class of tests once, and stops it."""

    def setUpClass(cls):
        if why := cls.missing():
            raise unittest.SkipTest(why)
        cls.peer = cls.start()

    case.setUpClass = classmethod(setUpClass)
    case.tearDownClass = classmethod(lambda cls: cls.peer.stop())
    return both_adapters(case)


class Servers(Case):
    # What is agreed to, besides the name.
    PARAMETERS = ""

    @classmethod
    def missing(cls):
        """Why it cannot be tried, if it cannot."""

    def test_the_default_offer_is_agreed_to_and_messages_come_back(self):
        with Tap(self.peer.port) as tap:
            self.echoes(f"ws://{tap.address}/", "--deflate", lines=LINES)
            [(request, answer)] = tap.heads
            self.assertEqual(field(request, "Sec-WebSocket-Extensions"), OFFER)
            self.assertRegex(answer, "^HTTP/1.1 101 ")
            agreed = field(answer, "Sec-WebSocket-Extensions")
            self.assertEqual(agreed, f"permessage-deflate{self.PARAMETERS}")

    def test_without_compression(self):
        with Tap(self.peer.port) as tap:
            self.echoes(f"ws://{tap.address}/", lines=LINES)
            [(request, answer)] = tap.heads
            self.assertEqual((fields(request, "Sec-WebSocket-Extensions"), fields(answer, "Sec-WebSocket-Extensions")), ([], []))


def server(name, start, parameters="", missing=lambda: None):
    """A class of the tests of Servers, for one server."""
    tests = {test: method for test, method in vars(Servers).items() if test.startswith("test_")}
    body = {"start": staticmethod(start), "missing": staticmethod(missing), "PARAMETERS": parameters, **tests}
    return servers(type(name, (Case,), body))


def go(name, *arguments):
    """A program of Go, built with Debian's packages alone."""

    def start():
        binary = pathlib.Path(tempfile.gettempdir(), f"bowline-{name}-{os.getpid()}")
        subprocess.run(
            ["go", "build", "-o", binary, PEERS / f"{name}.go"], check=True, timeout=10 * TIMEOUT,
            env=environment(GO111MODULE="off", GOPATH="/usr/share/gocode", GOCACHE=str(CACHE / "go"), GOFLAGS="", GOPROXY="off"),
        )  # fmt: skip
        try:
            return Peer([binary, *arguments])
        finally:
            binary.unlink()

    return start


def no_go(package):
    def missing():
        if not shutil.which("go") or not pathlib.Path("/usr/share/gocode/src", package).is_dir():
            return f"Go or {package} is not there: tests/interop/run dial installs them"

    return missing


NODE = CACHE / "node-dial" / "node_modules"
BUN = CACHE / "bun" / "node_modules" / ".bin" / "bun"
NETTY = pathlib.Path("/usr/share/java/netty-codec-http.jar")


def only_full(path):
    def missing():
        if not FULL:
            return "large: only with --full"
        return None if path.exists() else f"{path} is not there: tests/interop/run dial --full installs it"

    return missing


def no_node(name):
    return lambda: None if (NODE / name).is_dir() else f"npm's {name} is not there: tests/interop/run dial installs it"


# This one narrows the windows without being asked, which RFC 7692 §7.1.2.1 allows.
Websockets = server(
    "Websockets", lambda: Peer([sys.executable, PEERS / "websockets_server.py"]), "; server_max_window_bits=12; client_max_window_bits=12"
)
Ws = server("Ws", lambda: Peer(["node", PEERS / "ws_server.cjs"], NODE_PATH=str(NODE)), "", no_node("ws"))
GorillaWebsocket = server(
    "GorillaWebsocket", go("gorilla"), "; server_no_context_takeover; client_no_context_takeover",
    no_go("github.com/gorilla/websocket"),
)  # fmt: skip
NhooyrWebsocket = server(
    "NhooyrWebsocket", go("nhooyr", "no takeover"), "; client_no_context_takeover; server_no_context_takeover", no_go("nhooyr.io/websocket")
)
NhooyrWebsocketTakeover = server("NhooyrWebsocketTakeover", go("nhooyr", "takeover"), "", no_go("nhooyr.io/websocket"))
BunServer = server(
    "BunServer", lambda: Peer([BUN, PEERS / "bun_server.js"]), "; client_no_context_takeover; server_no_context_takeover", only_full(BUN)
)
Netty = server(
    "Netty", lambda: Peer(["java", "-cp", ":".join(map(str, sorted(NETTY.parent.glob("netty-*.jar")))), PEERS / "Netty.java"]), "",
    only_full(NETTY),
)  # fmt: skip


class Clients(unittest.TestCase):
    """Clients of others, at our echo server with --deflate."""

    # Over the asynchronous engine and the blocking one.
    SERVERS = ["echo_server", "echo_server_blocking"]

    def client(self, command, **variables):
        for name in self.SERVERS:
            with self.subTest(name), Server(name, "--deflate") as server, Tap(int(server.address.split(":")[1])) as tap:
                run = subprocess.run(
                    [*map(str, command), f"ws://{tap.address}/"], input="".join(f"{line}\n" for line in LINES), capture_output=True,
                    text=True, timeout=3 * TIMEOUT, env=environment(**variables),
                )  # fmt: skip
                self.assertEqual((run.returncode, run.stdout.splitlines()), (0, LINES), run.stderr[:1000])
                self.assertIn("permessage-deflate", field(tap.heads[0][1], "Sec-WebSocket-Extensions") or "not agreed to")

    def test_undici(self):
        if why := no_node("undici")():
            self.skipTest(why)
        self.client(["node", PEERS / "client.mjs"], UNDICI=str(NODE / "undici"))

    def test_bun(self):
        if why := only_full(BUN)():
            self.skipTest(why)
        self.client([BUN, PEERS / "client.mjs"])


del Servers
