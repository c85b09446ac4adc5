"""What the scripts of this folder share: packages of the registry in a scratch workspace, their programs as processes, and a client."""

import ctypes
import fcntl
import json
import os
import pathlib
import queue
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute() / "programs"
# What is built, for both scripts: they share most dependencies.
BUILT = WORK / "target"
# Seconds that a build may take, and that one event may take.
BUILD_LIMIT, TIMEOUT = 1800, 20

# The stand-ins for tungstenite 0.30, and those for 0.29, which need other keys in the same table.
PATCH = f"""\
[patch.crates-io]
tungstenite = {{ path = "{ROOT}/crates/patch/tungstenite" }}
tokio-tungstenite = {{ path = "{ROOT}/crates/patch/tokio-tungstenite" }}
"""
PATCH_0_29 = f"""\
tungstenite-0-29 = {{ package = "tungstenite", path = "{ROOT}/crates/patch/0.29/tungstenite" }}
tokio-tungstenite-0-29 = {{ package = "tokio-tungstenite", path = "{ROOT}/crates/patch/0.29/tokio-tungstenite" }}
"""


def cargo(*arguments, folder):
    """Runs Cargo and returns what it prints on standard output."""
    # Whatever .ci sets: nobody steps through these programs.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(BUILT), "CARGO_PROFILE_DEV_DEBUG": "false", "CARGO_INCREMENTAL": "0"}
    result = subprocess.run(["cargo", *arguments], cwd=folder, env=environment, timeout=BUILD_LIMIT, text=True, capture_output=True)
    if result.returncode != 0:
        # Warnings about the packages are not for us.
        messages = [json.loads(line) for line in result.stdout.splitlines() if line.startswith('{"reason":"compiler-message"')]
        errors = [message["message"]["rendered"] for message in messages if message["message"]["level"] == "error"]
        sys.exit(f"{''.join(errors)}{result.stderr}cargo {' '.join(arguments)}: exit code {result.returncode}")
    return result.stdout


def registry(name, packages):
    """Takes packages from the registry: `{name: requirement}` gives `{name: folder}`."""
    folder = WORK / name / "registry"
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / "src/lib.rs").touch()
    head = '[workspace]\n[package]\nname = "registry"\nversion = "0.0.0"\nedition = "2024"\n\n[dependencies]\n'
    (folder / "Cargo.toml").write_text(head + dependencies(packages))
    # Cargo keeps what fits the requirements, and resolves the rest.
    shutil.copy(ROOT / "Cargo.lock", folder / "Cargo.lock")
    host = re.search(r"^host: (.*)$", subprocess.run(["rustc", "-vV"], text=True, stdout=subprocess.PIPE, check=True).stdout, re.MULTILINE)
    metadata = json.loads(cargo("metadata", "--format-version=1", f"--filter-platform={host[1]}", folder=folder))
    root = next(node for node in metadata["resolve"]["nodes"] if node["id"] == metadata["resolve"]["root"])
    ids = {dependency["pkg"] for dependency in root["deps"]}
    return {package["name"]: pathlib.Path(package["manifest_path"]).parent for package in metadata["packages"] if package["id"] in ids}


def dependencies(packages):
    """The lines of a table of dependencies. JSON's strings, lists and booleans are TOML's as well."""
    lines = []
    for name, requirement in packages.items():
        if isinstance(requirement, str):
            requirement = {"version": requirement}
        lines.append(f"{name} = {{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in requirement.items())} }}\n")
    return "".join(lines)


def workspace(name, patches):
    """Begins a workspace anew, with the versions of the repository's Cargo.lock. Its packages are the folders in it."""
    folder = WORK / name / "packages"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    packages = re.split(r"^(?=\[\[package\]\])", (ROOT / "Cargo.lock").read_text(), flags=re.MULTILINE)
    # Cargo keeps a release that is locked, whatever the patch says.
    kept = (package for package in packages if not re.search(r'^name = "(tokio-)?tungstenite"$', package, re.MULTILINE))
    (folder / "Cargo.lock").write_text("".join(kept))
    (folder / "Cargo.toml").write_text(f'[workspace]\nresolver = "3"\nmembers = ["*/"]\n\n{patches}')
    return folder


def executables(*arguments, folder):
    """Builds, and returns `{(folder, target, whether it is a test): path}` of what can be run."""
    found = {}
    for line in cargo(*arguments, "--message-format=json", "--quiet", folder=folder).splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["executable"]:
            package = pathlib.Path(message["manifest_path"]).parent.name
            found[package, message["target"]["name"], message["profile"]["test"]] = pathlib.Path(message["executable"])
    return found


def runs_on_bowline(folder, package):
    """Fails if a release of tungstenite takes part, or if bowline is not among what the package depends on."""
    lock = tomllib.loads((folder / "Cargo.lock").read_text())
    for locked in lock["package"]:
        if locked["name"] in ("tungstenite", "tokio-tungstenite"):
            assert "source" not in locked, f"{locked['name']} {locked['version']} of the registry is used"
    tree = cargo("tree", "--offline", "-p", package, "-e", "normal,dev", "-i", "bowline", "--prefix", "none", folder=folder)
    names = [line.split()[0] for line in tree.splitlines() if line]
    between = {"tungstenite", "tokio-tungstenite"} & set(names)
    assert names[0] == "bowline" and package in names and between, f"cargo tree -i bowline: {names}"


def network(*ports):
    """Gives this process, and those it starts, a network of their own, since the ports of the programs are fixed.

    Where that is not allowed, these ports have to be free. It is called before there are threads.
    """
    if sys.platform == "linux" and own_network():
        return
    for port in ports:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError as error:
            sys.exit(f"no network of our own, and port {port} of 127.0.0.1 is not free: {error}")


def own_network():
    """Says whether it may."""
    libc = ctypes.CDLL(None)
    new_user, new_net = 0x10000000, 0x40000000
    user, group = os.getuid(), os.getgid()
    if libc.unshare(new_net) != 0:
        if libc.unshare(new_user | new_net) != 0:
            return False
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    # Nothing but the loopback is there, and it is down: SIOCSIFFLAGS with IFF_UP.
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 1))
    return True


def websockets():
    """Makes Python's websockets importable, from the folder that tests/interop/run keeps it in."""
    version, cache = "17.4", ROOT / "tests/interop/.cache"
    stamp = cache / f"websockets-{version}"
    if not stamp.exists():
        shutil.rmtree(cache / "python", ignore_errors=True)
        environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", cache / "python", f"websockets=={version}"]
        subprocess.run(command, env=environment, timeout=300, check=True)
        stamp.touch()
    sys.path.insert(0, str(cache / "python"))


class Program:
    """A process, with the lines that it prints. The end of the `with` block ends it."""

    def __init__(self, *command, **variables):
        self.lines, self.seen = queue.Queue(), []
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RUST_BACKTRACE": "0", **variables},
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        # Read on to the end: a full pipe would stop the program.
        for line in self.process.stdout:
            self.lines.put(line.decode(errors="replace").rstrip("\n"))
        self.lines.put(None)

    def line(self, *parts):
        """Waits for a line with one of these parts, and returns it. The lines before it are dropped."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                line = None
            assert line is not None, f"no line with {parts} after {self.seen[-5:]}"
            self.seen.append(line)
            if any(part in line for part in parts):
                return line

    def exit_code(self):
        """Waits for the end."""
        self.process.stdin.close()
        return self.process.wait(TIMEOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def reach(open_one, program):
    """Calls `open_one` until there is somebody who listens, or the program has ended. Most programs do not say when they listen."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            return open_one()
        except ConnectionRefusedError:
            assert program.process.poll() is None, f"it ended: {program.seen} {list(program.lines.queue)}"
            assert time.monotonic() < deadline, "it does not listen"
            time.sleep(0.01)


def connect(url, program, **options):
    """A connection of Python's websockets."""
    from websockets.sync.client import connect

    return reach(lambda: connect(url, proxy=None, open_timeout=TIMEOUT, max_size=None, **options), program)


class Raw:
    """A WebSocket whose frames are written by hand."""

    def __init__(self, address, path, program):
        self.stream = reach(lambda: socket.create_connection(address, TIMEOUT), program)
        self.file = self.stream.makefile("rb")
        key = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        self.stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\n{key}\r\n".encode())
        status, *_ = self.head = list(iter(self.file.readline, b"\r\n"))
        assert b" 101 " in status, status

    def send(self, frame):
        self.stream.sendall(frame)

    def receive(self):
        """One short frame: its first byte and its payload."""
        first, length = self.file.read(2)
        assert length < 126, f"a frame of {length}"
        return first, self.file.read(length)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.stream.close()


def closed_with(ws, code):
    """Receives until the peer closes, and holds its code against this one."""
    from websockets.exceptions import ConnectionClosed

    try:
        while True:
            ws.recv(TIMEOUT)
    except ConnectionClosed as end:
        equal(end.rcvd and end.rcvd.code, code)


def echoes(url, program, **options):
    """Text and binary, short and long, fragments, control frames and the closing handshake. Returns the headers of the response."""
    with connect(url, program, **options) as ws:
        for message in "", "knot", "Palstek \N{KNOT}", b"", bytes(range(126)), b"\xff" * 65536, os.urandom(1 << 20):
            ws.send(message)
            equal(ws.recv(TIMEOUT), message)
        ws.send(["in ", "three ", "frames"])
        equal(ws.recv(TIMEOUT), "in three frames")
        assert ws.ping(b"still there?").wait(TIMEOUT), "no pong"
        ws.close(4001, "done")
        equal((ws.close_code, ws.close_reason), (4001, "done"))
        equal(ws.protocol.extensions, [])
        return ws.response.headers


def equal(got, expected):
    """`assert got == expected`, with both in the message, shortened."""
    assert got == expected, f"got {got!r:.200}, expected {expected!r:.200}"


class Report:
    """Prints a line for each check, and in the end how many passed, as unittest does."""

    def __init__(self):
        self.passed = self.failed = 0
        self.begin = time.monotonic()

    def check(self, name, run):
        """Runs a check, which raises if something is wrong. What it returns is how many tests it ran, if that is not one."""
        try:
            count = run() or 1
        except Exception as error:  # Whatever it is, the others still run.
            self.failed += 1
            print(f"not ok {name} {type(error).__name__}: {error}", flush=True)
        else:
            self.passed += count
            print(f"ok {name}" + (f" {count} tests" if count > 1 else ""), flush=True)

    def exit_code(self):
        print(f"Ran {self.passed} tests in {time.monotonic() - self.begin:.1f} s")
        print(f"{self.passed} passed, {self.failed} failed")
        # No test at all is a failure too.
        return 0 if self.passed and not self.failed else 1
