"""What the tests of examples/socketio share: its programs, and clients that write down what they are told."""

import asyncio
import os
import pathlib

import socketio

from peer import ROOT, TIMEOUT, Server

HERE = pathlib.Path(__file__).resolve().parent
CLIENT_JS = HERE / ".cache/node-socketio/node_modules/socket.io-client/dist/socket.io.min.js"
# A workspace of its own, so a folder of its own, unless a variable says otherwise.
PROGRAMS = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "examples/socketio/target")).absolute() / "debug"


class Suite(Server):
    FOLDER = PROGRAMS

    def __init__(self):
        super().__init__("suite", scheme="http")


class Chat(Server):
    FOLDER = PROGRAMS

    def __init__(self, *flags, **options):
        super().__init__("socketio", "--client-js", CLIENT_JS, *flags, scheme="http", **options)


class Client:
    """python-socketio. Each event goes to the end of `told`; `until` waits for one."""

    def __init__(self, name, **options):
        self.name = name
        self.told, self.more = [], asyncio.Event()
        self.sio = socketio.AsyncClient(reconnection_delay=0.05, reconnection_delay_max=0.1, **options)
        self.sio.on("*", self._tell)
        for event in "connect", "disconnect", "connect_error":
            self.sio.on(event, self._teller(event))

    def _teller(self, event):
        async def tell(*values):
            await self._tell(event, *values)

        return tell

    async def _tell(self, event, *values):
        self.told.append((event, *values))
        self.more.set()

    async def enter(self, server, *rooms, **options):
        auth = {"name": self.name} | options.pop("auth", {})
        await self.sio.connect(server.page, auth=auth, wait_timeout=TIMEOUT, **options)
        for room in rooms:
            assert (answer := await self.ask("join", room))["ok"], answer
        return self

    async def ask(self, event, data):
        return await self.sio.call(event, data, timeout=TIMEOUT)

    async def say(self, room, text):
        answer = await self.ask("say", {"room": room, "text": text})
        assert answer["ok"], answer

    async def until(self, condition):
        """Waits until the condition holds for one of what was told, and returns that. What came before it is forgotten."""

        async def look():
            while True:
                for i, told in enumerate(self.told):
                    if condition(*told):
                        del self.told[: i + 1]
                        return told
                self.more.clear()
                await self.more.wait()

        try:
            return await asyncio.wait_for(look(), TIMEOUT)
        except TimeoutError:
            raise AssertionError(f"{self.name} was told only {self.told!r:.300}")

    async def hears(self, *texts):
        """All of these were said, in this order, and nothing else is said before the last of them."""
        heard = []
        while not heard or heard[-1] != texts[-1]:
            event = await self.until(lambda event, *_: event == "said")
            heard.append(event[1]["text"])
        assert heard == list(texts), f"{self.name} heard {heard}, expected {list(texts)}"

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        # It would try to connect for ever.
        await self.sio.shutdown()
