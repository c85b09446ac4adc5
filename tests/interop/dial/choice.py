"""Which proxy the environment means: libcurl is the oracle.

`proxy_choice` prints what bowline chooses for a URL, and libcurl is asked for the same URL in the same environment. PyPI's `pycurl` brings a
libcurl that knows ws:// and wss://. The proxies are addresses of loopback on which nobody listens, and what would go past a proxy
goes to another of them, so nothing leaves the machine. tests/interop/README.md has the rules as a table.
"""

import os
import re
import subprocess
import unittest

import pycurl

from dial import environment
from peer import EXAMPLES, TIMEOUT

PROGRAM = os.environ.get("PROXY_CHOICE", str(EXAMPLES / "proxy_choice"))
A, B, C = "http://127.0.0.2:2", "http://127.0.0.3:3", "http://127.0.0.4:4"
DIRECT = "127.0.0.9:9"

# Which variable counts. The last of a case is the URL.
VARIABLES = [
    *[({name: A}, url) for url in ["ws://h/", "wss://h/"] for name in [
        "ws_proxy", "WS_PROXY", "wss_proxy", "WSS_PROXY", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy",
        "ALL_PROXY",
    ]],
    ({}, "ws://h/"),
    ({}, "wss://h/"),
    # The scheme's own is before http's, that is before the one for all, and the lower case is before the upper.
    ({"ws_proxy": A, "http_proxy": B}, "ws://h/"),
    ({"WS_PROXY": A, "http_proxy": B}, "ws://h/"),
    ({"ws_proxy": A, "WS_PROXY": B}, "ws://h/"),
    ({"http_proxy": A, "all_proxy": B}, "ws://h/"),
    ({"http_proxy": A, "ALL_PROXY": B}, "ws://h/"),
    ({"all_proxy": A, "ALL_PROXY": B}, "ws://h/"),
    ({"ALL_PROXY": A, "ws_proxy": B}, "ws://h/"),
    ({"ws_proxy": A, "http_proxy": B, "all_proxy": C}, "ws://h/"),
    ({"wss_proxy": A, "https_proxy": B}, "wss://h/"),
    ({"WSS_PROXY": A, "https_proxy": B}, "wss://h/"),
    ({"wss_proxy": A, "WSS_PROXY": B}, "wss://h/"),
    ({"https_proxy": A, "HTTPS_PROXY": B}, "wss://h/"),
    ({"HTTPS_PROXY": A, "all_proxy": B}, "wss://h/"),
    ({"WSS_PROXY": A, "all_proxy": B}, "wss://h/"),
    ({"https_proxy": A, "http_proxy": B}, "ws://h/"),
    ({"https_proxy": A, "http_proxy": B}, "wss://h/"),
    ({"https_proxy": A, "ws_proxy": B}, "wss://h/"),
    # Empty is as if it were not there.
    ({"ws_proxy": "", "http_proxy": B}, "ws://h/"),
    ({"ws_proxy": "", "WS_PROXY": A, "http_proxy": B}, "ws://h/"),
    ({"wss_proxy": "", "WSS_PROXY": C, "https_proxy": B}, "wss://h/"),
    ({"wss_proxy": "", "https_proxy": B, "all_proxy": A}, "wss://h/"),
    ({"http_proxy": "", "HTTP_PROXY": B}, "ws://h/"),
    ({"http_proxy": "", "HTTP_PROXY": B, "all_proxy": C}, "ws://h/"),
    ({"https_proxy": "", "HTTPS_PROXY": B}, "wss://h/"),
    ({"https_proxy": "", "HTTPS_PROXY": "", "all_proxy": B}, "wss://h/"),
    ({"https_proxy": "", "all_proxy": "", "ALL_PROXY": C}, "wss://h/"),
    ({"all_proxy": "", "ALL_PROXY": ""}, "wss://h/"),
    # CGI has a variable HTTP_PROXY that clients set, with the header `Proxy`.
    ({"http_proxy": A, "REQUEST_METHOD": "GET"}, "ws://h/"),
    ({"HTTP_PROXY": A, "REQUEST_METHOD": "GET"}, "ws://h/"),
    ({"HTTP_PROXY": A, "all_proxy": B, "REQUEST_METHOD": "GET"}, "ws://h/"),
    # no_proxy as well.
    ({"all_proxy": A, "no_proxy": "h", "NO_PROXY": "i"}, "ws://h/"),
    ({"all_proxy": A, "no_proxy": "h", "NO_PROXY": "i"}, "ws://i/"),
    ({"all_proxy": A, "NO_PROXY": "h"}, "ws://h/"),
    ({"all_proxy": A, "no_proxy": "", "NO_PROXY": "h"}, "ws://h/"),
    ({"all_proxy": A, "no_proxy": " ", "NO_PROXY": "h"}, "ws://h/"),
    ({"all_proxy": A, "no_proxy": ",", "NO_PROXY": "h"}, "ws://h/"),
    # A value that is wrong is an error, unless nobody wants it.
    ({"https_proxy": " ", "ALL_PROXY": A}, "wss://h/"),
    ({"https_proxy": "ftp://127.0.0.2:2", "ALL_PROXY": A}, "wss://h/"),
    ({"https_proxy": "ftp://127.0.0.2:2", "http_proxy": A}, "ws://h/"),
    ({"https_proxy": "ftp://127.0.0.2:2", "no_proxy": "h"}, "wss://h/"),
    ({"https_proxy": "::1", "no_proxy": "*"}, "wss://h/"),
]  # fmt: skip

# What a variable may say.
VALUES = [
    "127.0.0.2:2", "127.0.0.2", "http://127.0.0.2", "http://127.0.0.2:", "https://127.0.0.2", "https://127.0.0.2:2", "socks5://127.0.0.2",
    "socks5h://127.0.0.2", "socks5h://127.0.0.2:2", "socks4a://127.0.0.2", "socks4://127.0.0.2", "socks://127.0.0.2",
    "HTTP://127.0.0.2:2", "Socks5H://127.0.0.2:2", "http://127.0.0.2/", "http://127.0.0.2:2/path", "http://127.0.0.2:2/path?x#y",
    "http://127.0.0.2:2?q", "http://127.0.0.2:2#f", "127.0.0.2:2/path?x", "http://u:p@127.0.0.2:2", "http://u@127.0.0.2:2",
    "u:p@127.0.0.2:2", "http://:p@127.0.0.2:2", "http://@127.0.0.2:2", "http://u%40x:p%3A@127.0.0.2:2", "http://u:p:q@127.0.0.2:2",
    "http://u:p%ZZ@127.0.0.2:2", "socks5://u:p@127.0.0.2:2", "http://[::1]:2", "http://[::1]", "[::1]:2", "[::1]", "socks5h://[::1]:2",
    "http://127.0.0.2:002",
    # Wrong.
    "ftp://127.0.0.2:2", "foo://127.0.0.2:2", "ws://127.0.0.2:2", "socks5a://127.0.0.2", "://127.0.0.2:2", "//127.0.0.2:2", "foo:127.0.0.2",
    "::1", "http://::1", "http://:2", "http://", "http://127.0.0.2:65536", "http://127.0.0.2:x", "http://127.0.0.2:-1", " ",
    " http://127.0.0.2:2", "http://127.0.0.2:2 ", "http://127.0.0.2 :2", "http://[::1", "http://[::1]x", "http://[127.0.0.2]:2",
    "http://u p@127.0.0.2:2", "http://u:p%00@127.0.0.2:2", "http://u:p%0a@127.0.0.2:2", "http://u:p%0D%0AX:%20y@127.0.0.2:2",
]  # fmt: skip

# no_proxy, and hosts that are asked for with it.
EXCEPTIONS = [
    ("example.com", ["example.com", "www.example.com", "a.b.example.com", "notexample.com", "com", "EXAMPLE.com", "example.com.",
                     "www.example.com.", "example.com:8080", "example.org"]),
    (".example.com", ["example.com", "www.example.com", "notexample.com"]),
    ("..example.com", ["example.com", "www.example.com"]),
    ("example.com.", ["example.com", "www.example.com", "example.com."]),
    (".example.com.", ["example.com", "www.example.com", "example.com."]),
    ("EXAMPLE.Com", ["example.com", "www.Example.com"]),
    ("com", ["a.com", "com", "xcom"]),
    (".", ["a.com", "com"]),
    ("..", ["a.com"]),
    ("*.example.com", ["example.com", "www.example.com"]),
    ("*.com", ["a.com"]),
    ("e*.com", ["example.com"]),
    ("*.", ["a.com"]),
    ("*", ["example.com", "127.0.0.1", "[::1]"]),
    ("**", ["example.com"]),
    ("* ", ["example.com"]),
    (" *", ["example.com"]),
    ("*,foo", ["example.com", "foo"]),
    ("foo,*", ["example.com", "foo", "127.0.0.1"]),
    # Lists.
    ("a.com,b.com", ["a.com", "b.com", "c.com"]),
    ("a.com, b.com", ["a.com", "b.com"]),
    ("a.com ,b.com", ["a.com", "b.com"]),
    (" a.com , b.com ", ["a.com", "b.com"]),
    ("a.com, \t b.com", ["a.com", "b.com"]),
    ("a.com,,,b.com", ["a.com", "b.com"]),
    (",a.com,", ["a.com", "b.com"]),
    ("a.com b.com", ["a.com", "b.com"]),
    ("a.com;b.com", ["a.com", "b.com"]),
    ("", ["a.com"]),
    (" ", ["a.com"]),
    (",", ["a.com"]),
    ("x" * 300 + ",a.com", ["a.com"]),
    # What is more than a name.
    ("example.com:80", ["example.com", "example.com:80", "example.com:8080"]),
    ("example.com:8080", ["example.com", "example.com:8080", "www.example.com:8080"]),
    ("http://example.com", ["example.com"]),
    ("example.com/", ["example.com"]),
    ("user@example.com", ["example.com"]),
    # Addresses of IPv4.
    ("127.0.0.1", ["127.0.0.1", "127.0.0.1:81", "127.0.0.2", "localhost"]),
    ("localhost", ["localhost", "127.0.0.1", "[::1]", "a.localhost"]),
    ("127.0.0.1:81", ["127.0.0.1", "127.0.0.1:81"]),
    (".127.0.0.1", ["127.0.0.1"]),
    ("127.0.0.1.", ["127.0.0.1"]),
    ("0.0.1", ["127.0.0.1"]),
    ("127.0.0", ["127.0.0.1"]),
    ("127.", ["127.0.0.1"]),
    ("127.0.0.*", ["127.0.0.1"]),
    ("10.0.0.0/8", ["10.1.2.3", "10.255.255.255", "11.1.2.3", "10.1.2.3.example.com"]),
    ("10.1.2.3/8", ["10.200.0.1", "11.0.0.0"]),
    ("10.0.0.0/7", ["11.1.2.3", "12.1.2.3"]),
    ("10.0.0.0/9", ["10.127.0.1", "10.128.0.1"]),
    ("10.1.2.2/31", ["10.1.2.3", "10.1.2.4"]),
    ("10.1.2.3/32", ["10.1.2.3", "10.1.2.2"]),
    ("10.0.0.0/08", ["10.1.2.3"]),
    ("foo, 10.0.0.0/8 ,bar", ["10.1.2.3"]),
    ("0.0.0.0/0", ["10.1.2.3", "[::1]"]),
    *[(f"10.1.2.3/{bits}", ["10.1.2.3"]) for bits in ["33", "", "x", "8x", " 8", "+8", "-1", "8.", "9999999999"]],
    ("10/8", ["10.1.2.3"]),
    ("010.0.0.0/8", ["10.1.2.3", "8.1.2.3"]),
    # Addresses of IPv6.
    ("::1", ["[::1]", "[::1]:8080", "[0:0:0:0:0:0:0:1]", "[::2]"]),
    ("0:0:0:0:0:0:0:1", ["[::1]"]),
    ("[::1]", ["[::1]", "[::1]:8080"]),
    ("[::1]:8080", ["[::1]", "[::1]:8080"]),
    ("::1/128", ["[::1]", "[::2]"]),
    ("::1/127", ["[::1]", "[::2]"]),
    ("::1/129", ["[::1]"]),
    ("[::1]/128", ["[::1]"]),
    ("[::1", ["[::1]"]),
    ("::/0", ["[::1]", "[fd00::1]", "10.1.2.3"]),
    ("fd00::/8", ["[fd12::1]", "[FD12::1]", "[fe80::1]"]),
    ("FD00::/8", ["[fd12::1]"]),
    ("fd00::/9", ["[fd7f::1]", "[fd80::1]"]),
    ("fd00::/65", ["[fd00::7fff:0:0:0]", "[fd00::8000:0:0:0]"]),
    ("fe80::/10", ["[fe80::1%25lo]", "[fec0::1]"]),
    ("fe80::1", ["[fe80::1%25lo]"]),
    ("::ffff:10.0.0.0/104", ["10.1.2.3", "[::ffff:10.1.2.3]"]),
    ("10.0.0.0/8", ["[::ffff:10.1.2.3]"]),
    ("::ffff:10.1.2.3", ["[::ffff:10.1.2.3]", "[::ffff:a01:203]"]),
]  # fmt: skip

# Where bowline means to differ from libcurl: a value and a URL, and what it chooses, with the reason.
DEVIATIONS = {}


def deviates(reason, choice, *cases):
    for value, url in cases:
        DEVIATIONS[value, url] = (choice, reason)


deviates(
    "SOCKS4 without names is not there", "error",
    ("socks4://127.0.0.2", "wss://h/"), ("socks://127.0.0.2", "wss://h/"),
)  # fmt: skip
deviates(
    "an entry with a port is for this port; to libcurl it matches nothing", "none",
    ("example.com:80", "ws://example.com/"), ("example.com:80", "ws://example.com:80/"),
    ("example.com:8080", "ws://example.com:8080/"), ("example.com:8080", "ws://www.example.com:8080/"),
    ("127.0.0.1:81", "ws://127.0.0.1:81/"), ("[::1]:8080", "ws://[::1]:8080/"),
)  # fmt: skip
deviates(
    "IPv6 may have its brackets; to libcurl it matches nothing then", "none",
    ("[::1]", "ws://[::1]/"), ("[::1]", "ws://[::1]:8080/"), ("[::1]", "wss://[::1]/"),
)  # fmt: skip
deviates(
    "a range of /0 has all addresses; libcurl compares all bits", "none",
    ("0.0.0.0/0", "ws://10.1.2.3/"), ("0.0.0.0/0", "wss://10.1.2.3/"),
    ("::/0", "ws://[::1]/"), ("::/0", "ws://[fd00::1]/"), ("::/0", "wss://[::1]/"),
)  # fmt: skip


def ask_curl(url, variables):
    """What libcurl does: `none`, `error`, or the proxy that it tries."""
    said = []
    before = dict(os.environ)
    curl = pycurl.Curl()
    try:
        os.environ.clear()
        os.environ.update(environment(**variables))
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.TIMEOUT, TIMEOUT)
        curl.setopt(pycurl.CONNECT_TO, [f"::{DIRECT}"])
        curl.setopt(pycurl.VERBOSE, True)
        curl.setopt(pycurl.DEBUGFUNCTION, lambda kind, text: said.append(text.decode(errors="replace")) if kind == 0 else None)
        curl.perform()
        raise AssertionError("nobody listens there")
    except pycurl.error as error:
        tried = [match[1] for line in said if (match := re.search(r"Trying (\S+:\d+)", line))]
        code = error.args[0]
        if not tried:
            # CURLE_URL_MALFORMAT, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT for a scheme that it does not know.
            assert code in (3, 5, 7), (error, said)
            return "error"
        if tried[0] == DIRECT:
            return "none"
        value = next(match[1] for line in said if (match := re.search(r"Uses proxy env variable (?!no_)\w+ == '(.*)'", line)))
        return f"{value.split('://')[0].lower() if '://' in value else 'http'}://{tried[0]}"
    finally:
        curl.close()
        os.environ.clear()
        os.environ.update(before)


def ask_bowline(url, variables):
    run = subprocess.run([PROGRAM, url], capture_output=True, text=True, timeout=TIMEOUT, env=environment(**variables))
    assert run.returncode == 0, f"exit code {run.returncode}: {run.stderr}"
    return run.stdout.rstrip("\n")


class Choice(unittest.TestCase):
    def test_each_deviation_is_a_case(self):
        self.assertEqual({key for key in DEVIATIONS if not any(key[0] in values and key[1] == url for url, values in CASES)}, set())

    def compare(self, url, variables):
        oracle, ours = ask_curl(url, variables), ask_bowline(url, variables)
        got = "error" if ours.startswith("error: ") else ours
        if key := next((key for key in DEVIATIONS if key[0] in variables.values() and key[1] == url), None):
            choice, reason = DEVIATIONS[key]
            self.assertEqual(got, choice, f"{url} with {variables}: {reason}, and libcurl chooses {oracle}")
            self.assertNotEqual(got, oracle, f"no deviation: {key}")
            return
        self.assertEqual(got, oracle, f"{url} with {variables}: bowline chooses {ours!r}, libcurl {oracle!r}")

    def test_no_secret_is_printed(self):
        for value in ["http://user:s3cr3t@127.0.0.2:2", "http://user:s3cr3t@127.0.0.2:x", "foo://user:s3cr3t@127.0.0.2:2", "http://user:s3cr3t%0a@h"]:
            with self.subTest(value):
                self.assertNotIn("s3cr3t", ask_bowline("ws://h/", {"all_proxy": value}))


CASES = []


def add(name, url, variables):
    CASES.append((url, variables.values()))
    name = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    count = sum(1 for other in vars(Choice) if other.startswith("test_"))
    setattr(Choice, f"test_{count:03}_{name:.60}", lambda self: self.compare(url, variables))


for variables, url in VARIABLES:
    add(f"variable {' '.join(variables)} {url}", url, variables)
for value in VALUES:
    add(f"value {value}", "wss://h/", {"https_proxy": value})
for value, hosts in EXCEPTIONS:
    for host in hosts:
        add(f"no_proxy {value[-20:]} {host}", f"ws://{host}/", {"all_proxy": A, "no_proxy": value})
    add(f"no_proxy {value[-20:]} wss {hosts[0]}", f"wss://{hosts[0]}/", {"all_proxy": A, "no_proxy": value})
