"""Redirects: which are followed, how many, and what of the request goes along. Off unless told."""

import base64
import contextlib
import re

from dial import Case, HttpProxy, Origin, both_adapters, certificates, field, fields, free_port, redirect, response

SECRETS = [
    "--bearer", "s3cr3t-bearer", "--header", "Cookie: s3cr3t=cookie", "--header", "X-Api-Key: s3cr3t-key", "--header",
    "Proxy-Authorization: Basic s3cr3t-proxy",
]  # fmt: skip
STATUSES = ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"]
# Test, hop and head, for the table at the end.
TABLE = []


def tearDownModule():
    """The headers by hop."""
    names = ["Authorization", "Cookie", "X-Api-Key", "Proxy-Authorization", "User-Agent", "Origin", "Sec-WebSocket-Protocol"]
    print("\nheaders by hop: a = the first origin, b = another\n")
    print(f"{'test':44} {'hop':18}", *(f"{name:22}" for name in names))
    for test, hop, head in TABLE:
        print(f"{test:44} {hop:18}", *(f"{(fields(head, name) or ['-'])[0]:22.22}" for name in names))


def path(head):
    return head.split(" ")[1]


@contextlib.contextmanager
def redirecting(location, status=STATUSES[1], **options):
    """An origin that sends `/` to `location`, which may be a function of itself, and echoes anywhere else."""

    def answer(head, peer):
        if path(head) == "/":
            return redirect(location(origin) if callable(location) else location, status)

    with Origin(answer, **options) as origin:
        yield origin


@both_adapters
class Followed(Case):
    def goes_to(self, location, *paths, status=STATUSES[1], name="127.0.0.1", start="/", answer=None):
        with redirecting(location, status) as origin:
            self.echoes(origin.named(name, start), "--redirects", "5")
            self.assertEqual([path(head) for head in origin.heads], [start, *paths])
            for head in origin.heads:
                self.assertRegex(head, r"^GET \S+ HTTP/1\.1\r\n")
                self.assertEqual(field(head, "Host"), f"{name}:{origin.port}")
            keys = [field(head, "Sec-WebSocket-Key") for head in origin.heads]
            # RFC 6455 §4.1: "The nonce MUST be selected randomly for each connection."
            self.assertEqual(len(set(keys)), len(keys), "a key is used twice")

    def test_each_status(self):
        for status in STATUSES:
            with self.subTest(status):
                self.goes_to("/there", "/there", status=status)

    def test_absolute_ws(self):
        self.goes_to(lambda origin: f"ws://{origin.address}/there?a=b", "/there?a=b")

    def test_absolute_http(self):
        self.goes_to(lambda origin: f"http://{origin.address}/there", "/there")

    def test_scheme_in_capitals(self):
        self.goes_to(lambda origin: f"HTTP://{origin.address}/there", "/there")

    def test_without_a_scheme(self):
        self.goes_to(lambda origin: f"//{origin.address}/there", "/there")

    def test_a_fragment_is_not_sent(self):
        """RFC 6455 §3: "Fragment identifiers are meaningless in the context of WebSocket URIs"."""
        self.goes_to("/there#part", "/there")

    def test_a_query_alone(self):
        self.goes_to("?again", "/?again")

    def test_blanks_around(self):
        self.goes_to("  /there  ", "/there")

    def test_relative(self):
        """RFC 3986 §5.2: against the URL of the request."""
        for location, expected in [
            ("there", "/a/b/there"), ("./there", "/a/b/there"), ("../there", "/a/there"), ("../../../there", "/there"), ("there/", "/a/b/there/"),
            ("?x=y", "/a/b/c?x=y"), ("/x/../y", "/y"), ("there?x=../y", "/a/b/there?x=../y"), ("..", "/a/"),
        ]:  # fmt: skip
            with self.subTest(location):
                first = []

                def answer(head, peer, location=location, first=first):
                    if not first:
                        first.append(head)
                        return redirect(location)

                with Origin(answer) as origin:
                    self.echoes(origin.named("127.0.0.1", "/a/b/c?q=r"), "--redirects", "5")
                    self.assertEqual([path(head) for head in origin.heads], ["/a/b/c?q=r", expected])

    def test_ws_to_wss(self):
        tls = certificates().context("DNS:localhost")
        with Origin(tls=tls) as secure:
            for scheme in "wss", "https":
                before = len(secure.heads)
                with self.subTest(scheme), redirecting(f"{scheme}://localhost:{secure.port}/there") as origin:
                    self.echoes(origin.url, "--redirects", "1", "--ca", certificates().ca)
                    self.assertEqual([path(head) for head in secure.heads[before:]], ["/there"])

    def test_wss_to_wss(self):
        for location in ["/there", lambda origin: origin.named("localhost", "/there"), lambda origin: f"https://localhost:{origin.port}/there"]:
            with self.subTest(location), redirecting(location, tls=certificates().context("DNS:localhost")) as origin:
                self.echoes(origin.named("localhost"), "--redirects", "1", "--ca", certificates().ca)
                self.assertEqual([path(head) for head in origin.heads], ["/", "/there"])

    def test_ten_hops(self):
        with hops(10) as origin:
            self.echoes(origin.named("127.0.0.1", "/0"), "--redirects", "10")
            self.assertEqual([path(head) for head in origin.heads], [f"/{i}" for i in range(11)])

    def test_a_body_of_the_redirect(self):
        def answer(head, peer):
            if path(head) == "/":
                return response("302 Found", "Location: /there", body="<a href=/there>there</a>\n" * 100)

        with Origin(answer) as origin:
            self.echoes(origin.url, "--redirects", "1")

    def test_an_endless_body_of_the_redirect(self):
        """It is of no use, so nobody waits for it."""

        def answer(head, peer):
            if path(head) == "/":
                peer.send(b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 1000000\r\n\r\nmore later")
                peer.wait_for_end()
                return b" "

        with Origin(answer) as origin:
            outcome = self.echoes(origin.url, "--redirects", "1", "--timeout", "10")
            self.assertLess(outcome.seconds, 9)

    def test_each_hop_chooses_its_proxy(self):
        with Origin() as there, HttpProxy() as proxy, redirecting(f"ws://localhost:{there.port}/there") as origin:
            self.echoes(origin.url, "--redirects", "1", "--proxy", proxy.url, "--no-proxy", "127.0.0.1")
            self.assertEqual([path(head) for head in proxy.heads], [f"localhost:{there.port}"])
            self.assertEqual((len(origin.heads), len(there.heads)), (1, 1))

    def test_through_a_proxy(self):
        with HttpProxy() as proxy, redirecting("/there") as origin:
            self.echoes(origin.url, "--redirects", "1", "--proxy", proxy.url.replace("://", "://user:s3cr3t@"))
            self.assertEqual([path(head) for head in proxy.heads], [origin.address] * 2)
            for head in origin.heads:
                self.assertEqual(fields(head, "Proxy-Authorization"), [])
            for head in proxy.heads:
                self.assertEqual(len(fields(head, "Proxy-Authorization")), 1)


@contextlib.contextmanager
def hops(count):
    """`/0` to `/1` and so on; `/count` echoes."""

    def answer(head, peer):
        at = int(path(head)[1:])
        if at < count:
            return redirect(f"/{at + 1}")

    with Origin(answer) as origin:
        yield origin


@both_adapters
class Refused(Case):
    def test_without_redirects_the_error_names_status_and_location(self):
        for status in STATUSES:
            with self.subTest(status), Origin() as there, redirecting(there.url, status) as origin:
                for options in [], ["--redirects", "0"]:
                    self.fails(origin.url, *options, saying=[status[:3], re.escape(there.url)])
                self.assertEqual(there.heads, [])

    def test_one_too_many(self):
        with hops(11) as origin:
            self.fails(origin.named("127.0.0.1", "/0"), "--redirects", "10", saying="redirect")
            self.assertEqual([path(head) for head in origin.heads], [f"/{i}" for i in range(11)])

    def test_a_loop(self):
        with redirecting("/") as origin:
            self.fails(origin.url, "--redirects", "10", saying="redirect", within=10)
            self.assertLessEqual(len(origin.heads), 11)

    def test_a_loop_of_two(self):
        with Origin(lambda head, peer: redirect("/b" if path(head) == "/a" else "/a")) as origin:
            self.fails(origin.named("127.0.0.1", "/a"), "--redirects", "10", saying="redirect", within=10)
            self.assertLessEqual(len(origin.heads), 11)

    def test_wss_to_ws(self):
        """What was to be secret must not become readable because the server, or who stands in for it, says so."""
        with Origin() as plain:
            for scheme in "ws", "http":
                location = f"{scheme}://{plain.address}/there"
                with self.subTest(scheme), redirecting(location, tls=certificates().context("DNS:localhost")) as origin:
                    self.fails(
                        origin.named("localhost"), "--redirects", "5", "--ca", certificates().ca, *SECRETS, saying=re.escape(location),
                        never=["s3cr3t"],
                    )  # fmt: skip
            self.assertEqual((plain.heads, plain.clients), ([], []))

    def test_ws_to_wss_and_back(self):
        """The hop in the middle was secure, so the last may not be insecure."""
        with Origin() as plain, redirecting(plain.url, tls=certificates().context("DNS:localhost")) as secure:
            with redirecting(secure.named("localhost")) as origin:
                self.fails(origin.url, "--redirects", "5", "--ca", certificates().ca)
            self.assertEqual(plain.clients, [])

    def test_locations_that_lead_nowhere(self):
        for location in ["ftp://127.0.0.1/", "file:///etc/passwd", "javascript:alert(1)", "ws://", "http://[::1", "ws://127.0.0.1:99999/"]:
            with self.subTest(location), redirecting(location) as origin:
                self.fails(origin.url, "--redirects", "5", saying="30[0-9]|redirect|location|scheme|url")
                self.assertEqual(len(origin.heads), 1)

    def test_unix_sockets_are_not_for_servers_to_choose(self):
        with redirecting("ws+unix:/tmp/secret.sock:/") as origin:
            self.fails(origin.url, "--redirects", "5")
            self.assertEqual(len(origin.heads), 1)

    def test_no_location(self):
        with Origin(lambda head, peer: response("302 Found")) as origin:
            self.fails(origin.url, "--redirects", "5", saying="302")

    def test_two_locations(self):
        with Origin() as there, Origin(lambda head, peer: response("302 Found", "Location: /a", f"Location: {there.url}")) as origin:
            outcome = self.dial(origin.url, "--redirects", "1", *SECRETS)
            self.assertNotEqual(outcome.code, 0)
            self.assertEqual(there.heads, [])

    def test_other_statuses_are_no_redirects(self):
        for status in ["300 Multiple Choices", "304 Not Modified", "305 Use Proxy", "306 x", "201 Created", "401 Unauthorized"]:
            with self.subTest(status), Origin() as there, redirecting(there.url, status) as origin:
                self.fails(origin.url, "--redirects", "5", saying=status[:3])
                self.assertEqual(there.heads, [])

    def test_a_location_cannot_add_lines_to_the_error_or_the_request(self):
        def answer(head, peer):
            return b"HTTP/1.1 302 Found\r\nLocation: /a\x1b[31m\x0bb\r\nContent-Length: 0\r\n\r\n"

        with Origin(answer) as origin:
            outcome = self.fails(origin.url)
            self.assertNotIn("\x1b", outcome.err)

    def test_one_time_for_all_hops(self):
        """Each hop is fast enough; all of them are not."""

        def answer(head, peer):
            peer.sock.settimeout(0.4)
            with contextlib.suppress(TimeoutError):
                # The end of a client that gave up.
                peer.sock.recv(1)
            return redirect(f"/{int(path(head)[1:] or 0) + 1}")

        with Origin(answer) as origin:
            outcome = self.fails(origin.url, "--redirects", "100", "--timeout", "1.5", within=5)
            self.assertGreater(outcome.seconds, 1)
            self.assertLess(len(origin.heads), 6)

    def test_the_last_hop_refuses(self):
        with Origin(lambda head, peer: response("403 Forbidden", body="not you") if path(head) == "/there" else redirect("/there")) as origin:
            self.fails(origin.url, "--redirects", "5", saying=["403", "not you"])

    def test_the_last_hop_is_not_there(self):
        port = free_port()
        with redirecting(f"ws://127.0.0.1:{port}/") as origin:
            self.fails(origin.url, "--redirects", "5", saying=[f"\\b{port}\\b", "refused"])


@both_adapters
class Secrets(Case):
    """What the user gave for one origin goes to no other: scheme, host or port is another."""

    OPTIONS = ["--header", "X-Plain: fine", "--subprotocol", "chat", "--origin", "https://page.example", "--user-agent", "agent/1"]

    def hops(self, url, servers, *options):
        """Dials, and gives the heads that came to the servers."""
        self.echoes(url, "--redirects", "5", *SECRETS, *self.OPTIONS, *options)
        for name, server in servers.items():
            for head in server.heads:
                # The other adapter's lines would be the same.
                if not self.adapter:
                    TABLE.append((self.id().split(".")[-1].removeprefix("test_").removesuffix("_tokio"), f"{name} {path(head)}", head))
        return [server.heads for server in servers.values()]

    def has_all(self, head):
        self.assertEqual(field(head, "Authorization"), "Bearer s3cr3t-bearer")
        self.assertEqual(field(head, "Cookie"), "s3cr3t=cookie")
        self.assertEqual(field(head, "X-Api-Key"), "s3cr3t-key")
        self.has_the_rest(head)

    def has_none(self, head):
        self.assertNotIn("s3cr3t", head)
        for name in "Authorization", "Cookie", "Proxy-Authorization", "X-Api-Key":
            self.assertEqual(fields(head, name), [])
        self.has_the_rest(head)

    def has_the_rest(self, head):
        """What makes it the same handshake."""
        self.assertEqual(field(head, "Sec-WebSocket-Protocol"), "chat")
        self.assertEqual(field(head, "User-Agent"), "agent/1")
        self.assertEqual(field(head, "Sec-WebSocket-Version"), "13")

    def test_the_same_origin_keeps_them(self):
        with redirecting("/there") as a:
            [heads] = self.hops(a.url, {"a": a})
            for head in heads:
                self.has_all(head)

    def test_another_port(self):
        with Origin() as b, redirecting(f"{b.url}there") as a:
            [first], [second] = self.hops(a.url, {"a": a, "b": b})
            self.has_all(first)
            self.has_none(second)

    def test_another_name_of_the_same_address(self):
        with redirecting(lambda origin: origin.named("localhost", "/there")) as a:
            [[first, second]] = self.hops(a.url, {"a": a})
            self.has_all(first)
            self.has_none(second)

    def test_another_scheme(self):
        """The port cannot be the same, but the default ports differ as well."""
        with Origin(tls=certificates().context("DNS:localhost")) as b, redirecting(b.named("localhost", "/there")) as a:
            [first], [second] = self.hops(a.named("localhost"), {"a": a, "b": b}, "--ca", certificates().ca)
            self.has_all(first)
            self.has_none(second)

    def test_back_at_the_first_origin(self):
        """The other origin chose where to, so it is not the user who sends them there."""
        with Origin() as b:
            with redirecting(lambda a: f"{b.url}there") as a:
                b.answer = lambda head, peer: redirect(f"{a.url}back")
                [first, last], [second] = self.hops(a.url, {"a": a, "b": b})
                self.has_all(first)
                self.has_none(second)
                self.assertNotIn("s3cr3t-bearer", last)
                self.assertNotIn("s3cr3t=cookie", last)

    def test_two_hops_before_it_leaves(self):
        with Origin() as b:

            def answer(head, peer):
                return redirect("/2") if path(head) == "/" else redirect(f"{b.url}there")

            with Origin(answer) as a:
                [first, second], [third] = self.hops(a.url, {"a": a, "b": b})
                self.has_all(first)
                self.has_all(second)
                self.has_none(third)

    def test_capitals_are_the_same_host(self):
        with redirecting(lambda origin: origin.named("LOCALHOST", "/there")) as a:
            [[first, second]] = self.hops(a.named("localhost"), {"a": a})
            self.has_all(first)
            self.has_all(second)

    def test_basic(self):
        with Origin() as b, redirecting(f"{b.url}there") as a:
            self.echoes(a.url, "--redirects", "1", "--basic", "me:s3cr3t")
            self.assertEqual(field(a.heads[0], "Authorization"), "Basic " + base64.b64encode(b"me:s3cr3t").decode())
            self.assertEqual(fields(b.heads[0], "Authorization"), [])

    def test_userinfo_of_a_location(self):
        """RFC 9110 §4.2.4: of a URI "from an untrusted source, a recipient SHOULD parse for userinfo and treat its presence as an error".

        A server could have its own credentials sent to another. Left out is as good.
        """
        with Origin() as b, redirecting(f"ws://me:s3cr3t@{b.address}/there") as a:
            self.dial(a.url, "--redirects", "1")
            for head in b.heads:
                self.assertEqual(fields(head, "Authorization"), [])

    def test_a_pinned_address_is_for_the_first_origin(self):
        """--resolve says where the host of the URL is, not where each host is."""
        with Origin() as b, redirecting(lambda origin: f"ws://127.0.0.1:{b.port}/there") as a:
            outcome = self.dial("ws://origin.invalid/", "--redirects", "1", "--resolve", a.address)
            # Another server by the old address would be a mistake; that it is refused is none.
            self.assertEqual(len(a.heads), 1, outcome)
            if b.heads:
                self.assertEqual(outcome.code, 0, outcome)
