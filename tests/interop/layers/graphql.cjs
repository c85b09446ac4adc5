// examples/graphql against npm's graphql-ws, and a raw peer for what that never sends.
// builds: graphql
"use strict";

const { cases, equal, Inbox, refusal, request, usage, WebSocket } = require("./harness.cjs");
const { createClient } = require("graphql-ws");

const PROTOCOL = "graphql-transport-ws";

// A wait that ends when the server is there again: the client tries once.
function gate() {
  let open;
  const wait = new Promise(done => { open = done; });
  return { wait: () => wait, open };
}

function client(t, server, options = {}) {
  const events = new Inbox("the client");
  const made = createClient({
    url: `${server.ws}/graphql`, webSocketImpl: WebSocket, retryWait: async () => {}, lazy: false, connectionParams: { name: "Ada" },
    onNonLazyError: error => events.push(["fatal", error.code ?? String(error)]), ...options,
  });
  for (const name of ["connected", "ping", "pong", "closed"]) {
    made.on(name, value => events.push([name, name === "closed" ? value.code : value]));
  }
  t.defer(() => made.dispose());
  made.events = events;
  made.until = (name, value) => events.next(event => event[0] === name && (value === undefined || event[1] === value));
  // The results of an operation, one after the other, and then "complete", or the error.
  made.run = (query, variables) => {
    const results = new Inbox(query);
    results.stop = made.subscribe({ query, variables }, {
      next: results.push, complete: () => results.push("complete"), error: error => results.push({ error }),
    });
    return results;
  };
  made.ask = async (query, variables) => {
    const result = await made.run(query, variables).next();
    if (result.error) throw new Error(JSON.stringify(result.error));
    return result.data;
  };
  return made;
}

const say = (ada, room, text) =>
  ada.ask("mutation($room: String!, $text: String!) { say(room: $room, text: $text) { id } }", { room, text });
const SAID = "subscription($room: String!, $after: Int) { said(room: $room, after: $after) { id author text } }";
// It begins with what was said, so the first result tells that the subscription is there.
const listen = (who, room, after = 0) => who.run(SAID, { room, after });
const texts = async (results, count) => {
  const heard = [];
  while (heard.length < count) heard.push((await results.next()).data.said.text);
  return heard;
};

async function peer(t, server, { init = true } = {}) {
  const raw = await t.raw(`${server.ws}/graphql`, PROTOCOL);
  if (init) {
    raw.send({ type: "connection_init" });
    equal(await raw.json(), { type: "connection_ack" });
  }
  raw.subscribe = (id, query) => raw.send({ type: "subscribe", id, payload: { query } });
  return raw;
}

const closes = async (raw, code, reason) => equal(await raw.closed(), { code, reason });
const FOREVER = 'subscription { said(room: "x") { id } }';

cases("graphql", 42, {
  "options are explained, and wrong ones named": () => usage("graphql", "token", "init-within", "max-operations"),
  "the client connects, with the subprotocol": async t => {
    const server = await t.start("graphql");
    const ada = client(t, server);
    const [, socket] = await ada.until("connected");
    equal(socket.protocol, PROTOCOL);
  },
  "a query is answered, with what connection_init said": async t => {
    const ada = client(t, await t.start("graphql"));
    const results = ada.run("{ me }");
    equal(await results.next(), { data: { me: "Ada" } });
    equal(await results.next(), "complete");
  },
  "a mutation is published to others, and to who said it": async t => {
    const server = await t.start("graphql");
    const [ada, bob] = [client(t, server), client(t, server, { connectionParams: { name: "Bob" } })];
    await say(ada, "lobby", "one");
    const heard = [listen(ada, "lobby"), listen(bob, "lobby")];
    for (const results of heard) equal(await texts(results, 1), ["one"]);
    await say(bob, "lobby", "two");
    for (const results of heard) equal((await results.next()).data.said, { id: 2, author: "Bob", text: "two" });
  },
  "another room hears nothing": async t => {
    const ada = client(t, await t.start("graphql"));
    await say(ada, "lobby", "one");
    await say(ada, "other", "elsewhere");
    const heard = listen(ada, "lobby");
    equal(await texts(heard, 1), ["one"]);
    await say(ada, "other", "elsewhere again");
    await say(ada, "lobby", "two");
    equal(await texts(heard, 1), ["two"]);
  },
  "the server completes an operation that ends": async t => {
    const ada = client(t, await t.start("graphql"));
    const results = ada.run("subscription { countdown(from: 2) }");
    for (const countdown of [2, 1, 0]) equal(await results.next(), { data: { countdown } });
    equal(await results.next(), "complete");
  },
  "the client completes an operation, and hears no more": async t => {
    const ada = client(t, await t.start("graphql"));
    await say(ada, "lobby", "one");
    const [one, two] = [listen(ada, "lobby"), listen(ada, "lobby")];
    await texts(one, 1);
    await texts(two, 1);
    one.stop();
    equal(await one.next(), "complete");
    await say(ada, "lobby", "two");
    equal(await texts(two, 1), ["two"]);
    equal(one.values, []);
  },
  "operations run side by side": async t => {
    const ada = client(t, await t.start("graphql"));
    const all = Array.from({ length: 20 }, () => ada.run("subscription { countdown(from: 1) }"));
    for (const results of all) {
      equal(await results.next(), { data: { countdown: 1 } });
      equal(await results.next(), { data: { countdown: 0 } });
      equal(await results.next(), "complete");
    }
  },
  "a query that is not valid is an error": async t => {
    const ada = client(t, await t.start("graphql"));
    const { error } = await ada.run("{ nonsense }").next();
    equal(error.length, 1);
    if (!error[0].message.includes("nonsense")) throw new Error(error[0].message);
    equal(await ada.ask("{ me }"), { me: "Ada" });
  },
  "a query that does not parse is an error": async t => {
    const ada = client(t, await t.start("graphql"));
    equal((await ada.run("{{{").next()).error.length, 1);
  },
  "an error of a field comes with a path, in a result": async t => {
    const ada = client(t, await t.start("graphql"));
    const results = ada.run('mutation { say(room: "lobby", text: "") { id } }');
    const { data, errors } = await results.next();
    equal([data, errors[0].message, errors[0].path], [null, "a text is empty", ["say"]]);
    equal(await results.next(), "complete");
  },
  "an error of a subscription comes in a result, and completes it": async t => {
    const ada = client(t, await t.start("graphql"));
    const results = ada.run("subscription { countdown(from: 101) }");
    equal((await results.next()).errors[0].message, "counts from at most 100");
    equal(await results.next(), "complete");
  },
  "a query too deep is refused": async t => {
    const ada = client(t, await t.start("graphql"));
    const query = depth => (depth ? `room { messages(last: 0) { ${query(depth - 1)} } }` : "id");
    const { error } = await ada.run(`{ room(name: "x") { messages { ${query(8)} } } }`).next();
    equal(error[0].message, "Query is nested too deep.");
  },
  "a query too complex is refused": async t => {
    const ada = client(t, await t.start("graphql"));
    const { error } = await ada.run(
      '{ room(name: "x") { messages(last: 100) { room { messages(last: 100) { id } } } } }').next();
    equal(error[0].message, "Query is too complex.");
  },
  "tools can ask for the schema": async t => {
    const { getIntrospectionQuery, buildClientSchema } = require("graphql");
    const ada = client(t, await t.start("graphql"));
    buildClientSchema(await ada.ask(getIntrospectionQuery()));
  },
  "the wrong token is refused with 4403, and the right one is not": async t => {
    const server = await t.start("graphql", "--token", "secret");
    for (const connectionParams of [undefined, { token: "wrong" }, { token: 7 }]) {
      await client(t, server, { connectionParams, retryAttempts: 0 }).until("closed", 4403);
    }
    await client(t, server, { connectionParams: { token: "secret" } }).until("connected");
  },
  "an operation before connection_init is refused with 4401": async t => {
    const raw = await peer(t, await t.start("graphql"), { init: false });
    raw.subscribe("1", "{ me }");
    await closes(raw, 4401, "Unauthorized");
  },
  "a client that does not offer the subprotocol is closed with 4406": async t => {
    const server = await t.start("graphql");
    await closes(await t.raw(`${server.ws}/graphql`), 4406, "Subprotocol not acceptable");
  },
  "the older subprotocol is not selected": async t => {
    const server = await t.start("graphql");
    // `ws` ends the connection by itself, if what it offered was not selected.
    const error = await t.raw(`${server.ws}/graphql`, "graphql-ws").then(() => "connected", error => error.message);
    equal(error, "Server sent no subprotocol");
    equal((await t.raw(`${server.ws}/graphql`, ["graphql-ws", PROTOCOL])).protocol, PROTOCOL);
  },
  "a client without connection_init is closed with 4408": async t => {
    const raw = await peer(t, await t.start("graphql", "--init-within", "0.2"), { init: false });
    await closes(raw, 4408, "Connection initialisation timeout");
  },
  "a client with connection_init stays beyond that time": async t => {
    const server = await t.start("graphql", "--init-within", "0.2");
    const raw = await peer(t, server);
    // The other's time began later, and is over.
    await closes(await peer(t, server, { init: false }), 4408, "Connection initialisation timeout");
    raw.send({ type: "ping" });
    equal(await raw.json(), { type: "pong" });
  },
  "a second connection_init is closed with 4429": async t => {
    const raw = await peer(t, await t.start("graphql"));
    raw.send({ type: "connection_init" });
    await closes(raw, 4429, "Too many initialisation requests");
  },
  "an id that runs already is closed with 4409": async t => {
    const raw = await peer(t, await t.start("graphql"));
    raw.subscribe("1", FOREVER);
    raw.subscribe("1", FOREVER);
    await closes(raw, 4409, "Subscriber already exists");
  },
  "an id is free after each kind of end": async t => {
    const raw = await peer(t, await t.start("graphql"));
    raw.subscribe("1", FOREVER);
    raw.send({ type: "complete", id: "1" });
    raw.subscribe("1", "{ nonsense }");
    equal((await raw.json()).type, "error");
    raw.subscribe("1", "{ me }");
    equal(await raw.json(), { id: "1", type: "next", payload: { data: { me: "guest" } } });
    equal(await raw.json(), { id: "1", type: "complete" });
    raw.subscribe("1", "{ me }");
    equal((await raw.json()).type, "next");
  },
  "an id that is used again belongs to the new operation alone": async t => {
    const server = await t.start("graphql");
    const [raw, ada] = [await peer(t, server), client(t, server)];
    const listen = room => raw.subscribe("1", `subscription { said(room: "${room}", after: 0) { text } }`);
    await say(ada, "old", "zero");
    listen("old");
    await raw.json();
    raw.send({ type: "complete", id: "1" });
    listen("new");
    await say(ada, "new", "one");
    equal((await raw.json()).payload.data.said.text, "one");
    for (const text of ["two", "three", "four"]) {
      await say(ada, "old", "unheard");
      await say(ada, "new", text);
      equal((await raw.json()).payload.data.said.text, text);
    }
  },
  "a complete for an unknown id is ignored": async t => {
    const raw = await peer(t, await t.start("graphql"));
    raw.send({ type: "complete", id: "unknown" });
    raw.send({ type: "ping" });
    equal(await raw.json(), { type: "pong" });
  },
  "invalid messages are closed with 4400": async t => {
    const server = await t.start("graphql");
    for (const text of [
      "", "{", "null", "[]", '{"type":"nonsense"}', '{"type":"connection_ack"}', '{"type":"complete"}',
      '{"type":"subscribe","id":"1","payload":{}}', '{"type":"subscribe","id":"","payload":{"query":"{ me }"}}',
    ]) {
      const raw = await peer(t, server);
      raw.send(text);
      await closes(raw, 4400, "Invalid message received");
    }
  },
  "a fatal code keeps the client away": async t => {
    const server = await t.start("graphql");
    const ada = client(t, server);
    const [, socket] = await ada.until("connected");
    socket.send("{");
    await ada.until("fatal", 4400);
    equal(ada.events.values, []);
  },
  "a ping is answered with its payload": async t => {
    const raw = await peer(t, await t.start("graphql"), { init: false });
    raw.send({ type: "ping", payload: { at: 7 } });
    equal(await raw.json(), { type: "pong", payload: { at: 7 } });
    raw.send({ type: "pong" });
    raw.send({ type: "ping" });
    equal(await raw.json(), { type: "pong" });
  },
  "the client's keepalive is answered": async t => {
    const ada = client(t, await t.start("graphql"), { keepAlive: 30 });
    for (let i = 0; i < 3; i += 1) await ada.until("pong", true);
  },
  "beyond the most operations of a connection, one gets an error": async t => {
    const raw = await peer(t, await t.start("graphql", "--max-operations", "2"));
    raw.subscribe("1", FOREVER);
    raw.subscribe("2", FOREVER);
    raw.subscribe("3", FOREVER);
    const { id, type, payload } = await raw.json();
    equal([id, type, payload[0].message], ["3", "error", "2 operations run on this connection already"]);
    raw.send({ type: "complete", id: "1" });
    raw.subscribe("3", "{ me }");
    equal((await raw.json()).type, "next");
  },
  "a message too large is closed with 1009": async t => {
    const raw = await peer(t, await t.start("graphql"));
    raw.send({ type: "ping", payload: { text: "x".repeat(70_000) } });
    equal((await raw.closed()).code, 1009);
  },
  "beyond the most connections, a client gets 503": async t => {
    const server = await t.start("graphql", "--max-connections", "1");
    await peer(t, server);
    equal(await refusal(`${server.ws}/graphql`, PROTOCOL), 503);
  },
  "a page of another origin gets 403": async t => {
    const server = await t.start("graphql", "--allow-origin", "https://app.example");
    equal(await refusal(`${server.ws}/graphql`, PROTOCOL, { origin: "https://elsewhere.example" }), 403);
    await t.raw(`${server.ws}/graphql`, PROTOCOL, { origin: "https://app.example" });
    await t.raw(`${server.ws}/graphql`, PROTOCOL, { origin: server.url });
  },
  "a client that does not read is dropped, and others are not delayed": async t => {
    const server = await t.start("graphql", "--ping-every", "0.3", "--pong-within", "0.3");
    const [slow, ada] = [await peer(t, server), client(t, server)];
    slow.subscribe("1", 'subscription { said(room: "lobby") { text } }');
    slow.send({ type: "ping" });
    await slow.json();
    slow.stopReading();
    const heard = ada.run(SAID, { room: "lobby" });
    await say(ada, "lobby", "x".repeat(1900));
    for (let i = 0; i < 30; i += 1) await say(ada, "lobby", "x".repeat(1900));
    await texts(heard, 30);
    await server.lines.next(line => line.includes("keepalive") || line.includes("pong"));
  },
  "a subscription that falls behind ends with an error, and the connection stays": async t => {
    const server = await t.start("graphql");
    const [slow, ada] = [await peer(t, server), client(t, server)];
    slow.subscribe("1", 'subscription { said(room: "lobby", after: 0) { text } }');
    await say(ada, "lobby", "first");
    await slow.json();
    slow.socket.pause();
    const many = Array.from({ length: 200 }, (_, i) => `a${i}: say(room: "lobby", text: $text) { id }`).join(" ");
    const query = `mutation($text: String!) { ${many} }`;
    for (let i = 0; i < 12; i += 1) await ada.ask(query, { text: "\u{1f422}".repeat(2000) });
    slow.socket.resume();
    const { payload } = await slow.json(message => message.payload?.errors);
    equal(/^\d+ messages came too fast for this subscription$/.test(payload.errors[0].message), true);
    equal(await slow.json(), { id: "1", type: "complete" });
    slow.subscribe("1", "{ me }");
    equal((await slow.json()).payload.data.me, "guest");
  },
  "the client comes back after the server was restarted, with what it missed": async t => {
    let server = await t.start("graphql");
    const port = server.port;
    const { wait, open } = gate();
    const ada = client(t, server, { retryWait: wait });
    await ada.until("connected");
    await say(ada, "lobby", "before");
    const heard = listen(ada, "lobby");
    equal(await texts(heard, 1), ["before"]);
    equal(await server.stop(), 0);
    await ada.until("closed", 1001);
    server = await t.start("graphql", "--listen", `127.0.0.1:${port}`);
    open();
    await ada.until("connected");
    await say(client(t, server), "lobby", "after");
    equal(await texts(heard, 1), ["after"]);
  },
  "the client comes back after the server was killed": async t => {
    const server = await t.start("graphql");
    const { wait, open } = gate();
    const ada = client(t, server, { retryWait: wait });
    await ada.until("connected");
    await server.kill();
    await ada.until("closed", 1006);
    await t.start("graphql", "--listen", `127.0.0.1:${server.port}`);
    open();
    await ada.until("connected");
    equal(await ada.ask("{ me }"), { me: "Ada" });
  },
  "the client notices a stalled server": async t => {
    const between = await t.relay((await t.start("graphql")).port);
    const { wait, open } = gate();
    let waiting;
    // The recipe of graphql-ws: its user watches the pongs.
    const ada = client(t, between, { keepAlive: 50, retryWait: wait });
    ada.on("ping", received => { if (!received) waiting = setTimeout(() => ada.terminate(), 200); });
    ada.on("pong", received => { if (received) clearTimeout(waiting); });
    await ada.until("pong", true);
    between.stall();
    await ada.until("closed", 4499);
    between.resume();
    open();
    await ada.until("connected");
    await ada.until("pong", true);
  },
  "the server notices a stalled client": async t => {
    const server = await t.start("graphql", "--ping-every", "0.1", "--pong-within", "0.2", "--max-connections", "1");
    const between = await t.relay(server.port);
    const raw = await peer(t, between);
    raw.send({ type: "ping" });
    await raw.json();
    between.stall();
    await server.lines.next(line => line.includes("keepalive") || line.includes("pong"));
    // Its place is free.
    await peer(t, server);
  },
  "a POST is answered, and wrong ones are refused": async t => {
    const server = await t.start("graphql", "--token", "secret");
    const post = (body, headers) => request(`${server.url}/graphql`, {
      method: "POST", body, headers: { "content-type": "application/json", authorization: "Bearer secret", ...headers },
    });
    const query = JSON.stringify({ query: "{ me }" });
    equal(JSON.parse((await post(query, { "x-name": "Eve" })).body), { data: { me: "Eve" } });
    equal((await post(query, { authorization: "Bearer wrong" })).status, 401);
    equal((await post(query, { "content-type": "text/plain" })).status, 415);
    equal((await post("{")).status, 400);
    equal((await post(JSON.stringify({ query: "x".repeat(70_000) }))).status, 413);
    const { errors } = JSON.parse((await post(JSON.stringify({ query: FOREVER }))).body);
    equal(errors.length, 1);
  },
  "Ctrl-C closes with 1001 and ends the program": async t => {
    const server = await t.start("graphql");
    const raw = await peer(t, server);
    raw.subscribe("1", FOREVER);
    equal(await server.stop(), 0);
    equal((await raw.closed()).code, 1001);
  },
});
