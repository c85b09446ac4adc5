"""Python's websockets as a server that echoes, with its defaults: permessage-deflate with a window of 12 bits."""

import asyncio

from websockets.asyncio.server import serve


async def echo(peer):
    async for message in peer:
        await peer.send(message)


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
