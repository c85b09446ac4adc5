#!/usr/bin/env python3
"""Drives the built examples as a new user would, with nothing but Python's standard library."""

import base64
import contextlib
import hashlib
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.request

from peer import EXAMPLES, ROOT, SERVERS, TIMEOUT, Checks, Server, equal

SECURE_SERVERS = ["tls_server", "http2_server"]
LISTENERS = [*SERVERS, *SECURE_SERVERS, "broadcast_server"]

OFFER = """\
GET / HTTP/1.1
Host: localhost
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Extensions: permessage-deflate

"""

OPENED = """\
HTTP/1.1 101 Switching Protocols
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Accept: %s

"""


def example_names():
    """Every program of the package in examples/; a file that its manifest forgets fails for want of a binary."""
    return sorted(file.stem for file in (ROOT / "examples").glob("*.rs"))


def run(name, *arguments, stdin="", env={}):
    return subprocess.run(
        [EXAMPLES / name, *arguments], input=stdin, capture_output=True, text=True, timeout=TIMEOUT,
        env={**os.environ, **env},
    )  # fmt: skip


def help_is_shown(name):
    result = run(name, "--help")
    equal(result.returncode, 0)
    for text in name, "--deflate":
        assert text in result.stdout, f"the help does not name {text}: {result.stdout!r:.200}"


def bad_flag_is_refused(name):
    result = run(name, "--no-such-flag")
    assert result.returncode != 0, "a bad flag was taken"
    assert "no-such-flag" in result.stderr, f"the message does not name the flag: {result.stderr!r:.200}"
    assert "panicked" not in result.stderr, "it panicked"


# What an option cannot be, by the word that stands for its value in the help.
BAD_VALUES = {
    "BYTES": ["x", "-1", ""],
    "COUNT": ["x", "-1", ""],
    "MIB": ["x", "-1", ""],
    "N": ["x", "-1", ""],
    "IP": ["x", "1.2.3", ""],
    "SECONDS": ["x", "-1", "nan", "inf", "1e300", ""],
    "POLICY": ["x", ""],
    "NAME": ["a b", ""],
    "TOKEN": [""],
    "'NAME: VALUE'": ["x", "a b: x", ": x"],
}
# Any text can be one of these.
ANY_VALUE = {"ADDR", "ADDRESS", "FILE", "URL", "ORIGIN", "TEXT", "LIST", "PATH"}


def bad_values_name_their_option(name):
    """Goes by the help, so that an option that is added is tried as well."""
    options = re.findall(r"^  (--[a-z-]+) ('[^']+'|[A-Z]+)  ", run(name, "--help").stdout, re.MULTILINE)
    assert options, "the help lists no options"
    for option, value in options:
        if value in ANY_VALUE or (name, option) == ("autobahn_client", "--agent"):
            continue
        for bad in BAD_VALUES[value]:
            # Its own option comes last, and the others that it needs before it.
            more = ["--adapter", "tokio", "--url", "ws://localhost"] if name == "autobahn_client" else []
            more += ["ws://localhost"] if name == "connect" else []
            more += ["--url", "ws://localhost"] if name == "tunnel" else []
            more += ["--listen", "127.0.0.1:0"] if "--listen" in dict(options) else []
            result = run(name, *more, option, bad)
            got = f"{option} {bad!r}: status {result.returncode}, {result.stderr!r:.200}"
            assert result.returncode == 2 and option in result.stderr and "panicked" not in result.stderr, got


def certificate_is_to_blame(name):
    with tempfile.TemporaryDirectory() as folder:
        file = str(pathlib.Path(folder, "missing", "cert.pem"))
        result = run(name, "--listen", "127.0.0.1:0", "--certificate", file)
    equal(result.returncode, 1)
    assert file in result.stderr, f"the message does not name the file: {result.stderr!r:.200}"
    assert "127.0.0.1" not in result.stderr, f"the message blames the address: {result.stderr!r:.200}"


def subprotocol_is_selected(name, scheme):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "cert.pem")
        flags = ["--certificate", file] if scheme == "wss" else []
        with Server(name, "--subprotocol", "chat", *flags, scheme=scheme) as server:
            result = run(
                "connect", "--subprotocol", "other", "--subprotocol", "chat", server.url, env={"SSL_CERT_FILE": str(file)}
            )
    equal(result.returncode, 0)
    assert "subprotocol chat" in result.stderr, result.stderr


def page_is_served(name):
    with Server(name) as server, urllib.request.urlopen(server.page, timeout=TIMEOUT) as response:
        equal((response.status, response.headers.get_content_type()), (200, "text/html"))


def connect_through_a_pipe(name):
    for flags in [], ["--deflate"]:
        with Server(name, *flags) as server:
            result = run("connect", *flags, server.url, stdin="one\nδύο\nthree\n")
            equal((result.returncode, result.stdout.splitlines()), (0, ["one", "δύο", "three"]))


def head(peer, case=str.lower):
    """A request or an answer, up to its empty line, in lower case."""
    with peer.makefile("r", encoding="latin-1") as lines:
        return case("".join(iter(lines.readline, "\n")))


def deflate_if_told(name):
    for flags in [], ["--deflate"]:
        with Server(name, *flags) as server:
            host, port = server.address.split(":")
            with socket.create_connection((host, int(port)), TIMEOUT) as peer:
                peer.sendall(OFFER.replace("\n", "\r\n").encode())
                answer = head(peer)
        assert answer.startswith("http/1.1 101 "), f"the offer was refused: {answer!r:.200}"
        equal("\nsec-websocket-extensions: permessage-deflate" in answer, bool(flags))


def connect_offers_deflate_if_told():
    for flags in [], ["--deflate"]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(TIMEOUT)
            url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
            command = [EXAMPLES / "connect", *flags, url]
            with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
                with listener.accept()[0] as peer:
                    peer.settimeout(TIMEOUT)
                    request = head(peer)
        equal("\nsec-websocket-extensions: permessage-deflate" in request, bool(flags))


def connect_tells_an_error_code_from_a_normal_end():
    for body, code in [(b"", 0), (b"\x03\xe8", 0), (b"\x03\xe9", 0), (b"\x03\xf3oops", 1), (b"\x0f\xa0", 1)]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(TIMEOUT)
            command = [EXAMPLES / "connect", f"ws://127.0.0.1:{listener.getsockname()[1]}/"]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
                with listener.accept()[0] as peer:
                    peer.settimeout(TIMEOUT)
                    key = re.search("(?i)sec-websocket-key: (.*)", head(peer, str))[1].strip()
                    accept = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
                    answer = OPENED.replace("\n", "\r\n") % base64.b64encode(accept).decode()
                    peer.sendall(answer.encode() + bytes([0x88, len(body)]) + body)
                equal((client.wait(TIMEOUT), "oops" in client.stderr.read()), (code, b"oops" in body))


def everybody_gets_it():
    with Server("broadcast_server", "--report", "1") as server, contextlib.ExitStack() as stack:
        peers = []
        for i in range(3):
            peer = subprocess.Popen(
                [EXAMPLES / "connect", server.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )  # fmt: skip
            stack.enter_context(peer)
            stack.callback(peer.kill)
            peers.append(peer)
            # Who sees its own message is in the group.
            peer.stdin.write(f"{i}\n")
            for member in peers:
                equal(member.stdout.readline(), f"{i}\n")
        for peer in peers:
            peer.stdin.close()
            equal(peer.wait(TIMEOUT), 0)


def connect_over_tls():
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "cert.pem")
        with Server("tls_server", "--certificate", file, scheme="wss") as server:
            for host in "localhost", "127.0.0.1":
                url = server.url.replace("127.0.0.1", host)
                result = run("connect", url, stdin="one\nδύο\n", env={"SSL_CERT_FILE": str(file)})
                equal((result.returncode, result.stdout.splitlines()), (0, ["one", "δύο"]))
            context = ssl.create_default_context(cafile=file)
            page = server.url.replace("wss", "https")
            with urllib.request.urlopen(page, timeout=TIMEOUT, context=context) as response:
                equal(response.status, 200)
            # The platform does not know the certificate, if it knows any.
            stranger = run("connect", server.url)
            assert stranger.returncode == 1 and "certificate" in stranger.stderr, stranger.stderr
            equal(server.interrupt(), 0)


def connect_to_nobody():
    result = run("connect", "ws://127.0.0.1:1/")
    assert result.returncode != 0, "there is nobody on port 1"
    assert result.stderr and "panicked" not in result.stderr, f"no message: {result.stderr!r:.200}"


def port_is_taken(name, scheme="ws"):
    with Server(name, scheme=scheme) as server:
        result = run(name, "--listen", server.address)
    assert result.returncode != 0, "two servers listen on one port"
    assert server.address in result.stderr, f"the message does not name the address: {result.stderr!r:.200}"
    assert "panicked" not in result.stderr, "it panicked"


def ctrl_c_ends_it(name):
    with Server(name) as server:
        equal(server.interrupt(), 0)


def exchange(peer, message):
    """Sends a short text, masked with zeros, and returns what comes back."""
    peer.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
    with peer.makefile("rb") as answer:
        opcode, length = answer.read(2)
        equal(opcode, 0x81)
        return answer.read(length)


def unix_socket(name):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "socket")
        with Server(name, listen=f"unix:{path}") as server, socket.socket(socket.AF_UNIX) as peer:
            equal(server.address, str(path))
            peer.settimeout(TIMEOUT)
            peer.connect(server.address)
            if name in SECURE_SERVERS:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                peer = context.wrap_socket(peer)
            peer.sendall(OFFER.replace("\n", "\r\n").encode())
            answer = head(peer)
            assert answer.startswith("http/1.1 101 "), f"no WebSocket: {answer!r:.200}"
            # Who sees its own message is served.
            equal(exchange(peer, b"Hello"), b"Hello")
            # The file is in use.
            second = run(name, "--listen", f"unix:{path}")
            equal(second.returncode, 1)
            assert f"unix:{path}: another program listens there" in second.stderr, second.stderr
            equal(exchange(peer, b"still here"), b"still here")
            peer.close()
            equal(server.interrupt(), 0)
            assert not path.exists(), "the file is still there"


def unix_socket_files(name):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "socket")
        # What a program leaves that was killed.
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(path))
        with Server(name, listen=f"unix:{path}") as server, socket.socket(socket.AF_UNIX) as peer:
            peer.connect(server.address)
            equal(server.interrupt(), 0)
        # A file of somebody else's.
        path.write_text("not a socket")
        result = run(name, "--listen", f"unix:{path}")
        equal(result.returncode, 1)
        assert f"unix:{path}: there is a file of another kind" in result.stderr, result.stderr
        equal(path.read_text(), "not a socket")
        missing = f"unix:{folder}/missing/socket"
        result = run(name, "--listen", missing)
        equal(result.returncode, 1)
        assert f"{missing}: " in result.stderr and "panicked" not in result.stderr, result.stderr
    result = run(name, "--listen", "unix:")
    equal(result.returncode, 2)
    assert "--listen" in result.stderr, result.stderr


def ctrl_c_with_idle_connections(name):
    # A browser opens connections in advance and may never send a request on them.
    with Server(name) as server:
        host, port = server.address.split(":")
        with socket.create_connection((host, int(port)), TIMEOUT):
            equal(server.interrupt(), 0)


def echo_bytes(listener):
    """A TCP server for one connection, which sends all back and ends after the other end."""
    peer, _ = listener.accept()
    with peer:
        peer.settimeout(TIMEOUT)
        while data := peer.recv(65536):
            peer.sendall(data)


def tunnel_carries_bytes():
    """TCP to TCP through two tunnels and a WebSocket: more than any buffer has, and then the end."""
    data = os.urandom(3_000_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = ":".join(map(str, listener.getsockname()))
        for flags in [[], ["--deflate"]]:
            threading.Thread(target=echo_bytes, args=[listener], daemon=True).start()
            with (
                Server("tunnel", "--to", target, *flags) as server,
                Server("tunnel", "--url", server.url, *flags, scheme="tcp") as client,
            ):
                host, port = client.address.split(":")
                with socket.create_connection((host, int(port)), TIMEOUT) as peer:
                    threading.Thread(target=peer.sendall, args=[data], daemon=True).start()
                    came = bytearray()
                    while len(came) < len(data) and (more := peer.recv(65536)):
                        came += more
                    equal(bytes(came) == data, True)
                    # A WebSocket has no half-closed state: the end of one half is the end.
                    peer.shutdown(socket.SHUT_WR)
                    equal(peer.recv(1), b"")


def main():
    checks = Checks()
    planned = [(help_is_shown, name) for name in example_names()]
    planned += [(bad_flag_is_refused, name) for name in example_names()]
    planned += [(bad_values_name_their_option, name) for name in example_names()]
    planned += [(subprotocol_is_selected, name, "ws") for name in SERVERS]
    planned += [(subprotocol_is_selected, name, "wss") for name in SECURE_SERVERS]
    planned += [(certificate_is_to_blame, name) for name in SECURE_SERVERS]
    planned += [(port_is_taken, name, "wss") for name in SECURE_SERVERS]
    planned += [
        (check, name)
        for name in SERVERS
        for check in [
            page_is_served, connect_through_a_pipe, deflate_if_told, port_is_taken, ctrl_c_ends_it,
            ctrl_c_with_idle_connections,
        ]  # fmt: skip
    ]
    planned += [(check, name) for name in LISTENERS for check in [unix_socket, unix_socket_files]]
    planned += [(everybody_gets_it,), (connect_over_tls,), (connect_to_nobody,), (connect_offers_deflate_if_told,)]
    planned += [(connect_tells_an_error_code_from_a_normal_end,), (tunnel_carries_bytes,)]
    for check, *names in planned:
        try:
            check(*names)
        except Exception as error:
            checks.report(": ".join([*names, check.__name__]), error)
        else:
            checks.report(": ".join([*names, check.__name__]))
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(main())
