"""What the checks of dialing share: `connect` as a process, servers of a few lines, certificates.

The servers know nothing but sockets, so that they can say what no real server says. They record what they were sent.
Each connection has a thread. Each wait has an end: what takes longer than TIMEOUT fails.
"""

import base64
import contextlib
import functools
import hashlib
import os
import pathlib
import re
import select
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from peer import EXAMPLES, TIMEOUT

CONNECT = os.environ.get("CONNECT", str(EXAMPLES / "connect"))
# Messages that are short, not ASCII, and longer than a read.
LINES = ["one", "δύο", "3" * 100_000]
# Variables that change what is dialed.
VARIABLES = {
    name
    for kind in ["http", "https", "ws", "wss", "all", "no"]
    for name in [f"{kind}_proxy", f"{kind}_proxy".upper()]
} | {"REQUEST_METHOD", "SSL_CERT_FILE", "SSL_CERT_DIR"}  # fmt: skip


def environment(**variables):
    """The environment without what a developer's machine says about proxies and certificates."""
    return {name: value for name, value in os.environ.items() if name not in VARIABLES} | variables


class Outcome:
    """How a run of `connect` ended."""

    def __init__(self, command, code, out, err, seconds):
        self.command, self.code, self.out, self.err, self.seconds = command, code, out, err, seconds

    def __str__(self):
        out = [line if len(line) < 100 else f"{line[:100]}..." for line in self.out]
        return f"{' '.join(self.command)}\nexit code {self.code} after {self.seconds:.2f} s\nstdout: {out}\nstderr: {self.err:.1000}"


class Case(unittest.TestCase):
    """A test with `connect` over one adapter; `both_adapters` makes two of each method."""

    adapter = ()
    # Whether the scripts reply byte by byte.
    drip = False

    def dial(self, url, *options, lines=LINES, env=None, timeout=TIMEOUT):
        """Runs `connect`, sends it the lines, and ends its input when as many have come back, or when it has ended."""
        command = [CONNECT, *self.adapter, *map(str, options), url]
        begin = time.monotonic()
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**env or {})
        ) as process:
            out, err, enough = [], [], threading.Event()

            def write():
                with contextlib.suppress(OSError):
                    for line in lines:
                        process.stdin.write(f"{line}\n")
                    process.stdin.flush()

            def read():
                for line in process.stdout:
                    out.append(line.removesuffix("\n"))
                    if len(out) == len(lines):
                        enough.set()
                enough.set()

            threads = [threading.Thread(target=target, daemon=True) for target in [write, read, lambda: err.append(process.stderr.read())]]
            for thread in threads:
                thread.start()
            try:
                enough.wait(timeout)
                # A server that gets a Close may answer it before the messages that came first.
                with contextlib.suppress(OSError):
                    threads[0].join(1)
                    process.stdin.close()
                code = process.wait(max(0.1, begin + timeout - time.monotonic()))
            except subprocess.TimeoutExpired:
                code = None
            finally:
                process.kill()
            seconds = time.monotonic() - begin
            for thread in threads:
                thread.join(TIMEOUT)
        outcome = Outcome(command, code, out, err[0], seconds)
        if code is None:
            self.fail(f"not done after {timeout} s: {outcome}")
        return outcome

    def echoes(self, url, *options, lines=LINES, **more):
        """The connection is opened, and messages come back."""
        outcome = self.dial(url, *options, lines=lines, **more)
        self.assertTrue(outcome.code == 0 and outcome.out == list(lines), f"no echo:\n{outcome}")
        return outcome

    def fails(self, url, *options, saying=(), never=(), env=None, lines=("never sent",), within=None):
        """It fails with one line that has each of the texts `saying` (regular expressions), and none of `never`."""
        outcome = self.dial(url, *options, lines=lines, env=env)
        self.assertEqual(outcome.code, 1, f"no error:\n{outcome}")
        self.assertEqual(outcome.out, [], f"it printed messages:\n{outcome}")
        one = outcome.err.endswith("\n") and outcome.err.count("\n") == 1 and outcome.err.startswith("connect: ")
        self.assertTrue(one, f"not one line `connect: HOST: ERROR`:\n{outcome}")
        for text in [saying] if isinstance(saying, str) else saying:
            self.assertTrue(re.search(text, outcome.err, re.IGNORECASE), f"the error does not say {text!r}:\n{outcome}")
        for text in ["panicked", *never]:
            self.assertNotIn(text, outcome.err)
        if within is not None:
            self.assertLess(outcome.seconds, within, f"the error came late:\n{outcome}")
        return outcome


def both_adapters(case):
    """Makes two of each test: over tokio's adapter, and over the blocking one."""
    for name, test in list(vars(case).items()):
        if name.startswith("test_"):
            delattr(case, name)
            for adapter, flags in [("tokio", []), ("blocking", ["--blocking"])]:
                setattr(case, f"{name}_{adapter}", _over(test, flags))
    return case


def _over(test, flags):
    @functools.wraps(test)
    def run(self):
        self.adapter = flags
        return test(self)

    return run


def whole_and_dripped(case):
    """Makes two of each test: the scripts' replies in one piece, and byte by byte. To be applied before `both_adapters`."""
    for name, test in list(vars(case).items()):
        if name.startswith("test_"):
            setattr(case, f"{name}_byte_by_byte", _dripped(test))
    return case


def _dripped(test):
    @functools.wraps(test)
    def run(self):
        self.drip = True
        return test(self)

    return run


class Peer:
    """A connection of a scripted server."""

    def __init__(self, sock, drip=False):
        self.sock, self.drip = sock, drip
        self.buffer = b""

    def send(self, data, drip=None):
        if self.drip if drip is None else drip:
            for i in range(len(data)):
                self.sock.sendall(data[i : i + 1])
                time.sleep(0.0003)
        else:
            self.sock.sendall(data)

    def exactly(self, count):
        while len(self.buffer) < count:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(f"the end after {self.buffer!r:.200}")
            self.buffer += data
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def until(self, end):
        """What comes up to `end`, and with it."""
        while end not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(f"the end after {self.buffer!r:.200}")
            self.buffer += data
        return self.exactly(self.buffer.index(end) + len(end))

    def head(self):
        """The head of a request, decoded, without its last empty line."""
        return self.until(b"\r\n\r\n").decode("latin-1").removesuffix("\r\n\r\n")

    def wait_for_end(self):
        """Reads on until the client leaves. It is for the client to do so."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass


class Scripted:
    """A server that runs `script(peer)` on each connection, in a thread, for as long as the `with` block takes.

    With `tls`, an SSLContext, the script talks inside of TLS. What goes wrong in a script is in `errors`.
    """

    def __init__(self, script=None, host="127.0.0.1", tls=None, drip=False):
        self.script, self.tls, self.drip = script or self.script, tls, drip
        family = socket.AF_UNIX if host.startswith("/") else socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(host if family == socket.AF_UNIX else (host, 0))
        self.listener.listen(64)
        self.host = f"[{host}]" if family == socket.AF_INET6 else host
        self.port = None if family == socket.AF_UNIX else self.listener.getsockname()[1]
        self.address = f"{self.host}:{self.port}"
        self.threads, self.open, self.errors, self.clients = [], [], [], []
        self.lock = threading.Lock()

    def __enter__(self):
        self.accepting = threading.Thread(target=self._accept, daemon=True)
        self.accepting.start()
        return self

    def __exit__(self, *_):
        # Wakes the accepting thread, which closing the socket does not.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.accepting.join(TIMEOUT)
        # A script that still writes may do so for a moment.
        end = time.monotonic() + 1
        for thread in self.threads:
            thread.join(max(0, end - time.monotonic()))
        for sock in self.open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(TIMEOUT)

    def _accept(self):
        while True:
            try:
                sock, client = self.listener.accept()
            except OSError:
                return
            self.clients.append(client)
            self.open.append(sock)
            thread = threading.Thread(target=self._serve, args=[sock], daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, sock):
        try:
            sock.settimeout(TIMEOUT)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            self.script(Peer(sock, self.drip))
        except Exception as error:
            self.errors.append(error)
        finally:
            # With data that nobody read, a close would be a reset, and the client might lose what was sent.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                sock.settimeout(1)
                while sock.recv(65536):
                    pass
            sock.close()


class Origin(Scripted):
    """A WebSocket server that records the heads of requests in `heads`, and echoes.

    `answer(head, peer)` may answer in another way: what it returns is sent in place of the 101. With None it is the 101.
    """

    def __init__(self, answer=None, **options):
        super().__init__(**options)
        self.answer = answer
        self.heads = []
        self.scheme = "wss" if self.tls else "ws"
        self.url = f"{self.scheme}://{self.address}/"

    def script(self, peer):
        head = peer.head()
        self.heads.append(head)
        answer = self.answer and self.answer(head, peer)
        if answer:
            peer.send(answer)
        else:
            open_and_echo(head, peer)

    def named(self, host, path="/"):
        """The URL with another name for the host."""
        return f"{self.scheme}://{host}:{self.port}{path}"


def fields(head, name):
    """The values of a header field in a head."""
    lines = [line.split(":", 1) for line in head.split("\r\n")[1:]]
    return [value.strip() for field, value in lines if field.lower() == name.lower()]


def field(head, name):
    """The value of a field that may be there once, or None."""
    values = fields(head, name)
    assert len(values) < 2, f"{name} stands there {len(values)} times: {values}"
    return values[0] if values else None


def response(status, *lines, body=""):
    """An HTTP response with a body and its length."""
    body = body.encode()
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def redirect(location, status="302 Found"):
    return response(status, f"Location: {location}")


def opened(head):
    key = field(head, "Sec-WebSocket-Key")
    accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()


def open_and_echo(head, peer):
    """Opens the WebSocket and sends each message back, until a Close has been answered."""
    peer.send(opened(head))
    while True:
        first, length = peer.exactly(2)
        assert length & 0x80, "a frame without a mask"
        length &= 0x7F
        if length >= 126:
            length = int.from_bytes(peer.exactly(2 if length == 126 else 8), "big")
        mask, data = peer.exactly(4), peer.exactly(length)
        payload = (int.from_bytes(data, "big") ^ int.from_bytes((mask * (length // 4 + 1))[:length], "big")).to_bytes(length, "big")
        size = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big") if length < 65536 else b"\x7f" + length.to_bytes(8, "big")
        if first & 0x0F != 0xA:
            peer.send(bytes([first]) + size + payload, drip=False)
        if first & 0x0F == 0x8:
            return


def relay(peer, there):
    """Moves bytes between a client and a socket, or an address to connect to, until both directions have ended."""
    with there if isinstance(there, socket.socket) else socket.create_connection(there, TIMEOUT) as there:
        here = peer.sock
        there.sendall(peer.buffer)
        ways = {here: there, there: here}
        while ways:
            ready = [sock for sock in ways if getattr(sock, "pending", int)()]
            ready = ready or select.select(list(ways), [], [], TIMEOUT)[0]
            if not ready:
                raise TimeoutError("nobody says anything")
            for sock in ready:
                sock.settimeout(0)
                try:
                    data = sock.recv(65536)
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue
                finally:
                    sock.settimeout(TIMEOUT)
                if data:
                    ways[sock].sendall(data)
                else:
                    # TLS has no half-closed connections in Python's module.
                    with contextlib.suppress(OSError):
                        ways[sock].shutdown(socket.SHUT_WR)
                    del ways[sock]


def split_target(target):
    """`[::1]:80` as host and port, without the brackets."""
    host, _, port = target.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


class HttpProxy(Scripted):
    """A proxy that takes CONNECT, records the heads in `heads`, and answers as it is told: with `reply`, or `reply(peer)`.

    It connects to `to` if that is given, and to what was asked for otherwise.
    """

    def __init__(self, reply=b"HTTP/1.1 200 Connection established\r\n\r\n", to=None, **options):
        super().__init__(**options)
        self.reply, self.to, self.heads = reply, to, []
        self.url = f"{'https' if self.tls else 'http'}://{self.address}"

    def script(self, peer):
        head = peer.head()
        self.heads.append(head)
        peer.send(self.reply)
        relay(peer, self.to or split_target(head.split(" ")[1]))


def name_of(kind, data):
    """An address of SOCKS as text."""
    if kind == 3:
        return data.decode()
    return socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data)


class Socks5Proxy(Scripted):
    """A SOCKS5 proxy. `asked` has (type, host, port) of each request, `offered` the methods, `users` the credentials.

    `reply` is what is sent for a request, `method` and `status` what is said before.
    """

    SUCCESS = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"

    def __init__(self, reply=SUCCESS, method=0, status=0, to=None, **options):
        super().__init__(**options)
        self.reply, self.method, self.status, self.to = reply, method, status, to
        self.asked, self.offered, self.users = [], [], []

    def script(self, peer):
        version, count = peer.exactly(2)
        assert version == 5, f"version {version}"
        self.offered.append(list(peer.exactly(count)))
        peer.send(bytes([5, self.method]))
        if self.method == 2:
            version, length = peer.exactly(2)
            assert version == 1, f"version {version} of RFC 1929"
            user = peer.exactly(length)
            self.users.append((user, peer.exactly(peer.exactly(1)[0])))
            peer.send(bytes([1, self.status]))
            if self.status:
                return
        elif self.method:
            return peer.wait_for_end()
        version, command, reserved, kind = peer.exactly(4)
        assert (version, command, reserved) == (5, 1, 0), (version, command, reserved)
        host = name_of(kind, peer.exactly({1: 4, 3: 0, 4: 16}[kind] or peer.exactly(1)[0]))
        port = int.from_bytes(peer.exactly(2), "big")
        self.asked.append((kind, host, port))
        peer.send(self.reply)
        if self.reply[1:2] == b"\0":
            relay(peer, self.to or (host, port))


class Socks4aProxy(Scripted):
    """A SOCKS4a proxy; `asked` has (user, host, port), `replies` with the code given."""

    def __init__(self, code=90, to=None, **options):
        super().__init__(**options)
        self.code, self.to, self.asked = code, to, []

    def script(self, peer):
        version, command = peer.exactly(2)
        assert (version, command) == (4, 1), (version, command)
        port, address = int.from_bytes(peer.exactly(2), "big"), peer.exactly(4)
        user = peer.until(b"\0")[:-1].decode()
        by_name = address[:3] == b"\0\0\0" and address[3]
        host = peer.until(b"\0")[:-1].decode() if by_name else socket.inet_ntop(socket.AF_INET, address)
        self.asked.append((user, host, port))
        peer.send(bytes([0, self.code]) + bytes(6))
        if self.code == 90:
            relay(peer, self.to or (host, port))


def free_port(host="127.0.0.1"):
    """A port that nobody listens on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, 0))
        return listener.getsockname()[1]


class Certificates:
    """An authority, `ca`, and certificates of it in a folder of their own, made once."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        here = pathlib.Path(self.folder.name)
        # A proxy may drop root before it reads.
        here.chmod(0o755)
        self.ca = here / "ca.pem"
        self._openssl(
            "req", "-x509", *self.KEY, "-days", "2", "-subj", "/CN=bowline test authority",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
            "-keyout", here / "ca.key", "-out", self.ca,
        )  # fmt: skip
        self.made = {}

    KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def file(self, *names):
        """A PEM file with certificate and key for the names, `DNS:...` or `IP:...`."""
        here = pathlib.Path(self.folder.name)
        if names not in self.made:
            stem = here / str(len(self.made))
            extensions = stem.with_suffix(".ext")
            extensions.write_text(f"subjectAltName={','.join(names)}\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n")
            self._openssl("req", *self.KEY, "-subj", "/CN=test", "-keyout", f"{stem}.key", "-out", f"{stem}.csr")
            self._openssl(
                "x509", "-req", "-in", f"{stem}.csr", "-CA", self.ca, "-CAkey", here / "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", extensions, "-out", f"{stem}.pem",
            )  # fmt: skip
            both = stem.with_suffix(".both")
            both.write_text(stem.with_suffix(".pem").read_text() + stem.with_suffix(".key").read_text())
            self.made[names] = both
        return self.made[names]

    def context(self, *names):
        """What a scripted server needs to speak TLS; `server_names` of it has the names that clients asked for."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file(*names))
        context.server_names = []
        context.sni_callback = lambda _socket, name, _context: context.server_names.append(name)
        return context

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=TIMEOUT)


@functools.cache
def certificates():
    return Certificates()
