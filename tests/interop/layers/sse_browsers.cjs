// Server-sent events in Chromium and Firefox: the EventSource of a page against the server of crates/sse/examples, through an nginx that is
// ended and started in between. The page tells what it got with POST requests to this process.
//
// builds: bowline-sse
// examples: bowline-sse
"use strict";

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const http = require("node:http");
const net = require("node:net");
const os = require("node:os");
const path = require("node:path");
const { cases, equal, within, Inbox, request } = require("./harness.cjs");

const SERVER = "examples/feed_server";

// A browser takes its time to start.
const BROWSER_LIMIT = 30_000;

const BROWSERS = {
  Chromium: (profile, url) => ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", `--user-data-dir=${profile}`, url],
  Firefox: (profile, url) => ["firefox-esr", "--headless", "--no-remote", "--new-instance", "--profile", profile, url],
};

// What a page gets for U+0000 in data. Firefox 153 ESR leaves it out, against 9.2.6.
const NUL = { Chromium: "\0", Firefox: "" };

// Where it connects again after it was redirected from /first to /second.
const AFTER_REDIRECT = { Chromium: "/second", Firefox: "/first" };

// What the page does: it tells what it gets, in order.
const page = feed => `<!doctype html><meta charset="utf-8"><title>feed</title><script>
let telling = Promise.resolve();
const tell = what => { telling = telling.then(() => fetch("/told", { method: "POST", body: JSON.stringify(what) })); };
const source = new EventSource(${JSON.stringify(feed)});
const told = event => tell({ type: event.type, data: event.data, id: event.lastEventId });
for (const type of ["message", "greeting", "grün …"]) source.addEventListener(type, told);
source.onopen = () => tell({ type: "open" });
source.onerror = () => tell({ type: "error", state: source.readyState });
</script>`;

function folder(t) {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), "sse-"));
  t.defer(() => fs.rmSync(made, { recursive: true, force: true, maxRetries: 10 }));
  return made;
}

// A process that is ended with all that it started.
function run(t, command, flags, options = {}) {
  const child = spawn(command, flags, { stdio: ["ignore", "pipe", "pipe"], detached: true, ...options });
  const said = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", part => said.push(String(part)));
  const exit = new Promise(resolve => {
    child.on("error", error => { said.push(String(error)); resolve(-1); });
    child.on("close", resolve);
  });
  const kill = async () => {
    try { process.kill(-child.pid, "SIGKILL"); } catch { /* It is gone. */ }
    await within(`the end of ${command}`, exit);
  };
  t.defer(kill);
  return { kill, exit, said };
}

const freePort = () => new Promise(done => {
  const server = net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => done(port));
  });
});

// nginx with its usual buffering: the server's X-Accel-Buffering turns it off for events.
async function nginx(t, target) {
  const here = folder(t);
  const port = await freePort();
  fs.writeFileSync(path.join(here, "nginx.conf"), `
    daemon off; worker_processes 1; pid nginx.pid; error_log stderr warn;
    events { worker_connections 64; }
    http {
      access_log off;
      client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass http://127.0.0.1:${target};
          proxy_http_version 1.1;
          proxy_set_header Connection "";
          add_header Access-Control-Allow-Origin * always;
        }
      }
    }`);
  const self = { port, url: `http://127.0.0.1:${port}` };
  self.start = async () => {
    self.process = run(t, "nginx", ["-p", here, "-c", "nginx.conf", "-e", "stderr"],
      { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } });
    const listening = async () => {
      for (;;) {
        const found = await Promise.race([
          new Promise(done => net.connect(port, "127.0.0.1").on("connect", function () { this.destroy(); done(true); }).on("error", () => done(false))),
          self.process.exit.then(() => { throw new Error(`nginx ended: ${self.process.said.join("")}`); }),
        ]);
        if (found) return;
        await new Promise(setImmediate);
      }
    };
    await within("nginx", listening());
  };
  // All connections break off.
  self.kill = () => self.process.kill();
  await self.start();
  return self;
}

// A page in a browser with a profile of its own, which follows this feed.
async function open(t, browser, feed) {
  const told = new Inbox(browser);
  const server = http.createServer((asked, response) => {
    const parts = [];
    asked.on("data", part => parts.push(part));
    asked.on("end", () => {
      if (asked.url === "/told") told.push(JSON.parse(Buffer.concat(parts)));
      response.writeHead(200, { "Content-Type": "text/html", "Cache-Control": "no-store" });
      response.end(asked.url === "/" ? page(feed) : "");
    });
  });
  await within("a server", new Promise(done => server.listen(0, "127.0.0.1", done)));
  t.defer(() => { server.closeAllConnections(); server.close(); });
  const profile = folder(t);
  const [command, ...flags] = BROWSERS[browser](profile, `http://127.0.0.1:${server.address().port}/`);
  const started = run(t, command, flags, { env: { ...process.env, HOME: profile, MOZ_CRASHREPORTER_DISABLE: "1" } });
  const ended = started.exit.then(code => { throw new Error(`${command} ended with ${code}: ${started.said.join("").slice(-2000)}`); });
  ended.catch(() => {});
  const next = condition => Promise.race([told.next(condition, BROWSER_LIMIT), ended]);
  return { next, data: () => next(event => event.data !== undefined) };
}

const publish = (server, data, type = "") =>
  request(`${server.url}/feed${type && "/" + encodeURIComponent(type)}`, { method: "POST", body: data });

const all = {};
for (const browser of Object.keys(BROWSERS)) {
  all[`${browser}: each event once and in order through an nginx that ends and starts, and 204 stops it`] = async t => {
    const server = await t.start(SERVER, "--retry", "100");
    const proxy = await nginx(t, server.port);
    const feed = await open(t, browser, `${proxy.url}/feed`);
    await feed.next(event => event.type === "open");
    let n = 0;
    const expect = async () => {
      equal(await feed.data(), { type: "message", data: `event ${n}`, id: String(n) });
      n += 1;
    };
    for (let round = 0; round < 3; round += 1) {
      for (let k = 0; k < 5; k += 1) {
        // Each comes at once: nothing collects them.
        await publish(server, `event ${n}`);
        await expect();
      }
      await proxy.kill();
      await feed.next(event => event.type === "error" && event.state === 0);
      for (let k = 0; k < 5; k += 1) await publish(server, `event ${n + k}`);
      await proxy.start();
      for (let k = 0; k < 5; k += 1) await expect();
    }
    await request(`${server.url}/feed`, { method: "DELETE" });
    await feed.next(event => event.type === "error" && event.state === 2);
  };

  all[`${browser}: types, several lines and characters of all kinds`] = async t => {
    const server = await t.start(SERVER);
    const proxy = await nginx(t, server.port);
    const feed = await open(t, browser, `${proxy.url}/feed`);
    await feed.next(event => event.type === "open");
    await publish(server, "one\r\ntwo\rthree\n", "greeting");
    equal(await feed.data(), { type: "greeting", data: "one\ntwo\nthree\n", id: "0" });
    await publish(server, "\u{1F980}\0 data: x\n\nevent: y\n: c", "grün …");
    equal(await feed.data(), { type: "grün …", data: `\u{1F980}${NUL[browser]} data: x\n\nevent: y\n: c`, id: "1" });
    await publish(server, "");
    equal(await feed.data(), { type: "message", data: "", id: "2" });
    const long = "x".repeat(1 << 18);
    await publish(server, long);
    equal((await feed.data()).data.length, long.length);
  };

  all[`${browser}: no feed, and it stops`] = async t => {
    const server = await t.start(SERVER);
    const proxy = await nginx(t, server.port);
    const feed = await open(t, browser, `${proxy.url}/nothing`);
    equal(await feed.next(event => event.type === "error"), { type: "error", state: 2 });
  };

  // By the letter, 9.2.3 fetches the same request again, which the redirect has changed. The client of bowline-sse does as Firefox.
  all[`${browser}: after a redirect it begins anew at ${AFTER_REDIRECT[browser]}`] = async t => {
    const asked = [];
    const server = http.createServer((request, response) => {
      const { pathname } = new URL(request.url, "http://localhost");
      asked.push(`${pathname} ${request.headers["last-event-id"] ?? ""}`.trim());
      const cors = { "Access-Control-Allow-Origin": "*" };
      if (pathname === "/first") response.writeHead(307, { ...cors, Location: "/second" }).end();
      else if (asked.length > 3) response.writeHead(204, cors).end();
      else response.writeHead(200, { ...cors, "Content-Type": "text/event-stream" }).end("retry: 1\nid: 7\ndata: a\n\n");
    });
    await within("a server", new Promise(done => server.listen(0, "127.0.0.1", done)));
    t.defer(() => { server.closeAllConnections(); server.close(); });
    const feed = await open(t, browser, `http://127.0.0.1:${server.address().port}/first`);
    await feed.next(event => event.type === "error" && event.state === 2);
    equal(asked, ["/first", "/second", `${AFTER_REDIRECT[browser]} 7`, "/second 7"]);
  };
}
cases("sse_browsers", 8, all);
