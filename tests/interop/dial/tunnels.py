"""Proxies of a few lines, which say what real ones say only now and then: `connect` has to get through, or to tell why not."""

import base64
import contextlib
import time

from dial import (
    LINES, Case, HttpProxy, Origin, Peer, Scripted, Socks4aProxy, Socks5Proxy, both_adapters, certificates, field,
    fields, free_port, response, whole_and_dripped,
)  # fmt: skip

OK = b"HTTP/1.1 200 Connection established\r\n\r\n"
PASSWORD = "s3cr3t-of-the-proxy"


@both_adapters
@whole_and_dripped
class Connect(Case):
    """Answers to CONNECT that open a tunnel."""

    def opens(self, reply):
        with Origin() as origin, HttpProxy(reply, drip=self.drip) as proxy:
            self.echoes(origin.url, "--proxy", proxy.url)
            self.assertEqual(proxy.heads[0].split("\r\n")[0], f"CONNECT {origin.address} HTTP/1.1")
            self.assertEqual(field(proxy.heads[0], "Host"), origin.address)
            self.assertEqual(len(origin.heads), 1)

    def test_200(self):
        self.opens(OK)

    def test_http_1_0(self):
        self.opens(b"HTTP/1.0 200 Connection established\r\nProxy-agent: old\r\n\r\n")

    def test_no_reason(self):
        self.opens(b"HTTP/1.1 200\r\n\r\n")

    # RFC 9110 §9.3.6: "A client MUST ignore any Content-Length or Transfer-Encoding header fields received in a successful
    # response to CONNECT."
    def test_content_length_is_ignored(self):
        self.opens(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")

    def test_content_length_0_is_ignored(self):
        self.opens(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def test_content_length_that_is_none_is_ignored(self):
        self.opens(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: x\r\n\r\n")

    def test_transfer_encoding_is_ignored(self):
        self.opens(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

    def test_connection_close_is_ignored(self):
        self.opens(b"HTTP/1.1 200 OK\r\nConnection: close\r\nProxy-Connection: close\r\n\r\n")

    def test_100_before_200(self):
        self.opens(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)

    def test_three_1xx_before_200(self):
        self.opens(b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 199 x\r\n\r\n" + OK)

    def test_wss_within(self):
        tls = certificates().context("DNS:localhost")
        with Origin(tls=tls) as origin, HttpProxy(drip=self.drip) as proxy:
            self.echoes(origin.named("localhost"), "--proxy", proxy.url, "--ca", certificates().ca)
            self.assertEqual(tls.server_names, ["localhost"])

    def test_the_tunnels_first_bytes_come_with_the_head(self):
        """A server that speaks at once: its answer stands in the same packet as the proxy's."""

        def script(peer):
            peer.head()
            peer.send(OK + response("503 Service Unavailable", body="busy, come back"))
            peer.wait_for_end()

        with Scripted(script, drip=self.drip) as proxy:
            self.fails("ws://origin.invalid/", "--proxy", f"http://{proxy.address}", saying=["503", "busy, come back"])

    def test_the_answer_of_the_origin_comes_in_one_piece_with_the_200(self):
        """The proxy holds its 200 back until it has the request, which a client may send early. If it does not, 200 comes."""

        def script(peer):
            peer.head()
            peer.sock.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                raise AssertionError(f"the client does not wait for the 200: {peer.head()!r}")
            peer.sock.settimeout(5)
            peer.send(OK)
            peer.head()
            peer.send(response("429 Too Many Requests", body="slowly"))
            peer.wait_for_end()

        with Scripted(script, drip=self.drip) as proxy:
            self.fails("ws://origin.invalid/", "--proxy", f"http://{proxy.address}", saying=["429", "slowly"])
        self.assertEqual(proxy.errors, [])


@both_adapters
@whole_and_dripped
class NoTunnel(Case):
    """Answers to CONNECT that open none: the error says which proxy, and why."""

    def refused(self, reply, saying, stay_open=True, options=(), url="ws://origin.invalid/", within=4):
        def script(peer):
            self.requests.append(peer.head())
            peer.send(reply)
            if stay_open:
                peer.wait_for_end()

        self.requests = []
        with Scripted(script, drip=self.drip) as proxy:
            outcome = self.fails(
                url, "--proxy", f"http://user:{PASSWORD}@{proxy.address}", "--timeout", "5", *options,
                saying=saying, never=[PASSWORD, basic("user", PASSWORD)], within=within,
            )  # fmt: skip
            self.assertIn(str(proxy.port), outcome.err, "the error does not name the proxy")
            self.assertEqual(len(proxy.clients), 1, "it came back to the proxy")

    CHALLENGES = ["Proxy-Authenticate: Digest realm=\"inner\", nonce=\"abc\"", "Proxy-Authenticate: Basic realm=\"outer\""]

    def test_407_with_two_challenges_and_a_body_on_a_connection_that_stays(self):
        self.refused(response("407 Proxy Authentication Required", *self.CHALLENGES, body="<h1>who are you?</h1>\n" * 50), "407")

    def test_407_that_closes(self):
        self.refused(
            response("407 Proxy Authentication Required", *self.CHALLENGES, "Connection: close", body="who?"), "407",
            stay_open=False,
        )  # fmt: skip

    def test_407_without_a_challenge(self):
        self.refused(response("407 Proxy Authentication Required"), "407")

    def test_407_with_half_of_its_body(self):
        self.refused(response("407 Proxy Authentication Required", body="x" * 99)[:-50], "407", within=7)

    def test_407_with_an_endless_length(self):
        self.refused(b"HTTP/1.1 407 x\r\nContent-Length: 99999999999999999999\r\n\r\nwho?", "", within=7)

    def test_407_chunked(self):
        self.refused(b"HTTP/1.1 407 x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwho?\r\n0\r\n\r\n", "407", within=7)

    def test_403(self):
        self.refused(response("403 Forbidden", body="ports other than 443 are shut\nand more"), ["403"])

    def test_502(self):
        self.refused(response("502 Bad Gateway", body="no such host"), "502")

    def test_400_http_1_0_without_length(self):
        self.refused(b"HTTP/1.0 400 Bad Request\r\n\r\nwhat?", "400", stay_open=False)

    def test_101(self):
        self.refused(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "101")

    def test_a_redirect_of_the_proxy_is_not_followed(self):
        """It would let the proxy choose the server, with TLS to come."""
        with Origin() as other:
            reply = response("302 Found", f"Location: http://{other.address}/")
            self.refused(reply, "302", options=["--redirects", "5"])
            self.assertEqual(other.heads, [])

    def test_garbage(self):
        self.refused(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "", within=7)

    def test_garbage_that_is_binary(self):
        self.refused(b"\x15\x03\x01\x00\x02\x02\x16" * 3, "", within=7)

    def test_garbage_with_line_ends(self):
        self.refused(b"\x00\xff\r\n\r\n\r\n\r\n", "")

    def test_http_of_another_version(self):
        self.refused(b"HTTP/3.7 200 OK\r\n\r\n", "")

    def test_half_a_head(self):
        self.refused(b"HTTP/1.1 200 OK\r\nX-", "", stay_open=False)

    def test_only_1xx(self):
        self.refused(b"HTTP/1.1 100 Continue\r\n\r\n" * 200, "", within=7)

    def test_it_closes_after_the_request(self):
        self.refused(b"", "", stay_open=False)


def basic(user, password):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@both_adapters
class Trouble(Case):
    """Proxies that give no answer to take apart."""

    SCHEMES = ["http", "socks5", "socks5h", "socks4a"]

    def test_it_accepts_and_hangs(self):
        for scheme in self.SCHEMES:
            with self.subTest(scheme), Scripted(Peer.wait_for_end) as proxy:
                outcome = self.fails(
                    "ws://127.0.0.1:9/", "--proxy", f"{scheme}://{proxy.address}", "--timeout", "0.7",
                    saying=[f"\\b{proxy.port}\\b", "time|timed out"], within=4,
                )  # fmt: skip
                self.assertGreater(outcome.seconds, 0.6)

    def test_the_tls_of_an_https_proxy_hangs(self):
        with Scripted(Peer.wait_for_end) as proxy:
            self.fails(
                "ws://127.0.0.1:9/", "--proxy", f"https://{proxy.address}", "--timeout", "0.7",
                saying=[f"\\b{proxy.port}\\b", "time|timed out"], within=4,
            )  # fmt: skip

    def test_it_takes_the_name_and_hangs(self):
        """The reply to the greeting is there, the one to the request is not."""

        def script(peer):
            peer.exactly(3)
            peer.send(b"\x05\x00")
            peer.wait_for_end()

        with Scripted(script) as proxy:
            self.fails(
                "ws://127.0.0.1:9/", "--proxy", f"socks5h://{proxy.address}", "--timeout", "0.7",
                saying=[f"\\b{proxy.port}\\b", "time|timed out"], within=4,
            )  # fmt: skip

    def test_a_head_that_never_ends_byte_after_byte(self):
        """Each byte is a sign of life, but the time is for the whole attempt."""

        def script(peer):
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\n")
            for _ in range(60):
                peer.send(b"X: y\r\n")
                time.sleep(0.1)

        with Scripted(script) as proxy:
            self.fails("ws://127.0.0.1:9/", "--proxy", f"http://{proxy.address}", "--timeout", "0.7", within=4)

    def test_it_closes_at_once(self):
        for scheme in self.SCHEMES:
            with self.subTest(scheme), Scripted(lambda peer: None) as proxy:
                self.fails("ws://127.0.0.1:9/", "--proxy", f"{scheme}://{proxy.address}", saying=f"\\b{proxy.port}\\b", within=4)

    def test_nobody_is_there(self):
        for scheme in [*self.SCHEMES, "https"]:
            with self.subTest(scheme):
                port = free_port()
                self.fails(
                    "ws://127.0.0.1:9/", "--proxy", f"{scheme}://127.0.0.1:{port}", saying=[f"\\b{port}\\b", "refused"], within=4
                )

    def test_its_name_is_unknown(self):
        for scheme in self.SCHEMES:
            with self.subTest(scheme):
                self.fails("ws://127.0.0.1:9/", "--proxy", f"{scheme}://proxy.invalid:80", saying="proxy\\.invalid")

    def test_a_head_without_end(self):
        """It is refused by its size, not by the time."""

        def script(peer):
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\n")
            with contextlib.suppress(OSError):
                for _ in range(64):
                    peer.send(b"X-Filler: " + b"x" * (1 << 20) + b"\r\n")
                self.sent_all = True

        self.sent_all = False
        with Scripted(script) as proxy:
            self.fails("ws://127.0.0.1:9/", "--proxy", f"http://{proxy.address}", "--timeout", "15", within=8, saying=f"\\b{proxy.port}\\b")
        self.assertFalse(self.sent_all, "64 MiB of head were read")

    def test_a_body_of_407_without_end(self):
        def script(peer):
            peer.head()
            peer.send(b"HTTP/1.1 407 x\r\nContent-Length: 68719476736\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(64):
                    peer.send(b"x" * (1 << 20))
                self.sent_all = True

        self.sent_all = False
        with Scripted(script) as proxy:
            self.fails("ws://127.0.0.1:9/", "--proxy", f"http://{proxy.address}", "--timeout", "15", within=8, saying="407")
        self.assertFalse(self.sent_all, "64 MiB of body were read")

    def test_urls_that_are_no_proxy(self):
        for url in ["ftp://127.0.0.1:1", "http://", "http://127.0.0.1:x", "http://127.0.0.1:65536", "http://[::1", "://", ""]:
            with self.subTest(url):
                outcome = self.dial("ws://127.0.0.1:9/", "--proxy", url)
                self.assertIn(outcome.code, [1, 2], outcome)
                self.assertRegex(outcome.err, "(?i)proxy")
                self.assertNotIn("panicked", outcome.err)

    def test_the_origin_is_down(self):
        """What the proxy says of it is what the user gets to know."""
        port = free_port()
        with HttpProxy(response("502 Bad Gateway", body=f"cannot connect to port {port}")) as proxy:
            self.fails(f"ws://127.0.0.1:{port}/", "--proxy", proxy.url, saying="502")


@both_adapters
class Names(Case):
    """What is asked for."""

    def test_connect_names_the_host_that_the_url_names(self):
        with Origin() as origin:
            for host in ["localhost", "127.0.0.1", "origin.invalid"]:
                with self.subTest(host), HttpProxy(to=("127.0.0.1", origin.port)) as proxy:
                    self.echoes(origin.named(host), "--proxy", proxy.url)
                    self.assertEqual(proxy.heads[0].split("\r\n")[0], f"CONNECT {host}:{origin.port} HTTP/1.1")

    def test_connect_names_an_ipv6_address_in_brackets(self):
        with Origin(host="::1") as origin, HttpProxy() as proxy:
            self.echoes(origin.url, "--proxy", proxy.url)
            self.assertEqual(proxy.heads[0].split("\r\n")[0], f"CONNECT [::1]:{origin.port} HTTP/1.1")
            self.assertEqual(field(proxy.heads[0], "Host"), f"[::1]:{origin.port}")
            self.assertEqual(field(origin.heads[0], "Host"), f"[::1]:{origin.port}")

    def test_connect_names_the_port_even_where_the_url_does_not(self):
        for url, target in [("ws://origin.invalid/", "origin.invalid:80"), ("wss://origin.invalid/", "origin.invalid:443")]:
            with self.subTest(url), HttpProxy(response("403 no")) as proxy:
                self.fails(url, "--proxy", proxy.url, saying="403")
                self.assertEqual(proxy.heads[0].split("\r\n")[0], f"CONNECT {target} HTTP/1.1")
                self.assertEqual(field(proxy.heads[0], "Host"), target)

    def test_the_server_name_of_tls_has_no_brackets(self):
        """RFC 6066 §3: literal addresses are not permitted in it; the certificate is for the address."""
        tls = certificates().context("IP:::1")
        with Origin(host="::1", tls=tls) as origin, HttpProxy() as proxy:
            self.echoes(origin.url, "--proxy", proxy.url, "--ca", certificates().ca)
            self.assertIn(tls.server_names, [[None], []])

    def test_socks5h_asks_by_name(self):
        with Origin() as origin:
            for host in ["localhost", "origin.invalid"]:
                with self.subTest(host), Socks5Proxy(to=("127.0.0.1", origin.port)) as proxy:
                    self.echoes(origin.named(host), "--proxy", f"socks5h://{proxy.address}")
                    self.assertEqual(proxy.asked, [(3, host, origin.port)])

    def test_socks5_asks_by_address(self):
        with Origin() as origin, Socks5Proxy(to=("127.0.0.1", origin.port)) as proxy:
            self.echoes(origin.named("localhost"), "--proxy", f"socks5://{proxy.address}")
            self.assertIn(proxy.asked, [[(1, "127.0.0.1", origin.port)], [(4, "::1", origin.port)]])

    def test_socks5_resolves_here(self):
        """So a name that is not known here reaches no proxy."""
        with Socks5Proxy() as proxy:
            self.fails("ws://origin.invalid/", "--proxy", f"socks5://{proxy.address}", saying="origin\\.invalid")
            self.assertEqual(proxy.asked, [])

    def test_socks5_literals(self):
        for scheme in "socks5", "socks5h":
            for host, kind in ("127.0.0.1", 1), ("::1", 4):
                with self.subTest((scheme, host)), Origin(host=host) as origin, Socks5Proxy() as proxy:
                    self.echoes(origin.url, "--proxy", f"{scheme}://{proxy.address}")
                    self.assertEqual(proxy.asked, [(kind, host, origin.port)])

    def test_socks4a_asks_by_name(self):
        with Origin() as origin, Socks4aProxy(to=("127.0.0.1", origin.port)) as proxy:
            self.echoes(origin.named("origin.invalid"), "--proxy", f"socks4a://{proxy.address}")
            self.assertEqual(proxy.asked, [("", "origin.invalid", origin.port)])

    def test_socks4a_literal(self):
        with Origin() as origin, Socks4aProxy() as proxy:
            self.echoes(origin.url, "--proxy", f"socks4a://{proxy.address}")
            self.assertEqual(proxy.asked, [("", "127.0.0.1", origin.port)])

    def test_socks4a_sends_the_user(self):
        with Origin() as origin, Socks4aProxy() as proxy:
            self.echoes(origin.url, "--proxy", f"socks4a://me@{proxy.address}")
            self.assertEqual(proxy.asked, [("me", "127.0.0.1", origin.port)])

    def test_a_name_that_is_too_long_for_socks5(self):
        """RFC 1928 §5 has a byte for the length."""
        host = ".".join(["a" * 63] * 5)
        with Socks5Proxy() as proxy:
            outcome = self.dial(f"ws://{host}/", "--proxy", f"socks5h://{proxy.address}", "--timeout", "3")
            self.assertIn(outcome.code, [1, 2], outcome)
            self.assertNotIn("panicked", outcome.err)
            self.assertLess(outcome.seconds, 2.5, f"not refused, but waited for:\n{outcome}")
            self.assertEqual(proxy.asked, [])

    def test_the_proxy_itself_by_name_and_by_ipv6(self):
        for host, name in ("127.0.0.1", "localhost"), ("::1", "[::1]"):
            for scheme, kind in ("http", HttpProxy), ("socks5h", Socks5Proxy), ("socks4a", Socks4aProxy):
                with self.subTest((scheme, name)), Origin() as origin, kind(host=host) as proxy:
                    self.echoes(origin.url, "--proxy", f"{scheme}://{name}:{proxy.port}")

    def test_wss_through_socks(self):
        for scheme, kind in ("socks5", Socks5Proxy), ("socks5h", Socks5Proxy), ("socks4a", Socks4aProxy):
            tls = certificates().context("DNS:localhost")
            with self.subTest(scheme), Origin(tls=tls) as origin, kind(to=("127.0.0.1", origin.port)) as proxy:
                self.echoes(origin.named("localhost"), "--proxy", f"{scheme}://{proxy.address}", "--ca", certificates().ca)
                self.assertEqual(tls.server_names, ["localhost"])


SOCKS5_ERRORS = {
    1: "general", 2: "ruleset|not allowed", 3: "network.*unreachable", 4: "host.*unreachable", 5: "refused", 6: "TTL",
    7: "command", 8: "address type", 9: "9", 255: "255|0xff",
}  # fmt: skip


@both_adapters
@whole_and_dripped
class Socks5(Case):
    """RFC 1928 and RFC 1929."""

    def through(self, **options):
        with Origin() as origin, Socks5Proxy(drip=self.drip, **options) as proxy:
            self.echoes(origin.url, "--proxy", f"socks5h://{proxy.address}")
            self.assertEqual(proxy.offered, [[0]], "without a user there is nothing but method 0 to offer")

    def test_a_reply_with_an_ipv4_address(self):
        self.through(reply=b"\x05\x00\x00\x01\x0a\x01\x02\x03\x12\x34")

    def test_a_reply_with_a_name(self):
        self.through(reply=b"\x05\x00\x00\x03\x0bout.example\x12\x34")

    def test_a_reply_with_an_empty_name(self):
        self.through(reply=b"\x05\x00\x00\x03\x00\x12\x34")

    def test_a_reply_with_the_longest_name(self):
        self.through(reply=b"\x05\x00\x00\x03\xff" + b"n" * 255 + b"\x12\x34")

    def test_a_reply_with_an_ipv6_address(self):
        self.through(reply=b"\x05\x00\x00\x04" + bytes(range(16)) + b"\x12\x34")

    def test_the_tunnels_first_bytes_come_with_the_reply(self):
        answer = response("503 Service Unavailable", body="busy, come back")

        def script(peer):
            peer.exactly(3)
            peer.send(b"\x05\x00")
            peer.exactly(4 + 4 + 2)
            peer.send(Socks5Proxy.SUCCESS + answer)
            peer.wait_for_end()

        with Scripted(script, drip=self.drip) as proxy:
            self.fails("ws://127.0.0.1:9/", "--proxy", f"socks5://{proxy.address}", saying=["503", "busy, come back"])

    def test_each_error_code(self):
        for code, saying in SOCKS5_ERRORS.items():
            with self.subTest(code), Socks5Proxy(bytes([5, code, 0, 1]) + bytes(6), drip=self.drip) as proxy:
                self.fails(
                    "ws://127.0.0.1:9/", "--proxy", f"socks5h://{proxy.address}", saying=[saying, f"\\b{proxy.port}\\b"], within=4
                )

    def test_an_error_whose_reply_ends_early(self):
        for reply in [b"\x05\x05", b"\x05\x05\x00\x01", b"\x05\x05\x00\x01\x00\x00"]:
            with self.subTest(reply), Socks5Proxy(reply, drip=self.drip) as proxy:
                self.fails("ws://127.0.0.1:9/", "--proxy", f"socks5h://{proxy.address}", saying=f"\\b{proxy.port}\\b", within=4)

    def test_a_success_that_ends_early(self):
        reply = Socks5Proxy.SUCCESS

        def script(peer, count):
            peer.exactly(3)
            peer.send(b"\x05\x00")
            peer.exactly(10)
            peer.send(reply[:count])

        for count in range(1, len(reply)):
            with self.subTest(count), Scripted(lambda peer: script(peer, count), drip=self.drip) as proxy:
                self.fails("ws://127.0.0.1:9/", "--proxy", f"socks5h://{proxy.address}", saying=f"\\b{proxy.port}\\b", within=4)

    def test_replies_that_are_not_socks5(self):
        for reply in [b"\x04\x00\x00\x01" + bytes(6), b"\x05\x00\x00\x07" + bytes(6), b"HTTP/1.1 400 Bad Request\r\n\r\n"]:
            with self.subTest(reply), Socks5Proxy(drip=self.drip) as proxy:
                proxy.reply = reply
                proxy.script = lambda peer, proxy=proxy: answer_and_wait(proxy, peer)
                self.fails("ws://127.0.0.1:9/", "--proxy", f"socks5h://{proxy.address}", saying=f"\\b{proxy.port}\\b", within=4)

    def test_greetings_that_are_not_socks5(self):
        for reply in [b"\x04\x00", b"\x00\x5b", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\x00"]:

            def script(peer, reply=reply):
                peer.exactly(3)
                peer.send(reply)
                peer.wait_for_end()

            with self.subTest(reply), Scripted(script, drip=self.drip) as proxy:
                self.fails("ws://127.0.0.1:9/", "--proxy", f"socks5h://{proxy.address}", saying=f"\\b{proxy.port}\\b", within=4)

    def test_no_method_is_acceptable(self):
        for user in "", f"user:{PASSWORD}@":
            with self.subTest(user), Socks5Proxy(method=0xFF, drip=self.drip) as proxy:
                self.fails(
                    "ws://127.0.0.1:9/", "--proxy", f"socks5h://{user}{proxy.address}", saying=["auth|credential|method"],
                    never=[PASSWORD], within=4,
                )  # fmt: skip

    def test_a_method_that_was_not_offered(self):
        for method in [1, 2, 3, 0x80]:
            with self.subTest(method), Socks5Proxy(method=method, drip=self.drip) as proxy:
                self.fails("ws://127.0.0.1:9/", "--proxy", f"socks5h://{proxy.address}", saying=["method|auth"], within=4)
                self.assertEqual((proxy.users, proxy.asked), ([], []))

    def test_credentials(self):
        for userinfo, pair in [
            ("user:pass", (b"user", b"pass")), ("u%40x:p%3A%C3%A9", (b"u@x", "p:é".encode())), ("u:pa:ss", (b"u", b"pa:ss")),
        ]:  # fmt: skip
            with self.subTest(userinfo), Origin() as origin, Socks5Proxy(method=2, drip=self.drip) as proxy:
                self.echoes(origin.url, "--proxy", f"socks5h://{userinfo}@{proxy.address}")
                self.assertEqual(proxy.users, [pair])
                self.assertIn(2, proxy.offered[0])

    def test_credentials_that_nobody_wants(self):
        """The proxy takes method 0 of what was offered; so it gets no password."""
        with Origin() as origin, Socks5Proxy(method=0, drip=self.drip) as proxy:
            self.echoes(origin.url, "--proxy", f"socks5h://user:{PASSWORD}@{proxy.address}")
            self.assertEqual((sorted(proxy.offered[0]), proxy.users), ([0, 2], []))

    def test_the_wrong_password(self):
        for status in [1, 0xFF]:
            with self.subTest(status), Socks5Proxy(method=2, status=status, drip=self.drip) as proxy:
                self.fails(
                    "ws://127.0.0.1:9/", "--proxy", f"socks5h://user:{PASSWORD}@{proxy.address}",
                    saying=["auth|credential|password", f"\\b{proxy.port}\\b"], never=[PASSWORD], within=4,
                )  # fmt: skip
                self.assertEqual(proxy.users, [(b"user", PASSWORD.encode())])

    def test_credentials_that_are_too_long(self):
        """RFC 1929 §2 has a byte for the length."""
        for userinfo in ["u" * 256 + ":p", "u:" + "p" * 256]:
            with self.subTest(len(userinfo)), Socks5Proxy(method=2, drip=self.drip) as proxy:
                outcome = self.dial("ws://127.0.0.1:9/", "--proxy", f"socks5h://{userinfo}@{proxy.address}", "--timeout", "3")
                self.assertIn(outcome.code, [1, 2], outcome)
                self.assertNotIn("panicked", outcome.err)
                self.assertLess(outcome.seconds, 2.5, f"not refused, but waited for:\n{outcome}")
                self.assertEqual(proxy.users, [])


def answer_and_wait(proxy, peer):
    peer.exactly(3)
    peer.send(b"\x05\x00")
    peer.exactly(10)
    peer.send(proxy.reply)
    peer.wait_for_end()


@both_adapters
@whole_and_dripped
class Socks4a(Case):
    def test_a_success(self):
        with Origin() as origin, Socks4aProxy(drip=self.drip) as proxy:
            self.echoes(origin.url, "--proxy", f"socks4a://{proxy.address}")

    def test_each_refusal(self):
        for code, saying in [(91, "reject|refus|fail|91"), (92, "ident|92"), (93, "ident|user|93"), (0, ""), (255, "")]:
            with self.subTest(code), Socks4aProxy(code, drip=self.drip) as proxy:
                self.fails("ws://127.0.0.1:9/", "--proxy", f"socks4a://{proxy.address}", saying=[saying, f"\\b{proxy.port}\\b"], within=4)

    def test_a_reply_that_is_not_socks4(self):
        def script(peer):
            peer.exactly(9)
            peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            peer.wait_for_end()

        with Scripted(script, drip=self.drip) as proxy:
            self.fails("ws://127.0.0.1:9/", "--proxy", f"socks4a://{proxy.address}", saying=f"\\b{proxy.port}\\b", within=4)

    def test_the_tunnels_first_bytes_come_with_the_reply(self):
        answer = response("503 Service Unavailable", body="busy, come back")

        def script(peer):
            peer.exactly(9)
            peer.until(b"\0")
            peer.send(b"\x00\x5a" + bytes(6) + answer)
            peer.wait_for_end()

        with Scripted(script, drip=self.drip) as proxy:
            self.fails("ws://origin.invalid/", "--proxy", f"socks4a://{proxy.address}", saying=["503", "busy, come back"])


@both_adapters
class Secrets(Case):
    """What is for the proxy reaches the proxy alone, what is for the origin the origin alone."""

    ORIGINS = ["--bearer", "origins-bearer", "--header", "Cookie: origins=cookie", "--header", "X-Api-Key: origins-key"]

    def check(self, proxy, origin, url, options=()):
        self.echoes(url, *self.ORIGINS, *options, "--subprotocol", "origins-protocol", "--origin", "https://origins.example")
        [head] = origin.heads
        self.assertEqual(field(head, "Authorization"), "Bearer origins-bearer")
        self.assertEqual(field(head, "Cookie"), "origins=cookie")
        self.assertEqual(field(head, "X-Api-Key"), "origins-key")
        self.assertEqual(fields(head, "Proxy-Authorization"), [])
        for secret in PASSWORD, basic("user", PASSWORD), "Proxy-":
            self.assertNotIn(secret.lower(), head.lower())
        for seen in proxy:
            self.assertEqual(field(seen, "Proxy-Authorization"), f"Basic {basic('user', PASSWORD)}")
            self.assertNotIn("origins", seen.lower())
            for name in "Authorization", "Cookie", "X-Api-Key", "Sec-WebSocket-Key", "Origin", "Upgrade":
                self.assertEqual(fields(seen, name), [])

    def test_http(self):
        with Origin() as origin, HttpProxy() as proxy:
            self.check(proxy.heads, origin, origin.url, ["--proxy", proxy.url.replace("://", f"://user:{PASSWORD}@")])
            self.assertEqual(len(proxy.heads), 1)

    def test_http_and_wss(self):
        tls = certificates().context("DNS:localhost")
        with Origin(tls=tls) as origin, HttpProxy() as proxy:
            options = ["--proxy", proxy.url.replace("://", f"://user:{PASSWORD}@"), "--ca", certificates().ca]
            self.check(proxy.heads, origin, origin.named("localhost"), options)
            self.assertEqual(len(proxy.heads), 1)

    def test_socks(self):
        for scheme, kind in ("socks5", Socks5Proxy), ("socks4a", Socks4aProxy):
            with self.subTest(scheme), Origin() as origin, kind() as proxy:
                self.check([], origin, origin.url, ["--proxy", f"{scheme}://user:{PASSWORD}@{proxy.address}"])

    def test_proxy_credentials(self):
        """As curl sends them."""
        for userinfo, pair in [
            ("u:p", "u:p"), ("u", "u:"), ("u:", "u:"), (":p", ":p"), ("u%40x:p%3A", "u@x:p:"), ("u:pa:ss", "u:pa:ss"),
            ("u:p%C3%A9", "u:pé"),
        ]:  # fmt: skip
            with self.subTest(userinfo), Origin() as origin, HttpProxy() as proxy:
                self.echoes(origin.url, "--proxy", f"http://{userinfo}@{proxy.address}")
                sent = field(proxy.heads[0], "Proxy-Authorization").removeprefix("Basic ")
                self.assertEqual(base64.b64decode(sent).decode(), pair)

    def test_no_credentials(self):
        with Origin() as origin, HttpProxy() as proxy:
            self.echoes(origin.url, "--proxy", proxy.url, *self.ORIGINS)
            self.assertEqual(fields(proxy.heads[0], "Proxy-Authorization"), [])

    def test_credentials_cannot_add_lines(self):
        with HttpProxy() as proxy:
            for userinfo in ["u:p%0d%0aX-Evil:%20yes", "u%0a:p"]:
                with self.subTest(userinfo):
                    outcome = self.dial("ws://127.0.0.1:9/", "--proxy", f"http://{userinfo}@{proxy.address}", "--timeout", "3")
                    self.assertNotEqual(outcome.code, 0)
            for head in proxy.heads:
                self.assertNotIn("Evil", head)


@both_adapters
class HttpsProxy(Case):
    """TLS to the proxy, and another TLS inside of it for wss."""

    def test_ws_and_wss(self):
        for secure in False, True:
            for host, name in [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("::1", "[::1]")]:
                outer = certificates().context("IP:127.0.0.1", "IP:::1", "DNS:localhost")
                inner = certificates().context("DNS:localhost") if secure else None
                with self.subTest((secure, name)), Origin(tls=inner) as origin:
                    with HttpProxy(tls=outer, host=host, to=("127.0.0.1", origin.port)) as proxy:
                        url = f"https://user:{PASSWORD}@{name}:{proxy.port}"
                        self.echoes(origin.named("localhost"), "--proxy", url, "--ca", certificates().ca)
                        self.assertEqual(outer.server_names or [None], ["localhost"] if name == "localhost" else [None])
                        self.assertEqual(field(proxy.heads[0], "Proxy-Authorization"), f"Basic {basic('user', PASSWORD)}")

    def test_the_proxys_certificate_is_checked(self):
        outer = certificates().context("IP:127.0.0.1")
        with Origin() as origin, HttpProxy(tls=outer) as proxy:
            for url, options in [
                # Nobody vouches for it.
                (proxy.url, []),
                # It is for another name.
                (f"https://localhost:{proxy.port}", ["--ca", certificates().ca]),
            ]:
                with self.subTest(url):
                    self.fails(
                        origin.url, "--proxy", url.replace("://", f"://user:{PASSWORD}@"), *options,
                        saying=["certificate", f"\\b{proxy.port}\\b"], never=[PASSWORD],
                    )  # fmt: skip
            self.assertEqual((proxy.heads, origin.heads), ([], []))

    def test_the_origins_certificate_is_checked_with_the_origins_name(self):
        """The proxy must not be able to stand for the origin."""
        for names in ["IP:127.0.0.1"], ["DNS:proxy.example"]:
            outer = certificates().context("IP:127.0.0.1")
            inner = certificates().context(*names)
            with self.subTest(names), Origin(tls=inner) as origin:
                for tls in None, outer:
                    with HttpProxy(tls=tls, to=("127.0.0.1", origin.port)) as proxy:
                        self.fails(
                            origin.named("localhost"), "--proxy", proxy.url, "--ca", certificates().ca,
                            "--bearer", "secret", saying="certificate", never=["secret"],
                        )  # fmt: skip
                self.assertEqual(origin.heads, [])

    def test_any_certificate_if_told(self):
        outer = certificates().context("DNS:other.example")
        inner = certificates().context("DNS:another.example")
        with Origin(tls=inner) as origin, HttpProxy(tls=outer, to=("127.0.0.1", origin.port)) as proxy:
            self.echoes(origin.named("localhost"), "--proxy", proxy.url, "--insecure-accept-any-certificate")

    def test_it_speaks_plain(self):
        with HttpProxy() as proxy:
            self.fails(
                "ws://127.0.0.1:9/", "--proxy", f"https://{proxy.address}", "--timeout", "1.5", saying=f"\\b{proxy.port}\\b", within=5
            )

    def test_tls_where_plain_is_expected(self):
        with HttpProxy(tls=certificates().context("IP:127.0.0.1")) as proxy:
            self.fails(
                "ws://127.0.0.1:9/", "--proxy", f"http://{proxy.address}", "--timeout", "5", saying=f"\\b{proxy.port}\\b", within=7
            )


@both_adapters
class Off(Case):
    """A proxy is used where it was asked for, and nowhere else."""

    def test_the_environment_is_not_read_unless_told(self):
        with Origin() as origin, HttpProxy() as proxy:
            variables = {name: proxy.url for name in ["http_proxy", "ws_proxy", "all_proxy", "ALL_PROXY", "HTTP_PROXY"]}
            self.echoes(origin.url, env=variables)
            self.assertEqual(proxy.heads, [])
            self.echoes(origin.url, "--proxy", "env", env=variables)
            self.assertEqual(len(proxy.heads), 1)

    def test_the_environment_without_variables(self):
        with Origin() as origin:
            self.echoes(origin.url, "--proxy", "env")

    def test_no_proxy_of_the_environment(self):
        with Origin() as origin, HttpProxy() as proxy:
            for no_proxy, count in [("127.0.0.1", 0), ("127.0.0.0/8", 0), ("*", 0), ("127.0.0.2", 1)]:
                with self.subTest(no_proxy):
                    before = len(proxy.heads)
                    self.echoes(origin.url, "--proxy", "env", env={"all_proxy": proxy.url, "no_proxy": no_proxy})
                    self.assertEqual(len(proxy.heads) - before, count)

    def test_a_bad_variable_is_an_error(self):
        """It must not mean that the connection goes past the proxy."""
        with Origin() as origin:
            self.fails(origin.url, "--proxy", "env", env={"all_proxy": "ftp://127.0.0.1:1"}, saying="proxy")
            self.assertEqual(origin.heads, [])

    def test_no_proxy(self):
        with Origin() as origin, HttpProxy() as proxy:
            for no_proxy, count in [("127.0.0.1", 0), ("127.0.0.0/8,example.com", 0), ("127.0.0.2", 1)]:
                with self.subTest(no_proxy):
                    before = len(proxy.heads)
                    self.echoes(origin.url, "--proxy", proxy.url, "--no-proxy", no_proxy)
                    self.assertEqual(len(proxy.heads) - before, count)
