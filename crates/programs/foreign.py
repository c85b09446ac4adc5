#!/usr/bin/env python3
"""Crates that use tungstenite, on bowline: they are taken from the registry, unchanged, and their own tests are run.

    crates/programs/foreign.py [NAME...]      such as axum or warp; without a name: all

Where a package ships no test that opens a WebSocket, a small server of servers/ uses it, and Python's websockets talk to that.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import examples
import scratch
from scratch import Program, Report, closed_with, connect, echoes, equal

HERE = scratch.ROOT / "crates/programs"
# The versions that were tried. Each wants tungstenite 0.30, except those marked.
VERSIONS = {
    "axum": "=0.8.9",  # 0.29
    "engineioxide": "=0.17.9",
    "socketioxide": "=0.18.9",
    "hyper-tungstenite": "=0.30.0",
    "async-tungstenite": "=0.35.0",
    "salvo_extra": "=1.1.0",
}
# Features that their tests need, besides the default ones.
FEATURES = {
    "axum": ["ws", "http2"],
    "engineioxide": ["v3", "tracing", "__test_harness"],
    "socketioxide": ["v4", "tracing", "msgpack", "state", "extensions", "__test_harness"],
    "async-tungstenite": ["smol-runtime", "tokio-runtime"],
}
# Tests that are not run.
SKIPPED = {
    # Long polling alone. It gives 100 polls 10 ms to begin, too short for a busy machine: there it fails with tungstenite too.
    "socketioxide": ["server_http_closing_pending_poll"],
}
# What Cargo left out of a published package: dependencies of tests that have no version.
UNPUBLISHED = {
    "axum": '[dev-dependencies.axum-macros]\nversion = "0.5.1"\nfeatures = ["__private"]\n',
}
# The dependencies of our servers, for packages without tests, and for what no test of theirs can show. All want tungstenite 0.29.
SERVERS = {
    "compression": {
        "axum": {"version": "=0.8.9", "features": ["http1", "tokio", "ws"]},
        "bowline-tokio-tungstenite": {"path": str(scratch.ROOT / "crates/tokio-tungstenite-compat"), "features": ["tower"]},
        "tokio": {"version": "1", "features": ["full"]},
    },
    "warp": {
        "futures-util": "0.3",
        "tokio": {"version": "1", "features": ["full"]},
        "warp": {"version": "=0.4.3", "features": ["server", "websocket"]},
    },
    "graphql": {
        "async-graphql": {"version": "=7.2.1", "default-features": False},
        "async-graphql-axum": "=7.2.1",
        "axum": {"version": "=0.8.9", "features": ["http1", "tokio", "ws"]},
        "futures-util": "0.3",
        "tokio": {"version": "1", "features": ["full"]},
    },
}


class Built:
    """What the build of a package made."""

    def __init__(self, folder, package, executables):
        self.folder = folder / package
        # The programs, and the binaries of tests.
        self.programs, self.tests = {}, {}
        for (of, name, is_test), path in executables.items():
            if of == package:
                (self.tests if is_test else self.programs)[name.removeprefix(f"{package}-")] = path

    def run(self, name, *arguments):
        """Runs a binary of tests, and returns how many passed."""
        # What Cargo sets, and where it runs them.
        environment = {**os.environ, "CARGO_MANIFEST_DIR": str(self.folder), "RUST_BACKTRACE": "0"}
        command = [self.tests[name], *arguments]
        result = subprocess.run(
            command, cwd=self.folder, env=environment, timeout=300, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if result.returncode != 0:
            print(result.stdout)
        assert result.returncode == 0, f"{name} has failed"
        return int(re.search(r"^test result: ok\. (\d+) passed", result.stdout, re.MULTILINE)[1])


def tests(*filters, least=1):
    """The check of a package with tests: all, or those of the library whose names contain the filter."""

    def check(report, package, built):
        names = [name for name in built.tests if not filters or name == package.replace("-", "_")]

        def run():
            skipped = [f"--skip={name}" for name in SKIPPED.get(package, [])]
            count = sum(built.run(name, *filters, *skipped) for name in names)
            assert count >= least, f"{count} tests, expected {least} or more"
            return count

        report.check(f"{package} {VERSIONS[package].lstrip('=')}, its tests {' '.join(filters)}".rstrip(), run)

    return check


def async_tungstenite(report, package, built):
    """Its examples on smol and tokio, which are those of tokio-tungstenite. The others need the network, or another runtime."""
    for name in "autobahn-server", "autobahn-client", "echo-server", "client", "server-custom-accept", "server-headers", "interval-server":
        report.check(f"{package}/{name}", lambda: examples.CHECKS[f"tokio-tungstenite/{name}"](built.programs))
    report.check(f"{package}/server", lambda: examples.chat(built.programs, close_to_all=False))
    for name in "client-bytes", "tokio-client-bytes":
        report.check(f"{package}/{name}", lambda: examples.stdin_client(built.programs, name, bytes_only=True))


def hyper_tungstenite(report, package, built):
    """Its tests, and its example."""
    tests(least=3)(report, package, built)

    def server():
        with Program(built.programs["server"]) as program:
            program.line("Listening on http://[::1]:3000")
            with connect("ws://[::1]:3000/", program) as ws:
                for message, line in ("knot", "text message: knot"), (b"knot", "binary message"):
                    ws.send(message)
                    thanks = "Thank you, come again."
                    equal(ws.recv(scratch.TIMEOUT), thanks if message == "knot" else thanks.encode())
                    program.line(line)
                assert ws.ping(b"knot").wait(scratch.TIMEOUT), "no pong"
                program.line("ping message: ")
                ws.close(4001, "done")
                equal(ws.close_code, 4001)
                program.line("close message with code 4001 and message: done")

    report.check(f"{package}/server", server)


def warp(report, package, built):
    """echoes, and what is beyond its limit."""

    def server():
        with Program(built.programs["warp"]) as program:
            url = f"ws://{program.line('listening on ').split()[-1]}/echo"
            echoes(url, program)
            program.line("closed")
            for frame, code, line in (b"\x83\x80\0\0\0\0", 1002, "opcode"), (b"\x82\xff\0\0\0\0\0\x20\0\x01\0\0\0\0", 1009, "2097153"):
                with connect(url, program) as ws:
                    ws.socket.sendall(frame)
                    closed_with(ws, code)
                    assert line in program.line("failed: "), program.seen[-1]

    report.check("warp 0.4.3, a server of ours", server)


def graphql(report, package, built):
    """Subscriptions with both of its subprotocols."""

    def server():
        with Program(built.programs["graphql"]) as program:
            url = f"ws://{program.line('listening on ').split()[-1]}/ws"
            for subprotocol, subscribe, item in ("graphql-transport-ws", "subscribe", "next"), ("graphql-ws", "start", "data"):
                with connect(url, program, subprotocols=[subprotocol]) as ws:
                    equal(ws.subprotocol, subprotocol)

                    def say(kind, **rest):
                        ws.send(json.dumps({"type": kind, **rest}))

                    def hear(kind):
                        message = json.loads(ws.recv(scratch.TIMEOUT))
                        equal(message["type"], kind)
                        return message

                    say("connection_init")
                    hear("connection_ack")
                    say(subscribe, id="1", payload={"query": "subscription { count(to: 3) }"})
                    equal([hear(item)["payload"]["data"]["count"] for _ in range(3)], [1, 2, 3])
                    equal(hear("complete")["id"], "1")
                    say(subscribe, id="2", payload={"query": "subscription { text(length: 1000000) }"})
                    equal(len(hear(item)["payload"]["data"]["text"]), 1_000_000)
                    assert ws.ping(b"knot").wait(scratch.TIMEOUT), "no pong"
                    ws.close(1000)
                    equal(ws.close_code, 1000)

    report.check("async-graphql-axum 7.2.1, a server of ours", server)


def compression(report, package, built):
    """axum's WebSockets, with the layer and without it, for clients that offer compression and clients that do not."""

    def server():
        with Program(built.programs["compression"]) as program:
            url = f"ws://{program.line('listening on ').split()[-1]}"
            text = "again and again, " * 1000
            for path, offer, is_compressed in ("/on", "deflate", True), ("/on", None, False), ("/off", "deflate", False):
                with connect(url + path, program, compression=offer) as ws:
                    equal(len(ws.protocol.extensions), int(is_compressed))
                    sizes, receive = [], ws.protocol.receive_data

                    def count(data):
                        sizes.append(len(data))
                        receive(data)

                    ws.protocol.receive_data = count
                    for message in text, text.encode(), "", os.urandom(100_000):
                        ws.send(message)
                        equal(ws.recv(scratch.TIMEOUT), message)
                    # The last one cannot be compressed.
                    assert (sum(sizes) < 102_000) == is_compressed, f"{path}, {offer}: {sum(sizes)} bytes"

    report.check("axum 0.8.9, compressed by a layer", server)


CHECKS = {
    "axum": tests("extract::ws", least=3),
    "engineioxide": tests(least=20),
    "socketioxide": tests(least=20),
    "hyper-tungstenite": hyper_tungstenite,
    "async-tungstenite": async_tungstenite,
    "salvo_extra": tests("websocket::", least=10),
    "compression": compression,
    "warp": warp,
    "graphql": graphql,
}


def copy(folder, package, source):
    """Copies a package. Only its benchmarks stay out, and the crate that they need, which is large."""
    shutil.copytree(source, folder / package, ignore=shutil.ignore_patterns("benches", "Cargo.lock", "Cargo.toml"))
    tables = re.split(r"^(?=\[)", (source / "Cargo.toml").read_text(), flags=re.MULTILINE)
    kept = (table for table in tables if not re.match(r"\[\[bench\]\]|\[dev-dependencies\.criterion\]", table))
    text = "".join([*kept, "\n", UNPUBLISHED.get(package, "")])
    # Cargo resolves a workspace with all features of its members. bowline's TLS is rustls alone.
    text = re.sub(r"^[a-z-]*native-tls = \[.*?\]\n", "", text, flags=re.MULTILINE | re.DOTALL)
    # Some names are in several packages, and Cargo would put one program over the other.
    text = text.replace('[[example]]\nname = "', f'[[example]]\nname = "{package}-')
    (folder / package / "Cargo.toml").write_text(text)


def build(names):
    """Builds what was chosen at once, so that they share their dependencies."""
    sources = scratch.registry("foreign", {name: VERSIONS[name] for name in names if name in VERSIONS})
    # Where one needs another, it gets the copy too.
    copies = "".join(f'{name} = {{ path = "{name}" }}\n' for name in sources)
    folder = scratch.workspace("foreign", scratch.PATCH + scratch.PATCH_0_29 + copies)
    arguments = []
    for name in names:
        arguments += ["-p", name if name in VERSIONS else f"{name}-server"]
        if name in VERSIONS:
            copy(folder, name, sources[name])
            arguments += [f"--features={name}/{feature}" for feature in FEATURES.get(name, [])]
        else:
            (folder / name / "examples").mkdir(parents=True)
            shutil.copy2(HERE / f"servers/{name}.rs", folder / name / f"examples/{name}.rs")
            head = f'[package]\nname = "{name}-server"\nversion = "0.0.0"\nedition = "2024"\n\n[dependencies]\n'
            (folder / name / "Cargo.toml").write_text(head + scratch.dependencies(SERVERS[name]))
    executables = scratch.executables("test", "--no-run", *arguments, folder=folder)
    for name in names:
        scratch.runs_on_bowline(folder, name if name in VERSIONS else f"{name}-server")
    return {name: Built(folder, name, executables) for name in names}


def main():
    names = sys.argv[1:] or list(CHECKS)
    if "-h" in names or "--help" in names:
        print(__doc__)
        return 0
    if unknown := [name for name in names if name not in CHECKS]:
        print(f"{__file__}: unknown {', '.join(unknown)}, expected some of {', '.join(CHECKS)}", file=sys.stderr)
        return 1
    scratch.websockets()
    built = build(names)
    scratch.network(3000, 8080, 8081, 8082, 9001, 9002)
    report = Report()
    for name in names:
        CHECKS[name](report, name, built[name])
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
