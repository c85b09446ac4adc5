"""Where to connect, apart from what the URL says, and as whom."""

import base64
import os
import signal
import subprocess
import tempfile
import time

from dial import Case, HttpProxy, Origin, Scripted, both_adapters, certificates, field, fields
from peer import EXAMPLES, TIMEOUT


@both_adapters
class Resolve(Case):
    def test_the_address_is_another_the_host_is_not(self):
        with Origin() as origin:
            self.echoes("ws://chat.example:81/room", "--resolve", origin.address)
            self.assertEqual(field(origin.heads[0], "Host"), "chat.example:81")
            self.assertTrue(origin.heads[0].startswith("GET /room HTTP/1.1\r\n"))

    def test_tls_is_for_the_host(self):
        tls = certificates().context("DNS:chat.example")
        with Origin(tls=tls) as origin:
            self.echoes("wss://chat.example/", "--resolve", origin.address, "--ca", certificates().ca)
            self.assertEqual((tls.server_names, field(origin.heads[0], "Host")), (["chat.example"], "chat.example"))
            self.fails("wss://other.example/", "--resolve", origin.address, "--ca", certificates().ca, saying="certificate")

    def test_ipv6(self):
        with Origin(host="::1") as origin:
            self.echoes("ws://chat.example/", "--resolve", origin.address)

    def test_bad_values(self):
        for value in ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "::1:80", "name:80"]:
            with self.subTest(value):
                outcome = self.dial("ws://chat.example/", "--resolve", value, "--timeout", "2")
                self.assertIn(outcome.code, [1, 2], outcome)
                self.assertNotIn("panicked", outcome.err)


@both_adapters
class LocalAddress(Case):
    def test_the_server_sees_it(self):
        with Origin() as origin:
            for address in "127.0.0.5", "127.9.9.9":
                with self.subTest(address):
                    self.echoes(origin.url, "--local-address", address)
                    self.assertEqual(origin.clients[-1][0], address)

    def test_the_proxy_sees_it(self):
        with Origin() as origin, HttpProxy() as proxy:
            self.echoes(origin.url, "--local-address", "127.0.0.5", "--proxy", proxy.url)
            self.assertEqual(proxy.clients[0][0], "127.0.0.5")


@both_adapters
class Headers(Case):
    def head(self, *options):
        with Origin() as origin:
            self.echoes(origin.url, *options)
            return origin.heads[0]

    def test_user_agent(self):
        self.assertRegex(field(self.head(), "User-Agent"), r"^bowline/\d+\.\d+\.\d+")

    def test_another_user_agent(self):
        self.assertEqual(field(self.head("--user-agent", "chat/2 (example)"), "User-Agent"), "chat/2 (example)")
        self.assertEqual(field(self.head("--header", "User-Agent: chat/3"), "User-Agent"), "chat/3")

    def test_no_user_agent(self):
        self.assertEqual(fields(self.head("--user-agent", ""), "User-Agent"), [])

    def test_bearer(self):
        self.assertEqual(field(self.head("--bearer", "abc.def"), "Authorization"), "Bearer abc.def")

    def test_basic(self):
        """RFC 7617 §2.1: UTF-8; the password may have colons."""
        for pair in "me:secret", "me:", "mé:pä:ss":
            with self.subTest(pair):
                self.assertEqual(field(self.head("--basic", pair), "Authorization"), "Basic " + base64.b64encode(pair.encode()).decode())

    def test_values_that_would_be_more_lines(self):
        with Origin() as origin:
            for options in ["--bearer", "a\r\nX-Evil: yes"], ["--user-agent", "a\r\nX-Evil: yes"]:
                with self.subTest(options):
                    outcome = self.dial(origin.url, *options)
                    self.assertIn(outcome.code, [1, 2], outcome)
            self.assertEqual(origin.heads, [])


@both_adapters
class Schemes(Case):
    """As browsers take them: http is ws, and https is wss."""

    def test_http(self):
        with Origin() as origin:
            self.echoes(origin.url.replace("ws:", "http:"))

    def test_https(self):
        with Origin(tls=certificates().context("DNS:localhost")) as origin:
            self.echoes(origin.named("localhost").replace("wss:", "https:"), "--ca", certificates().ca)

    def test_others(self):
        for url in ["ftp://127.0.0.1/", "127.0.0.1:80", "://", "ws:", "ws://", "wss:///path"]:
            with self.subTest(url):
                outcome = self.dial(url)
                self.assertIn(outcome.code, [1, 2], outcome)
                self.assertNotIn("panicked", outcome.err)


@both_adapters
class Unix(Case):
    """Sockets of the file system."""

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.path = f"{self.folder}/a.sock"

    def test_in_the_url(self):
        with Origin(host=self.path) as origin:
            self.echoes(f"ws+unix:{self.path}:/target?x=y")
            self.assertTrue(origin.heads[0].startswith("GET /target?x=y HTTP/1.1\r\n"))
            self.assertEqual(len(fields(origin.heads[0], "Host")), 1)

    def test_in_the_url_without_a_target(self):
        with Origin(host=self.path) as origin:
            self.echoes(f"ws+unix:{self.path}")
            self.assertTrue(origin.heads[0].startswith("GET / HTTP/1.1\r\n"))

    def test_as_an_option(self):
        with Origin(host=self.path) as origin:
            self.echoes("ws://chat.example/target", "--unix", self.path)
            self.assertEqual(field(origin.heads[0], "Host"), "chat.example")
            self.assertTrue(origin.heads[0].startswith("GET /target HTTP/1.1\r\n"))

    def test_tls_within(self):
        tls = certificates().context("DNS:chat.example")
        with Origin(host=self.path, tls=tls):
            self.echoes("wss://chat.example/", "--unix", self.path, "--ca", certificates().ca)
            self.assertEqual(tls.server_names, ["chat.example"])

    def test_no_proxy_is_between(self):
        with Origin(host=self.path) as origin, HttpProxy() as proxy:
            self.echoes(f"ws+unix:{self.path}:/", "--proxy", "env", env={"all_proxy": proxy.url})
            self.assertEqual((len(origin.heads), proxy.heads), (1, []))

    def test_nothing_there(self):
        self.fails(f"ws+unix:{self.path}:/", saying=["a\\.sock"], within=4)
        self.fails("ws://chat.example/", "--unix", self.path, saying=["a\\.sock"], within=4)

    def test_nobody_listens(self):
        with Scripted(host=self.path, script=lambda peer: None):
            pass
        self.fails(f"ws+unix:{self.path}:/", saying=["a\\.sock", "refused"], within=4)

    def test_a_path_that_is_too_long(self):
        self.fails(f"ws+unix:/{'x' * 200}:/", within=4)

    def test_our_server(self):
        """echo_server, at a path that it makes and takes away."""
        command = [EXAMPLES / "echo_server", "--listen", f"unix:{self.path}"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
            try:
                end = time.monotonic() + TIMEOUT
                while not os.path.exists(self.path):
                    self.assertTrue(server.poll() is None and time.monotonic() < end, "echo_server does not listen")
                    time.sleep(0.01)
                self.echoes(f"ws+unix:{self.path}:/target")
                self.echoes("ws://chat.example/", "--unix", self.path)
                self.echoes("ws://chat.example/", "--unix", self.path, "--deflate")
                server.send_signal(signal.SIGINT)
                self.assertEqual(server.wait(TIMEOUT), 0)
            finally:
                server.kill()
