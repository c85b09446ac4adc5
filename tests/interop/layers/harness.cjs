// What the parts of `tests/interop/run layers` share: programs of target/debug as processes, a raw peer, a relay that can be stalled,
// and cases that print one line each.
//
//   const { cases, equal } = require("./harness.cjs");
//   cases("part", 12, { "a name that says what holds": async t => { const server = await t.start("program"); ... } });
//
// All that a case starts through its argument `t` is ended with the case. Nothing sleeps: each wait is for an event, and has an end.
"use strict";

const assert = require("node:assert/strict");
const { execFile, spawn } = require("node:child_process");
const { mkdtempSync } = require("node:fs");
const { rm } = require("node:fs/promises");
const http = require("node:http");
const net = require("node:net");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { createInterface } = require("node:readline");
const { inspect } = require("node:util");
// Where `run` installs packages, if this is started without it. So a part requires this first.
process.env.NODE_PATH ??= path.resolve(__dirname, "../.cache/node-layers/node_modules");
require("node:module").Module._initPaths();
const WebSocket = require("ws");

const ROOT = path.resolve(__dirname, "../../..");
const PROGRAMS = path.join(path.resolve(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, "target")), "debug");

// How long one wait may take, and one case.
const DEADLINE = 10_000;
const CASE_LIMIT = 40_000;

const children = new Set();
process.on("exit", () => { for (const child of children) child.kill("SIGKILL"); });
process.on("SIGTERM", () => process.exit(1));
process.on("SIGINT", () => process.exit(1));

// The promise, or an error that says what did not come.
function within(what, promise, ms = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what}: not in ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

const equal = (got, expected, what) => assert.deepEqual(got, expected, what);

// What was told, in order. `next` takes the first value for which the condition holds, and forgets those before it.
class Inbox {
  constructor(name) {
    this.name = name;
    this.values = [];
    this.waiting = new Set();
  }

  push = value => {
    this.values.push(value);
    for (const look of [...this.waiting]) look();
  };

  // Nothing will come any more: who waits is told.
  end(why) {
    this.over = why;
    for (const look of [...this.waiting]) look();
  }

  next(condition = () => true, ms = DEADLINE) {
    let look;
    const found = new Promise((resolve, reject) => {
      look = () => {
        const at = this.values.findIndex(condition);
        if (at >= 0) resolve(this.values.splice(0, at + 1)[at]);
        else if (this.over) reject(new Error(`${this.name} ended: ${this.over}; it was told ${this.shown()}`));
        else return;
        this.waiting.delete(look);
      };
      this.waiting.add(look);
      look();
    });
    return within(`a message to ${this.name}`, found, ms).catch(error => {
      throw new Error(`${error.message}; it was told ${this.shown()}, and waits for ${condition}`);
    }).finally(() => this.waiting.delete(look));
  }

  shown() { return JSON.stringify(this.values).slice(0, 500); }
}

// A program of target/debug that has said where it listens.
async function start(program, ...flags) {
  const listen = flags.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
  const child = spawn(path.join(PROGRAMS, program), [...listen, ...flags], { stdio: ["ignore", "pipe", "pipe"] });
  children.add(child);
  const exit = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => resolve(code ?? signal));
  }).finally(() => children.delete(child));
  exit.catch(() => {});
  const lines = new Inbox(program);
  const errors = [];
  createInterface(child.stdout).on("line", lines.push);
  // Kept, and shown if the case fails.
  createInterface(child.stderr).on("line", line => { errors.push(line); lines.push(line); });
  const line = await Promise.race([
    lines.next(line => line.startsWith("listening on http://")),
    exit.then(code => { throw new Error(`${program} ended with ${code}: ${errors.join("; ")}`); }),
  ]);
  const url = line.replace("listening on ", "").trim().replace(/\/$/, "");
  const { host, port } = new URL(url);
  const send = signal => { child.kill(signal); return within(`the end of ${program}`, exit); };
  return {
    url, host, port: Number(port), ws: url.replace("http", "ws"), lines, errors, exit,
    // What Ctrl-C does; gives the exit code.
    stop: () => send("SIGINT"),
    kill: () => send("SIGKILL"),
    pid: child.pid,
  };
}

// A WebSocket peer for what the official client never sends. `messages` is what came; `closed` is code and reason.
async function raw(url, protocols = [], options = {}) {
  const socket = new WebSocket(url, protocols, { perMessageDeflate: false, ...options });
  const messages = new Inbox("the raw peer");
  const closed = new Promise(resolve => socket.on("close", (code, reason) => {
    resolve({ code, reason: String(reason) });
    messages.end(`closed with ${code} ${reason}`);
  }));
  socket.on("message", (data, binary) => messages.push(binary ? data : String(data)));
  await within(`a connection to ${url}`, new Promise((resolve, reject) => {
    socket.on("open", resolve);
    socket.on("unexpected-response", (_, response) => {
      const refused = new Error(`refused with status ${response.statusCode}`);
      response.resume();
      reject(Object.assign(refused, { status: response.statusCode }));
    });
    socket.on("error", reject);
  }));
  return {
    socket, messages, protocol: socket.protocol,
    send: value => socket.send(typeof value === "string" || Buffer.isBuffer(value) ? value : JSON.stringify(value)),
    next: (condition, ms) => messages.next(condition, ms),
    json: async (condition = () => true, ms) => JSON.parse(await messages.next(text => condition(JSON.parse(text)), ms)),
    closed: ms => within("the close", closed, ms),
    // Reads nothing more: the kernel's buffers fill up.
    stopReading: () => socket.pause(),
    end: () => socket.terminate(),
  };
}

// The status with which a request for a WebSocket is refused.
async function refusal(url, protocols = [], options = {}) {
  let peer;
  try {
    peer = await raw(url, protocols, options);
  } catch (error) {
    if (error.status) return error.status;
    throw error;
  }
  peer.end();
  throw new Error(`${url} accepted a WebSocket`);
}

// TCP in between: `stall` holds back all bytes, `cut` ends all connections. `target` may change when a server is started again.
async function relay(port) {
  const links = new Set();
  const self = { target: port, stalled: false, refusing: false, blocking: false, arrivals: new Inbox("the relay"), links };
  const server = net.createServer(near => {
    near.on("error", () => {});
    if (self.refusing) return near.destroy();
    self.arrivals.push("a connection");
    const far = net.connect(self.target, "127.0.0.1");
    const link = { near, far };
    links.add(link);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on("error", () => {});
      from.on("data", bytes => {
        if (self.blocking && from === near && /^upgrade: *websocket/im.test(bytes.toString("latin1"))) {
          near.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
          far.destroy();
          return;
        }
        if (!to.write(bytes)) from.pause();
      });
      to.on("drain", () => { if (!self.stalled) from.resume(); });
      from.on("end", () => to.end());
      from.on("close", () => { to.destroy(); links.delete(link); });
    }
    if (self.stalled) { near.pause(); far.pause(); }
  });
  await within("a relay", new Promise(done => server.listen(0, "127.0.0.1", done)));
  const address = server.address().port;
  return Object.assign(self, {
    port: address, url: `http://127.0.0.1:${address}`, ws: `ws://127.0.0.1:${address}`,
    stall() { self.stalled = true; for (const { near, far } of links) { near.pause(); far.pause(); } },
    resume() { self.stalled = false; for (const { near, far } of links) { near.resume(); far.resume(); } },
    cut() { for (const { near, far } of links) { near.destroy(); far.destroy(); } },
    // New connections are ended at once.
    refuse(on = true) { self.refusing = on; },
    // Requests for a WebSocket get 400, as some proxies answer. Others pass.
    blockUpgrades(on = true) { self.blocking = on; },
    close() { self.cut(); server.close(); },
  });
}

// A broker of the case's own, on a free port: `redis` without a file, `nats` with a folder for JetStream.
async function broker(kind) {
  const probe = net.createServer();
  await new Promise(done => probe.listen(0, "127.0.0.1", done));
  const port = String(probe.address().port);
  await new Promise(done => probe.close(done));
  const folder = mkdtempSync(path.join(tmpdir(), "layers-"));
  const [program, ready, flags] = {
    redis: ["redis-server", "Ready to accept connections", ["--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"]],
    nats: ["nats-server", "Server is ready", ["-a", "127.0.0.1", "-p", port, "-js", "-sd", folder]],
  }[kind];
  // Debian has some servers where only root looks.
  const child = spawn(program, flags, {
    stdio: ["ignore", "pipe", "pipe"], cwd: folder, env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
  });
  children.add(child);
  const exit = new Promise(done => child.on("exit", done)).finally(() => children.delete(child));
  const lines = new Inbox(program);
  for (const stream of [child.stdout, child.stderr]) createInterface(stream).on("line", lines.push);
  const missing = new Promise((_, reject) => child.on("error", reject));
  missing.catch(() => {});
  await Promise.race([lines.next(line => line.includes(ready)), missing]);
  return {
    url: `${kind}://127.0.0.1:${port}`,
    close: async () => {
      child.kill("SIGKILL");
      await within(`the end of ${program}`, exit);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

// A headless Chromium for all cases of the process, with commands of its debugging protocol.
let chromium;
async function browser() {
  const profile = mkdtempSync(path.join(tmpdir(), "layers-"));
  const child = spawn("chromium", [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank",
  ], { stdio: ["ignore", "ignore", "pipe"] });
  children.add(child);
  const exit = new Promise(done => child.on("exit", done)).finally(() => children.delete(child));
  const lines = new Inbox("chromium");
  createInterface(child.stderr).on("line", lines.push);
  const missing = new Promise((_, reject) => child.on("error", reject));
  missing.catch(() => {});
  const line = await Promise.race([lines.next(line => line.startsWith("DevTools listening on "), 20_000), missing]);
  const socket = new WebSocket(line.replace("DevTools listening on ", "").trim(), { perMessageDeflate: false });
  await within("Chromium", new Promise((done, reject) => { socket.on("open", done); socket.on("error", reject); }));
  const answers = new Inbox("the debugger");
  socket.on("message", data => { const answer = JSON.parse(data); if (answer.id) answers.push(answer); });
  let calls = 0;
  const call = async (method, params = {}, sessionId = undefined) => {
    const id = calls += 1;
    socket.send(JSON.stringify({ id, method, params, sessionId }));
    const answer = await answers.next(answer => answer.id === id);
    if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
    return answer.result;
  };
  // In an orderly way: its processes still write to the profile for a while after a signal.
  const close = async () => {
    await call("Browser.close");
    await within("the end of Chromium", exit);
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { call, close };
}

// A tab that shows `url`. `evaluate` gives the value of an expression, and waits if it is a promise.
async function page(url) {
  const { call } = await (chromium ??= browser());
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
  await call("Page.enable", {}, sessionId);
  const { errorText } = await call("Page.navigate", { url }, sessionId);
  if (errorText) throw new Error(`${url}: ${errorText}`);
  return {
    evaluate: async expression => {
      const { result, exceptionDetails } = await call("Runtime.evaluate", {
        expression, awaitPromise: true, returnByValue: true,
      }, sessionId);
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    },
    close: () => call("Target.closeTarget", { targetId }),
  };
}

// An HTTP server for pages of another origin than the program's: paths and their contents.
async function site(contents) {
  const server = http.createServer((asked, response) => {
    const content = contents[asked.url];
    response.writeHead(content ? 200 : 404, { "content-type": asked.url.endsWith(".js") ? "text/javascript" : "text/html" });
    response.end(content);
  });
  await within("a site", new Promise(done => server.listen(0, "127.0.0.1", done)));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => { server.closeAllConnections(); server.close(); } };
}

// One HTTP request: status, headers and body. No pool, so that nothing stays open.
function request(url, { method = "GET", headers = {}, body } = {}) {
  return within(`${method} ${url}`, new Promise((resolve, reject) => {
    const sent = http.request(url, { method, headers, agent: false }, response => {
      const parts = [];
      response.on("data", part => parts.push(part));
      response.on("error", reject);
      response.on("end", () => resolve({
        status: response.statusCode, headers: response.headers, body: Buffer.concat(parts).toString(),
      }));
    });
    sent.on("error", reject);
    sent.end(body);
  }));
}

// Options of a program: what is wrong is named, with status 2, and --help names each.
async function usage(program, ...options) {
  const run = (...flags) => within(program, new Promise((resolve, reject) => {
    const child = execFile(path.join(PROGRAMS, program), flags, (_, stdout, stderr) => resolve({ status: child.exitCode, stdout, stderr }));
    child.on("error", reject);
  }));
  const { status, stdout } = await run("--help");
  equal(status, 0);
  for (const option of ["listen", "allow-origin", "max-connections", "ping-every", "pong-within", ...options]) {
    if (!stdout.includes(`  --${option} `)) throw new Error(`--help does not name --${option}`);
    const missing = await run(`--${option}`);
    equal([missing.status, missing.stderr.includes(`'--${option}'`)], [2, true], option);
  }
  for (const flags of [["--nonsense"], ["nonsense"], ["--listen=nonsense"], ["--ping-every=-1"], ["--allow-origin=nonsense"]]) {
    const wrong = await run(...flags);
    equal([wrong.status, wrong.stderr.startsWith(`${program}: `)], [flags[0].includes("listen") ? 1 : 2, true], flags[0]);
  }
}

// Runs the cases one after the other, and ends the process. With a word as argument, only those with the word in their name.
async function cases(part, atLeast, all) {
  const word = process.argv[2];
  let passed = 0, failed = 0;
  const loose = new Set();
  process.on("unhandledRejection", error => loose.add(error));
  for (const [name, run] of Object.entries(all)) {
    if (word && !name.includes(word)) continue;
    const ends = [];
    const servers = [];
    const defer = end => ends.push(end);
    const t = {
      defer,
      start: async (...args) => {
        const server = await start(...args);
        servers.push(server);
        defer(server.kill);
        return server;
      },
      raw: async (...args) => { const peer = await raw(...args); defer(peer.end); return peer; },
      page: async url => { const shown = await page(url); defer(shown.close); return shown; },
      site: async contents => { const served = await site(contents); defer(served.close); return served; },
      broker: async kind => {
        const found = await broker(kind);
        defer(found.close);
        return found.url;
      },
      relay: async port => { const between = await relay(port); defer(() => between.close()); return between; },
    };
    const begun = Date.now();
    let error;
    try {
      await within("the case", run(t), CASE_LIMIT);
    } catch (thrown) {
      error = thrown;
    }
    for (const end of ends.reverse()) {
      try { await end(); } catch (thrown) { error ??= thrown; }
    }
    const panics = servers.flatMap(server => server.errors.filter(line => line.includes("panicked")));
    if (panics.length) error ??= new Error(panics[0]);
    if (loose.size) error ??= [...loose][0];
    loose.clear();
    if (error) {
      failed += 1;
      console.log(`FAILED  ${part}: ${name}: ${error.stack ?? inspect(error)}`);
      for (const line of servers.flatMap(server => server.errors)) console.log(`        ${line}`);
    } else {
      passed += 1;
      console.log(`ok      ${part}: ${name} (${Date.now() - begun} ms)`);
    }
  }
  try {
    await (await chromium)?.close();
  } catch (error) {
    console.log(`Chromium: ${error.message}`);
  }
  console.log(`${passed} passed, ${failed} failed`);
  if (!word && passed + failed < atLeast) {
    console.log(`${part}: only ${passed + failed} cases ran, expected ${atLeast}`);
    process.exit(1);
  }
  process.exit(failed || !passed ? 1 : 0);
}

module.exports = { cases, equal, within, Inbox, start, raw, refusal, relay, request, usage, WebSocket, PROGRAMS, DEADLINE };
