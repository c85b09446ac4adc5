#!/usr/bin/env python3
"""The chat of examples/socketio and its `suite`, against all that speaks to them. `run` installs what this needs and starts it.

    socketio_all.py [suite|npm|python|page|nodes|usage]...    some of it; all without a name
"""

import asyncio
import signal
import subprocess
import sys
import time

import socketio_nodes
import socketio_page
import socketio_python
import socketio_suite
from peer import TIMEOUT, Checks, equal
from socketio_peer import CLIENT_JS, PROGRAMS, Chat, Suite

# How many cases each part has to pass, at least.
AT_LEAST = {"suite": 56, "npm": 22, "python": 8, "page": 4, "nodes": 8, "usage": 12}


async def suite(checks):
    with Suite() as server:
        await socketio_suite.run(server.address, checks)


async def npm(checks):
    """A program of its own, whose lines are counted."""
    script = socketio_page.HERE / "socketio_client.cjs"
    process = await asyncio.create_subprocess_exec(
        "node", script, PROGRAMS / "socketio", PROGRAMS / "suite", stdout=asyncio.subprocess.PIPE, limit=1 << 20
    )
    try:
        async with asyncio.timeout(120):
            async for line in process.stdout:
                print(line.decode(), end="", flush=True)
                checks.passed += line.startswith(b"ok ")
                checks.failed += line.startswith(b"FAILED ")
            await process.wait()
    finally:
        if process.returncode is None:
            # SIGTERM, so that it ends its servers.
            process.terminate()
            await process.wait()


async def each(name, cases, checks, server=None):
    for case in cases:
        title = f"{name}: {case.__name__}"
        try:
            if server:
                with server() as running:
                    await asyncio.wait_for(case(running), 3 * TIMEOUT)
            else:
                await asyncio.wait_for(case(), 3 * TIMEOUT)
        except Exception as error:
            checks.report(title, error)
        else:
            checks.report(title)


async def python(checks):
    await each("python-socketio", socketio_python.CASES, checks, Chat)


async def page(checks):
    await socketio_page.run(checks)


async def nodes(checks):
    await each("redis", socketio_nodes.CASES, checks)


# Wrong options, and what the error has to say.
USAGE = [
    (["--no-such"], "--no-such"),
    (["file"], "file"),
    (["--path", "chat"], "--path \"chat\": expected a path such as /socket.io/"),
    (["--path", "/a b/"], "--path"),
    (["--ping-interval", "0"], "--ping-interval \"0\": expected a number of seconds above zero"),
    (["--ping-timeout", "soon"], "--ping-timeout \"soon\""),
    (["--max-payload", "-1"], "--max-payload \"-1\""),
    (["--allow-origin", "https://example.com/page"], "without a path"),
    (["--cookie", "a b"], "--cookie"),
    (["--token", ""], "--token"),
    (["--redis", "http://127.0.0.1"], "expected redis://HOST:PORT"),
]


async def usage(checks):
    for flags, says in USAGE:
        done = subprocess.run([PROGRAMS / "socketio", *flags], capture_output=True, text=True, timeout=TIMEOUT)
        try:
            equal((done.returncode, done.stdout), (2, ""))
            assert done.stderr.startswith("socketio: ") and says in done.stderr, done.stderr
            assert done.stderr.count("\n") == 1 and "see --help" in done.stderr, done.stderr
        except AssertionError as error:
            checks.report(f"usage: {flags}", error)
        else:
            checks.report(f"usage: {flags}")
    done = subprocess.run([PROGRAMS / "socketio", "--client-js", "/none"], capture_output=True, text=True, timeout=TIMEOUT)
    right = done.returncode == 1 and "npm install socket.io-client" in done.stderr
    checks.report("usage: no client for the page", None if right else AssertionError(done.stderr))


PARTS = {"suite": suite, "npm": npm, "python": python, "page": page, "nodes": nodes, "usage": usage}


async def main():
    assert CLIENT_JS.exists(), f"{CLIENT_JS} is missing: start tests/interop/run socketio"
    # So that servers and browsers are ended when a timeout ends this.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    checks = Checks()
    names = sys.argv[1:] or list(PARTS)
    if unknown := set(names) - set(PARTS):
        sys.exit(f"tests/interop/run socketio: unknown part {', '.join(unknown)}, expected some of {', '.join(PARTS)}")
    for name in names:
        began, before = time.monotonic(), checks.passed
        await PARTS[name](checks)
        passed = checks.passed - before
        if passed < AT_LEAST[name]:
            few = AssertionError(f"{passed} cases passed, expected at least {AT_LEAST[name]}")
            checks.report(f"{name}: enough cases", few)
        print(f"        {name}: {passed} passed in {time.monotonic() - began:.1f} s", flush=True)
    return checks.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
