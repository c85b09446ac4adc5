// examples/pusher against npm's laravel-echo with pusher-js, npm's pusher for the HTTP API, and a raw peer for what those never send.
// builds: pusher
"use strict";

const { execFileSync } = require("node:child_process");
const crypto = require("node:crypto");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { cases, equal, within, Inbox, refusal, request, PROGRAMS } = require("./harness.cjs");
const Back = require("pusher");
const Client = require("pusher-js");

// The package marks its CommonJS build as a module, which node refuses. So this imports the module.
let Echo;
const loaded = import(pathToFileURL(require.resolve("laravel-echo").replace("echo.common.js", "echo.js"))).then(echo => { Echo = echo.default; });

const APP = ["--app", "1:key:secret"];
const start = (t, ...flags) => t.start("pusher", ...APP, "--demo", ...flags);
const flags = text => text.split(" ");

// Echo with pusher-js. `events` has what the connection says of itself.
function connect(t, server, name = "Ada", options = {}) {
  const echo = new Echo({
    broadcaster: "reverb", Pusher: Client, key: "key", wsHost: "127.0.0.1", wsPort: server.port, forceTLS: false, enabledTransports: ["ws"],
    authEndpoint: `${server.url}/broadcasting/auth`, bearerToken: name, disableStats: true,
    // Without this, all instances of Echo share one object for their headers.
    auth: { headers: {} },
    userAuthentication: { endpoint: `${server.url}/broadcasting/user-auth`, headers: {} }, ...options,
  });
  const { connection } = echo.connector.pusher;
  echo.connection = connection;
  echo.events = new Inbox(`the connection of ${name}`);
  connection.bind("state_change", ({ current }) => echo.events.push(current));
  connection.bind("connecting_in", seconds => echo.events.push(`in ${seconds} s`));
  connection.bind("error", error => echo.events.push(`error ${(error.error ?? error).data?.code ?? ""}`));
  echo.messages = new Inbox(`the messages of ${name}`);
  connection.bind("message", message => echo.messages.push(message));
  echo.until = event => echo.events.next(now => now === event);
  t.defer(() => echo.disconnect());
  return echo;
}

async function connected(...args) {
  const echo = connect(...args);
  await echo.until("connected");
  return echo;
}

// The client connects again without a wait. pusher-js still announces one, as after each end, but does not keep to it.
async function atOnce(echo) {
  const told = [];
  while (told.at(-1) !== "connecting") told.push(await echo.events.next());
  equal(told.filter(event => !event.startsWith("error")), ["in 1 s", "connecting"]);
  await echo.until("connected");
}

// All that a channel of Echo is told, as [event, data].
function watch(channel) {
  channel.told = new Inbox(channel.name);
  channel.subscription.bind_global((event, data) => channel.told.push([event, data]));
  channel.gets = async name => (await channel.told.next(([event]) => event === name))[1];
  return channel;
}

async function subscribed(channel) {
  watch(channel);
  channel.data = await channel.gets("pusher:subscription_succeeded");
  return channel;
}

const join = (echo, channel = "room") => subscribed(echo.join(channel));
const enter = async (t, server, name, channel) => join(await connected(t, server, name), channel);
const here = channel => Object.keys(channel.subscription.members.members).sort().join(" ");
const added = async channel => (await channel.gets("pusher:member_added")).id;
const removed = async channel => (await channel.gets("pusher:member_removed")).id;

// The app's back end.
const back = (server, app = { appId: "1", key: "key", secret: "secret" }) =>
  new Back({ ...app, host: "127.0.0.1", port: String(server.port), useTLS: false });
const status = async promise => (await promise.then(response => response, error => error)).status;
const got = async (server, path, params) => (await back(server).get({ path, params })).json();

const sign = text => crypto.createHmac("sha256", "secret").update(text).digest("hex");
const PATH = "/app/key?protocol=7&client=js&version=8.6.0";

// A raw peer that is connected.
async function peer(t, server, { path = PATH, established = true, ...options } = {}) {
  const raw = await t.raw(server.ws + path, [], options);
  raw.told = async () => {
    const { data, ...rest } = await raw.json();
    return { ...rest, ...typeof data === "string" ? { data: JSON.parse(data) } : { data } };
  };
  if (established) raw.id = (await raw.told()).data.socket_id;
  raw.event = (event, data, channel) => raw.send({ event, data, channel });
  raw.signed = (channel, channel_data) => ({
    channel, channel_data, auth: `key:${sign(`${raw.id}:${channel}${channel_data === undefined ? "" : `:${channel_data}`}`)}`,
  });
  raw.subscribe = async (data, expected = "pusher_internal:subscription_succeeded") => {
    raw.event("pusher:subscribe", typeof data === "string" ? raw.signed(data) : data);
    const answer = await raw.told();
    equal(answer.event, expected);
    return answer.data;
  };
  raw.error = async (code, message) => equal(await raw.told(), { event: "pusher:error", data: { code, message } });
  // By then all that was sent before has been answered, if it is answered at all.
  raw.alive = async () => {
    raw.event("pusher:ping", {});
    equal(await raw.told(), { event: "pusher:pong", data: {} });
  };
  return raw;
}

const user = (id, info) => JSON.stringify({ user_id: id, user_info: info });

// A request to the HTTP API, signed by hand, so that it can be wrong.
function api(server, path, { method = "POST", body = "", at = Date.now() / 1000 | 0, change = {}, after = {}, secret = "secret" } = {}) {
  const parameters = {
    auth_key: "key", auth_timestamp: at, auth_version: "1.0",
    ...body ? { body_md5: crypto.createHash("md5").update(body).digest("hex") } : {}, ...change,
  };
  const query = Object.keys(parameters).sort().filter(name => parameters[name] !== undefined).map(name => `${name}=${parameters[name]}`).join("&");
  const signature = crypto.createHmac("sha256", secret).update(`${method}\n${path}\n${query}`).digest("hex");
  return request(`${server.url}${after.path ?? path}?${after.query ?? `${query}&auth_signature=${signature}`}`, {
    method, body: after.body ?? body, headers: { "content-type": "application/json" },
  });
}

const event = (more = {}) => JSON.stringify({ name: "e", channel: "news", data: "{}", ...more });

const nodes = kind => ({
  [`two nodes over ${kind}: events and client events`]: async t => {
    const url = await t.broker(kind);
    const servers = [await start(t, "--broker", url), await start(t, "--broker", url)];
    const [ada, bob] = [await connected(t, servers[0]), await connected(t, servers[1], "Bob")];
    const [mine, other] = [await subscribed(ada.private("chat")), await subscribed(bob.private("chat"))];
    for (const server of servers) {
      await back(server).trigger("private-chat", "e", server.port);
      for (const channel of [mine, other]) equal(await channel.gets("e"), server.port);
    }
    mine.whisper("typing", { name: "Ada" });
    equal(await other.gets("client-typing"), { name: "Ada" });
    // Excluded, although the request came to the other node.
    await back(servers[1]).trigger("private-chat", "e", "to others", { socket_id: ada.socketId() });
    await back(servers[1]).trigger("private-chat", "e", "to all");
    equal([await other.gets("e"), await other.gets("e"), await mine.gets("e")], ["to others", "to all", "to all"]);
    equal(mine.told.values, []);
  },
  [`two nodes over ${kind}: presence`]: async t => {
    const url = await t.broker(kind);
    const servers = [await start(t, "--broker", url), await start(t, "--broker", url)];
    const ada = await enter(t, servers[0], "Ada");
    const [one, two] = [await connected(t, servers[0], "Bob"), await connected(t, servers[1], "Bob")];
    await join(one);
    equal(await added(ada), "Bob");
    const his = await join(two);
    // The node has nobody else there, and hears of the others at once.
    if (here(his) !== "Ada Bob") await his.told.next(() => here(his) === "Ada Bob");
    // Who knows of Cid knows of the second Bob.
    await enter(t, servers[1], "Cid");
    equal(await ada.told.next(), ["pusher:member_added", { id: "Cid", info: { name: "Cid" } }]);
    one.disconnect();
    await enter(t, servers[0], "Dan");
    equal(await ada.told.next(), ["pusher:member_added", { id: "Dan", info: { name: "Dan" } }]);
    equal(here(ada), "Ada Bob Cid Dan");
    // The end of the second node is told as well.
    await servers[1].stop();
    equal([await removed(ada), await removed(ada)].sort(), ["Bob", "Cid"]);
  },
  [`two nodes over ${kind}: the HTTP API counts all, and ends connections of all`]: async t => {
    const url = await t.broker(kind);
    const servers = [await start(t, "--broker", url), await start(t, "--broker", url)];
    const echoes = [await connected(t, servers[0]), await connected(t, servers[1]), await connected(t, servers[1], "Bob")];
    for (const echo of echoes) await join(echo);
    for (const server of servers) {
      equal(await got(server, "/channels/presence-room", { info: "user_count,subscription_count" }), {
        occupied: true, user_count: 2, subscription_count: 3,
      });
      equal(await got(server, "/channels/presence-room/users"), { users: [{ id: "Ada" }, { id: "Bob" }] });
    }
    await back(servers[0]).terminateUserConnections("Ada");
    for (const echo of echoes.slice(0, 2)) await echo.until("disconnected");
    await servers[1].stop();
    equal(await got(servers[0], "/channels"), { channels: {} });
  },
  [`two nodes over ${kind}: without an answer of the other, the HTTP API does not count`]: async t => {
    const url = await t.broker(kind);
    const servers = [await start(t, "--broker", url), await start(t, "--broker", url)];
    await subscribed((await connected(t, servers[1])).channel("news"));
    process.kill(servers[1].pid, "SIGSTOP");
    equal(await status(back(servers[0]).get({ path: "/channels" })), 503);
    process.kill(servers[1].pid, "SIGCONT");
    equal(await got(servers[0], "/channels"), { channels: { news: {} } });
  },
  [`two nodes over ${kind}: what was published while the broker was away comes later`]: async t => {
    const url = await t.broker(kind);
    const relay = await t.relay(Number(new URL(url).port));
    const servers = [await start(t, "--broker", url), await start(t, "--broker", `${kind}://127.0.0.1:${relay.port}`)];
    const [ada, bob] = [await connected(t, servers[0]), await connected(t, servers[1], "Bob")];
    const [mine, other] = [await subscribed(ada.channel("news")), await subscribed(bob.channel("news"))];
    await back(servers[0]).trigger("news", "e", "before");
    equal([await mine.gets("e"), await other.gets("e")], ["before", "before"]);
    relay.refuse();
    relay.cut();
    await back(servers[0]).trigger("news", "e", "here");
    equal(await mine.gets("e"), "here");
    // A node without its broker goes on for its own clients. What it cannot know, it does not say.
    await back(servers[1]).trigger("news", "e", "there");
    equal(await other.gets("e"), "there");
    equal(await status(back(servers[1]).get({ path: "/channels" })), 503);
    relay.refuse(false);
    equal([await other.gets("e"), await mine.gets("e")], ["here", "there"]);
    await back(servers[0]).trigger("news", "e", "after");
    equal([await mine.gets("e"), await other.gets("e")], ["after", "after"]);
    equal([mine.told.values, other.told.values], [[], []]);
  },
  [`two nodes over ${kind}: presence after the broker was away`]: async t => {
    const url = await t.broker(kind);
    const relay = await t.relay(Number(new URL(url).port));
    const servers = [await start(t, "--broker", url), await start(t, "--broker", `${kind}://127.0.0.1:${relay.port}`)];
    const ada = await enter(t, servers[0], "Ada");
    await enter(t, servers[1], "Bob");
    equal(await added(ada), "Bob");
    relay.refuse();
    relay.cut();
    await enter(t, servers[1], "Cid");
    relay.refuse(false);
    equal(await added(ada), "Cid");
    equal(here(ada), "Ada Bob Cid");
  },
});

loaded.then(() => cases("pusher", 83, {
  "the client connects, and is given an id": async t => {
    const echo = await connected(t, await start(t));
    equal(/^\d+\.\d+$/.test(echo.socketId()), true);
  },
  "the first message has its data encoded twice": async t => {
    const raw = await peer(t, await start(t, ...flags("--activity-timeout 45")), { established: false });
    const first = await raw.json();
    equal([first.event, typeof first.data], ["pusher:connection_established", "string"]);
    const { socket_id, activity_timeout, ...more } = JSON.parse(first.data);
    equal([/^\d+\.\d+$/.test(socket_id), activity_timeout, more], [true, 45, {}]);
  },
  "the client does not come back to an app that does not exist": async t => {
    const echo = connect(t, await start(t), "Ada", { key: "other" });
    await echo.until("error 4001");
    await echo.until("disconnected");
    equal(echo.connection.retryTimer ?? null, null);
  },
  "an unknown app, path or version is told and closed": async t => {
    const server = await start(t);
    for (const [path, code, message] of [
      ["/app/other?protocol=7", 4001, "Application does not exist"],
      ["/app/other", 4001, "Application does not exist"],
      ["/socket?protocol=7", 4005, "Path not found"],
      ["/app/key/more?protocol=7", 4005, "Path not found"],
      ["/app/key?protocol=seven", 4006, "Invalid version string format"],
      ["/app/key?protocol=6", 4007, "Unsupported protocol version"],
      ["/app/key?protocol=8", 4007, "Unsupported protocol version"],
      ["/app/key", 4008, "No protocol version supplied"],
    ]) {
      const raw = await peer(t, server, { path, established: false });
      await raw.error(code, message);
      equal(await raw.closed(), { code, reason: message });
    }
  },
  "a page of another origin may ask the demo": async t => {
    const server = await start(t);
    const { status, headers } = await request(`${server.url}/broadcasting/auth`, { method: "OPTIONS", headers: { origin: "https://app.example" } });
    equal([status, headers["access-control-allow-origin"], headers["access-control-allow-headers"].includes("authorization")], [204, "*", true]);
  },
  "two apps do not hear each other": async t => {
    const server = await start(t, "--app", "2:second:hidden");
    const [one, two] = [await connected(t, server), await connected(t, server, "Ada", { key: "second" })];
    const [mine, other] = [await subscribed(one.channel("news")), await subscribed(two.channel("news"))];
    await back(server).trigger("news", "e", "one");
    await back(server, { appId: "2", key: "second", secret: "hidden" }).trigger("news", "e", "two");
    equal([await mine.gets("e"), await other.gets("e")], ["one", "two"]);
    equal([mine.told.values, other.told.values], [[], []]);
    equal((await got(server, "/channels")).channels, { news: {} });
  },
  "Ctrl-C closes with a code for coming back at once": async t => {
    const server = await start(t);
    const raw = await peer(t, server);
    const stopped = server.stop();
    equal(await raw.closed(), { code: 4200, reason: "The server restarts" });
    equal(await stopped, 0);
  },

  "a public channel is subscribed to, and hears the back end": async t => {
    const server = await start(t);
    const news = await subscribed((await connected(t, server)).channel("news"));
    equal(news.data, {});
    await back(server).trigger("news", "App\\Events\\Published", { title: "hello" });
    equal(await news.gets("App\\Events\\Published"), { title: "hello" });
  },
  "Echo's listen gets the data of an event": async t => {
    const server = await start(t);
    const news = await subscribed((await connected(t, server)).channel("news"));
    const heard = new Inbox("listen");
    news.listen("Published", heard.push);
    news.listen(".short", heard.push);
    await back(server).trigger("news", "App\\Events\\Published", { title: "long" });
    await back(server).trigger("news", "short", { title: "short" });
    equal([await heard.next(), await heard.next()], [{ title: "long" }, { title: "short" }]);
  },
  "a private channel is subscribed to with the app's signature": async t => {
    const server = await start(t);
    const echo = await connected(t, server);
    const own = await subscribed(echo.private("App.Models.User.Ada"));
    await back(server).trigger("private-App.Models.User.Ada", "e", "for you");
    equal(await own.gets("e"), "for you");
  },
  "a private channel of somebody else is refused by the app": async t => {
    const server = await start(t);
    const channel = watch((await connected(t, server)).private("App.Models.User.Bob"));
    equal((await channel.gets("pusher:subscription_error")).status, 403);
  },
  "a wrong signature is refused by the server": async t => {
    const server = await start(t);
    const echo = await connected(t, server, "Ada", {
      authorizer: () => ({ authorize: (socketId, done) => done(null, { auth: `key:${sign(`${socketId}:private-b`)}` }) }),
    });
    const errors = new Inbox("error");
    echo.private("a").error(errors.push);
    equal(await errors.next(), { type: "AuthError", error: "The connection is unauthorized", status: 401 });
    // The right one is taken.
    await subscribed(echo.private("b"));
  },
  "signatures of another key, connection, channel or user, and none": async t => {
    const server = await start(t, "--app", "2:second:hidden");
    const [raw, other] = [await peer(t, server), await peer(t, server)];
    const { auth } = raw.signed("private-a");
    const data = user("7");
    for (const wrong of [
      { channel: "private-a" },
      { channel: "private-a", auth: "" },
      { channel: "private-a", auth: "key:" },
      { channel: "private-a", auth: auth.replace("key:", "") },
      { channel: "private-a", auth: auth.replace("key:", "second:") },
      { channel: "private-a", auth: auth.slice(0, -2) },
      { channel: "private-a", auth: `${auth}00` },
      { channel: "private-b", auth },
      { channel: "private-a", auth: other.signed("private-a").auth },
      { channel: "private-encrypted-a", auth },
      { channel: "presence-a", channel_data: data, auth: raw.signed("presence-a").auth },
      { ...raw.signed("presence-a", data), channel_data: user("8") },
    ]) {
      const answer = await raw.subscribe(wrong, "pusher:subscription_error");
      equal(answer, { type: "AuthError", error: "The connection is unauthorized", status: 401 }, JSON.stringify(wrong));
    }
    equal(await raw.subscribe("private-a"), {});
    equal(await raw.subscribe("private-encrypted-a"), {});
  },
  "names of channels are checked": async t => {
    const raw = await peer(t, await start(t));
    for (const channel of ["", "a b", "a:b", "a/b", "é", "#a", "a".repeat(201)]) {
      equal((await raw.subscribe({ channel }, "pusher:subscription_error")).status, 400);
    }
    equal(await raw.subscribe({ channel: "a".repeat(200) }), {});
    equal(await raw.subscribe({ channel: "A_-=@,.;9" }), {});
  },
  "a second subscription to a channel is an error": async t => {
    const raw = await peer(t, await start(t));
    await raw.subscribe({ channel: "news" });
    raw.event("pusher:subscribe", { channel: "news" });
    await raw.error(null, "Existing subscription to channel news");
  },
  "who leaves a channel hears nothing more, and can come back": async t => {
    const server = await start(t);
    const echo = await connected(t, server);
    const news = await subscribed(echo.channel("news"));
    echo.leave("news");
    // It is answered after the leave.
    await subscribed(echo.channel("other"));
    await back(server).trigger("news", "e", "unheard");
    const again = await subscribed(echo.channel("news"));
    await back(server).trigger("news", "e", "heard");
    equal(await again.gets("e"), "heard");
    equal(news.told.values.filter(([name]) => name === "e"), []);
  },
  "a channel that was not subscribed to can be left": async t => {
    const raw = await peer(t, await start(t));
    raw.event("pusher:unsubscribe", { channel: "news" });
    await raw.alive();
  },
  "a connection has so many channels": async t => {
    const raw = await peer(t, await start(t, ...flags("--max-channels 2")));
    await raw.subscribe({ channel: "a" });
    await raw.subscribe({ channel: "b" });
    equal((await raw.subscribe({ channel: "c" }, "pusher:subscription_error")).type, "LimitReached");
    raw.event("pusher:unsubscribe", { channel: "a" });
    await raw.subscribe({ channel: "c" });
  },

  "toOthers: the connection that is named does not get the event": async t => {
    const server = await start(t);
    const [ada, bob] = [await connected(t, server), await connected(t, server, "Bob")];
    const [mine, other] = [await subscribed(ada.channel("news")), await subscribed(bob.channel("news"))];
    await back(server).trigger("news", "e", "to others", { socket_id: ada.socketId() });
    await back(server).trigger("news", "e", "to all");
    equal([await other.gets("e"), await other.gets("e")], ["to others", "to all"]);
    equal(await mine.gets("e"), "to all");
  },
  "an event goes to many channels": async t => {
    const server = await start(t);
    const echo = await connected(t, server);
    const channels = await Promise.all(["a", "b", "c"].map(name => subscribed(echo.channel(name))));
    await back(server).trigger(["a", "b", "other"], "e", { n: 1 });
    await back(server).trigger("c", "e", { n: 2 });
    equal(await Promise.all(channels.map(channel => channel.gets("e"))), [{ n: 1 }, { n: 1 }, { n: 2 }]);
  },
  "a batch of events": async t => {
    const server = await start(t);
    const echo = await connected(t, server);
    const [a, b] = [await subscribed(echo.channel("a")), await subscribed(echo.channel("b"))];
    await back(server).triggerBatch([
      { channel: "a", name: "one", data: "1" }, { channel: "b", name: "two", data: { n: 2 } }, { channel: "a", name: "three", data: "3" },
    ]);
    equal([await a.gets("one"), await a.gets("three"), await b.gets("two")], [1, 3, { n: 2 }]);
  },
  "events of a channel keep their order": async t => {
    const server = await start(t);
    const news = await subscribed((await connected(t, server)).channel("news"));
    for (let i = 0; i < 50; i += 1) await back(server).trigger("news", "e", i);
    for (let i = 0; i < 50; i += 1) equal(await news.gets("e"), i);
  },
  "data stays as it was sent": async t => {
    const server = await start(t);
    const raw = await peer(t, server);
    await raw.subscribe({ channel: "news" });
    const data = '{ "b":1.10 , "a":"é\\u0000 \\"" , "n":12345678901234567890123 }';
    equal((await api(server, "/apps/1/events", { body: event({ data }) })).status, 200);
    equal(await raw.json(), { event: "e", channel: "news", data });
  },

  "a client event goes to the others": async t => {
    const server = await start(t);
    const [ada, bob] = [await connected(t, server), await connected(t, server, "Bob")];
    const [mine, other] = [await subscribed(ada.private("chat")), await subscribed(bob.private("chat"))];
    const heard = new Inbox("listenForWhisper");
    other.listenForWhisper("typing", heard.push);
    mine.whisper("typing", { name: "Ada" });
    equal(await heard.next(), { name: "Ada" });
    other.whisper("typing", { name: "Bob" });
    equal(await mine.told.next(), ["client-typing", { name: "Bob" }]);
  },
  "a client event in a presence channel says who sent it": async t => {
    const server = await start(t);
    const ada = await enter(t, server, "Ada");
    const raw = await peer(t, server);
    await raw.subscribe(raw.signed("presence-room", user("7")));
    ada.whisper("typing", { on: true });
    equal(await raw.told(), { event: "client-typing", channel: "presence-room", data: { on: true }, user_id: "Ada" });
    // It cannot say that somebody else did.
    raw.send({ event: "client-typing", channel: "presence-room", data: {}, user_id: "Bob" });
    const metadata = new Inbox("user_id");
    ada.subscription.bind("client-typing", (_, { user_id }) => metadata.push(user_id));
    raw.send({ event: "client-typing", channel: "presence-room", data: {} });
    equal(await metadata.next(), "7");
    equal(metadata.values.every(id => id === "7"), true);
  },
  "client events are refused where they may not be": async t => {
    const raw = await peer(t, await start(t));
    const wrong = "Client events are for private and presence channels only";
    await raw.subscribe({ channel: "news" });
    raw.event("client-a", {}, "news");
    await raw.error(4301, wrong);
    await raw.subscribe("private-encrypted-a");
    raw.event("client-a", {}, "private-encrypted-a");
    await raw.error(4301, wrong);
    raw.event("client-a", {}, "private-a");
    await raw.error(4009, "The client is not a member of the specified channel.");
    await raw.subscribe("private-a");
    raw.event("pusher:unsubscribe", { channel: "private-a" });
    raw.event("client-a", {}, "private-a");
    await raw.error(4009, "The client is not a member of the specified channel.");
    await raw.subscribe("private-a");
    raw.event(`client-${"a".repeat(194)}`, {}, "private-a");
    await raw.error(4301, "The name of a client event has at most 200 characters");
    raw.event("client-a", "x".repeat(10239), "private-a");
    await raw.error(4301, "The data of a client event has at most 10240 bytes");
    raw.event(`client-${"a".repeat(193)}`, "x".repeat(10238), "private-a");
    await raw.alive();
  },
  "what a client may not send is told to pusher-js, which stays connected": async t => {
    const server = await start(t);
    const echo = await connected(t, server);
    await subscribed(echo.channel("news"));
    echo.connection.send_event("client-a", {}, "news");
    await echo.until("error 4301");
    echo.connection.send_event("pusher:nonsense", {});
    await echo.until("error 4200");
    await subscribed(echo.channel("other"));
  },
  "client events can be off": async t => {
    const server = await start(t, ...flags("--client-events 0"));
    const raw = await peer(t, server);
    await raw.subscribe("private-a");
    raw.event("client-a", {}, "private-a");
    await raw.error(4301, "The app does not have client messaging enabled.");
  },
  "client events are limited in a second, and the rest goes on": async t => {
    const server = await start(t, ...flags("--client-events 3"));
    const [raw, other] = [await peer(t, server), await peer(t, server)];
    for (const one of [raw, other]) await one.subscribe("private-a");
    for (let i = 0; i < 4; i += 1) raw.event("client-a", i, "private-a");
    await raw.error(4301, "Too many client events");
    await raw.alive();
    for (let i = 0; i < 3; i += 1) equal((await other.told()).data, i);
  },

  "presence: who is here, who comes, who leaves": async t => {
    const server = await start(t);
    const echo = await connected(t, server);
    const room = watch(echo.join("room"));
    const told = new Inbox("presence");
    room.here(users => told.push(["here", users])).joining(user => told.push(["joining", user])).leaving(user => told.push(["leaving", user]));
    equal(await told.next(), ["here", [{ name: "Ada" }]]);
    const bob = await connected(t, server, "Bob");
    const his = await join(bob);
    equal(here(his), "Ada Bob");
    equal(his.subscription.members.me, { id: "Bob", info: { name: "Bob" } });
    equal(await told.next(), ["joining", { name: "Bob" }]);
    bob.leave("room");
    equal(await told.next(), ["leaving", { name: "Bob" }]);
    await join(bob);
    equal(await told.next(), ["joining", { name: "Bob" }]);
    bob.disconnect();
    equal(await told.next(), ["leaving", { name: "Bob" }]);
    equal(here(room), "Ada");
  },
  "presence: one user with two connections counts once": async t => {
    const server = await start(t);
    const ada = await enter(t, server, "Ada");
    const [one, two] = [await connected(t, server, "Bob"), await connected(t, server, "Bob")];
    await join(one);
    equal(await added(ada), "Bob");
    equal((await join(two)).subscription.members.count, 2);
    one.disconnect();
    // Nothing was told of the second, nor of the end of the first.
    const cid = await enter(t, server, "Cid");
    equal(await ada.told.next(), ["pusher:member_added", { id: "Cid", info: { name: "Cid" } }]);
    equal(here(cid), "Ada Bob Cid");
    two.disconnect();
    equal(await ada.told.next(), ["pusher:member_removed", { id: "Bob", info: { name: "Bob" } }]);
    equal(here(ada), "Ada Cid");
  },
  "presence: the data of a subscription": async t => {
    const raw = await peer(t, await start(t));
    equal(await raw.subscribe(raw.signed("presence-a", user(7, { name: "x" }))), {
      presence: { count: 1, ids: ["7"], hash: { 7: { name: "x" } } },
    });
    const other = await peer(t, { ws: raw.socket.url.replace(PATH, "") });
    equal(await other.subscribe(other.signed("presence-a", user("8"))), {
      presence: { count: 2, ids: ["7", "8"], hash: { 7: { name: "x" }, 8: {} } },
    });
    equal(await raw.told(), { event: "pusher_internal:member_added", channel: "presence-a", data: { user_id: "8", user_info: {} } });
    other.event("pusher:unsubscribe", { channel: "presence-a" });
    equal(await raw.told(), { event: "pusher_internal:member_removed", channel: "presence-a", data: { user_id: "8" } });
  },
  "presence: data that is signed but wrong": async t => {
    const raw = await peer(t, await start(t));
    for (const data of [undefined, "", "x", "[]", "{}", user(""), user(true), user("x".repeat(129)), user("7", "x".repeat(1023))]) {
      equal((await raw.subscribe(raw.signed("presence-a", data), "pusher:subscription_error")).status, 400, data);
    }
    await raw.subscribe(raw.signed("presence-a", user("x".repeat(128), "x".repeat(1022))));
  },
  "presence: a channel has so many users, with any number of connections": async t => {
    const server = await start(t, ...flags("--max-users 2"));
    const enter = async (id, expected) => {
      const raw = await peer(t, server);
      return [await raw.subscribe(raw.signed("presence-a", user(id)), expected), raw];
    };
    await enter("1");
    const [, two] = await enter("2");
    await enter("2");
    const full = { type: "LimitReached", error: "The channel has too many users", status: 403 };
    equal((await enter("3", "pusher:subscription_error"))[0], full);
    two.end();
    equal((await enter("3", "pusher:subscription_error"))[0], full);
    await enter("1");
  },
  "presence: who is closed by the server is gone at once": async t => {
    const server = await start(t, ...flags("--activity-timeout 0.2 --pong-timeout 1"));
    const ada = await enter(t, server, "Ada");
    const raw = await peer(t, server);
    await raw.subscribe(raw.signed("presence-room", user("7")));
    equal(await added(ada), "7");
    // It does not read the close either.
    raw.stopReading();
    equal(await removed(ada), "7");
  },
  "presence: the server ends, and everybody is there again": async t => {
    const server = await start(t);
    const relay = await t.relay(server.port);
    const [ada, bob] = [await enter(t, relay, "Ada"), await enter(t, relay, "Bob")];
    relay.target = (await start(t)).port;
    await server.stop();
    for (const room of [ada, bob]) {
      await room.gets("pusher:subscription_succeeded");
      if (here(room) !== "Ada Bob") await added(room);
      equal(here(room), "Ada Bob");
    }
  },

  "a user signs in, and gets what is for the user": async t => {
    const server = await start(t);
    const [one, two, bob] = [await connected(t, server), await connected(t, server), await connected(t, server, "Bob")];
    const told = [one, two, bob].map(echo => {
      const inbox = new Inbox("the user");
      const { pusher } = echo.connector;
      pusher.user.bind_global((name, data) => { if (!name.startsWith("pusher")) inbox.push([name, data]); });
      pusher.signin();
      return inbox;
    });
    for (const echo of [one, two, bob]) {
      await echo.messages.next(({ event, channel }) => event === "pusher_internal:subscription_succeeded" && channel.startsWith("#server-to-user-"));
    }
    await back(server).sendToUser("Ada", "e", "for Ada");
    await back(server).sendToUser("Bob", "e", "for Bob");
    equal([await told[0].next(), await told[1].next(), await told[2].next()], [["e", "for Ada"], ["e", "for Ada"], ["e", "for Bob"]]);
    equal(told.map(inbox => inbox.values), [[], [], []]);
  },
  "a wrong sign-in closes with a code for not coming back": async t => {
    const server = await start(t);
    for (const [user_data, signed] of [['{"id":"7"}', '{"id":"8"}'], ['{"id":7}'], ['{"id":""}'], ["x"]]) {
      const raw = await peer(t, server);
      raw.event("pusher:signin", { auth: `key:${sign(`${raw.id}::user::${signed ?? user_data}`)}`, user_data });
      equal(await raw.closed(), { code: 4009, reason: "Connection not authorized" });
    }
  },
  "the channel of a user is for who has signed in": async t => {
    const raw = await peer(t, await start(t));
    const channel = "#server-to-user-7";
    equal((await raw.subscribe({ channel }, "pusher:subscription_error")).status, 401);
    const user_data = '{"id":"7"}';
    raw.event("pusher:signin", { auth: `key:${sign(`${raw.id}::user::${user_data}`)}`, user_data });
    equal(await raw.told(), { event: "pusher:signin_success", data: { user_data } });
    equal((await raw.subscribe({ channel: "#server-to-user-8" }, "pusher:subscription_error")).status, 401);
    await raw.subscribe({ channel });
    // Once more is right, and as somebody else is not.
    raw.event("pusher:signin", { auth: `key:${sign(`${raw.id}::user::${user_data}`)}`, user_data });
    equal((await raw.told()).event, "pusher:signin_success");
    raw.event("pusher:signin", { auth: `key:${sign(`${raw.id}::user::{"id":"8"}`)}`, user_data: '{"id":"8"}' });
    equal((await raw.closed()).code, 4009);
  },
  "the back end ends the connections of a user, who does not come back": async t => {
    const server = await start(t);
    const [signed, present, bob] = [await connected(t, server), await connected(t, server), await connected(t, server, "Bob")];
    signed.connector.pusher.signin();
    await signed.messages.next(({ event }) => event === "pusher:signin_success");
    await join(present);
    const room = await join(bob);
    await back(server).terminateUserConnections("Ada");
    for (const echo of [signed, present]) {
      await echo.until("error 4009");
      await echo.until("disconnected");
      equal(echo.connection.retryTimer ?? null, null);
    }
    equal(await removed(room), "Ada");
    equal(bob.connection.state, "connected");
  },

  "codes from 4100: the client waits, and comes back": async t => {
    const server = await start(t, ...flags("--max-app-connections 1"));
    const first = await connected(t, server);
    const second = connect(t, server, "Bob");
    await second.until("error 4100");
    await second.until("in 1 s");
    first.disconnect();
    await second.until("connected");
  },
  "codes from 4200: the client comes back at once": async t => {
    const server = await start(t, ...flags("--join-within 1"));
    const echo = await connected(t, server);
    const id = echo.socketId();
    await echo.until("error 4202");
    await atOnce(echo);
    equal(echo.socketId() === id, false);
    // Who has subscribed once may stay.
    const raw = await peer(t, server);
    await raw.subscribe({ channel: "news" });
    raw.event("pusher:unsubscribe", { channel: "news" });
    equal((await (await peer(t, server)).closed()).code, 4202);
    await raw.alive();
  },
  // pusher-js tries at once. If nobody listens it waits for 15 seconds. So the next server is there before this one ends.
  "the client comes back after the server was restarted, with its subscriptions": async t => {
    const server = await start(t);
    const relay = await t.relay(server.port);
    const echo = await connected(t, relay);
    const [news, chat] = [await subscribed(echo.channel("news")), await subscribed(echo.private("chat"))];
    const next = await start(t);
    relay.target = next.port;
    equal(await server.stop(), 0);
    await echo.until("error 4200");
    await atOnce(echo);
    for (const channel of [news, chat]) await channel.gets("pusher:subscription_succeeded");
    await back(next).trigger(["news", "private-chat"], "e", "again");
    equal([await news.gets("e"), await chat.gets("e")], ["again", "again"]);
  },
  "the client comes back after the server was killed": async t => {
    const server = await start(t);
    const news = await subscribed((await connected(t, server)).channel("news"));
    await server.kill();
    const again = await t.start("pusher", ...APP, "--demo", "--listen", `127.0.0.1:${server.port}`);
    await news.gets("pusher:subscription_succeeded");
    await back(again).trigger("news", "e", "again");
    equal(await news.gets("e"), "again");
  },

  "the client's pings are answered": async t => {
    const echo = await connected(t, await start(t), "Ada", { activityTimeout: 50 });
    for (let i = 0; i < 3; i += 1) await echo.messages.next(({ event }) => event === "pusher:pong");
  },
  "the client answers pings, and is kept": async t => {
    const server = await start(t, ...flags("--activity-timeout 0.1 --pong-timeout 2"));
    const echo = await connected(t, server);
    for (let i = 0; i < 5; i += 1) await echo.messages.next(({ event }) => event === "pusher:ping");
    equal(echo.events.values, []);
  },
  "a silent client is pinged, and closed without a pong": async t => {
    const raw = await peer(t, await start(t, ...flags("--activity-timeout 0.1 --pong-timeout 0.2")));
    equal(await raw.told(), { event: "pusher:ping", data: {} });
    equal(await raw.closed(), { code: 4201, reason: "Pong reply not received in time" });
  },
  "anything that a client sends counts as activity": async t => {
    const raw = await peer(t, await start(t, ...flags("--activity-timeout 0.1 --pong-timeout 2")));
    for (const event of ["pusher:pong", "other", "pusher:unsubscribe"]) {
      equal((await raw.told()).event, "pusher:ping");
      raw.event(event, { channel: "news" });
    }
    equal((await raw.told()).event, "pusher:ping");
  },
  "a client that hears nothing connects again": async t => {
    const server = await start(t);
    const relay = await t.relay(server.port);
    const echo = await connected(t, relay, "Ada", { activityTimeout: 100, pongTimeout: 500 });
    const news = await subscribed(echo.channel("news"));
    relay.stall();
    await echo.until("connecting");
    relay.resume();
    await news.gets("pusher:subscription_succeeded");
    await back(server).trigger("news", "e", "again");
    equal(await news.gets("e"), "again");
  },
  "a client that is lost leaves presence": async t => {
    const server = await start(t, ...flags("--activity-timeout 0.2 --pong-timeout 1"));
    const relay = await t.relay(server.port);
    const ada = await enter(t, server, "Ada");
    await enter(t, relay, "Bob");
    equal(await added(ada), "Bob");
    relay.stall();
    equal(await removed(ada), "Bob");
  },
  "a peer whose system is gone is closed by WebSocket's own pings": async t => {
    const server = await start(t, ...flags("--ping-every 0.1 --pong-within 1"));
    const [ada, raw] = [await enter(t, server, "Ada"), await peer(t, server, { autoPong: false })];
    await raw.subscribe(raw.signed("presence-room", user("Bob")));
    equal([await added(ada), await removed(ada)], ["Bob", "Bob"]);
  },

  "malformed messages are told, and the connection stays": async t => {
    const raw = await peer(t, await start(t));
    for (const message of [
      "", "{", "[]", "7", "null", "{}", '{"event":7}', '["pusher:ping",null,null]', '{"event":"pusher:nonsense"}', '{"event":"pusher:subscribe"}',
      '{"event":"pusher:subscribe","data":{}}', '{"event":"pusher:subscribe","data":"x"}', '{"event":"pusher:subscribe","data":{"channel":7}}',
      '{"event":"pusher:subscribe","data":{"channel":"a","auth":{}}}', '{"event":"pusher:unsubscribe"}', '{"event":"pusher:signin","data":{}}',
      '{"event":"client-a","data":{}}', Buffer.from('{"event":"pusher:ping"}'),
    ]) {
      raw.send(message);
      await raw.error(4200, "Invalid message format");
    }
    await raw.alive();
  },
  "an event that is for nobody is ignored": async t => {
    const raw = await peer(t, await start(t));
    for (const name of ["other", "pusher_internal:member_added", "Client-a"]) raw.event(name, {}, "news");
    await raw.alive();
  },
  "the data of a subscription may be encoded twice": async t => {
    const raw = await peer(t, await start(t));
    raw.event("pusher:subscribe", JSON.stringify({ channel: "news" }));
    equal((await raw.told()).channel, "news");
  },
  "a message that is too large closes with 1009": async t => {
    const raw = await peer(t, await start(t));
    raw.send("x".repeat((64 << 10) + 1));
    equal((await raw.closed()).code, 1009);
  },
  "a client that does not read delays nobody, and is closed": async t => {
    const server = await start(t);
    const [slow, fast] = [await peer(t, server), await connected(t, server)];
    await slow.subscribe({ channel: "news" });
    const news = await subscribed(fast.channel("news"));
    slow.stopReading();
    const batch = Array.from({ length: 10 }, () => ({ channel: "news", name: "e", data: "x".repeat(10240) }));
    for (let i = 0; i < 120; i += 1) {
      await back(server).triggerBatch(batch.map(event => ({ ...event })));
      for (const _ of batch) await news.gets("e");
    }
    slow.socket.resume();
    equal(await slow.closed(), { code: 4100, reason: "The client is too slow" });
  },
  "pages of any origin may connect, or those that are allowed": async t => {
    const server = await start(t);
    await peer(t, server, { origin: "https://app.example" });
    for (const option of [["--allow-origin", "https://app.example"], ["--allow-origin=https://app.example"]]) {
      const careful = await start(t, ...option);
      await peer(t, careful, { origin: "https://app.example" });
      await peer(t, careful, { origin: careful.url });
      // Not a browser.
      await peer(t, careful);
      const raw = await peer(t, careful, { origin: "https://other.example", established: false });
      await raw.error(4009, "Origin not allowed");
      equal(await raw.closed(), { code: 4009, reason: "Origin not allowed" });
    }
  },
  "more connections than the server takes get 503": async t => {
    const server = await start(t, ...flags("--max-connections 1"));
    await peer(t, server);
    equal(await refusal(server.ws + PATH), 503);
  },
  "a request that is no WebSocket": async t => {
    const server = await start(t);
    equal((await request(server.url + PATH)).status, 426);
    equal((await request(`${server.url}/other`)).status, 404);
  },

  "HTTP API: signatures that are wrong, old or of another body get 401": async t => {
    const server = await start(t, "--app", "2:second:hidden");
    const raw = await peer(t, server);
    await raw.subscribe({ channel: "news" });
    const now = Date.now() / 1000 | 0, body = event(), path = "/apps/1/events";
    for (const wrong of [
      { secret: "other" }, { at: now - 660 }, { at: now + 660 }, { at: "now" },
      { after: { body: event({ data: "changed" }) } }, { after: { body: "" } }, { after: { query: "" } }, { after: { path: "/apps/2/events" } },
      { after: { path: "/apps/1/batch_events" } },
      { change: { auth_key: "second" } }, { change: { auth_key: undefined } }, { change: { auth_version: "2.0" } },
      { change: { body_md5: undefined } }, { change: { body_md5: "0" } }, { change: { auth_timestamp: undefined } },
    ]) {
      equal((await api(server, path, { body, ...wrong })).status, 401, JSON.stringify(wrong));
    }
    for (const at of [now - 590, now + 590]) equal((await api(server, path, { body, at })).status, 200);
    for (let i = 0; i < 2; i += 1) equal((await raw.told()).event, "e");
    await raw.alive();
    equal(await status(back(server, { appId: "1", key: "key", secret: "wrong" }).get({ path: "/channels" })), 401);
  },
  "HTTP API: an unknown app or path gets 404, and another method 405": async t => {
    const server = await start(t);
    equal(await status(back(server, { appId: "7", key: "key", secret: "secret" }).trigger("news", "e", "x")), 404);
    equal(await status(back(server).get({ path: "/nonsense" })), 404);
    equal((await api(server, "/apps/1/events", { method: "GET" })).status, 405);
  },
  "HTTP API: events that are malformed get 400": async t => {
    const server = await start(t);
    const raw = await peer(t, server);
    await raw.subscribe({ channel: "news" });
    for (const body of [
      "", "x", "{}", "[]", event({ name: undefined }), event({ name: "" }), event({ name: "x".repeat(201) }), event({ name: "pusher:error" }),
      event({ name: "pusher_internal:member_added" }), event({ data: undefined }), event({ data: {} }), event({ channel: undefined }),
      event({ channel: "a b" }), event({ channels: ["news"] }), event({ channel: undefined, channels: [] }),
      event({ channel: undefined, channels: ["news", "a b"] }), event({ channel: undefined, channels: Array(101).fill("news") }),
      event({ socket_id: "x" }), event({ socket_id: "1." }), event({ info: "nonsense" }), event({ info: "user_count" }),
    ]) {
      equal((await api(server, "/apps/1/events", { body })).status, 400, body);
    }
    for (const batch of [undefined, [{ name: "e", channels: ["news"], data: "" }], Array(11).fill({ name: "e", channel: "news", data: "" }),
      [{ name: "e", channel: "news", data: "" }, { name: "", channel: "news", data: "" }]]) {
      equal((await api(server, "/apps/1/batch_events", { body: JSON.stringify({ batch }) })).status, 400);
    }
    // Nothing of these was published.
    await raw.alive();
    equal((await api(server, "/apps/1/events", { body: event({ name: "x".repeat(200) }) })).status, 200);
  },
  "HTTP API: data of more than 10 KB gets 413": async t => {
    const server = await start(t);
    equal((await api(server, "/apps/1/events", { body: event({ data: "x".repeat(10240) }) })).status, 200);
    equal((await api(server, "/apps/1/events", { body: event({ data: "x".repeat(10241) }) })).status, 413);
    const batch = [{ name: "e", channel: "news", data: "" }, { name: "e", channel: "news", data: "x".repeat(10241) }];
    equal((await api(server, "/apps/1/batch_events", { body: JSON.stringify({ batch }) })).status, 413);
    equal((await api(server, "/apps/1/events", { body: event({ data: "x".repeat(1 << 20) }) })).status, 413);
  },
  "HTTP API: channels that are occupied, with counts": async t => {
    const server = await start(t);
    const [ada, again, bob] = [await connected(t, server), await connected(t, server), await connected(t, server, "Bob")];
    for (const echo of [ada, again, bob]) await join(echo);
    await subscribed(ada.channel("news"));
    const channels = async params => (await got(server, "/channels", params)).channels;
    equal(await channels(), { news: {}, "presence-room": {} });
    equal(await channels({ filter_by_prefix: "presence-" }), { "presence-room": {} });
    equal(await channels({ filter_by_prefix: "presence-", info: "user_count" }), { "presence-room": { user_count: 2 } });
    equal(await channels({ info: "subscription_count" }), { news: { subscription_count: 1 }, "presence-room": { subscription_count: 3 } });
    equal(await status(back(server).get({ path: "/channels", params: { info: "user_count" } })), 400);
    equal(await status(back(server).get({ path: "/channels", params: { info: "nonsense" } })), 400);
    ada.leave("news");
    await subscribed(ada.channel("other"));
    equal(Object.keys(await channels()), ["other", "presence-room"]);
  },
  "HTTP API: one channel, and its users": async t => {
    const server = await start(t);
    await enter(t, server, "Ada");
    await enter(t, server, "Bob");
    equal(await got(server, "/channels/presence-room", { info: "user_count,subscription_count" }), {
      occupied: true, user_count: 2, subscription_count: 2,
    });
    equal(await got(server, "/channels/empty"), { occupied: false });
    equal(await got(server, "/channels/presence-room/users"), { users: [{ id: "Ada" }, { id: "Bob" }] });
    equal(await got(server, "/channels/presence-empty/users"), { users: [] });
    for (const path of ["/channels/news/users", "/channels/a%20b"]) equal((await api(server, `/apps/1${path}`, { method: "GET" })).status, 400);
    equal(await status(back(server).get({ path: "/channels/news", params: { info: "user_count" } })), 400);
  },
  "HTTP API: the channels of another app are not told, nor its users ended": async t => {
    const server = await start(t, "--app", "2:second:hidden");
    const ada = await enter(t, server, "Ada");
    const second = back(server, { appId: "2", key: "second", secret: "hidden" });
    equal(await (await second.get({ path: "/channels" })).json(), { channels: {} });
    equal(await (await second.get({ path: "/channels/presence-room/users" })).json(), { users: [] });
    await second.terminateUserConnections("Ada");
    await back(server).trigger("presence-room", "e", "still here");
    equal(await ada.gets("e"), "still here");
  },
  "HTTP API: what is told of the channels of an event": async t => {
    const server = await start(t);
    await enter(t, server, "Ada");
    const answer = await back(server).trigger(["presence-room", "presence-empty"], "e", "x", { info: "user_count,subscription_count" });
    equal(await answer.json(), {
      channels: { "presence-room": { user_count: 1, subscription_count: 1 }, "presence-empty": { user_count: 0, subscription_count: 0 } },
    });
    const batch = await back(server).triggerBatch([
      { channel: "presence-room", name: "e", data: "x", info: "user_count" }, { channel: "news", name: "e", data: "x" },
    ]);
    equal(await batch.json(), { batch: [{ user_count: 1 }, {}] });
  },
  "the demo logs nobody in without a name, and is off without its option": async t => {
    const server = await start(t);
    const ask = (url, headers, body = "socket_id=1.2&channel_name=private-a") =>
      request(`${url}/broadcasting/auth`, { method: "POST", body, headers: { "content-type": "application/x-www-form-urlencoded", ...headers } });
    equal((await ask(server.url)).status, 403);
    equal((await ask(server.url, { authorization: "Bearer Ada" }, "socket_id=1.2&channel_name=news")).status, 403);
    // This would be a signature for the channel of Bob.
    const other = "socket_id=1.2:private-App.Models.User.Bob&channel_name=private-a";
    equal((await ask(server.url, { authorization: "Bearer Ada" }, other)).status, 403);
    const { body } = await ask(server.url, { authorization: "Bearer Ada" });
    equal(JSON.parse(body), { auth: `key:${sign("1.2:private-a")}` });
    equal((await ask((await t.start("pusher", ...APP)).url, { authorization: "Bearer Ada" })).status, 404);
  },

  ...nodes("redis"),
  ...nodes("nats"),
  "one node whose broker is away does not count, because there may be others": async t => {
    const relay = await t.relay(Number(new URL(await t.broker("redis")).port));
    const server = await start(t, "--broker", `redis://127.0.0.1:${relay.port}`);
    const until = async code => { while ((await api(server, "/apps/1/channels", { method: "GET" })).status !== code); };
    relay.refuse();
    relay.cut();
    await within("503", until(503));
    relay.refuse(false);
    await within("200", until(200));
  },
  "another program publishes to Redis": async t => {
    const redis = await t.broker("redis");
    const server = await start(t, "--broker", redis);
    const news = await subscribed((await connected(t, server)).channel("news"));
    const data = JSON.stringify({ event: "e", channel: "news", data: '"from outside"' });
    execFileSync("redis-cli", ["-u", redis, "publish", "hub:{pusher:1:news}", data]);
    equal(await news.gets("e"), "from outside");
  },
  "options are explained, and wrong ones named": async t => {
    const help = String(execFileSync(path.join(PROGRAMS, "pusher"), ["--help"]));
    const fails = (...args) => t.start("pusher", ...args).then(() => "it runs", error => error.message);
    for (const option of flags("app broker activity-timeout pong-timeout join-within client-events max-channels max-users max-app-connections")) {
      equal([help.includes(`  --${option} `), (await fails(...APP, `--${option}`)).includes(`'--${option}'`)], [true, true], option);
    }
    const says = async (error, ...args) => equal((await fails(...args)).includes(error), true, error);
    await says("ended with 2: pusher: no app");
    await says("ended with 2: pusher: invalid option '--nonsense'", ...APP, "--nonsense");
    for (const wrong of ["1:key", "1:key:", "a b:key:secret"]) await says("ended with 2", "--app", wrong);
    for (const other of ["1:other:secret", "2:key:secret"]) await says("ended with 2: pusher: two apps", ...APP, "--app", other);
    await says("ended with 1", ...APP, "--broker", "redis://127.0.0.1:1");
  },
}));
