// The `ws` package for Node.js with any settings of compression; `deflate.py` starts it.
//
//   node ws_peer.cjs serve OPTIONS...   an echo server for each; prints their addresses, one a line
//   node ws_peer.cjs connect            reads a list of [url, options, largest message] from stdin; prints a line for each
//
// OPTIONS are those of `perMessageDeflate`, as JSON.
"use strict";

const { WebSocket, WebSocketServer } = require("ws");

// As in deflate_peer.rs.
const SIZES = [0, 1, 127, 128, 1024, 16384, 1024, 65537, 1000000, 300];
// So many connections at a time.
const AT_ONCE = 6;

function text(size, seed) {
  let text = "";
  for (let n = seed; text.length < size; n += 1) {
    text += JSON.stringify({ id: n * 7919, name: `user${n % 89}`, tags: ["alpha", "beta"] });
  }
  return Buffer.from(text.slice(0, size));
}

function noise(size, seed) {
  const bytes = Buffer.alloc(size);
  let state = 0x9e3779b9 ^ seed;
  for (let i = 0; i < size; i += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

function send(socket, data, binary, way) {
  if (way % 3 === 0) {
    const half = data.length >> 1;
    socket.send(data.subarray(0, half), { fin: false, binary });
    socket.send(data.subarray(half), { binary });
  } else {
    socket.send(data, { binary });
  }
}

function serve(options) {
  return new Promise((resolve, reject) => {
    const perMessageDeflate = { threshold: 0, ...options };
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate });
    server.on("connection", socket => {
      let way = 0;
      socket.on("message", (data, binary) => send(socket, data, binary, (way += 1)));
      // The client notices too.
      socket.on("error", error => console.error(error.message));
    });
    server.on("listening", () => resolve(server.address().port));
    server.on("error", reject);
  });
}

// What was agreed on, once all has come back.
function connect(url, options, largest) {
  return new Promise((resolve, reject) => {
    const sizes = SIZES.filter(size => size <= largest);
    const messages = sizes.flatMap((size, i) => [[text(size, i), false], [noise(size, i), true]]);
    const perMessageDeflate = { threshold: 0, ...options };
    const socket = new WebSocket(url, { perMessageDeflate, maxPayload: 0 });
    let next = 0;
    const go = () => (next < messages.length ? send(socket, ...messages[next], next) : socket.close(1000));
    socket.on("open", go);
    socket.on("message", (data, binary) => {
      const [expected, expectedBinary] = messages[next];
      if (!data.equals(expected) || binary !== expectedBinary) {
        reject(new Error(`message ${next}, of ${expected.length} bytes, came back as another`));
        socket.terminate();
        return;
      }
      next += 1;
      go();
    });
    socket.on("close", code => {
      const extension = socket._extensions["permessage-deflate"];
      next === messages.length && code === 1000
        ? resolve(extension ? extension.params : null)
        : reject(new Error(`closed with ${code} after ${next} messages`));
    });
    socket.on("error", reject);
  });
}

async function main() {
  const [command, ...options] = process.argv.slice(2);
  if (command === "serve") {
    for (const option of options) console.log(`127.0.0.1:${await serve(JSON.parse(option))}`);
    console.log("listening");
    return;
  }
  let input = "";
  for await (const chunk of process.stdin) input += chunk;
  const jobs = JSON.parse(input);
  const results = jobs.map(() => null);
  let next = 0;
  const worker = async () => {
    while (next < jobs.length) {
      const job = next++;
      results[job] = await connect(...jobs[job]).then(
        agreed => ({ agreed }),
        error => ({ error: error.message }),
      );
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  for (const result of results) console.log(JSON.stringify(result));
}

main();
