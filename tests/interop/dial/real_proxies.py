"""Through proxies that people run: squid, tinyproxy, Dante, microsocks, proxy.py, mitmproxy.

Each is started once without credentials and once with them, on loopback, and ended with its class of tests.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from dial import LINES, Case, Origin, both_adapters, certificates, environment, free_port
from peer import TIMEOUT

CACHE = pathlib.Path(__file__).resolve().parents[1] / ".cache"
HERE = pathlib.Path(__file__).resolve().parent
USER = "someone"
# An HTTP proxy says it with its status; SOCKS has no status.
AUTHENTICATION = {
    "http": "407", "https": "407", "socks5": "auth|credential|password|method", "socks5h": "auth|credential|password|method",
}  # fmt: skip


class Process:
    """A proxy as a process, in a folder of its own, which listens on `ports`."""

    def __init__(self, command, folder, ports, **variables):
        self.log = open(pathlib.Path(folder, f"log-{ports[0][1]}"), "w+")
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=folder, start_new_session=True,
            env=environment(**variables),
        )  # fmt: skip
        end = time.monotonic() + TIMEOUT
        for address in ports:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(address, 1):
                    break
                if self.process.poll() is not None or time.monotonic() > end:
                    self.stop()
                    raise AssertionError(f"{command[0]} does not listen on {address}: {self.said()}")
                time.sleep(0.02)

    def said(self):
        with open(self.log.name) as file:
            return file.read()[-2000:]

    def stop(self):
        """Ends it, and what it started: all of it is one process group."""
        for number, seconds in (signal.SIGTERM, 3), (signal.SIGKILL, TIMEOUT):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        self.log.close()


class Proxies:
    """What a class of tests starts: `open` asks for no credentials, `closed` for USER's."""

    # What has to be installed; run sees to that.
    NEEDS = None
    # As it is, and as a URL says it. Not each of them takes these characters.
    PASSWORD, ESCAPED = "s3cr3t:of%the@proxy", "s3cr3t%3Aof%25the%40proxy"

    @classmethod
    def setUpClass(cls):
        if not cls.found():
            raise unittest.SkipTest(f"{cls.NEEDS} is not there: tests/interop/run dial installs it")
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        # Some drop root.
        os.chmod(cls.folder, 0o777)
        # The port stays bound to nobody for a moment, so another process may take it: then once more.
        for attempt in range(3):
            cls.open = cls.closed = None
            try:
                cls.start()
                break
            except AssertionError:
                cls.stop()
                if attempt == 2:
                    raise

    @classmethod
    def tearDownClass(cls):
        cls.stop()

    @classmethod
    def found(cls):
        return bool(shutil.which(cls.NEEDS))

    @classmethod
    def stop(cls):
        for process in vars(cls).get("open"), vars(cls).get("closed"):
            if process:
                process.stop()


@both_adapters
class Checks(Proxies):
    """Tests of each proxy, with each of its `SCHEMES`."""

    SCHEMES = ["http"]
    # What a proxy says that cannot reach the server.
    UNREACHABLE = "50[0-9]"
    UNKNOWN = AUTHENTICATION
    # Whether it can reach ::1.
    IPV6 = True
    # The authority of certificates, for `wss` as well as for `https` proxies.
    authority = staticmethod(lambda: certificates().ca)

    def url(self, scheme, userinfo=None):
        port = (self.closed_ports if userinfo is not None else self.open_ports)[scheme]
        return f"{scheme}://{userinfo + '@' if userinfo else ''}127.0.0.1:{port}"

    def each(self, userinfo=None):
        return [["--proxy", self.url(scheme, userinfo), "--ca", self.authority()] for scheme in self.SCHEMES]

    def origin(self, secure):
        return Origin(tls=certificates().context("DNS:localhost") if secure else None)

    def test_ws(self):
        for options in self.each():
            with self.subTest(options[1]), self.origin(False) as origin:
                self.echoes(origin.url, *options)
                self.echoes(origin.named("localhost"), *options)

    def test_wss(self):
        for options in self.each():
            with self.subTest(options[1]), self.origin(True) as origin:
                self.echoes(origin.named("localhost"), *options)

    def test_ipv6(self):
        if not self.IPV6:
            self.skipTest("it does not reach ::1")
        for options in self.each():
            with self.subTest(options[1]), Origin(host="::1") as origin:
                self.echoes(origin.url, *options)

    def test_ws_with_credentials(self):
        for options in self.each(f"{USER}:{self.ESCAPED}"):
            with self.subTest(options[1]), self.origin(False) as origin:
                self.echoes(origin.url, *options)

    def test_wss_with_credentials(self):
        for options in self.each(f"{USER}:{self.ESCAPED}"):
            with self.subTest(options[1]), self.origin(True) as origin:
                self.echoes(origin.named("localhost"), *options)

    def test_wrong_credentials(self):
        self.refused("someone:wr0ng")
        self.refused("nobody-knows:wr0ng")

    def test_no_credentials(self):
        self.refused("")

    def refused(self, userinfo):
        for scheme in self.SCHEMES:
            for secure in False, True:
                with self.subTest((scheme, secure)), self.origin(secure) as origin:
                    self.fails(
                        origin.named("localhost"), "--proxy", self.url(scheme, userinfo), "--ca", self.authority(),
                        saying=self.UNKNOWN[scheme] if userinfo else AUTHENTICATION[scheme], never=["wr0ng"], within=10,
                    )  # fmt: skip
                    self.assertEqual(origin.heads, [])

    def test_nobody_listens_at_the_origin(self):
        for options in self.each():
            with self.subTest(options[1]):
                self.fails(f"ws://127.0.0.1:{free_port()}/", *options, saying=self.UNREACHABLE, within=10)


@both_adapters
class ByName:
    """The proxy itself as a name and as an address of IPv6."""

    def test_the_proxy_by_name_and_by_ipv6(self):
        for host in "localhost", "[::1]":
            with self.subTest(host), Origin() as origin:
                self.echoes(origin.url, "--proxy", f"http://{host}:{self.open_ports['http']}")


class Squid(ByName, Checks, Case):
    NEEDS = "squid"
    SCHEMES = ["http", "https"]

    @classmethod
    def start(cls):
        passwords = pathlib.Path(cls.folder, "passwords")
        hashed = subprocess.run(["openssl", "passwd", "-apr1", "-stdin"], input=cls.PASSWORD, capture_output=True, text=True, check=True).stdout
        passwords.write_text(f"{USER}:{hashed}")
        cls.open, cls.open_ports = cls.squid("open", "")
        cls.closed, cls.closed_ports = cls.squid(
            "closed",
            f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {passwords}\nacl known proxy_auth REQUIRED\nhttp_access deny !known\n",
        )

    @classmethod
    def squid(cls, name, rules):
        # squid-openssl and squid-gnutls have it; without it they refuse the file.
        pem = shutil.copy(certificates().file("IP:127.0.0.1"), pathlib.Path(cls.folder, f"{name}.pem"))
        os.chmod(pem, 0o644)
        ports = {"http": free_port(), "https": free_port()}
        file = pathlib.Path(cls.folder, f"{name}.conf")
        file.write_text(
            f"http_port 127.0.0.1:{ports['http']}\nhttp_port [::1]:{ports['http']}\nhttps_port 127.0.0.1:{ports['https']} tls-cert={pem}\n"
            f"{rules}http_access allow localhost\nhttp_access deny all\ncache deny all\npid_filename none\naccess_log none\n"
            "cache_log /dev/null\ncache_store_log none\nshutdown_lifetime 0 seconds\ncoredump_dir none\npinger_enable off\n"
            f"netdb_filename none\nvisible_hostname localhost\ndns_timeout 2 seconds\nmemory_pools off\ncache_mem 1 MB\n"
        )  # fmt: skip
        listening = [("127.0.0.1", ports["http"]), ("::1", ports["http"]), ("127.0.0.1", ports["https"])]
        return Process(["squid", "-N", "-d", "1", "-f", file, "-n", f"bowline{ports['http']}"], cls.folder, listening), ports


class Tinyproxy(Checks, Case):
    NEEDS = "tinyproxy"
    PASSWORD = ESCAPED = "s3cr3t-of-the-proxy"
    # The wrong status, which is the origin's to use.
    UNKNOWN = {"http": "401"}

    @classmethod
    def start(cls):
        cls.open, cls.open_ports = cls.tinyproxy("open", "")
        cls.closed, cls.closed_ports = cls.tinyproxy("closed", f"BasicAuth {USER} {cls.PASSWORD}\n")

    @classmethod
    def tinyproxy(cls, name, rules):
        port = free_port()
        file = pathlib.Path(cls.folder, f"{name}.conf")
        file.write_text(f"Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 50\nLogLevel Connect\n{rules}")
        return Process(["tinyproxy", "-d", "-c", file], cls.folder, [("127.0.0.1", port)]), {"http": port}


class Dante(Checks, Case):
    NEEDS = "danted"
    SCHEMES = ["socks5", "socks5h"]
    UNREACHABLE = "refused"

    @classmethod
    def found(cls):
        # Its users are those of the system. In a namespace of mounts the system has one more.
        return super().found() and namespaces("-m")

    @classmethod
    def start(cls):
        hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=cls.PASSWORD, capture_output=True, text=True, check=True).stdout.strip()
        for file, line in [("passwd", f"{USER}:x:65533:65533::/:/usr/sbin/nologin"), ("shadow", f"{USER}:{hashed}:19000:0:99999:7:::")]:
            pathlib.Path(cls.folder, file).write_text(pathlib.Path("/etc", file).read_text().rstrip("\n") + f"\n{line}\n")
        cls.open, cls.open_ports = cls.dante("none")
        cls.closed, cls.closed_ports = cls.dante("username")

    @classmethod
    def dante(cls, method):
        port = free_port()
        file = pathlib.Path(cls.folder, f"{method}.conf")
        file.write_text(
            f"logoutput: stderr\ninternal: 127.0.0.1 port = {port}\nexternal.protocol: ipv4 ipv6\nexternal: lo\nsocksmethod: {method}\n"
            "clientmethod: none\nuser.privileged: root\nuser.unprivileged: nobody\n"
            "client pass { from: 127.0.0.0/8 to: 127.0.0.0/8 }\n"
            "socks pass { from: 0/0 to: 0/0 }\n"
        )  # fmt: skip
        script = "mount --bind passwd /etc/passwd; mount --bind shadow /etc/shadow; exec danted -N 1 -f \"$1\" -p \"$1.pid\""
        command = ["unshare", "-m", "sh", "-ec", script, "-", file]
        return Process(command, cls.folder, [("127.0.0.1", port)]), dict.fromkeys(cls.SCHEMES, port)


@both_adapters
class OpenChecks(Checks):
    """A proxy that knows no credentials takes any."""

    def refused(self, userinfo):
        self.skipTest("it asks for no credentials")


class Ssh(OpenChecks, Case):
    """`ssh -D`: SOCKS4a as well, which none of the others takes."""

    NEEDS = "/usr/sbin/sshd"
    SCHEMES = ["socks4a", "socks5", "socks5h"]
    PASSWORD, ESCAPED = "", ""
    # It says that it connected before it has.
    UNREACHABLE = ""
    # SOCKS4a has no way to say it.
    IPV6 = False

    @classmethod
    def start(cls):
        folder = pathlib.Path(cls.folder)
        for key in "server", "client":
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True, timeout=TIMEOUT)
        (folder / "sshd_config").write_text(
            f"HostKey {folder}/server\nAuthorizedKeysFile {folder}/client.pub\nStrictModes no\nUsePAM no\nPidFile none\n"
        )
        # The server needs a folder that its service would make.
        os.makedirs("/run/sshd", exist_ok=True)
        port = free_port()
        command = [
            "ssh", "-F", "none", "-N", "-D", f"127.0.0.1:{port}", "-i", folder / "client", "-o", "StrictHostKeyChecking=no",
            "-o", "UserKnownHostsFile=/dev/null", "-o", f"ProxyCommand=/usr/sbin/sshd -i -e -f {folder}/sshd_config", "-o", "BatchMode=yes",
            "localhost",
        ]  # fmt: skip
        cls.open = Process(command, cls.folder, [("127.0.0.1", port)])
        cls.open_ports = cls.closed_ports = dict.fromkeys(cls.SCHEMES, port)


def namespaces(*flags):
    """Whether this user may make them."""
    return subprocess.run(["unshare", *flags, "true"], capture_output=True, timeout=TIMEOUT).returncode == 0


class Microsocks(Checks, Case):
    NEEDS = "microsocks"
    SCHEMES = ["socks5", "socks5h"]
    UNREACHABLE = "refused"

    @classmethod
    def start(cls):
        cls.open, cls.open_ports = cls.microsocks()
        cls.closed, cls.closed_ports = cls.microsocks("-u", USER, "-P", cls.PASSWORD)

    @classmethod
    def microsocks(cls, *options):
        port = free_port()
        command = ["microsocks", "-i", "127.0.0.1", "-p", port, *options]
        return Process(command, cls.folder, [("127.0.0.1", port)]), dict.fromkeys(cls.SCHEMES, port)


class ProxyPy(Checks, Case):
    NEEDS = "proxy.py"
    SCHEMES = ["http"]
    # It looks `[::1]` up as a name, with the brackets.
    IPV6 = False

    @classmethod
    def found(cls):
        return (CACHE / "python-proxy.py" / "proxy").is_dir()

    @classmethod
    def start(cls):
        cls.open, cls.open_ports = cls.proxy_py()
        cls.closed, cls.closed_ports = cls.proxy_py("--basic-auth", f"{USER}:{cls.PASSWORD}")

    @classmethod
    def proxy_py(cls, *options):
        port = free_port()
        [scheme] = cls.SCHEMES
        command = [
            sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", port, "--num-workers", "1", "--num-acceptors", "1",
            "--data-dir", cls.folder, *options,
        ]  # fmt: skip
        return Process(command, cls.folder, [("127.0.0.1", port)], PYTHONPATH=str(CACHE / "python-proxy.py")), {scheme: port}


class ProxyPyTls(ProxyPy):
    """As an `https` proxy."""

    SCHEMES = ["https"]

    @classmethod
    def proxy_py(cls, *options):
        pem = certificates().file("IP:127.0.0.1")
        return super().proxy_py("--cert-file", pem, "--key-file", pem, *options)


@both_adapters
class Listed:
    """It writes the messages down."""

    def test_the_messages_are_listed(self):
        for scheme in self.SCHEMES:
            for secure in False, True:
                with self.subTest((scheme, secure)), self.origin(secure) as origin:
                    self.messages.write_text("")
                    url = origin.named("localhost", "/listed?scheme=" + scheme)
                    self.echoes(url, "--proxy", self.url(scheme), "--ca", self.authority())
                    seen = [json.loads(line) for line in self.messages.read_text().splitlines()]
                    for from_client in True, False:
                        texts = [message["text"] for message in seen if message["from_client"] == from_client]
                        self.assertEqual(texts, LINES)
                    self.assertEqual({message["url"] for message in seen}, {url.replace("ws", "http", 1)})


class Mitmproxy(Listed, Checks, Case):
    """It takes TLS apart, and WebSocket as well: it has to see the messages as they were sent."""

    NEEDS = "mitmproxy"
    PASSWORD, ESCAPED = "s3cr3t-of%the@proxy", "s3cr3t-of%25the%40proxy"
    SCHEMES = ["http", "socks5", "socks5h"]
    UNREACHABLE = "50[0-9]|unreachable"

    @classmethod
    def found(cls):
        return (CACHE / "python-mitmproxy" / "mitmproxy").is_dir()

    @classmethod
    def start(cls):
        cls.messages = pathlib.Path(cls.folder, "messages")
        cls.open, cls.open_ports = cls.mitmproxy()
        cls.closed, cls.closed_ports = cls.mitmproxy("--proxyauth", f"{USER}:{cls.PASSWORD}")

    @classmethod
    def mitmproxy(cls, *options):
        http, socks = free_port(), free_port()
        command = [
            sys.executable, "-c", "from mitmproxy.tools.main import mitmdump; mitmdump()", "-q", "--listen-host", "127.0.0.1",
            "--mode", f"regular@{http}", "--mode", f"socks5@{socks}", "--set", f"confdir={cls.folder}",
            "--set", f"ssl_verify_upstream_trusted_ca={certificates().ca}", "-s", HERE / "mitmproxy_addon.py", *options,
        ]  # fmt: skip
        process = Process(
            command, cls.folder, [("127.0.0.1", http), ("127.0.0.1", socks)], PYTHONPATH=str(CACHE / "python-mitmproxy"),
            MESSAGES=str(cls.messages),
        )  # fmt: skip
        return process, {"http": http, "socks5": socks, "socks5h": socks}

    def authority(self):
        return pathlib.Path(self.folder, "mitmproxy-ca-cert.pem")
