"""What the interoperability scripts share: the examples as processes, and checks that print one line each."""

import asyncio
import os
import pathlib
import queue
import signal
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).absolute() / "release"
SERVERS = [
    "echo_server", "echo_server_blocking", "echo_server_smol", "echo_server_mio", "hyper_server", "axum_server", "service",
]  # fmt: skip
TIMEOUT = 20


class Server:
    """One of the echo servers, on a free port of loopback if not told otherwise; the end of the `with` block interrupts it."""

    FOLDER = EXAMPLES

    def __init__(self, name, *flags, scheme="ws", listen="127.0.0.1:0"):
        self.name, self.flags = name, flags
        # A shell that runs this in the background may have SIGINT ignored, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            [self.FOLDER / name, "--listen", listen, *flags], stdout=subprocess.PIPE, text=True
        )
        lines = self.lines = queue.Queue()
        threading.Thread(target=self._read, args=[lines], daemon=True).start()
        try:
            line = lines.get(timeout=TIMEOUT)
        except queue.Empty:
            line = "nothing"
        # A Unix socket has no URL. Its path is the address.
        prefix = f"listening on {'unix:' if listen.startswith('unix:') else scheme + '://'}"
        if not line.startswith(prefix):
            self.process.kill()
            raise AssertionError(f"{name} printed {line!r}, expected {prefix!r} and an address")
        self.address = line.removeprefix(prefix).strip().rstrip("/")
        self.url = f"{scheme}://{self.address}/"
        self.page = f"http://{self.address}/"

    def _read(self, lines):
        # Read on to the end: a full pipe would stop the server.
        for line in self.process.stdout:
            lines.put(line)
        lines.put("")

    def interrupt(self):
        """Sends what Ctrl-C sends and returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(TIMEOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            try:
                self.interrupt()
            finally:
                self.process.kill()


class Checks:
    """Runs checks, prints a line for each, and remembers whether one failed."""

    def __init__(self):
        self.passed = self.failed = 0

    def report(self, name, error=None):
        if error is None:
            self.passed += 1
            print(f"ok      {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)

    async def run(self, name, check, seconds):
        """Waits for a check, at most so long, and reports it."""
        try:
            await asyncio.wait_for(check, seconds)
        except Exception as error:
            self.report(name, error)
        else:
            self.report(name)

    def exit_code(self):
        print(f"{self.passed} passed, {self.failed} failed")
        # No check at all is a failure too.
        return 0 if self.passed and not self.failed else 1


def equal(got, expected):
    """`assert got == expected`, with both in the message, shortened."""
    assert got == expected, f"got {got!r:.200}, expected {expected!r:.200}"
