// npm's ws as a server that echoes; permessage-deflate is off by default, and on with its defaults here.
const { WebSocketServer } = require("ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: true }, () => console.log(server.address().port));
server.on("connection", (peer) => peer.on("message", (data, binary) => peer.send(data, { binary })));
