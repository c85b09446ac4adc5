// examples/actioncable against npm's @rails/actioncable, and a raw peer for what that never sends.
// builds: actioncable
"use strict";

const { cases, equal, Inbox, refusal, request, usage, WebSocket } = require("./harness.cjs");

// What the client expects of a browser.
globalThis.addEventListener = globalThis.removeEventListener = () => {};
const cable = require("@rails/actioncable");
cable.adapters.WebSocket = WebSocket;
cable.Connection.reopenDelay = 20;

// How many seconds of silence the client waits before it connects again. It is the client's default, or less where a case needs it.
const PATIENT = 6, HASTY = 0.2;
// A server for a hasty client.
const BEATING = ["--beat", "0.05"];

function connect(t, server, name, { stale = PATIENT, query = "", protocols = [] } = {}) {
  cable.ConnectionMonitor.staleThreshold = stale;
  const consumer = cable.createConsumer(`${server.ws}/cable?name=${name}${query}`);
  for (const protocol of protocols) consumer.addSubProtocol(protocol);
  t.defer(() => consumer.disconnect());
  return consumer;
}

// A subscription, and all that it is told.
function subscribe(consumer, params) {
  const told = new Inbox(JSON.stringify(params));
  const mixin = { received: message => told.push(["received", message]) };
  for (const name of ["connected", "disconnected", "rejected"]) mixin[name] = value => told.push([name, value]);
  const subscription = consumer.subscriptions.create(params, mixin);
  subscription.told = told;
  subscription.until = name => told.next(([kind]) => kind === name);
  // The next message with this field.
  subscription.gets = async field => (await told.next(([kind, message]) => kind === "received" && field in message))[1];
  return subscription;
}

const chat = (consumer, room = "lobby") => subscribe(consumer, { channel: "ChatChannel", room });
async function enter(...args) {
  const subscription = chat(connect(...args));
  await subscription.until("connected");
  return subscription;
}

const IDENTIFIER = '{"channel":"ChatChannel","room":"lobby"}';
async function peer(t, server, { protocols = ["actioncable-v1-json"], path = "/cable?name=Ada", welcome = true, ...options } = {}) {
  const raw = await t.raw(server.ws + path, protocols, options);
  if (welcome) equal(await raw.json(), { type: "welcome" });
  // Pings come in between.
  raw.told = () => raw.json(message => message.type !== "ping");
  raw.command = (command, identifier = IDENTIFIER, data) => raw.send({ command, identifier, data });
  raw.confirmed = async (identifier = IDENTIFIER) => {
    raw.command("subscribe", identifier);
    equal(await raw.told(), { identifier, type: "confirm_subscription" });
  };
  return raw;
}

const disconnect = (server, name, reconnect, token = "secret") =>
  request(`${server.url}/connections/${name}/disconnect?reconnect=${reconnect}`, {
    method: "POST", headers: { authorization: `Bearer ${token}` },
  });

cases("actioncable", 41, {
  "options are explained, and wrong ones named": () => usage("actioncable", "broker", "token", "admin", "max-subscriptions", "join-within", "beat"),
  "the client connects, and is welcome": async t => {
    const consumer = connect(t, await t.start("actioncable"), "Ada");
    await chat(consumer).until("connected");
    equal(consumer.connection.getProtocol(), "actioncable-v1-json");
  },
  "a subscription is confirmed": async t => {
    const ada = await enter(t, await t.start("actioncable"), "Ada");
    equal(ada.told.values, []);
  },
  "the confirmation has the identifier as it came": async t => {
    const raw = await peer(t, await t.start("actioncable"));
    await raw.confirmed('{ "room":"\\u006cobby" , "channel":"ChatChannel"}');
  },
  "identifiers that differ in a byte are two subscriptions": async t => {
    const raw = await peer(t, await t.start("actioncable"));
    const other = '{"room":"lobby","channel":"ChatChannel"}';
    await raw.confirmed();
    await raw.confirmed(other);
    raw.command("message", other, JSON.stringify({ action: "speak", text: "one" }));
    const told = [await raw.told(), await raw.told()];
    equal(told.map(message => message.identifier).sort(), [IDENTIFIER, other].sort());
  },
  "what one says is heard by all, and by who said it": async t => {
    const server = await t.start("actioncable");
    const [ada, bob] = [await enter(t, server, "Ada"), await enter(t, server, "Bob")];
    ada.perform("speak", { text: "hello" });
    for (const who of [ada, bob]) {
      const { name, text } = await who.gets("text");
      equal([name, text], ["Ada", "hello"]);
    }
  },
  "without an action it is received": async t => {
    const ada = await enter(t, await t.start("actioncable"), "Ada");
    ada.send({ text: "hello" });
    equal((await ada.gets("text")).text, "hello");
  },
  "two channels on one connection are apart": async t => {
    const consumer = connect(t, await t.start("actioncable"), "Ada");
    const [lobby, other] = [chat(consumer), chat(consumer, "other")];
    await lobby.until("connected");
    await other.until("connected");
    other.perform("speak", { text: "elsewhere" });
    lobby.perform("speak", { text: "here" });
    equal((await lobby.gets("text")).text, "here");
    equal((await other.gets("text")).text, "elsewhere");
    equal([lobby.told.values, other.told.values], [[], []]);
  },
  "a channel rejects": async t => {
    const consumer = connect(t, await t.start("actioncable"), "Ada");
    for (const params of [
      { channel: "ChatChannel", room: "not a name" }, { channel: "ChatChannel" }, { channel: "InboxChannel", name: "Bob" },
    ]) {
      await subscribe(consumer, params).until("rejected");
    }
    await chat(consumer).until("connected");
  },
  "a rejected subscription is none": async t => {
    const raw = await peer(t, await t.start("actioncable"));
    const identifier = '{"channel":"ChatChannel"}';
    for (let i = 0; i < 2; i += 1) {
      raw.command("subscribe", identifier);
      equal(await raw.told(), { identifier, type: "reject_subscription" });
    }
  },
  "an inbox is for its owner": async t => {
    const server = await t.start("actioncable");
    const inbox = name => subscribe(connect(t, server, name), { channel: "InboxChannel", name });
    const [ada, bob] = [inbox("Ada"), inbox("Bob")];
    await ada.until("connected");
    await bob.until("connected");
    ada.perform("tell", { to: "Bob", text: "for you" });
    equal((await bob.gets("text")).text, "for you");
    bob.perform("tell", { to: "Ada", text: "and you" });
    equal((await ada.gets("text")).text, "and you");
  },
  "presence: who is here, who comes, who is away, who leaves": async t => {
    const server = await t.start("actioncable");
    const appear = name => subscribe(connect(t, server, name), { channel: "AppearanceChannel" });
    const ada = appear("Ada");
    equal((await ada.gets("here")).here, []);
    equal((await ada.gets("came")).came.name, "Ada");
    const bob = appear("Bob");
    equal((await bob.gets("here")).here.map(({ name }) => name), ["Ada"]);
    const { name, away } = (await ada.gets("came")).came;
    equal([name, away], ["Bob", false]);
    bob.perform("away");
    equal((await ada.gets("came")).came.away, true);
    bob.consumer.disconnect();
    equal((await ada.gets("left")).left.name, "Bob");
  },
  "who unsubscribes hears nothing more, and can come back": async t => {
    const server = await t.start("actioncable");
    const consumer = connect(t, server, "Ada");
    const [lobby, other, bob] = [chat(consumer), chat(consumer, "other"), await enter(t, server, "Bob")];
    await lobby.until("connected");
    await other.until("connected");
    lobby.unsubscribe();
    // Answered after the command before it.
    other.perform("speak", { text: "after" });
    await other.gets("text");
    bob.perform("speak", { text: "unheard" });
    await bob.gets("text");
    equal(lobby.told.values, []);
    const again = chat(consumer);
    await again.until("connected");
    bob.perform("speak", { text: "heard" });
    equal((await again.gets("text")).text, "heard");
  },
  "to who unsubscribed nothing more is sent": async t => {
    const server = await t.start("actioncable");
    const [raw, bob] = [await peer(t, server), await enter(t, server, "Bob")];
    await raw.confirmed();
    raw.command("unsubscribe");
    const other = '{"channel":"ChatChannel","room":"other"}';
    await raw.confirmed(other);
    for (let i = 0; i < 10; i += 1) {
      bob.perform("speak", { text: "unheard" });
      await bob.gets("text");
      raw.command("message", other, '{"action":"speak","text":"heard"}');
      equal((await raw.told()).message.text, "heard");
    }
  },
  "who comes back catches up": async t => {
    const server = await t.start("actioncable");
    const ada = await enter(t, server, "Ada");
    for (const text of ["one", "two", "three"]) ada.perform("speak", { text });
    const { id } = await ada.gets("text");
    await ada.gets("text");
    await ada.gets("text");
    const bob = await enter(t, server, "Bob");
    bob.perform("catch_up", { after: id });
    equal([(await bob.gets("text")).text, (await bob.gets("text")).text], ["two", "three"]);
    equal(await bob.gets("caught_up"), { caught_up: true, fresh: false });
    bob.perform("catch_up", {});
    equal((await bob.gets("text")).text, "one");
    equal(await bob.gets("caught_up"), { caught_up: true, fresh: true });
  },
  "a text too long is refused, and the connection stays": async t => {
    const ada = await enter(t, await t.start("actioncable"), "Ada");
    ada.perform("speak", { text: "x".repeat(2001) });
    equal((await ada.gets("error")).error, "a text has 1 to 2000 characters");
    ada.perform("speak", { text: "x".repeat(2000) });
    await ada.gets("text");
  },
  "pings come, with the seconds since 1970": async t => {
    const raw = await peer(t, await t.start("actioncable", ...BEATING));
    for (let i = 0; i < 3; i += 1) {
      const { type, message } = await raw.json();
      equal([type, Math.abs(message - Date.now() / 1000) < 5], ["ping", true]);
    }
  },
  "the first ping comes after 3 seconds": async t => {
    const raw = await peer(t, await t.start("actioncable"));
    const begun = Date.now();
    equal((await raw.json()).type, "ping");
    equal(Date.now() - begun > 2500, true);
  },
  "who may not connect is told so, and stays away": async t => {
    const server = await t.start("actioncable", "--token", "secret");
    for (const path of ["/cable?name=Ada", "/cable?name=Ada&token=wrong", "/cable?name=a%20b&token=secret", "/cable?token=secret"]) {
      const raw = await peer(t, server, { path, welcome: false });
      equal(await raw.json(), { type: "disconnect", reason: "unauthorized", reconnect: false });
      equal(await raw.closed(), { code: 1000, reason: "" });
    }
    await peer(t, server, { path: "/cable?name=Ada&token=secret" });
    const ada = chat(connect(t, server, "Ada"));
    equal(await ada.until("disconnected"), ["disconnected", { willAttemptReconnect: false }]);
    equal(ada.consumer.connection.monitor.isRunning(), false);
  },
  "who knows the token connects": async t => {
    const server = await t.start("actioncable", "--token", "secret");
    await enter(t, server, "Ada", { query: "&token=secret" });
  },
  "the back end disconnects a person, for good": async t => {
    const server = await t.start("actioncable", "--admin", "secret", ...BEATING);
    const [ada, bob] = [await enter(t, server, "Ada", { stale: HASTY }), await enter(t, server, "Bob", { stale: HASTY })];
    equal((await disconnect(server, "Ada", false)).status, 202);
    equal(await ada.until("disconnected"), ["disconnected", { willAttemptReconnect: false }]);
    bob.perform("speak", { text: "still here" });
    equal((await bob.gets("text")).text, "still here");
  },
  "the back end disconnects a person, who comes back": async t => {
    const server = await t.start("actioncable", "--admin", "secret", ...BEATING);
    const ada = await enter(t, server, "Ada", { stale: HASTY });
    const raw = await peer(t, server);
    equal((await disconnect(server, "Ada", true)).status, 202);
    equal(await raw.told(), { type: "disconnect", reason: "remote", reconnect: true });
    equal(await ada.until("disconnected"), ["disconnected", { willAttemptReconnect: true }]);
    equal(await ada.until("connected"), ["connected", { reconnected: true }]);
  },
  "others cannot disconnect anybody": async t => {
    const server = await t.start("actioncable", "--admin", "secret");
    equal((await disconnect(server, "Ada", false, "wrong")).status, 401);
    equal((await disconnect(await t.start("actioncable"), "Ada", false, "")).status, 401);
  },
  "Ctrl-C: clients are told that the server restarts, and come back": async t => {
    const server = await t.start("actioncable", ...BEATING);
    const ada = await enter(t, server, "Ada", { stale: HASTY });
    const raw = await peer(t, server);
    equal(await server.stop(), 0);
    equal(await raw.told(), { type: "disconnect", reason: "server_restart", reconnect: true });
    equal(await raw.closed(), { code: 1000, reason: "" });
    equal(await ada.until("disconnected"), ["disconnected", { willAttemptReconnect: true }]);
    await t.start("actioncable", "--listen", `127.0.0.1:${server.port}`, ...BEATING);
    await ada.until("connected");
    ada.perform("speak", { text: "again" });
    equal((await ada.gets("text")).text, "again");
  },
  "the client comes back after the server was killed": async t => {
    const server = await t.start("actioncable", ...BEATING);
    const ada = await enter(t, server, "Ada", { stale: HASTY });
    await server.kill();
    await ada.until("disconnected");
    await t.start("actioncable", "--listen", `127.0.0.1:${server.port}`, ...BEATING);
    await ada.until("connected");
  },
  "the client notices a stalled server": async t => {
    const server = await t.start("actioncable", ...BEATING);
    const between = await t.relay(server.port);
    const ada = await enter(t, between, "Ada", { stale: HASTY });
    await between.arrivals.next();
    between.stall();
    // It opens another connection. It calls nothing when it gives up the old one.
    await between.arrivals.next();
    between.resume();
    equal(await ada.until("connected"), ["connected", { reconnected: true }]);
  },
  "the server notices a stalled client, who leaves": async t => {
    const server = await t.start("actioncable", "--ping-every", "0.1", "--pong-within", "0.2");
    const between = await t.relay(server.port);
    const appear = (to, name) => subscribe(connect(t, to, name), { channel: "AppearanceChannel" });
    const bob = appear(server, "Bob");
    await bob.gets("here");
    const ada = appear(between, "Ada");
    await ada.gets("came");
    between.stall();
    equal((await bob.gets("left")).left.name, "Ada");
  },
  "malformed messages are ignored, as Rails does": async t => {
    const server = await t.start("actioncable");
    const raw = await peer(t, server);
    await raw.confirmed();
    for (const text of ["", "{", "[]", "7", "null", "{}", '{"command":"nonsense"}', '{"command":"subscribe"}']) raw.send(text);
    raw.send(Buffer.from("{}"));
    raw.command("subscribe", "no JSON");
    raw.command("subscribe", '{"channel":"NoSuchChannel"}');
    raw.command("subscribe", "{}");
    raw.command("unsubscribe", "unknown");
    raw.command("message", "unknown", "{}");
    raw.command("message", IDENTIFIER, "{");
    raw.command("message", IDENTIFIER, '{"action":"nonsense"}');
    raw.command("subscribe", IDENTIFIER);
    raw.command("message", IDENTIFIER, '{"action":"speak","text":"still here"}');
    equal((await raw.told()).message.text, "still here");
    await server.lines.next(line => line === "actioncable: ignored a message that is no object of JSON");
    equal(server.errors.length, 3);
  },
  "the older client without a subprotocol is served": async t => {
    equal((await peer(t, await t.start("actioncable"), { protocols: [] })).protocol, "");
  },
  "a client that knows no version of the server gets what it offered for that": async t => {
    const raw = await peer(t, await t.start("actioncable"), { protocols: ["actioncable-v9", "actioncable-unsupported"] });
    equal(raw.protocol, "actioncable-unsupported");
  },
  "further subprotocols do not matter": async t => {
    await enter(t, await t.start("actioncable"), "Ada", { protocols: ["token.abc"] });
  },
  "a page of another origin gets 403": async t => {
    const server = await t.start("actioncable", "--allow-origin", "https://app.example");
    const offer = ["actioncable-v1-json"];
    equal(await refusal(`${server.ws}/cable?name=Ada`, offer, { origin: "https://elsewhere.example" }), 403);
    await peer(t, server, { origin: "https://app.example" });
    await peer(t, server, { origin: server.url });
  },
  "beyond the most subscriptions, one is rejected": async t => {
    const raw = await peer(t, await t.start("actioncable", "--max-subscriptions", "1"));
    await raw.confirmed();
    const identifier = '{"channel":"AppearanceChannel"}';
    raw.command("subscribe", identifier);
    equal(await raw.told(), { identifier, type: "reject_subscription" });
    raw.command("unsubscribe");
    raw.command("subscribe", identifier);
    equal(await raw.told(), { identifier, type: "confirm_subscription" });
  },
  "a client that subscribes to nothing is sent away, and one that did is not": async t => {
    const server = await t.start("actioncable", "--join-within", "0.2");
    const raw = await peer(t, server);
    await raw.confirmed();
    raw.command("unsubscribe");
    const idle = await peer(t, server);
    equal(await idle.told(), { type: "disconnect", reason: "remote", reconnect: false });
    await idle.closed();
    await raw.confirmed();
  },
  "a message too large is closed with 1009": async t => {
    const raw = await peer(t, await t.start("actioncable"));
    raw.send("x".repeat(70_000));
    equal((await raw.closed()).code, 1009);
  },
  "beyond the most connections, a client gets 503": async t => {
    const server = await t.start("actioncable", "--max-connections", "1");
    await peer(t, server);
    equal(await refusal(`${server.ws}/cable?name=Ada`), 503);
  },
  "a client that does not read is dropped, and others are not delayed": async t => {
    const server = await t.start("actioncable", "--ping-every", "0.3", "--pong-within", "0.3");
    const slow = await peer(t, server);
    await slow.confirmed();
    slow.stopReading();
    const [ada, bob] = [await enter(t, server, "Bob"), await enter(t, server, "Eve")];
    for (let i = 0; i < 100; i += 1) ada.perform("speak", { text: "x".repeat(2000) });
    for (let i = 0; i < 100; i += 1) await bob.gets("text");
    await server.lines.next(line => line.includes("pong"));
  },
  "a client that falls behind is told to come back": async t => {
    const server = await t.start("actioncable");
    const inbox = name => JSON.stringify({ channel: "InboxChannel", name });
    const slow = await peer(t, server, { path: "/cable?name=Slow" });
    await slow.confirmed(inbox("Slow"));
    slow.socket.pause();
    const tell = JSON.stringify({ action: "tell", to: "Slow", text: "\u{1f422}".repeat(2000) });
    await Promise.all(Array.from({ length: 8 }, async () => {
      const ada = await peer(t, server);
      await ada.confirmed(inbox("Ada"));
      for (let i = 0; i < 190; i += 1) ada.command("message", inbox("Ada"), tell);
      // Answered after these.
      await ada.confirmed('{"channel":"ChatChannel","room":"after"}');
    }));
    slow.socket.resume();
    equal(await slow.json(({ type }) => type === "disconnect"), { type: "disconnect", reason: "remote", reconnect: true });
  },
  ...Object.fromEntries(["redis", "nats"].map(kind => [`two nodes share a room over ${kind}`, async t => {
    const url = await t.broker(kind);
    const servers = [await t.start("actioncable", "--broker", url), await t.start("actioncable", "--broker", url)];
    const [ada, bob] = [await enter(t, servers[0], "Ada"), await enter(t, servers[1], "Bob")];
    ada.perform("speak", { text: "over there" });
    equal((await bob.gets("text")).text, "over there");
    bob.perform("speak", { text: "and back" });
    await ada.gets("text");
    equal((await ada.gets("text")).text, "and back");
  }])),
  "a broker that is not there is an error at once": async t => {
    const error = await t.start("actioncable", "--broker", "redis://127.0.0.1:1").then(() => "it runs", error => error.message);
    equal(error.includes("ended with 1"), true);
  },
});
