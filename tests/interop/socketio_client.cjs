// The chat of examples/socketio against npm's socket.io-client.
//
//     node socketio_client.cjs SOCKETIO SUITE    both programs of examples/socketio
//
// It starts the servers itself, since it stops and starts one on the same port. A wait has an end, and each server is ended with this.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { randomBytes } = require("node:crypto");
const { resolve } = require("node:path");
const { io } = require("socket.io-client");

const DEADLINE = 10_000;
const [CHAT, SUITE] = process.argv.slice(2);
const CLIENT_JS = resolve(require.resolve("socket.io-client"), "../../../dist/socket.io.min.js");
const children = new Set();
const sockets = new Set();

process.on("exit", () => { for (const child of children) child.kill("SIGKILL"); });
process.on("SIGTERM", () => process.exit(1));

// The promise, or an error that says what did not come.
function within(what, promise, ms = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what}: not in ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// The values of the next event with this name, for which the condition holds.
function event(emitter, name, condition = () => true) {
  return within(name, new Promise(resolve => {
    const listener = (...values) => {
      if (!condition(...values)) return;
      emitter.off(name, listener);
      resolve(values);
    };
    emitter.on(name, listener);
  }));
}

// Starts a program. Its url, and how to end it.
async function start(program, ...flags) {
  const child = spawn(program, flags, { stdio: ["ignore", "pipe", "inherit"] });
  children.add(child);
  const exit = new Promise(done => child.on("exit", done)).finally(() => children.delete(child));
  const line = await within(program, Promise.race([
    new Promise(done => child.stdout.once("data", data => done(String(data)))),
    exit.then(code => { throw new Error(`${program} ended with ${code}`); }),
  ]));
  const url = line.match(/^listening on (http:.*)\/\n/)[1];
  return { url, stop: () => { child.kill("SIGINT"); return within("the end of the server", exit); } };
}

const chat = (...flags) => start(CHAT, "--client-js", CLIENT_JS, "--listen", "127.0.0.1:0", ...flags);

function open(url, name, options = {}) {
  const socket = io(url, { auth: { name }, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 100, ...options });
  sockets.add(socket);
  return socket;
}

// A client that is connected, over a WebSocket in the end.
async function enter(url, name, options) {
  const socket = open(url, name, options);
  await event(socket, "connect");
  if (!options?.transports) await upgraded(socket);
  return socket;
}

async function upgraded(socket) {
  const { engine } = socket.io;
  if (engine.transport.name !== "websocket") await event(engine, "upgrade");
}

async function ask(socket, name, ...values) {
  return await within(`the answer to ${name}`, socket.emitWithAck(name, ...values));
}

async function join(socket, ...rooms) {
  for (const room of rooms) assert.equal((await ask(socket, "join", room)).ok, true);
}

// What a client is told, in order.
function record(socket) {
  const told = [];
  socket.onAny((name, value) => told.push(name === "said" ? `${value.from}: ${value.text}` : `${name} ${value?.name ?? ""}`));
  return told;
}

// A list of cases, each with a server that is started for it or shared.
const CASES = {
  async polling_comes_first_and_becomes_a_websocket({ url }) {
    const socket = open(url, "Ada");
    const seen = [];
    socket.io.on("open", () => seen.push(socket.io.engine.transport.name));
    await event(socket, "connect");
    await upgraded(socket);
    seen.push(socket.io.engine.transport.name);
    assert.deepEqual(seen, ["polling", "websocket"]);
    assert.equal((await ask(socket, "join", "here")).ok, true);
  },

  async websocket_alone({ url }) {
    const socket = await enter(url, "Ada", { transports: ["websocket"] });
    assert.equal(socket.io.engine.transport.name, "websocket");
    await join(socket, "here");
  },

  async polling_alone({ url }) {
    const [ada, bob] = [await enter(url, "Ada", { transports: ["polling"] }), await enter(url, "Bob", { transports: ["polling"] })];
    await join(ada, "here");
    await join(bob, "here");
    const said = event(bob, "said");
    await ask(ada, "say", { room: "here", text: "by polling" });
    assert.equal((await said)[0].text, "by polling");
    assert.equal(bob.io.engine.transport.name, "polling");
  },

  async messages_during_the_upgrade_come_once_and_in_order({ url }) {
    const bob = await enter(url, "Bob");
    await join(bob, "here");
    const texts = Array.from({ length: 100 }, (_, i) => `${i}`);
    const got = [];
    const all = event(bob, "said", ({ text }) => { got.push(text); return text === "99"; });
    const ada = open(url, "Ada");
    // Sent before there is a connection, so the client sends them as soon as it can.
    const joined = ask(ada, "join", "here");
    const answers = Promise.all(texts.map(text => ask(ada, "say", { room: "here", text })));
    assert.equal((await joined).ok, true);
    assert.ok((await answers).every(answer => answer.ok));
    await upgraded(ada);
    await all;
    assert.deepEqual(got, texts);
  },

  async the_server_acknowledges({ url }) {
    const ada = await enter(url, "Ada");
    assert.deepEqual(await ask(ada, "join", "here"), { ok: true, people: ["Ada"] });
    const answer = await ask(ada, "say", { room: "here", text: "Hello" });
    assert.ok(answer.ok && Math.abs(answer.at - Date.now()) < 60_000, JSON.stringify(answer));
    assert.deepEqual(await ask(ada, "say", { room: "there", text: "Hello" }), { ok: false, error: "you are not in this room" });
    assert.deepEqual(await ask(ada, "join", "No Such"), { ok: false, error: "a room has 1 to 32 lower-case letters, digits or hyphens" });
  },

  async the_server_asks_a_client({ url }) {
    const [ada, bob] = [await enter(url, "Ada"), await enter(url, "Bob")];
    let asked;
    bob.on("knock", (question, answer) => { asked = question; answer({ here: true }); });
    assert.deepEqual(await ask(ada, "knock", "Bob"), { ok: true, answer: { here: true } });
    assert.deepEqual(asked, { from: "Ada" });
    assert.deepEqual(await ask(ada, "knock", "Cid"), { ok: true, answer: null, why: "not here" });
  },

  async a_client_that_does_not_answer({ url }) {
    const [ada] = [await enter(url, "Ada"), await enter(url, "Bob")];
    assert.deepEqual(await ask(ada, "knock", "Bob"), { ok: true, answer: null, why: "no answer" });
  },

  async rooms_and_who_is_there({ url }) {
    const [ada, bob, cid] = [await enter(url, "Ada"), await enter(url, "Bob"), await enter(url, "Cid")];
    await join(ada, "one", "two");
    await join(bob, "one");
    await join(cid, "two");
    const told = { bob: record(bob), cid: record(cid), ada: record(ada) };
    assert.deepEqual(await ask(ada, "who", "one"), { ok: true, people: ["Ada", "Bob"] });
    await ask(ada, "say", { room: "one", text: "to one" });
    await ask(ada, "say", { room: "two", text: "to two" });
    assert.equal((await ask(bob, "leave", "one")).ok, true);
    await ask(ada, "say", { room: "one", text: "to nobody" });
    assert.equal((await ask(bob, "join", "two")).ok, true);
    await ask(ada, "say", { room: "two", text: "the last" });
    // Packets for a client stay in order. So after this nothing else is on its way.
    for (const socket of [ada, bob, cid]) await ask(socket, "who", "two");
    assert.deepEqual(told.bob, ["Ada: to one", "Ada: the last"]);
    assert.deepEqual(told.cid, ["Ada: to two", "joined Bob", "Ada: the last"]);
    assert.deepEqual(told.ada, ["left Bob", "joined Bob"]);
    assert.deepEqual((await ask(ada, "who", "one")).people, ["Ada"]);
  },

  async a_client_that_goes_is_seen_to_go({ url }) {
    const [ada, bob] = [await enter(url, "Ada"), await enter(url, "Bob")];
    await join(ada, "here");
    await join(bob, "here");
    const left = event(ada, "left");
    bob.disconnect();
    assert.deepEqual((await left)[0], { room: "here", name: "Bob" });
  },

  async typing_is_told_to_the_others({ url }) {
    const [ada, bob] = [await enter(url, "Ada"), await enter(url, "Bob")];
    await join(ada, "here");
    await join(bob, "here");
    const typing = event(bob, "typing");
    ada.volatile.emit("typing", "here");
    assert.deepEqual((await typing)[0], { room: "here", name: "Ada" });
  },

  async binary_is_exact({ url }) {
    const [ada, bob] = [await enter(url, "Ada"), await enter(url, "Bob")];
    await join(ada, "here");
    await join(bob, "here");
    for (const size of [1, 125, 126, 65_535, 65_536, 1 << 20]) {
      const data = randomBytes(size);
      const file = event(bob, "file");
      const sent = { room: "here", name: `${size}.bin`, kind: "application/octet-stream", data };
      assert.equal((await ask(ada, "file", sent)).bytes, size);
      const { at, ...got } = (await file)[0];
      assert.ok(Buffer.isBuffer(got.data) && got.data.equals(data), `${size} bytes came back otherwise`);
      assert.deepEqual({ ...got, data }, { ...sent, from: "Ada" });
    }
  },

  async a_mebibyte_by_polling({ url }) {
    const options = { transports: ["polling"] };
    const [ada, bob] = [await enter(url, "Ada", options), await enter(url, "Bob", options)];
    await join(ada, "here");
    await join(bob, "here");
    const data = randomBytes(1 << 20);
    const file = event(bob, "file");
    assert.equal((await ask(ada, "file", { room: "here", name: "large", kind: "x", data })).ok, true);
    assert.ok((await file)[0].data.equals(data));
  },

  async a_mebibyte_of_text() {
    const server = await start(SUITE);
    const socket = await enter(server.url, "Ada", { transports: ["websocket"] });
    const text = "Größe ".repeat(Math.ceil((1 << 20) / 8));
    assert.ok(Buffer.byteLength(text) >= 1 << 20);
    const back = event(socket, "message-back");
    socket.emit("message", text, 2);
    assert.deepEqual(await back, [text, 2]);
    assert.deepEqual(await ask(socket, "message-with-ack", text, { data: Buffer.from([0, 255]) }), text);
    socket.disconnect();
    assert.equal(await server.stop(), 0);
  },

  async a_client_without_a_name_is_refused({ url }) {
    const socket = open(url, "");
    const [error] = await event(socket, "connect_error");
    assert.deepEqual(JSON.parse(error.message), { code: "name", text: "a name has 1 to 24 characters, and no blanks around them" });
    // It does not come back by itself: it would be refused again.
    assert.equal(socket.active, false);
    socket.auth.name = "Ada";
    socket.connect();
    await event(socket, "connect");
  },

  async a_client_without_the_token_is_refused() {
    const server = await chat("--token", "secret");
    for (const token of [undefined, "wrong", "secret2"]) {
      const [error] = await event(open(server.url, "Ada", { auth: { name: "Ada", token } }), "connect_error");
      assert.deepEqual(JSON.parse(error.message), { code: "token", text: "the token is missing or wrong" });
    }
    await enter(server.url, "Ada", { auth: { name: "Ada", token: "secret" } });
    assert.equal(await server.stop(), 0);
  },

  async a_name_belongs_to_one({ url }) {
    const ada = await enter(url, "Ada", { auth: { name: "Ada", tab: "a" } });
    const [error] = await event(open(url, "ada", { auth: { name: "ada", tab: "b" } }), "connect_error");
    assert.equal(JSON.parse(error.message).code, "taken");
    // Another connection of the same page takes it over.
    const gone = event(ada, "disconnect");
    await enter(url, "Ada", { auth: { name: "Ada", tab: "a" } });
    assert.equal((await gone)[0], "io server disconnect");
  },

  async the_server_closes({ url }) {
    const ada = await enter(url, "Ada");
    const gone = event(ada, "disconnect");
    for (let i = 0; i < 10; i++) ada.emit("say", { room: "nowhere", text: "x" });
    assert.equal((await gone)[0], "io server disconnect");
    assert.equal(ada.active, false);
  },

  async a_client_comes_back_to_the_server() {
    const first = await chat();
    const ada = await enter(first.url, "Ada");
    const bob = await enter(first.url, "Bob", { transports: ["websocket"] });
    await join(ada, "here");
    const gone = [event(ada, "disconnect"), event(bob, "disconnect")];
    assert.equal(await first.stop(), 0);
    for (const [reason] of await Promise.all(gone)) assert.equal(reason, "transport close");
    const back = [event(ada, "connect"), event(bob, "connect")];
    const second = await chat("--listen", new URL(first.url).host);
    assert.equal(second.url, first.url);
    await Promise.all(back);
    await upgraded(ada);
    await join(ada, "here");
    await join(bob, "here");
    const said = event(bob, "said");
    await ask(ada, "say", { room: "here", text: "again" });
    assert.equal((await said)[0].text, "again");
    assert.equal(await second.stop(), 0);
  },

  async pings_as_often_as_the_options_say() {
    const server = await chat("--ping-interval", "0.1", "--ping-timeout", "5");
    const opened = await (await fetch(`${server.url}/socket.io/?EIO=4&transport=polling`)).text();
    const { pingInterval, pingTimeout } = JSON.parse(opened.slice(1));
    assert.deepEqual([pingInterval, pingTimeout], [100, 5000]);
    const ada = await enter(server.url, "Ada");
    for (let i = 0; i < 5; i++) await event(ada.io, "ping");
    assert.equal(ada.connected, true);
    assert.equal(await server.stop(), 0);
  },

  async another_path() {
    const server = await chat("--path", "/deep/er/");
    await join(await enter(server.url, "Ada", { path: "/deep/er/" }), "here");
    assert.equal((await fetch(`${server.url}/socket.io/?EIO=4&transport=polling`)).status, 404);
    assert.match(await (await fetch(server.url)).text(), /data-path="\/deep\/er\/"/);
    assert.equal(await server.stop(), 0);
  },

  async a_cookie_has_the_session() {
    const server = await chat("--cookie", "io");
    const response = await fetch(`${server.url}/socket.io/?EIO=4&transport=polling`);
    const { sid } = JSON.parse((await response.text()).slice(1));
    assert.equal(response.headers.get("set-cookie"), `io=${sid}; Path=/; HttpOnly; SameSite=Lax`);
    await enter(server.url, "Ada");
    assert.equal(await server.stop(), 0);
  },

  async pages_of_other_origins() {
    const server = await chat("--allow-origin", "https://good.example");
    const url = `${server.url}/socket.io/?EIO=4&transport=polling`;
    const get = (origin, options) => fetch(url, { headers: { origin }, ...options });
    const good = await get("https://good.example");
    assert.equal(good.status, 200);
    assert.equal(good.headers.get("access-control-allow-origin"), "https://good.example");
    assert.equal(good.headers.get("access-control-allow-credentials"), "true");
    const bad = await get("https://bad.example");
    assert.deepEqual([bad.status, bad.headers.get("access-control-allow-origin")], [403, null]);
    assert.equal((await get(server.url)).status, 200);
    // A WebSocket is not for CORS to stop.
    const from = origin => open(server.url, "Ada", { transports: ["websocket"], extraHeaders: { origin }, reconnection: false });
    await event(from("https://bad.example"), "connect_error");
    await event(from("https://good.example"), "connect");
    assert.equal(await server.stop(), 0);
  },
};

async function main() {
  let passed = 0, failed = 0;
  for (const [name, run] of Object.entries(CASES)) {
    let error;
    try {
      const server = await chat();
      // Two at once would have the same names, so each case has a server of its own.
      await within(name, run(server), 3 * DEADLINE);
      for (const socket of sockets) socket.disconnect();
      assert.equal(await server.stop(), 0);
    } catch (caught) {
      error = caught;
    }
    for (const socket of sockets) socket.disconnect();
    sockets.clear();
    for (const child of children) child.kill("SIGKILL");
    if (error) failed++; else passed++;
    console.log(error ? `FAILED  npm: ${name}: ${error.stack}` : `ok      npm: ${name}`);
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(passed && !failed ? 0 : 1);
}

main();
