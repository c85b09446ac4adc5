// examples/phoenix against npm's phoenix, over WebSocket and long polling, and a raw peer for what that never sends.
// builds: phoenix
"use strict";

const { cases, equal, within, Inbox, refusal, request, usage, WebSocket } = require("./harness.cjs");
const { readFileSync } = require("node:fs");
const { Socket, LongPoll, Presence } = require("phoenix");

class Storage {
  items = {};
  getItem(name) { return this.items[name] ?? null; }
  setItem(name, value) { this.items[name] = value; }
}

// A socket. `events` has what it says of itself.
function connect(t, server, name, options = {}) {
  const socket = new Socket(`${server.ws}/socket`, {
    transport: WebSocket, params: { name }, reconnectAfterMs: () => 20, rejoinAfterMs: () => 20, sessionStorage: new Storage(), ...options,
  });
  socket.events = new Inbox(`the socket of ${name}`);
  socket.onOpen(() => socket.events.push("open"));
  socket.onClose(event => socket.events.push(`close ${event.code}`));
  socket.onError(error => socket.events.push(`error ${typeof error === "number" ? error : ""}`));
  t.defer(() => socket.disconnect());
  socket.connect();
  return socket;
}

// A channel. `told` has all of its events as [event, payload].
function channel(socket, topic = "room:lobby", params = {}) {
  const made = socket.channel(topic, params);
  made.told = new Inbox(topic);
  made.onMessage = (event, payload) => {
    if (!event.startsWith("chan_reply") && event !== "phx_reply") made.told.push([event, payload]);
    return payload;
  };
  made.gets = async name => (await made.told.next(([event]) => event === name))[1];
  return made;
}

// The reply to a push or a join, as [status, response].
const reply = push => within("a reply", new Promise(resolve => {
  for (const status of ["ok", "error", "timeout"]) push.receive(status, response => resolve([status, response]));
}));

async function join(socket, topic, params) {
  const made = channel(socket, topic, params);
  const [status, response] = await reply(made.join());
  equal(status, "ok");
  made.response = response;
  return made;
}

const enter = (t, server, name, options) => join(connect(t, server, name, options));
const say = async (who, text) => equal(await reply(who.push("new_msg", { text })), ["ok", {}]);
const polling = { transport: LongPoll };

// People, kept by the client's Presence. `until` waits until they are these.
function presence(made) {
  const people = new Presence(made);
  const seen = new Inbox("presence");
  people.onSync(() => seen.push(people.list((key, { metas }) => `${key}${metas.map(meta => `.${meta.status ?? ""}`).join("")}`).sort().join(" ")));
  return { people, until: (names, ms) => seen.next(now => now === names, ms) };
}

async function peer(t, server, { path = "/socket/websocket?name=Ada&vsn=2.0.0", ...options } = {}) {
  const raw = await t.raw(server.ws + path, [], options);
  raw.ask = async (...message) => {
    raw.send(message);
    return raw.json(([, ref]) => ref === message[1]);
  };
  return raw;
}

const alive = async raw => equal(await raw.ask(null, "alive", "phoenix", "heartbeat", {}), [
  null, "alive", "phoenix", "phx_reply", { response: {}, status: "ok" },
]);
const poll = async (server, query = "name=Ada&vsn=2.0.0", headers) =>
  JSON.parse((await request(`${server.url}/socket/longpoll?${query}`, { headers })).body);
const post = async (server, token, body, headers) => JSON.parse((await request(
  `${server.url}/socket/longpoll?vsn=2.0.0&token=${token}`,
  { method: "POST", body, headers: { "content-type": "application/x-ndjson", ...headers } },
)).body);

const shared = (kind, options) => ({
  [`${kind}: the client connects and joins`]: async t => {
    const ada = await enter(t, await t.start("phoenix"), "Ada", options);
    equal(ada.response, {});
  },
  [`${kind}: what one says is heard by all, and by who said it`]: async t => {
    const server = await t.start("phoenix");
    const [ada, bob] = [await enter(t, server, "Ada", options), await enter(t, server, "Bob")];
    await say(ada, "hello");
    await say(bob, "and back");
    for (const who of [ada, bob]) {
      for (const said of [["Ada", "hello"], ["Bob", "and back"]]) {
        const { name, text } = await who.gets("new_msg");
        equal([name, text], said);
      }
    }
  },
  [`${kind}: two topics on one socket are apart`]: async t => {
    const socket = connect(t, await t.start("phoenix"), "Ada", options);
    const [lobby, other] = [await join(socket), await join(socket, "room:other")];
    await say(other, "elsewhere");
    await say(lobby, "here");
    equal((await lobby.gets("new_msg")).text, "here");
    equal((await other.gets("new_msg")).text, "elsewhere");
  },
  [`${kind}: a join is refused, with a reason`]: async t => {
    const socket = connect(t, await t.start("phoenix"), "Ada", { ...options, rejoinAfterMs: () => 60_000 });
    const refused = async topic => reply(channel(socket, topic).join());
    equal(await refused("room:no such"), ["error", { reason: "no such room" }]);
    equal(await refused("user:Bob"), ["error", { reason: "unauthorized" }]);
    equal(await refused("nonsense"), ["error", { reason: "unmatched topic" }]);
    await join(socket, "user:Ada");
  },
  [`${kind}: who leaves hears nothing more, and can join again`]: async t => {
    const server = await t.start("phoenix");
    const socket = connect(t, server, "Ada", options);
    const [lobby, bob] = [await join(socket), await enter(t, server, "Bob")];
    // The client does not wait for the server. What it sends afterwards is answered after it.
    equal(await reply(lobby.leave()), ["ok", {}]);
    await join(socket, "room:other");
    await say(bob, "unheard");
    const again = await join(socket);
    await say(bob, "heard");
    equal((await again.gets("new_msg")).text, "heard");
    equal(lobby.told.values.filter(([event]) => event === "new_msg"), []);
  },
  [`${kind}: presence: who is here, who comes, what changes, who leaves`]: async t => {
    const server = await t.start("phoenix");
    const ada = channel(connect(t, server, "Ada", options));
    const { until } = presence(ada);
    await reply(ada.join());
    await until("Ada.");
    const bob = await enter(t, server, "Bob");
    await until("Ada. Bob.");
    const twice = await enter(t, server, "Bob");
    await until("Ada. Bob..");
    equal(await reply(bob.push("status", { status: "busy" })), ["ok", {}]);
    // The client puts the newest entry last.
    await until("Ada. Bob..busy");
    twice.socket.disconnect();
    await until("Ada. Bob.busy");
    await reply(bob.leave());
    await until("Ada.");
  },
  [`${kind}: a push that is refused`]: async t => {
    const ada = await enter(t, await t.start("phoenix"), "Ada", options);
    equal(await reply(ada.push("new_msg", { text: "" })), ["error", { reason: "a text has 1 to 2000 characters" }]);
    await say(ada, "x".repeat(2000));
  },
  [`${kind}: a channel that crashes is joined again`]: async t => {
    const ada = await enter(t, await t.start("phoenix"), "Ada", options);
    ada.push("nonsense", {});
    await ada.gets("phx_error");
    await say(ada, "again");
    equal((await ada.gets("new_msg")).text, "again");
  },
  [`${kind}: a channel that the server closes stays closed`]: async t => {
    const socket = connect(t, await t.start("phoenix"), "Ada", options);
    const ada = await join(socket);
    equal(await reply(ada.push("bye", {})), ["ok", {}]);
    await ada.gets("phx_close");
    equal([ada.state, socket.channels], ["closed", []]);
    await join(socket);
  },
  [`${kind}: the right token connects`]: async t => {
    // In base64 they have two, one and no padding characters.
    for (const token of ["abcd", "abcde", "abcdef"]) {
      await enter(t, await t.start("phoenix", "--token", token), "Ada", { ...options, authToken: token });
    }
  },
  [`${kind}: the client comes back after the server was restarted, with what it missed`]: async t => {
    const flags = ["--broker", await t.broker("redis")];
    const server = await t.start("phoenix", ...flags);
    let last;
    const socket = connect(t, server, "Ada", options);
    const ada = await join(socket, "room:lobby", () => ({ after: last }));
    ada.joinPush.receive("ok", response => ada.told.push(["joined", response]));
    await ada.gets("joined");
    await say(ada, "one");
    last = (await ada.gets("new_msg")).id;
    equal(await server.stop(), 0);
    const other = await t.start("phoenix", ...flags);
    await say(await enter(t, other, "Bob"), "two");
    await t.start("phoenix", "--listen", `127.0.0.1:${server.port}`, ...flags);
    const { messages, fresh } = await ada.gets("joined");
    equal([messages.map(({ payload }) => payload.text), fresh], [["two"], false]);
    await say(ada, "three");
    equal((await ada.gets("new_msg")).text, "three");
  },
  [`${kind}: the client comes back after the server was killed`]: async t => {
    const server = await t.start("phoenix");
    const ada = await enter(t, server, "Ada", options);
    await server.kill();
    await ada.gets("phx_error");
    await t.start("phoenix", "--listen", `127.0.0.1:${server.port}`);
    await say(ada, "again");
    await ada.gets("new_msg");
  },
  ...Object.fromEntries(["redis", "nats"].map(broker => [`${kind}: two nodes share a room and presence over ${broker}`, async t => {
    const url = await t.broker(broker);
    const servers = [await t.start("phoenix", "--broker", url), await t.start("phoenix", "--broker", url)];
    const ada = channel(connect(t, servers[0], "Ada", options));
    const { until } = presence(ada);
    await reply(ada.join());
    const bob = await enter(t, servers[1], "Bob");
    await until("Ada. Bob.");
    await say(ada, "over there");
    equal((await bob.gets("new_msg")).text, "over there");
    await say(bob, "and back");
    await ada.gets("new_msg");
    equal((await ada.gets("new_msg")).text, "and back");
  }])),
});

// A page of another origin with the client, and what it needs to say what it was told.
async function pages(t) {
  const script = readFileSync(require.resolve("phoenix").replace("phoenix.cjs.js", "phoenix.js"));
  const site = await t.site({
    "/phoenix.js": script,
    "/": `<!doctype html><title>phoenix</title><script src="/phoenix.js"></script><script>
      const told = [], waiting = new Set();
      const tell = value => { told.push(value); waiting.forEach(look => look()); };
      // The first that was told with this name.
      const until = name => new Promise(done => {
        const look = () => {
          const at = told.findIndex(([kind]) => kind === name);
          if (at >= 0) { waiting.delete(look); done(told.splice(at, 1)[0][1]); }
        };
        waiting.add(look);
        look();
      });
      let socket, room;
      function enter(url, name, options) {
        socket = new Phoenix.Socket(url, { params: { name }, reconnectAfterMs: () => 50, ...options });
        socket.onError(() => tell(["error"]));
        room = socket.channel("room:lobby");
        room.on("new_msg", ({ name, text }) => tell(["said", name + ": " + text]));
        room.on("blob", data => tell(["blob", [...new Uint8Array(data)]]));
        room.onError(() => tell(["lost"]));
        const presence = new Phoenix.Presence(room);
        presence.onSync(() => tell([presence.list(name => name).sort().join(" ")]));
        socket.connect();
        room.join().receive("ok", () => tell(["joined", socket.conn.constructor.name]));
        return until("joined");
      }
    </script>`,
  });
  const show = async (server, name, options = {}) => {
    const page = await t.page(`${site.url}/`);
    await within("the page", page.evaluate("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))"));
    page.until = name => within(name, page.evaluate(`until(${JSON.stringify(name)})`));
    page.run = expression => within(expression, page.evaluate(expression));
    page.enter = () => page.run(`enter("${server.ws}/socket", "${name}", ${JSON.stringify(options)})`);
    page.say = text => page.run(`void room.push("new_msg", { text: ${JSON.stringify(text)} })`);
    return page;
  };
  return { show, flags: ["--allow-origin", site.url] };
}

cases("phoenix", 71, {
  "options are explained, and wrong ones named": () => usage("phoenix", "broker", "token", "max-channels", "join-within", "timeout", "poll-window"),
  ...shared("websocket", {}),
  ...shared("longpoll", polling),
  "heartbeats are answered": async t => {
    const socket = connect(t, await t.start("phoenix"), "Ada", { heartbeatIntervalMs: 30 });
    const beats = new Inbox("the heartbeats");
    socket.onMessage(message => { if (message.topic === "phoenix") beats.push(message.payload); });
    for (let i = 0; i < 3; i += 1) equal(await beats.next(), { response: {}, status: "ok" });
  },
  "heartbeats keep a client that is silent otherwise": async t => {
    const server = await t.start("phoenix", "--timeout", "0.3");
    const socket = connect(t, server, "Ada", { heartbeatIntervalMs: 100 });
    const ada = await join(socket);
    // One without heartbeats is closed, and the other is not.
    equal(await (await peer(t, server)).closed(), { code: 1001, reason: "no heartbeat" });
    await say(ada, "still here");
    equal(socket.events.values, ["open"]);
  },
  "binary goes to the others, and comes back as the reply": async t => {
    const server = await t.start("phoenix");
    const [ada, bob] = [await enter(t, server, "Ada"), await enter(t, server, "Bob")];
    const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i);
    const [status, response] = await reply(ada.push("blob", bytes.buffer));
    equal([status, new Uint8Array(response)], ["ok", bytes]);
    equal(new Uint8Array(await bob.gets("blob")), bytes);
    await say(ada, "after");
    equal((await ada.told.next(([event]) => event === "blob" || event === "new_msg"))[0], "new_msg");
  },
  "binary over long polling arrives, and its reply says that it cannot be binary": async t => {
    const server = await t.start("phoenix");
    const [ada, bob] = [await enter(t, server, "Ada", polling), await enter(t, server, "Bob")];
    const [status, response] = await reply(ada.push("blob", Uint8Array.of(0, 1, 255).buffer));
    equal([status, response], ["error", { reason: "a binary reply needs a WebSocket" }]);
    equal(new Uint8Array(await bob.gets("blob")), Uint8Array.of(0, 1, 255));
  },
  "a blob too large is refused": async t => {
    const ada = await enter(t, await t.start("phoenix"), "Ada");
    equal(await reply(ada.push("blob", new ArrayBuffer(16385))), ["error", { reason: "a blob has at most 16384 bytes" }]);
  },
  "what is for one person comes to all connections of that person": async t => {
    const server = await t.start("phoenix");
    const of = name => join(connect(t, server, name), `user:${name}`);
    const [ada, one, two] = [await of("Ada"), await of("Bob"), await of("Bob")];
    equal(await reply(ada.push("tell", { to: "Bob", text: "psst" })), ["ok", {}]);
    for (const bob of [one, two]) equal((await bob.gets("new_msg")).text, "psst");
  },
  "a join with an id gets what was said since": async t => {
    const server = await t.start("phoenix");
    const ada = await enter(t, server, "Ada");
    for (const text of ["one", "two", "three"]) await say(ada, text);
    const { id } = await ada.gets("new_msg");
    const { response } = await join(connect(t, server, "Bob"), "room:lobby", { after: id });
    equal([response.messages.map(({ payload }) => payload.text), response.fresh, response.more], [["two", "three"], false, false]);
    equal((await join(connect(t, server, "Bob"), "room:lobby", { after: "nonsense" })).response.fresh, true);
  },
  "the wrong token gets 403": async t => {
    const server = await t.start("phoenix", "--token", "secret");
    const url = `${server.ws}/socket/websocket?name=Ada&vsn=2.0.0`;
    const bearer = token => ["phoenix", `base64url.bearer.phx.${btoa(token).replace(/=/g, "")}`];
    equal(await refusal(url), 403);
    equal(await refusal(url, bearer("wrong")), 403);
    equal((await t.raw(url, bearer("secret"))).protocol, "phoenix");
  },
  "the wrong token over long polling gets 403, and the client gives up": async t => {
    const socket = connect(t, await t.start("phoenix", "--token", "secret"), "Ada", { ...polling, authToken: "wrong", reconnectAfterMs: () => 60_000 });
    equal(await socket.events.next(), "error 403");
    equal(await socket.events.next(), "close 1008");
  },
  "a client without a name, or with another version, gets 403": async t => {
    const server = await t.start("phoenix");
    for (const query of ["vsn=2.0.0", "name=a%20b&vsn=2.0.0", "name=Ada", "name=Ada&vsn=1.0.0"]) {
      equal(await refusal(`${server.ws}/socket/websocket?${query}`), 403);
      equal(await poll(server, query), { status: 403 });
    }
  },
  "a second join of a topic closes the first": async t => {
    const raw = await peer(t, await t.start("phoenix"));
    equal((await raw.ask("1", "1", "room:a", "phx_join", {}))[4].status, "ok");
    equal((await raw.ask("2", "2", "room:a", "phx_join", {}))[4].status, "ok");
    equal(await raw.json(([, , , event]) => event === "phx_close"), ["1", "1", "room:a", "phx_close", {}]);
    // For the join that is over. Nothing is answered.
    raw.send(["1", "3", "room:a", "new_msg", { text: "old" }]);
    raw.send(["1", "4", "room:a", "phx_leave", {}]);
    equal((await raw.ask("2", "5", "room:a", "new_msg", { text: "new" }))[4].status, "ok");
    equal((await raw.json(([, , , event]) => event === "new_msg"))[4].text, "new");
  },
  "the references of a leave, and what follows it": async t => {
    const server = await t.start("phoenix");
    const raw = await peer(t, server);
    await raw.ask("1", "1", "room:a", "phx_join", {});
    equal(await raw.ask("1", "2", "room:a", "phx_leave", {}), ["1", "2", "room:a", "phx_reply", { response: {}, status: "ok" }]);
    equal(await raw.json(([, , , event]) => event === "phx_close"), ["1", "1", "room:a", "phx_close", {}]);
    equal(await raw.ask("1", "3", "room:a", "new_msg", {}), [
      null, "3", "room:a", "phx_reply", { response: { reason: "unmatched topic" }, status: "error" },
    ]);
    equal(await raw.ask("1", "4", "room:a", "phx_leave", {}), ["1", "4", "room:a", "phx_reply", { response: {}, status: "ok" }]);
    const bob = await join(connect(t, server, "Bob"), "room:a");
    for (let i = 0; i < 10; i += 1) {
      await say(bob, "unheard");
      raw.send([null, "5", "phoenix", "heartbeat", {}]);
      equal((await raw.json())[2], "phoenix");
    }
  },
  "broadcasts have no references, and presence_state has the join's": async t => {
    const raw = await peer(t, await t.start("phoenix"));
    await raw.ask("7", "8", "room:a", "phx_join", {});
    const [joinRef, ref, topic, event, state] = await raw.json();
    equal([joinRef, ref, topic, event, state], ["7", null, "room:a", "presence_state", {}]);
    const diff = await raw.json();
    equal(diff.slice(0, 4), [null, null, "room:a", "presence_diff"]);
    equal([Object.keys(diff[4].joins), diff[4].leaves], [["Ada"], {}]);
    equal(typeof diff[4].joins.Ada.metas[0].phx_ref, "string");
  },
  "a push without a reference gets no reply": async t => {
    const raw = await peer(t, await t.start("phoenix"));
    await raw.ask("1", "1", "room:a", "phx_join", {});
    raw.send(["1", null, "room:a", "status", { status: "x" }]);
    raw.send(["1", "2", "room:a", "status", { status: "y" }]);
    equal((await raw.json(([, , , event]) => event === "phx_reply"))[1], "2");
  },
  "numbers are references too": async t => {
    const raw = await peer(t, await t.start("phoenix"));
    equal((await raw.ask(1, 2, "room:a", "phx_join", {})).slice(0, 4), [1, 2, "room:a", "phx_reply"]);
  },
  "malformed messages close with 1011": async t => {
    const server = await t.start("phoenix");
    for (const message of ["", "{", "{}", "[]", '["1","2","t","e"]', '["1","2",3,"e",{}]', Buffer.from([0, 9]), Buffer.from([1, 0, 0, 0, 0])]) {
      const raw = await peer(t, server);
      await alive(raw);
      raw.send(message);
      equal((await raw.closed()).code, 1011);
    }
  },
  "the client connects and joins again after that": async t => {
    const socket = connect(t, await t.start("phoenix"), "Ada");
    const ada = await join(socket);
    socket.conn.send("{");
    await socket.events.next(event => event === "close 1011");
    await socket.events.next(event => event === "open");
    await say(ada, "again");
    await ada.gets("new_msg");
  },
  "an event that is for nobody crashes the channel": async t => {
    const raw = await peer(t, await t.start("phoenix"));
    await raw.ask("1", "1", "room:a", "phx_join", {});
    raw.send(["1", "2", "room:a", "nonsense", {}]);
    equal(await raw.json(([, , , event]) => event !== "presence_state" && event !== "presence_diff"), ["1", "1", "room:a", "phx_error", {}]);
  },
  "beyond the most channels, a join is refused": async t => {
    const raw = await peer(t, await t.start("phoenix", "--max-channels", "1"));
    await raw.ask("1", "1", "room:a", "phx_join", {});
    equal((await raw.ask("2", "2", "room:b", "phx_join", {}))[4], { response: { reason: "too many channels" }, status: "error" });
    await raw.ask("1", "3", "room:a", "phx_leave", {});
    equal((await raw.ask("4", "4", "room:b", "phx_join", {}))[4].status, "ok");
  },
  "a client that joins nothing is closed, and one that did is not": async t => {
    const server = await t.start("phoenix", "--join-within", "0.2");
    const joined = await peer(t, server);
    await joined.ask("1", "1", "room:a", "phx_join", {});
    equal(await (await peer(t, server)).closed(), { code: 1008, reason: "no channel was joined" });
    await alive(joined);
  },
  "a message too large is closed with 1009": async t => {
    const raw = await peer(t, await t.start("phoenix"));
    raw.send("x".repeat(70_000));
    equal((await raw.closed()).code, 1009);
  },
  "beyond the most connections, a client gets 503": async t => {
    const server = await t.start("phoenix", "--max-connections", "1");
    await peer(t, server);
    equal(await refusal(`${server.ws}/socket/websocket?name=Ada&vsn=2.0.0`), 503);
  },
  "a page of another origin gets 403, over either transport": async t => {
    const server = await t.start("phoenix", "--allow-origin", "https://app.example");
    const url = `${server.ws}/socket/websocket?name=Ada&vsn=2.0.0`;
    equal(await refusal(url, [], { origin: "https://elsewhere.example" }), 403);
    await peer(t, server, { origin: "https://app.example" });
    equal(await poll(server, undefined, { origin: "https://elsewhere.example" }), { status: 403 });
    const { token, status } = await poll(server, undefined, { origin: "https://app.example" });
    equal(status, 410);
    equal(await post(server, token, "", { origin: "https://elsewhere.example" }), { status: 403 });
    const asks = origin => request(`${server.url}/socket/longpoll`, { method: "OPTIONS", headers: { origin } });
    equal((await asks("https://elsewhere.example")).status, 403);
    const allowed = await asks("https://app.example");
    equal([allowed.status, allowed.headers["access-control-allow-origin"]], [200, "https://app.example"]);
  },
  "the client notices a stalled server": async t => {
    const between = await t.relay((await t.start("phoenix")).port);
    const socket = connect(t, between, "Ada", { heartbeatIntervalMs: 100 });
    const ada = await join(socket);
    await between.arrivals.next();
    between.stall();
    await ada.gets("phx_error");
    between.resume();
    await between.arrivals.next();
    await say(ada, "again");
    await ada.gets("new_msg");
  },
  "the server notices a stalled client, who leaves": async t => {
    const server = await t.start("phoenix", "--timeout", "0.3");
    const between = await t.relay(server.port);
    const ada = channel(connect(t, server, "Ada", { heartbeatIntervalMs: 50 }));
    const { until } = presence(ada);
    await reply(ada.join());
    await enter(t, between, "Bob", { heartbeatIntervalMs: 50 });
    await until("Ada. Bob.");
    between.stall();
    // Others do not wait until it has had its time to answer the Close.
    await until("Ada.", 3500);
  },
  "a client that does not read is dropped, and others are not delayed": async t => {
    const server = await t.start("phoenix", "--ping-every", "0.3", "--pong-within", "0.3");
    const slow = await peer(t, server);
    await slow.ask("1", "1", "room:lobby", "phx_join", {});
    slow.stopReading();
    const [ada, bob] = [await enter(t, server, "Ada"), await enter(t, server, "Bob")];
    for (let i = 0; i < 100; i += 1) ada.push("new_msg", { text: "x".repeat(2000) });
    for (let i = 0; i < 100; i += 1) await bob.gets("new_msg");
    await server.lines.next(line => line.includes("pong"));
  },
  "a client that falls behind loses its channel, joins again, and has the newest": async t => {
    const server = await t.start("phoenix");
    const slow = await peer(t, server, { path: "/socket/websocket?name=Slow&vsn=2.0.0" });
    await slow.ask("1", "1", "user:Slow", "phx_join", {});
    slow.socket.pause();
    const text = "\u{1f422}".repeat(2000);
    await Promise.all(Array.from({ length: 8 }, async () => {
      const ada = await peer(t, server);
      await ada.ask("1", "1", "user:Ada", "phx_join", {});
      for (let i = 0; i < 190; i += 1) ada.send(["1", String(i), "user:Ada", "tell", { to: "Slow", text }]);
      await ada.json(([, ref]) => ref === "189");
    }));
    slow.socket.resume();
    equal(await slow.json(([, , , event]) => event === "phx_error"), ["1", "1", "user:Slow", "phx_error", {}]);
    const { response } = (await slow.ask("2", "2", "user:Slow", "phx_join", { after: "0-0" }))[4];
    equal([response.messages.length, response.fresh], [100, true]);
    await alive(slow);
  },
  "Ctrl-C closes with 1001 and ends the program": async t => {
    const server = await t.start("phoenix");
    const socket = connect(t, server, "Ada");
    await join(socket);
    equal(await server.stop(), 0);
    await socket.events.next(event => event === "close 1001");
  },
  "where WebSockets are blocked, the client falls back to long polling": async t => {
    const between = await t.relay((await t.start("phoenix")).port);
    between.blockUpgrades();
    const socket = connect(t, between, "Ada", { longPollFallbackMs: 500 });
    const ada = await join(socket);
    equal(socket.transport, LongPoll);
    await say(ada, "hello");
    equal((await ada.gets("new_msg")).text, "hello");
  },
  "where WebSockets hang, it falls back too": async t => {
    const server = await t.start("phoenix");
    const between = await t.relay(server.port);
    between.stall();
    const socket = connect(t, between, "Ada", { longPollFallbackMs: 100 });
    const logged = new Inbox("the log");
    socket.logger = (kind, text) => logged.push(text);
    await logged.next(text => text.includes("falling back"));
    between.resume();
    await say(await join(socket), "hello");
    equal(socket.transport, LongPoll);
  },
  "where they are not, it stays with WebSocket": async t => {
    const socket = connect(t, await t.start("phoenix"), "Ada", { longPollFallbackMs: 5000 });
    await join(socket);
    equal(socket.transport, WebSocket);
  },
  "a first poll gets a token, and further ones messages": async t => {
    const server = await t.start("phoenix", "--poll-window", "0.2");
    const { status, token, messages } = await poll(server);
    equal([status, messages], [410, []]);
    const again = `vsn=2.0.0&token=${token}`;
    equal(await poll(server, again), { status: 204, token, messages: [] });
    equal(await post(server, token, '[null,"1","phoenix","heartbeat",{}]\n["2","2","user:Ada","phx_join",{}]'), { status: 200 });
    equal((await poll(server, again)).messages.map(text => JSON.parse(text)[1]), ["1", "2"]);
  },
  "a token that is unknown gets 410, or a new session": async t => {
    const server = await t.start("phoenix");
    equal(await post(server, "unknown", "[]"), { status: 410 });
    const { status, token } = await poll(server, "name=Ada&vsn=2.0.0&token=unknown");
    equal([status, token === "unknown"], [410, false]);
  },
  "a session that is not polled ends, and who was on it leaves": async t => {
    const server = await t.start("phoenix", "--poll-window", "0.2");
    const ada = channel(connect(t, server, "Ada"));
    const { until } = presence(ada);
    await reply(ada.join());
    const { token } = await poll(server, "name=Bob&vsn=2.0.0");
    equal(await post(server, token, '["1","1","room:lobby","phx_join",{}]'), { status: 200 });
    await until("Ada. Bob.");
    await until("Ada.");
    equal(await post(server, token, '[null,"1","phoenix","heartbeat",{}]'), { status: 410 });
  },
  "a malformed message ends the session, and the client begins another": async t => {
    const socket = connect(t, await t.start("phoenix"), "Ada", polling);
    const ada = await join(socket);
    socket.conn.send("[]");
    await ada.gets("phx_error");
    await say(ada, "again");
    await ada.gets("new_msg");
  },
  "more messages than the client sends at once are taken, at the rate of the server": async t => {
    const socket = connect(t, await t.start("phoenix"), "Ada", polling);
    const ada = await join(socket);
    const pushes = Array.from({ length: 250 }, (_, i) => reply(ada.push("new_msg", { text: String(i) })));
    for (const push of pushes) equal((await push)[0], "ok");
    for (let i = 0; i < 250; i += 1) equal((await ada.gets("new_msg")).text, String(i));
  },
  "a body too large gets 413, and other methods 400": async t => {
    const server = await t.start("phoenix");
    const url = `${server.url}/socket/longpoll?token=x`;
    equal((await request(url, { method: "POST", body: "x".repeat((1 << 20) + 1) })).status, 413);
    equal((await request(url, { method: "PUT" })).status, 400);
  },
  "Chromium: two pages talk, send binary, and see each other": async t => {
    const { show, flags } = await pages(t);
    const server = await t.start("phoenix", ...flags);
    const [ada, bob] = [await show(server, "Ada"), await show(server, "Bob")];
    equal([await ada.enter(), await bob.enter()], ["WebSocket", "WebSocket"]);
    await ada.until("Ada Bob");
    await ada.say("hello");
    for (const page of [ada, bob]) equal(await page.until("said"), "Ada: hello");
    await ada.run('void room.push("blob", Uint8Array.of(0, 1, 255).buffer)');
    equal(await bob.until("blob"), [0, 1, 255]);
    await bob.run("void socket.disconnect()");
    await ada.until("Ada");
  },
  "Chromium: where WebSockets are blocked, it falls back to long polling of another origin": async t => {
    const { show, flags } = await pages(t);
    const server = await t.start("phoenix", ...flags, "--token", "secret");
    const between = await t.relay(server.port);
    between.blockUpgrades();
    const ada = await show(between, "Ada", { longPollFallbackMs: 2000, authToken: "secret" });
    equal(await ada.enter(), await ada.run("Phoenix.LongPoll.name"));
    await ada.say("hello");
    equal(await ada.until("said"), "Ada: hello");
  },
  "Chromium: a page comes back after the server was restarted": async t => {
    const { show, flags } = await pages(t);
    const server = await t.start("phoenix", ...flags);
    const ada = await show(server, "Ada");
    await ada.enter();
    equal(await server.stop(), 0);
    await ada.until("lost");
    await t.start("phoenix", ...flags, "--listen", `127.0.0.1:${server.port}`);
    equal(await ada.until("joined"), "WebSocket");
    await ada.say("again");
    equal(await ada.until("said"), "Ada: again");
  },
  "Chromium: a page of an origin that is not allowed gets nowhere": async t => {
    const { show } = await pages(t);
    const ada = await show(await t.start("phoenix"), "Ada", { longPollFallbackMs: 2000 });
    void ada.enter().catch(() => {});
    await ada.until("error");
    // Long polling, after the fallback.
    await ada.until("error");
    equal(await ada.run("told.some(([kind]) => kind === 'joined')"), false);
  },
  "the client's poll survives a stalled network": async t => {
    const between = await t.relay((await t.start("phoenix", "--poll-window", "0.3")).port);
    const socket = connect(t, between, "Ada", { ...polling, longpollerTimeout: 600 });
    const ada = await join(socket);
    between.stall();
    await ada.gets("phx_error");
    between.resume();
    await say(ada, "again");
    await ada.gets("new_msg");
  },
});
