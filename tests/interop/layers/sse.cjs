// Server-sent events against npm: `eventsource` with the server of crates/sse/examples, `eventsource-parser` with the encoder and the
// parser, and the client with servers of Node.js.
//
// builds: bowline-sse
// examples: bowline-sse
"use strict";

const { spawn } = require("node:child_process");
const http = require("node:http");
const path = require("node:path");
const { createInterface } = require("node:readline");
const { pathToFileURL } = require("node:url");
const { cases, equal, within, Inbox, request, PROGRAMS, DEADLINE } = require("./harness.cjs");

// They are modules, which NODE_PATH does not help to import.
const load = name => import(pathToFileURL(require.resolve(name)));

const SERVER = "examples/feed_server";
const publish = (server, data, type = "") =>
  request(`${server.url}/feed${type && "/" + encodeURIComponent(type)}`, { method: "POST", body: data });
const finish = server => request(`${server.url}/feed`, { method: "DELETE" });

// An EventSource of npm whose events and states are told in order.
async function source(t, url, { types = [], ...options } = {}) {
  const { EventSource } = await load("eventsource");
  const inbox = new Inbox("the EventSource");
  const self = new EventSource(url, options);
  t.defer(() => self.close());
  const tell = event => inbox.push({ type: event.type, data: event.data, id: event.lastEventId });
  for (const type of ["message", ...types]) self.addEventListener(type, tell);
  self.addEventListener("open", () => inbox.push({ type: "open" }));
  self.addEventListener("error", event => inbox.push({ type: "error", code: event.code, state: self.readyState }));
  const next = condition => inbox.next(condition);
  return { self, next, data: () => next(event => event.data !== undefined), error: () => next(event => event.type === "error"), inbox };
}

// Bytes on a connection as they are. `answers` are given to the requests in turn, and then 204.
async function node(t, answers) {
  const requests = new Inbox("the server of Node.js");
  const server = http.createServer((asked, response) => {
    const parts = [];
    asked.on("data", part => parts.push(part));
    asked.on("end", () => {
      requests.push({ method: asked.method, url: asked.url, headers: asked.headers, body: Buffer.concat(parts).toString() });
      const answer = answers.shift();
      if (answer) answer(response, asked);
      else response.writeHead(204).end();
    });
  });
  await within("a server", new Promise(done => server.listen(0, "127.0.0.1", done)));
  t.defer(() => { server.closeAllConnections(); server.close(); });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

const events = (...pieces) => async response => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  // Each piece is a write and so a chunk of its own.
  for (const piece of pieces) await new Promise(done => response.write(piece, done));
  response.end();
};

// The client of the examples: the lines that it prints, to the end.
function client(t, ...flags) {
  const child = spawn(path.join(PROGRAMS, "examples/feed_client"), flags, { stdio: ["ignore", "pipe", "pipe"] });
  t.defer(() => child.kill("SIGKILL"));
  const lines = new Inbox("feed_client");
  const all = [], errors = [];
  createInterface(child.stdout).on("line", line => { all.push(JSON.parse(line)); lines.push(JSON.parse(line)); });
  createInterface(child.stderr).on("line", line => errors.push(line));
  const end = within("the end of feed_client", new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => resolve(all));
  }), DEADLINE);
  end.catch(() => {});
  return { lines, end, errors };
}

// A generator of numbers below n that gives the same for the same seed.
function random(seed) {
  return n => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor(seed / 2 ** 32 * n);
  };
}

// A document with all that the format has, and with what it has not.
function document(dice) {
  const ends = ["\n", "\r", "\r\n"];
  const own = dice(4);
  const end = () => ends[own < 3 ? own : dice(3)];
  const words = ["", "a", " b", "  c", "x:y", "grün …", "\u{1F980}", "\0", "12", "0", "-1", "\uFEFF", "data", "\t"];
  const names = ["data", "data", "data", "data", "event", "id", "retry", "", "", "Data", "da ta", "foo", " data"];
  let text = dice(5) === 0 ? "\uFEFF" : "";
  for (let lines = dice(30); lines > 0; lines -= 1) {
    const kind = dice(10);
    if (kind < 3) text += end();
    else if (kind === 3) text += names[dice(names.length)] + end();
    else text += `${names[dice(names.length)]}:${["", " "][dice(2)]}${words[dice(words.length)]}${words[dice(words.length)]}${end()}`;
  }
  return text + (dice(3) ? "\n\n" : "");
}

// What eventsource-parser makes of these bytes, in the pieces that come.
async function parsed(pieces) {
  const { createParser } = await load("eventsource-parser");
  const found = [];
  const parser = createParser({ onEvent: event => found.push({ event: event.event ?? "message", data: event.data }) });
  const decoder = new TextDecoder();
  for (const piece of pieces) parser.feed(decoder.decode(piece, { stream: true }));
  return found;
}

function pieces(bytes, size) {
  const found = [];
  for (let at = 0; at < bytes.length; at += size) found.push(bytes.subarray(at, at + size));
  return found;
}

// The body of the feed, until it is over. The requests of `curl` look so.
async function wire(server) {
  const answer = await request(`${server.url}/feed`);
  equal(answer.status, 200);
  return Buffer.from(answer.body);
}

const fast = ["--max-wait", "0"];

cases("sse", 21, {
  "eventsource connects and gets what was and what comes": async t => {
    const server = await t.start(SERVER);
    await publish(server, "before");
    const feed = await source(t, `${server.url}/feed`);
    equal(await feed.next(), { type: "open" });
    equal(await feed.data(), { type: "message", data: "before", id: "0" });
    await publish(server, "after");
    equal(await feed.data(), { type: "message", data: "after", id: "1" });
  },

  "eventsource gets types and data of several lines": async t => {
    const server = await t.start(SERVER);
    const feed = await source(t, `${server.url}/feed`, { types: ["greeting", "grün …"] });
    await publish(server, "one\r\ntwo\rthree\n", "greeting");
    equal(await feed.data(), { type: "greeting", data: "one\ntwo\nthree\n", id: "0" });
    await publish(server, "", "grün …");
    equal(await feed.data(), { type: "grün …", data: "", id: "1" });
    await publish(server, "data: x\n\nevent: y\nid: z\n: c");
    equal(await feed.data(), { type: "message", data: "data: x\n\nevent: y\nid: z\n: c", id: "2" });
  },

  "eventsource resumes after the connection was cut": async t => {
    const server = await t.start(SERVER, "--retry", "1");
    const between = await t.relay(server.port);
    const feed = await source(t, `${between.url}/feed`);
    for (let n = 0; n < 50; n += 1) {
      await publish(server, `event ${n}`);
      equal(await feed.data(), { type: "message", data: `event ${n}`, id: String(n) });
      if (n % 10 !== 4) continue;
      between.cut();
      await feed.error();
      // It was away when this came.
      n += 1;
      await publish(server, `event ${n}`);
      equal(await feed.data(), { type: "message", data: `event ${n}`, id: String(n) });
    }
    equal(between.arrivals.values.length, 6);
  },

  "eventsource waits as long as retry says": async t => {
    const waits = [];
    for (const retry of [50, 600]) {
      const server = await t.start(SERVER, "--retry", String(retry));
      const between = await t.relay(server.port);
      const feed = await source(t, `${between.url}/feed`);
      await publish(server, "a");
      await feed.data();
      const start = process.hrtime.bigint();
      between.cut();
      await feed.error();
      await feed.next(event => event.type === "open");
      waits.push(Number(process.hrtime.bigint() - start) / 1e6);
    }
    // Its default is 3 s, so it has read both.
    if (waits[0] >= 3000 || waits[1] < 600) throw new Error(`it waited ${waits} ms`);
  },

  "eventsource stops at 204": async t => {
    const server = await t.start(SERVER, "--retry", "1");
    const feed = await source(t, `${server.url}/feed`);
    await publish(server, "last");
    await feed.data();
    await finish(server);
    const stopped = await feed.next(event => event.type === "error" && event.state === 2);
    equal(stopped.code, 204);
  },

  "eventsource fails for good where there is no feed": async t => {
    const server = await t.start(SERVER);
    const feed = await source(t, `${server.url}/nothing`);
    equal(await feed.error(), { type: "error", code: 404, state: 2 });
    // The answer of this one is text.
    const text = await node(t, [response => response.writeHead(200, { "Content-Type": "text/plain" }).end("data: a\n\n")]);
    const other = await source(t, text.url);
    equal((await other.error()).state, 2);
  },

  "eventsource with headers of its own": async t => {
    const server = await t.start(SERVER);
    await publish(server, "a");
    await publish(server, "b");
    const feed = await source(t, `${server.url}/feed`, {
      fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, "Last-Event-ID": "0", Authorization: "Bearer x" } }),
    });
    equal(await feed.data(), { type: "message", data: "b", id: "1" });
  },

  "a comment comes while there is nothing to say": async t => {
    const server = await t.start(SERVER, "--keepalive", "20");
    const body = new Inbox("curl");
    const asked = http.get(`${server.url}/feed`, { agent: false }, response => {
      equal(response.headers["content-type"], "text/event-stream");
      equal(response.headers["cache-control"], "no-store");
      response.on("data", part => body.push(String(part)));
      response.on("error", () => {});
    });
    asked.on("error", () => {});
    t.defer(() => asked.destroy());
    await body.next(part => part.includes("retry: 1000\n\n"));
    for (let n = 0; n < 3; n += 1) await body.next(part => part.startsWith(": \n"));
  },

  "tokens are streamed to a POST, and eventsource-parser reads them": async t => {
    const server = await t.start(SERVER);
    const answer = await request(`${server.url}/complete`, { method: "POST", body: "Why is the sky blue?" });
    const found = await parsed([Buffer.from(answer.body)]);
    equal(found.pop(), { event: "done", data: "[DONE]" });
    equal(found.map(token => token.data).join(""), "Why is the sky blue?");
    equal(new Set(found.map(token => token.event)), new Set(["token"]));
  },

  "eventsource-parser reads what the encoder writes, however it is cut": async t => {
    const server = await t.start(SERVER);
    const dice = random(7);
    const expected = [];
    for (let n = 0; n < 60; n += 1) {
      const data = document(dice);
      const event = ["", "grün …", "x"][dice(3)];
      equal((await publish(server, data, event)).status, 202);
      expected.push({ event: event || "message", data: data.replace(/\r\n|\r/g, "\n") });
    }
    await finish(server);
    const bytes = await wire(server);
    for (const size of [1, 2, 3, 7, 64, bytes.length]) equal(await parsed(pieces(bytes, size)), expected, `pieces of ${size}`);
    for (let at = 0; at <= 2000; at += 1) {
      equal((await parsed([bytes.subarray(0, at), bytes.subarray(at)])).length, expected.length, `cut at ${at}`);
    }
  },

  "a type with a line end is refused": async t => {
    const server = await t.start(SERVER);
    for (const type of ["a\nb", "a\rdata: x"]) equal((await publish(server, "a", type)).status, 400);
  },

  "the parser gives what eventsource-parser gives, for random documents": async t => {
    const differences = [];
    let compared = 0;
    const dice = random(42);
    const documents = Array.from({ length: 300 }, () => Buffer.from(document(dice)));
    const server = await node(t, documents.map(text => events(...pieces(text, 1 + dice(40)))));
    // A POST is not repeated, so each run is one document.
    const runs = [];
    for (const text of documents) {
      const found = (await client(t, server.url, "--post", "next").end).filter(line => !line.end);
      runs.push(found.map(({ event, data }) => ({ event, data })));
      compared += found.length;
      const theirs = await parsed([text]);
      if (JSON.stringify(runs.at(-1)) !== JSON.stringify(theirs)) {
        differences.push({ text: String(text), ours: runs.at(-1), theirs });
      }
    }
    if (compared < 300) throw new Error(`only ${compared} events`);
    equal(differences.slice(0, 3), [], `${differences.length} of ${documents.length} documents`);
  },

  "the client reads a server of Node.js in pieces of one byte": async t => {
    const bytes = Buffer.from("\uFEFFid: 7\r\nevent: grün …\r\ndata: \u{1F980}\r\ndata: b\r\n\r\n");
    const server = await node(t, [events(...pieces(bytes, 1))]);
    const [event, stopped] = await client(t, server.url, ...fast).end;
    equal(event, { event: "grün …", data: "\u{1F980}\nb", id: "7", retry: null, lastEventId: "7" });
    equal(stopped.end, "the server wants no more connections: status 204");
  },

  "the client says what a browser says": async t => {
    const server = await node(t, []);
    await client(t, `${server.url}/a?b=c`, "--header", "Authorization=Bearer x", ...fast).end;
    const { method, url, headers } = await server.requests.next();
    equal([method, url], ["GET", "/a?b=c"]);
    equal(headers.accept, "text/event-stream");
    equal(headers["cache-control"], "no-store");
    equal(headers.authorization, "Bearer x");
    equal(headers["last-event-id"], undefined);
  },

  "the client resumes at a server of Node.js that cuts its answer": async t => {
    const cut = response => {
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write("id: grün …\ndata: a\n\nid: lost\ndata: lost\n", () => response.destroy());
    };
    const server = await node(t, [cut, events("data: b\n\n")]);
    const run = client(t, server.url, ...fast);
    const found = (await run.end).filter(line => !line.end).map(line => [line.data, line.lastEventId]);
    equal(found, [["a", "grün …"], ["b", "grün …"]]);
    const ids = [];
    for (let n = 0; n < 3; n += 1) ids.push((await server.requests.next()).headers["last-event-id"]);
    // Node.js gives headers as Latin-1.
    equal(ids.map(id => id && Buffer.from(id, "latin1").toString()), [undefined, "grün …", "grün …"]);
    if (!run.errors[0].includes("broke off")) throw new Error(run.errors[0]);
  },

  "the client waits as long as a server of Node.js says": async t => {
    const start = process.hrtime.bigint();
    const server = await node(t, [events("retry: 700\n\n")]);
    await client(t, server.url, ...fast).end;
    const wait = Number(process.hrtime.bigint() - start) / 1e6;
    if (wait < 700) throw new Error(`it waited ${wait} ms`);
  },

  "the client stops where the answer is no stream": async t => {
    for (const [status, type] of [[200, "text/html"], [500, "text/event-stream"], [204, ""]]) {
      const server = await node(t, [response => response.writeHead(status, { "Content-Type": type }).end()]);
      const [only, ...more] = await client(t, server.url, ...fast).end;
      equal(more, []);
      if (!only.end) throw new Error(JSON.stringify(only));
    }
  },

  "the client follows redirects of Node.js, and begins anew each time": async t => {
    const to = (status, location) => response => response.writeHead(status, { Location: location }).end("moved");
    const server = await node(t, [to(308, "/b/c"), to(302, "../d?e#f"), events("id: 1\ndata: a\n\n")]);
    await client(t, `${server.url}/a`, ...fast).end;
    const urls = [];
    for (let n = 0; n < 4; n += 1) urls.push((await server.requests.next()).url);
    equal(urls, ["/a", "/b/c", "/d?e", "/a"]);
  },

  "the client sends no secret to another origin of Node.js": async t => {
    const other = await node(t, [events("data: a\n\n")]);
    const first = await node(t, [response => response.writeHead(307, { Location: other.url }).end()]);
    await client(t, first.url, "--post", "why?", "--header", "Authorization=x", "--header", "User-Agent=me").end;
    const { method, headers, body } = await other.requests.next();
    equal([method, body, headers.authorization, headers["user-agent"]], ["POST", "why?", undefined, "me"]);
  },

  "the client goes through a proxy of Node.js": async t => {
    const server = await node(t, []);
    const asked = new Inbox("the proxy");
    const net = require("node:net");
    const proxy = http.createServer().on("connect", (connect, near, head) => {
      asked.push(connect.url);
      const { hostname, port } = new URL(`http://${connect.url}`);
      const far = net.connect(port, hostname, () => {
        near.write("HTTP/1.1 200 OK\r\n\r\n");
        far.write(head);
        far.pipe(near).pipe(far);
      });
      for (const end of [near, far]) end.on("error", () => {});
    });
    await within("a proxy", new Promise(done => proxy.listen(0, "127.0.0.1", done)));
    t.defer(() => { proxy.closeAllConnections(); proxy.close(); });
    const [only] = await client(t, server.url, "--proxy", `http://127.0.0.1:${proxy.address().port}`, ...fast).end;
    if (!only.end.includes("204")) throw new Error(only.end);
    equal(await asked.next(), new URL(server.url).host);
  },

  "client and server of the examples count together": async t => {
    const server = await t.start(SERVER, "--retry", "1");
    const between = await t.relay(server.port);
    const run = client(t, `${between.url}/feed`, ...fast);
    for (let n = 0; n < 40; n += 1) {
      await publish(server, `event ${n}`);
      const { data, id } = await run.lines.next();
      equal([data, id], [`event ${n}`, String(n)]);
      if (n % 10 === 4) between.cut();
    }
    await finish(server);
    equal((await run.end).length, 41);
  },
});
