#!/usr/bin/env python3
"""Addresses that answer, refuse, or say nothing: RFC 8305, in a network of its own.

The packets to a dead address are dropped, so that nobody says that it is dead. The tests run in a namespace of networks and
mounts, which needs root and nftables; where that is not allowed, they are left out and say so. They measure time, which is what
they are about: under 400 ms is one delay of 250 ms, and no more. Each has three tries, since other processes want the CPU as well.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from dial import Case, HttpProxy, Origin, Socks5Proxy, both_adapters, certificates, field, free_port
from peer import TIMEOUT

INSIDE = "BOWLINE_INSIDE_OF_A_NAMESPACE"
ALIVE, DEAD, DEAD_TOO = ["10.9.0.1", "10.9.0.2"], ["10.9.0.11", "10.9.0.12"], ["10.9.0.13"]
ALIVE6, DEAD6 = ["fd09::1", "fd09::2"], ["fd09::11", "fd09::12"]
# One delay and what the rest takes. The deadline of the attempt is far.
FAST = 0.4
NAMES = {
    # RFC 6724 has IPv6 first, and of IPv4 the order of the file.
    "both.test": [ALIVE6[0], ALIVE[0]],
    "dead6.test": [DEAD6[0], ALIVE[0]],
    "dead66.test": [*DEAD6, ALIVE[0]],
    "first4dead.test": [DEAD[0], ALIVE[0]],
    "alldead.test": [DEAD6[0], *DEAD],
    "onlydead.test": DEAD[:1],
}


def setUpModule():
    if os.environ.get(INSIDE) != "yes":
        raise unittest.SkipTest(f"no namespaces: {os.environ.get(INSIDE, 'start this file as a program')}")
    commands = ["ip link set lo up"]
    commands += [f"ip addr add {address}/32 dev lo" for address in ALIVE + DEAD + DEAD_TOO]
    commands += [f"ip addr add {address}/128 dev lo nodad" for address in ALIVE6 + DEAD6]
    commands += ["ip addr add fe80::9/64 dev lo nodad"]
    for command in commands:
        subprocess.run(command.split(), check=True, timeout=TIMEOUT)
    rules = "table inet dial {\nchain input { type filter hook input priority 0; policy accept; "
    rules += f"ip daddr {{ {', '.join(DEAD + DEAD_TOO)} }} drop; ip6 daddr {{ {', '.join(DEAD6)} }} drop; }}\n}}\n"
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True, timeout=TIMEOUT)
    # This namespace of mounts has its own names.
    with tempfile.TemporaryDirectory() as folder:
        hosts = pathlib.Path(folder, "hosts")
        lines = ["127.0.0.1 localhost", "::1 localhost", *(f"{address} {name}" for name, addresses in NAMES.items() for address in addresses)]
        hosts.write_text("\n".join(lines) + "\n")
        subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True, timeout=TIMEOUT)


class Everywhere(Origin):
    """An origin on all addresses, of both families."""

    def __init__(self, **options):
        super().__init__(host="::", **options)


def pinned(addresses, port):
    for address in addresses:
        yield from ["--resolve", f"[{address}]:{port}" if ":" in address else f"{address}:{port}"]


class Timed(Case):
    def fast(self, origin, url, *options, address=None):
        """It is opened within FAST, in one of three tries, at this address."""
        times = []
        for _ in range(3):
            before = len(origin.clients)
            outcome = self.echoes(url, "--timeout", "15", *options, lines=["hello"])
            self.assertEqual(len(origin.clients) - before, 1, "connections to the addresses that live")
            if address:
                self.assertEqual(origin.heads and origin.addresses[-1], address)
            times.append(outcome.seconds)
            if outcome.seconds < FAST:
                return
        self.fail(f"it took {times} s")


class Origins(Everywhere):
    """Remembers by which of its addresses it was reached."""

    def __init__(self, **options):
        super().__init__(**options)
        self.addresses = []

    def script(self, peer):
        self.addresses.append(peer.sock.getsockname()[0].removeprefix("::ffff:"))
        super().script(peer)


@both_adapters
class HappyEyeballs(Timed):
    def pins(self, dead, address):
        with Origins() as origin:
            self.fast(origin, f"ws://origin.invalid:{origin.port}/", *pinned([*dead, address], origin.port), address=address)

    def names(self, name, address):
        with Origins() as origin:
            self.fast(origin, f"ws://{name}:{origin.port}/", address=address)
            self.assertEqual(field(origin.heads[0], "Host"), f"{name}:{origin.port}")

    def test_all_live_and_the_first_is_taken(self):
        self.pins([], ALIVE[0])
        self.names("both.test", ALIVE6[0])

    def test_ipv6_is_dead_by_name(self):
        self.names("dead6.test", ALIVE[0])

    def test_ipv6_is_dead_by_pins(self):
        self.pins(DEAD6[:1], ALIVE[0])

    def test_ipv4_is_dead(self):
        self.pins(DEAD[:1], ALIVE6[0])

    def test_the_first_of_two_of_ipv4_is_dead_by_name(self):
        self.names("first4dead.test", ALIVE[0])

    def test_the_first_of_two_of_ipv4_is_dead_by_pins(self):
        self.pins(DEAD[:1], ALIVE[0])

    def test_families_take_turns(self):
        """RFC 8305 §4: with two dead addresses of IPv6 before it, that of IPv4 is the second to be tried."""
        self.pins(DEAD6, ALIVE[0])
        self.names("dead66.test", ALIVE[0])

    def test_the_first_refuses(self):
        """The next is tried at once, without the delay."""
        with Origins() as origin:
            closed = free_port()
            options = ["--resolve", f"127.0.0.1:{closed}", "--resolve", f"127.0.0.1:{closed}", "--resolve", f"{ALIVE[0]}:{origin.port}"]
            self.fast(origin, "ws://origin.invalid/", *options, address=ALIVE[0])

    def test_tls_follows_the_first_connection(self):
        tls = certificates().context("DNS:dead6.test")
        with Origins(tls=tls) as origin:
            self.fast(origin, f"wss://dead6.test:{origin.port}/", "--ca", certificates().ca, address=ALIVE[0])

    def test_to_the_proxy_as_well(self):
        with Origin(host=ALIVE[0]) as origin:
            for scheme, kind in ("http", HttpProxy), ("socks5h", Socks5Proxy):
                with self.subTest(scheme), kind(host="::", to=(ALIVE[0], origin.port)) as proxy:
                    times = []
                    for _ in range(3):
                        times.append(self.echoes(origin.url, "--proxy", f"{scheme}://dead6.test:{proxy.port}", lines=["hello"]).seconds)
                        if times[-1] < FAST:
                            break
                    self.assertLess(min(times), FAST)

    def test_two_that_live_get_one_connection(self):
        with Origins() as origin:
            self.fast(origin, "ws://origin.invalid/", *pinned([*ALIVE, *ALIVE6], origin.port), address=ALIVE[0])


@both_adapters
class AllDead(Timed):
    def test_by_pins(self):
        """The error comes in time, and has each address."""
        dead = [DEAD6[0], *DEAD]
        port = free_port()
        outcome = self.fails(
            "ws://origin.invalid/", *pinned(dead, port), "--timeout", "1.5", saying=[*map(re.escape, dead), f"\\b{port}\\b"], within=4
        )
        self.assertGreater(outcome.seconds, 1.4)

    def test_by_name(self):
        self.fails("ws://alldead.test/", "--timeout", "1.5", saying=list(map(re.escape, NAMES["alldead.test"])), within=4)

    def test_one(self):
        self.fails("ws://onlydead.test/", "--timeout", "0.7", saying=[re.escape(DEAD[0]), "time"], within=3)

    def test_more_than_the_time_is_enough_for(self):
        """With 250 ms for each, the last are never tried; the error says of all how far they came."""
        dead = DEAD + DEAD_TOO
        self.fails("ws://origin.invalid/", *pinned(dead, 9), "--timeout", "0.4", within=3, saying="10\\.9\\.0\\.11")

    def test_some_refuse_and_one_is_dead(self):
        closed = free_port()
        self.fails(
            "ws://origin.invalid/", "--resolve", f"127.0.0.1:{closed}", *pinned(DEAD[:1], 9), "--timeout", "1", within=3,
            saying=["127\\.0\\.0\\.1", "refused", re.escape(DEAD[0])],
        )  # fmt: skip

    def test_all_refuse(self):
        """Nothing to wait for."""
        closed = free_port()
        outcome = self.fails(
            "ws://origin.invalid/", *pinned(["127.0.0.1", "::1", ALIVE[0]], closed), "--timeout", "10", within=3,
            saying=["127\\.0\\.0\\.1", "::1", re.escape(ALIVE[0]), "refused"],
        )  # fmt: skip
        self.assertEqual(outcome.code, 1)

    def test_the_proxy_is_dead(self):
        for scheme in "http", "socks5h", "https":
            with self.subTest(scheme):
                self.fails("ws://127.0.0.1:9/", "--proxy", f"{scheme}://alldead.test:3128", "--timeout", "0.7", within=3, saying="alldead|10\\.9")


@both_adapters
class Zones(Case):
    """RFC 6874: the zone selects the interface, and is for this machine alone."""

    def test_the_zone_is_not_sent(self):
        with Everywhere() as origin:
            self.echoes(f"ws://[fe80::9%25lo]:{origin.port}/")
            self.assertEqual(field(origin.heads[0], "Host"), f"[fe80::9]:{origin.port}")

    def test_the_zone_by_number(self):
        with Everywhere() as origin:
            self.echoes(f"ws://[fe80::9%251]:{origin.port}/")

    def test_an_unknown_zone(self):
        self.fails("ws://[fe80::9%25nothere]:9/", saying="nothere")

    def test_wss_to_an_address_with_a_zone(self):
        tls = certificates().context("IP:fe80::9")
        with Everywhere(tls=tls) as origin:
            self.echoes(f"wss://[fe80::9%25lo]:{origin.port}/", "--ca", certificates().ca)


@both_adapters
class LocalAddress(Case):
    def test_of_each_family(self):
        with Origins() as origin:
            for host, local in (ALIVE[0], ALIVE[1]), (f"[{ALIVE6[0]}]", ALIVE6[1]):
                with self.subTest(local):
                    self.echoes(f"ws://{host}:{origin.port}/", "--local-address", local, lines=["hello"])
                    self.assertEqual(origin.clients[-1][0].removeprefix("::ffff:"), local)

    def test_it_chooses_the_family(self):
        """There is no connection of IPv6 from an address of IPv4."""
        with Origins() as origin:
            self.echoes(f"ws://both.test:{origin.port}/", "--local-address", ALIVE[1], lines=["hello"])
            self.assertEqual(origin.clients[-1][0].removeprefix("::ffff:"), ALIVE[1])

    def test_an_address_that_is_not_ours(self):
        self.fails(f"ws://{ALIVE[0]}:9/", "--local-address", "192.0.2.1", saying="192\\.0\\.2\\.1|address")


def main():
    if os.environ.get(INSIDE):
        return unittest.main(module="networks")
    why = "yes"
    trial = subprocess.run(["unshare", "-n", "-m", "nft", "list", "ruleset"], capture_output=True, text=True, timeout=TIMEOUT)
    if trial.returncode != 0:
        why = trial.stderr.strip() or "unshare or nft failed"
        print(f"left out: addresses that are dead ({why})")
    command = [sys.executable, __file__, *sys.argv[1:]]
    os.environ[INSIDE] = why
    os.execvp("unshare", ["unshare", "-n", "-m", *command]) if why == "yes" else os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
