#!/usr/bin/env python3
"""The examples of tungstenite and tokio-tungstenite on bowline: they are built as their packages ship them, and each does its work.

    crates/programs/examples.py [NAME...]      such as tungstenite/server or client; without a name: all
"""

import contextlib
import http.client
import os
import re
import shutil
import sys
import threading
import tomllib

import scratch
from scratch import Program, Raw, Report, closed_with, connect, echoes, equal

PACKAGES = {"tungstenite": "=0.30.0", "tokio-tungstenite": "=0.30.0"}
# The headers that the servers with a callback add.
CUSTOM = {"MyCustomHeader": ":)", "SOME_TUNGSTENITE_HEADER": "header_value"}
# Text "knot", with the mask 0 and without a mask.
MASKED, UNMASKED = b"\x81\x84\0\0\0\0knot", b"\x81\x04knot"
# The payload of a Close for a broken rule. tungstenite itself ends the stream there, without one.
PROTOCOL_ERROR = b"\x03\xea"

CHECKS = {}


def check(name):
    """Registers what an example has to do. The function gets the paths of the programs of its package, by name."""

    def register(function):
        CHECKS[name] = function
        return function

    return register


# --- tungstenite


@check("tungstenite/server")
def server(programs):
    with Program(programs["server"]) as program:
        headers = echoes("ws://127.0.0.1:3012/socket?a=b", program, additional_headers={"X-Knot": "bowline"})
        equal({name: headers[name] for name in CUSTOM}, CUSTOM)
        program.line("The request's path is: /socket")
        program.line("* x-knot")
        with Raw(("127.0.0.1", 3012), "/", program) as raw:
            raw.send(MASKED)
            equal(raw.receive(), (0x81, b"knot"))
            raw.send(UNMASKED)
            first, payload = raw.receive()
            equal((first, payload[:2]), (0x88, PROTOCOL_ERROR))


@check("tungstenite/client")
def client(programs):
    with Program(programs["server"]) as server:
        # The first connection shows that the server listens.
        with connect("ws://127.0.0.1:3012/", server), Program(programs["client"]) as program:
            program.line("Response HTTP code: 101")
            program.line("* mycustomheader")
            program.line("Received: Hello WebSocket")
            server.line("The request's path is: /socket")


@check("tungstenite/client, of websockets")
def client_of_websockets(programs):
    def answer(ws):
        ws.send(f"{ws.recv(scratch.TIMEOUT)}, and goodbye")
        ws.close(1000, "enough")

    with serving(answer, 3012), Program(programs["client"]) as program:
        program.line("Received: Hello WebSocket, and goodbye")
        # The Close, whose text is its reason. Then it panics, since it expects one more message.
        program.line("Received: enough")
        program.line("ConnectionClosed")
        equal(program.exit_code(), 101)


@check("tungstenite/callback-error")
def callback_error(programs):
    from websockets.exceptions import InvalidStatus

    with Program(programs["callback-error"]) as program:
        for _ in range(2):
            try:
                connect("ws://127.0.0.1:3012/", program)
                raise AssertionError("it accepted")
            except InvalidStatus as refusal:
                equal((refusal.response.status_code, refusal.response.body), (403, b"Access denied"))


@check("tungstenite/srv_accept_unmasked_frames")
def unmasked(programs):
    with Program(programs["srv_accept_unmasked_frames"]) as program:
        with Raw(("127.0.0.1", 3012), "/legacy", program) as raw:
            program.line("The request's path is: /legacy")
            assert b"mycustomheader: :)\r\n" in [line.lower() for line in raw.head], raw.head
            raw.send(UNMASKED)
            program.line("received message knot")
            raw.send(MASKED)
            program.line("received message knot")
            # A Close without a mask, answered in kind.
            raw.send(b"\x88\x02\x03\xe8")
            equal(raw.receive(), (0x88, b"\x03\xe8"))


# --- both


@check("tungstenite/autobahn-server")
@check("tokio-tungstenite/autobahn-server")
def autobahn_server(programs):
    with Program(programs["autobahn-server"]) as program:
        echoes("ws://127.0.0.1:9002/", program)
        bad = {
            b"\x83\x80\0\0\0\0": 1002,  # a reserved opcode
            b"\xc1\x80\0\0\0\0": 1002,  # a reserved bit
            b"\x80\x80\0\0\0\0": 1002,  # a continuation of nothing
            b"\x81\x81\0\0\0\0\xff": 1007,  # not UTF-8
        }
        for frame, code in bad.items():
            with connect("ws://127.0.0.1:9002/", program) as ws:
                ws.socket.sendall(frame)
                closed_with(ws, code)


@check("tungstenite/autobahn-client")
@check("tokio-tungstenite/autobahn-client")
def autobahn_client(programs):
    """A fuzzing server of a few cases. Each has to end as it should."""

    def echo(*messages):
        def case(ws):
            for message in messages:
                ws.send(message)
                equal(ws.recv(scratch.TIMEOUT), "".join(message) if isinstance(message, list) else message)
            assert ws.ping(b"case").wait(scratch.TIMEOUT), "no pong"
            ws.close(1000)
            equal(ws.close_code, 1000)

        return case

    def breaks(frame, code):
        def case(ws):
            ws.socket.sendall(frame)
            closed_with(ws, code)

        return case

    cases = [
        echo("", "knot", "Palstek \N{KNOT}"),
        echo(b"", bytes(range(126)), os.urandom(1 << 20)),
        echo(["in ", "three ", "frames"]),
        breaks(b"\x83\0", 1002),  # a reserved opcode
        breaks(b"\x81\x80\0\0\0\0", 1002),  # a mask, from a server
        breaks(b"\x81\x01\xff", 1007),  # not UTF-8
    ]
    asked, wrong = [], []

    def answer(ws):
        asked.append(ws.request.path)
        try:
            if ws.request.path == "/getCaseCount":
                ws.send(str(len(cases)))
                closed_with(ws, 1005)
            elif "runCase" in ws.request.path:
                cases[int(re.search(r"case=(\d+)", ws.request.path)[1]) - 1](ws)
            else:
                closed_with(ws, 1005)
        except Exception as error:  # In a thread of the server, where nobody sees it.
            wrong.append(f"{ws.request.path}: {type(error).__name__}: {error}")

    with serving(answer, 9001), Program(programs["autobahn-client"], RUST_LOG="error") as program:
        equal(program.exit_code(), 0)
    equal(wrong, [])
    cases_asked = [f"/runCase?case={number + 1}&agent=Tungstenite" for number in range(len(cases))]
    equal(asked, ["/getCaseCount", *cases_asked, "/updateReports?agent=Tungstenite"])


# --- tokio-tungstenite


@check("tokio-tungstenite/echo-server")
def echo_server(programs):
    with Program(programs["echo-server"], RUST_LOG="info") as program:
        program.line("Listening on: 127.0.0.1:8080")
        echoes("ws://127.0.0.1:8080/", program)


@check("tokio-tungstenite/client")
def stdin_client(programs, name="client", bytes_only=False):
    address = "127.0.0.1:8081"
    with Program(programs["echo-server"], address, RUST_LOG="info") as server:
        server.line(f"Listening on: {address}")
        with Program(programs[name], f"ws://{address}/") as program:
            program.line("handshake has been successfully completed")
            lines = "first", "second", "x" * 1000
            for line in lines:
                program.process.stdin.write(f"{line}\n".encode())
                program.process.stdin.flush()
                if not bytes_only:
                    program.line(line)
            if bytes_only:
                # It may send what it has when its input ends. Then it waits for the server to close, which this one does not.
                program.process.stdin.close()
                for line in lines:
                    program.line(line)
            else:
                equal(program.exit_code(), 0)


@check("tokio-tungstenite/server")
def chat(programs, close_to_all=True):
    with Program(programs["server"]) as program:
        program.line("Listening on: 127.0.0.1:8080")
        chats("ws://127.0.0.1:8080/", program, close_to_all)


@check("tokio-tungstenite/server-custom-accept")
def custom_accept(programs):
    with Program(programs["server-custom-accept"], "127.0.0.1:8082") as program:
        chats("ws://127.0.0.1:8082/socket", program)
        # What opens no WebSocket goes to hyper.
        plain = http.client.HTTPConnection("127.0.0.1", 8082, timeout=scratch.TIMEOUT)
        plain.request("GET", "/socket")
        equal(plain.getresponse().read(), b"Hello World!")
        plain.close()


def chats(url, program, close_to_all=True):
    """Each hears the others, and not itself."""
    with contextlib.ExitStack() as stack:
        members = []
        for number in range(3):
            ws = stack.enter_context(connect(url, program))
            # When this was heard, the server knows the member. The older ones get it.
            ws.send(f"here is {number}")
            program.line(f"here is {number}")
            for older in members:
                equal(older.recv(scratch.TIMEOUT), f"here is {number}")
            members.append(ws)
        for speaker in members:
            for message in "to all", os.urandom(70_000).hex():
                speaker.send(message)
                for other in members:
                    if other is not speaker:
                        equal(other.recv(scratch.TIMEOUT), message)
        members.pop().close()
        program.line("disconnected")
        # A Close is a message like any other to tokio-tungstenite's programs: it goes to all, and all leave.
        if close_to_all:
            for other in members:
                closed_with(other, 1000)
                program.line("disconnected")
        else:
            members[0].send("still two")
            equal(members[1].recv(scratch.TIMEOUT), "still two")


@check("tokio-tungstenite/server-headers")
def server_headers(programs):
    # It is its own client too. That does not wait until the server listens, and panics if it is first.
    for _ in range(50):
        with Program(programs["server-headers"], RUST_LOG="debug") as program:
            if "Can't connect" in program.line("Connected to the server", "Can't connect"):
                continue
            program.line('* mycustomheader: ":)"')
            program.line("Received: Hello WebSocket")
            headers = echoes("ws://127.0.0.1:8080/socket", program, additional_headers={"X-Knot": "bowline"})
            equal(headers["MyCustomHeader"], ":)")
            program.line('* x-knot: "bowline"')
            return
    raise AssertionError("its client was first, fifty times")


@check("tokio-tungstenite/interval-server")
def interval_server(programs):
    with Program(programs["interval-server"]) as program, connect("ws://127.0.0.1:9002/", program) as ws:
        equal(ws.recv(scratch.TIMEOUT), "tick")
        ws.send("knot")
        equal([ws.recv(scratch.TIMEOUT), ws.recv(scratch.TIMEOUT)], ["knot", "tick"])
        # It leaves when it receives a Close, and does not stay to answer it.
        ws.close(1000)


@contextlib.contextmanager
def serving(answer, port):
    """A server of Python's websockets."""
    from websockets.sync.server import serve

    # Without compression, so that frames can be written by hand.
    with serve(answer, "127.0.0.1", port, compression=None, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join(scratch.TIMEOUT)


def copy(folder, package, source):
    """Copies the examples of a package, with the dependencies that they name."""
    shutil.copytree(source / "examples", folder / package / "examples")
    text = "".join(file.read_text() for file in (source / "examples").glob("*.rs"))
    manifest = tomllib.loads((source / "Cargo.toml").read_text())
    tables = {**manifest["dependencies"], **manifest["dev-dependencies"]}
    # Features of a crate that stands in both tables add up.
    for name, requirement in manifest["dependencies"].items():
        if name in manifest["dev-dependencies"]:
            tables[name]["features"] = [*requirement.get("features", []), *tables[name].get("features", [])]
    used = {name for name, table in tables.items() if re.search(rf"\b{name.replace('-', '_')}\b", text) and not table.get("optional")}
    needed = {name: tables[name] for name in tables if name in used}
    own = {package: manifest["package"]["version"]}
    head = f'[package]\nname = "{package}-examples"\nversion = "0.0.0"\nedition = "{manifest["package"]["edition"]}"\n\n[dependencies]\n'
    (folder / package / "Cargo.toml").write_text(head + scratch.dependencies({**needed, **own}))


def build():
    """Builds the examples, and returns `{package: {name: path}}`."""
    sources = scratch.registry("examples", PACKAGES)
    folder = scratch.workspace("examples", scratch.PATCH)
    for package in PACKAGES:
        copy(folder, package, sources[package])
    built = {}
    for package in PACKAGES:
        # Some names are in both packages, and Cargo would put one over the other.
        kept = folder.parent / "built" / package
        kept.mkdir(parents=True, exist_ok=True)
        built[package] = {}
        for (_, name, _), path in scratch.executables("build", "-p", f"{package}-examples", "--examples", folder=folder).items():
            (kept / name).unlink(missing_ok=True)
            built[package][name] = shutil.copy(path, kept / name)
    for package in PACKAGES:
        scratch.runs_on_bowline(folder, f"{package}-examples")
        # Every example is here, and has a check.
        names = {file.stem for file in (sources[package] / "examples").glob("*.rs")}
        equal(set(built[package]), names)
        equal({f"{package}/{name}" for name in names} - set(CHECKS), set())
    return built


def main():
    names = sys.argv[1:]
    if "-h" in names or "--help" in names:
        print(__doc__)
        return 0
    chosen = {name: function for name, function in CHECKS.items() if not names or any(part in name for part in names)}
    scratch.websockets()
    built = build()
    scratch.network(3012, 8080, 8081, 8082, 9001, 9002)
    report = Report()
    for name, function in chosen.items():
        report.check(name, lambda: function(built[name.split("/")[0]]))
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
