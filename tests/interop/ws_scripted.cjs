// Servers of the `ws` package for Node.js that do with each connection what a script says; `reconnect.py` starts it.
//
// Each line of stdin is JSON: [number, script] starts a server on a free port, [number, null] stops it. Each line of stdout is JSON too:
// [number, "port", port], and for each request [number, "request", seconds of the monotonic clock, headers].
//
// A script is a list of steps, of which the last is for all that follow: {close: code or null, after: seconds}, {drop: true},
// {status: number, headers: pairs}, {stay: true}.
"use strict";

const readline = require("node:readline");
const { WebSocketServer } = require("ws");

const servers = new Map();

function say(...values) {
  console.log(JSON.stringify(values));
}

function act(step, socket) {
  socket.on("error", () => {});
  if ("close" in step) {
    const close = () => (step.close === null ? socket.close() : socket.close(step.close));
    setTimeout(close, step.after * 1000);
  } else if (step.drop) {
    socket.terminate();
  } else {
    socket.send("Hello");
  }
}

function start(number, script) {
  let count = 0;
  const server = new WebSocketServer({
    host: "127.0.0.1",
    port: 0,
    verifyClient: ({ req }, done) => {
      say(number, "request", Number(process.hrtime.bigint()) / 1e9, req.headers);
      req.step = script[Math.min(count++, script.length - 1)];
      "status" in req.step ? done(false, req.step.status, undefined, Object.fromEntries(req.step.headers)) : done(true);
    },
  });
  server.on("connection", (socket, request) => act(request.step, socket));
  server.on("listening", () => say(number, "port", server.address().port));
  servers.set(number, server);
}

function stop(number) {
  const server = servers.get(number);
  servers.delete(number);
  server.clients.forEach(client => client.terminate());
  server.close();
}

const input = readline.createInterface({ input: process.stdin });
input.on("line", line => {
  const [number, script] = JSON.parse(line);
  script === null ? stop(number) : start(number, script);
});
input.on("close", () => process.exit());
