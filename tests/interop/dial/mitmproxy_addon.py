"""Has mitmproxy write down each WebSocket message that it sees, as a line of JSON."""

import json
import os


def websocket_message(flow):
    message = flow.websocket.messages[-1]
    line = {"from_client": message.from_client, "text": message.content.decode(), "url": flow.request.pretty_url}
    with open(os.environ["MESSAGES"], "a") as file:
        file.write(json.dumps(line) + "\n")
