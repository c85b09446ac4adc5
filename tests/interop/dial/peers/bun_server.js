// Bun's server, with compression on, as it says in its documentation.
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("WebSocket only", { status: 426 })),
  websocket: { perMessageDeflate: true, message: (peer, message) => { peer.send(message, true); } },
});
console.log(server.port);
