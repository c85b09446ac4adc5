"""What `connect` says of servers that refuse, and of those that are not there: one line, which names the cause."""

import re
import socket

from dial import Case, Origin, Peer, Scripted, both_adapters, certificates, free_port, opened, response


@both_adapters
class Statuses(Case):
    def says(self, answer, *saying):
        with Origin(lambda head, peer: answer) as origin:
            self.fails(origin.url, saying=saying, within=5)

    def test_401(self):
        self.says(response("401 Unauthorized", 'WWW-Authenticate: Bearer realm="chat"', body="a token, please"), "401", "a token, please")

    def test_302(self):
        self.says(response("302 Found", "Location: https://elsewhere.example/login"), "302", re.escape("https://elsewhere.example/login"))

    def test_429_with_retry_after(self):
        self.says(response("429 Too Many Requests", "Retry-After: 17", body="slowly"), "429", "slowly")

    def test_503_with_a_text(self):
        """The first line; there may be many."""
        self.says(response("503 Service Unavailable", "Content-Type: text/plain", body="down for maintenance\nuntil 9:00\n"), "503", "down for maintenance")

    def test_404_without_a_body(self):
        self.says(response("404 Not Found"), "404")

    def test_400_with_many_lines(self):
        self.says(response("400 Bad Request", body="<html>\r\n\r\n<h1>no</h1>\n" * 1000), "400")

    def test_403_with_bytes_that_are_no_text(self):
        self.says(response("403 Forbidden").replace(b"Content-Length: 0", b"Content-Length: 6") + b"\xff\x00\x1b[2J"[:6], "403")

    def test_200(self):
        self.says(response("200 OK", body="<h1>It works!</h1>"), "200")

    def test_a_body_that_ends_with_the_connection(self):
        def answer(head, peer):
            return b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\nbusy"

        with Origin(answer) as origin:
            self.fails(origin.url, saying=["503", "busy"], within=5)

    def test_a_chunked_body(self):
        self.says(b"HTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n", "503")

    def test_a_body_that_never_ends(self):
        def answer(head, peer):
            peer.send(b"HTTP/1.1 503 x\r\nContent-Length: 1000\r\n\r\nbusy\nmore to come")
            peer.wait_for_end()
            return b" "

        with Origin(answer) as origin:
            self.fails(origin.url, "--timeout", "1", saying="503", within=4)

    def test_no_escape_sequences_reach_the_terminal(self):
        with Origin(lambda head, peer: response("403 Forbidden", body="\x1b[31mred\x1b]0;title\x07")) as origin:
            outcome = self.fails(origin.url, saying="403")
            self.assertNotIn("\x1b", outcome.err)

    def test_secrets_are_not_in_the_error(self):
        with Origin(lambda head, peer: response("401 Unauthorized")) as origin:
            for options in ["--bearer", "s3cr3t"], ["--basic", "me:s3cr3t"], ["--header", "Cookie: s3cr3t"]:
                with self.subTest(options):
                    self.fails(origin.url, *options, saying="401", never=["s3cr3t", "bWU6czNjcjN0"])


@both_adapters
class Nothing(Case):
    def test_silence(self):
        with Scripted(Peer.wait_for_end) as server:
            outcome = self.fails(f"ws://{server.address}/", "--timeout", "0.8", saying="time", within=4)
            self.assertGreater(outcome.seconds, 0.7)

    def test_silence_under_tls(self):
        with Scripted(Peer.wait_for_end) as server:
            self.fails(f"wss://{server.address}/", "--timeout", "0.8", saying="time", within=4)

    def test_a_byte_now_and_then(self):
        """The time is for the whole attempt, so a slow peer cannot draw it out."""

        def script(peer):
            peer.head()
            try:
                for byte in b"HTTP/1.1 503 Service Unavailable\r\n" * 3:
                    peer.send(bytes([byte]))
                    peer.sock.settimeout(0.1)
                    try:
                        if not peer.sock.recv(1):
                            return
                    except TimeoutError:
                        pass
            except OSError:
                pass

        with Scripted(script) as server:
            self.fails(f"ws://{server.address}/", "--timeout", "0.8", within=4)

    def test_it_closes_at_once(self):
        with Scripted(lambda peer: None) as server:
            self.fails(f"ws://{server.address}/", within=4)

    def test_it_closes_after_the_request(self):
        with Scripted(lambda peer: peer.head() and None) as server:
            self.fails(f"ws://{server.address}/", saying="clos|end|EOF|reset", within=4)

    def test_the_name_is_unknown(self):
        self.fails("ws://nonexistent.invalid/", saying="nonexistent\\.invalid", within=20)

    def test_nobody_listens(self):
        port = free_port()
        self.fails(f"ws://127.0.0.1:{port}/", saying=[f"127\\.0\\.0\\.1:{port}", "refused"], within=4)

    def test_nobody_listens_at_a_name(self):
        """Each of its addresses is named."""
        port = free_port()
        addresses = {info[4][0] for info in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
        self.fails(f"ws://localhost:{port}/", saying=["refused", *map(re.escape, addresses), str(port)], within=4)


@both_adapters
class WrongPort(Case):
    def test_plain_to_a_port_of_tls(self):
        with Origin(tls=certificates().context("IP:127.0.0.1")) as origin:
            self.fails(f"ws://{origin.address}/", "--timeout", "5", within=7)

    def test_tls_to_a_plain_port(self):
        def script(peer):
            # As a server of HTTP answers what it cannot read.
            peer.sock.recv(65536)
            peer.send(response("400 Bad Request", "Connection: close", body="The plain HTTP request was expected"))

        with Scripted(script) as server:
            self.fails(f"wss://{server.address}/", "--timeout", "5", saying="tls|certificate|corrupt|message", within=7)

    def test_ssh(self):
        with Scripted(lambda peer: (peer.send(b"SSH-2.0-OpenSSH_9.2p1\r\n"), peer.wait_for_end())) as server:
            for scheme in "ws", "wss":
                with self.subTest(scheme):
                    self.fails(f"{scheme}://{server.address}/", "--timeout", "5", within=7)


@both_adapters
class Certificates(Case):
    def test_nobody_vouches_for_it(self):
        with Origin(tls=certificates().context("DNS:localhost")) as origin:
            self.fails(origin.named("localhost"), "--bearer", "s3cr3t", saying=["certificate", "issuer|authority|trust|CA"], within=5)
            self.assertEqual(origin.heads, [])

    def test_it_is_for_another_name(self):
        with Origin(tls=certificates().context("DNS:other.example")) as origin:
            self.fails(origin.named("localhost"), "--ca", certificates().ca, saying=["certificate", "name|valid for|hostname"], within=5)
            self.assertEqual(origin.heads, [])

    def test_any_if_told(self):
        with Origin(tls=certificates().context("DNS:other.example")) as origin:
            self.echoes(origin.named("localhost"), "--insecure-accept-any-certificate")

    def test_a_file_of_certificates_that_is_none(self):
        for file in "/nonexistent/ca.pem", "/etc/hostname", "/dev/null":
            with self.subTest(file):
                outcome = self.dial("wss://127.0.0.1:9/", "--ca", file)
                self.assertIn(outcome.code, [1, 2], outcome)
                self.assertIn(file, outcome.err)
                self.assertNotIn("panicked", outcome.err)


@both_adapters
class Handshakes(Case):
    """Answers of 101 that open nothing."""

    def refused(self, change):
        with Origin(lambda head, peer: change(opened(head))) as origin:
            self.fails(origin.url, within=5)

    def test_the_wrong_key(self):
        self.refused(lambda answer: answer.replace(b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"))

    def test_no_upgrade(self):
        self.refused(lambda answer: answer.replace(b"Upgrade: websocket\r\n", b"", 1))

    def test_a_subprotocol_that_was_not_offered(self):
        self.refused(lambda answer: answer.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"))

    def test_compression_that_was_not_offered(self):
        self.refused(lambda answer: answer.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"))
