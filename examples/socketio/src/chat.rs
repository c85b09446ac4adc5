//! The chat: who may come in, and what its events do.
//!
//! A client is in four kinds of Socket.IO rooms: `room:` and the name of a room of the chat, `name:` and its name in lower case, by which it
//! is found, `as:` and its name as it is shown, `tab:` and the secret of its page. Socket.IO's adapters know all rooms of all nodes, so
//! nothing else has to be shared between nodes.

use std::fmt;
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use socketioxide::SocketIo;
use socketioxide::adapter::Adapter;
use socketioxide::extract::{AckSender, Extension, SocketRef, State, TryData};
use socketioxide::operators::BroadcastOperators;
use tokio::sync::watch;

const MAX_TAB: usize = 64;
const MAX_TEXT: usize = 4000;
const MAX_FILE: usize = 3 << 20;
const MAX_ROOMS: usize = 20;
/// How often in a row a client may ask for what is refused. Then the server ends its connection.
const MAX_REFUSED: u32 = 10;
/// How long a client may take to answer when another one knocks.
const KNOCK: Duration = Duration::from_secs(2);

/// What clients have to send as `token`, if anything.
#[derive(Clone)]
pub struct Token(pub Option<String>);

/// Whether there are other nodes, and whether they are in reach.
#[derive(Clone)]
pub struct Cluster(Option<watch::Receiver<bool>>);

impl Cluster {
    pub fn alone() -> Self {
        Self(None)
    }

    pub fn of(reachable: watch::Receiver<bool>) -> Self {
        Self(Some(reachable))
    }

    fn reachable(&self) -> Option<bool> {
        self.0.as_ref().map(|reachable| *reachable.borrow())
    }
}

/// What a client says of itself when it connects.
#[derive(Deserialize)]
pub struct Auth {
    #[serde(default)]
    name: String,
    #[serde(default)]
    token: String,
    /// A secret of the page, with which it gets its name back from its own old connection.
    #[serde(default)]
    tab: String,
}

#[derive(Clone)]
pub struct User {
    name: String,
}

/// Why somebody may not come in. The client gets it as the message of `connect_error`. socketioxide sends no `data` with it, so the
/// message itself is JSON.
#[derive(Debug, Serialize)]
pub struct NotAdmitted {
    code: &'static str,
    text: String,
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl std::error::Error for NotAdmitted {}

/// The middleware of the namespace: decides before the client is connected.
pub async fn admit<A: Adapter>(
    socket: SocketRef<A>,
    io: SocketIo<A>,
    TryData(auth): TryData<Auth>,
    State(Token(expected)): State<Token>,
) -> Result<(), NotAdmitted> {
    let refuse = |code, text: &str| Err(NotAdmitted { code, text: text.into() });
    let Ok(auth) = auth else {
        return refuse("name", "send auth: {name}");
    };
    if expected.is_some_and(|expected| !same(&expected, &auth.token)) {
        return refuse("token", "the token is missing or wrong");
    }
    if let Err(why) = check_name(&auth.name) {
        return refuse("name", &why);
    }
    if auth.tab.len() > MAX_TAB {
        return refuse("name", "the tab's secret is too long");
    }
    let tab = format!("tab:{}", auth.tab);
    let holder = rooms(io.within(format!("name:{}", auth.name.to_lowercase()))).await;
    if !holder.is_empty() && (auth.tab.is_empty() || !holder.contains(&tab)) {
        return refuse("taken", &format!("somebody here is called {} already", auth.name));
    }
    if !holder.is_empty() {
        // Its own old connection, which may be dead without the server's knowledge.
        let old = io.within(tab.clone()).disconnect().await;
        old.unwrap_or_else(|error| eprintln!("socketio: {error}"));
    }
    if !auth.tab.is_empty() {
        socket.join(tab);
    }
    socket.join([format!("name:{}", auth.name.to_lowercase()), format!("as:{}", auth.name)]);
    socket.extensions.insert(User { name: auth.name });
    Ok(())
}

/// Takes as long wherever the two differ.
fn same(expected: &str, given: &str) -> bool {
    let differences = expected.bytes().zip(given.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    expected.len() == given.len() && differences == 0
}

/// One to 24 characters, none of which changes how the rest is shown.
fn check_name(name: &str) -> Result<(), String> {
    let length = name.chars().count();
    if name.trim() != name || length == 0 || length > 24 || name.chars().any(char::is_control) {
        return Err("a name has 1 to 24 characters, and no blanks around them".into());
    }
    Ok(())
}

pub async fn connected<A: Adapter>(
    socket: SocketRef<A>,
    Extension(user): Extension<User>,
    State(cluster): State<Cluster>,
) {
    socket.on("join", on_join);
    socket.on("leave", on_leave);
    socket.on("who", on_who);
    socket.on("say", on_say);
    socket.on("file", on_file);
    socket.on("typing", on_typing);
    socket.on("knock", on_knock);
    socket.on_disconnect(on_disconnect);
    let welcome = json!({ "name": user.name, "cluster": cluster.reachable() });
    sent(socket.emit("welcome", &welcome));
}

async fn on_join<A: Adapter>(
    socket: SocketRef<A>,
    Extension(user): Extension<User>,
    TryData(room): TryData<String>,
    ack: AckSender<A>,
) {
    answer(&socket, ack, join(&socket, &user, room.ok()).await);
}

async fn join<A: Adapter>(socket: &SocketRef<A>, user: &User, room: Option<String>) -> Answer {
    let room = room.unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if room.is_empty() || room.len() > 32 || !room.bytes().all(plain) {
        return Err("a room has 1 to 32 lower-case letters, digits or hyphens".into());
    }
    let joined = rooms_of(socket);
    if !joined.contains(&room) {
        if joined.len() >= MAX_ROOMS {
            return Err(format!("nobody is in more than {MAX_ROOMS} rooms"));
        }
        socket.join(key(&room));
        tell(socket, &room, "joined", &json!({ "room": room, "name": user.name })).await;
    }
    Ok(json!({ "people": people(socket, &room).await }))
}

async fn on_leave<A: Adapter>(
    socket: SocketRef<A>,
    Extension(user): Extension<User>,
    TryData(room): TryData<String>,
    ack: AckSender<A>,
) {
    let done = match is_in(&socket, room) {
        Ok(room) => {
            socket.leave(key(&room));
            tell(&socket, &room, "left", &json!({ "room": room, "name": user.name })).await;
            Ok(json!({}))
        }
        Err(error) => Err(error),
    };
    answer(&socket, ack, done);
}

async fn on_who<A: Adapter>(
    socket: SocketRef<A>,
    TryData(room): TryData<String>,
    ack: AckSender<A>,
) {
    let done = match is_in(&socket, room) {
        Ok(room) => Ok(json!({ "people": people(&socket, &room).await })),
        Err(error) => Err(error),
    };
    answer(&socket, ack, done);
}

#[derive(Deserialize)]
struct Say {
    room: String,
    text: String,
}

async fn on_say<A: Adapter>(
    socket: SocketRef<A>,
    Extension(user): Extension<User>,
    TryData(said): TryData<Say>,
    ack: AckSender<A>,
) {
    answer(&socket, ack, say(&socket, &user, said).await);
}

async fn say<A: Adapter, E>(socket: &SocketRef<A>, user: &User, said: Result<Say, E>) -> Answer {
    let said = said.map_err(|_| "say has {room, text}")?;
    let room = is_in(socket, Ok::<_, E>(said.room))?;
    let length = said.text.chars().count();
    if said.text.trim().is_empty() || length > MAX_TEXT {
        return Err(format!("a text has 1 to {MAX_TEXT} characters; this one has {length}"));
    }
    let at = now();
    let message = json!({ "room": room, "from": user.name, "text": said.text, "at": at });
    tell(socket, &room, "said", &message).await;
    Ok(json!({ "at": at }))
}

#[derive(Deserialize)]
struct File {
    room: String,
    name: String,
    kind: String,
    data: Bytes,
}

/// As `File`, with the sender. `Bytes` become a binary attachment of the packet.
#[derive(Serialize)]
struct SharedFile<'a> {
    from: &'a str,
    at: u64,
    room: &'a str,
    name: &'a str,
    kind: &'a str,
    data: Bytes,
}

async fn on_file<A: Adapter>(
    socket: SocketRef<A>,
    Extension(user): Extension<User>,
    TryData(file): TryData<File>,
    ack: AckSender<A>,
) {
    answer(&socket, ack, share(&socket, &user, file).await);
}

async fn share<A: Adapter, E>(socket: &SocketRef<A>, user: &User, file: Result<File, E>) -> Answer {
    let File { room, name, kind, data } =
        file.map_err(|_| "file has {room, name, kind, data}, and data is binary")?;
    let room = is_in(socket, Ok::<_, E>(room))?;
    if data.is_empty() || data.len() > MAX_FILE || name.len() > 200 || kind.len() > 100 {
        let length = data.len();
        return Err(format!("a file has 1 to {MAX_FILE} bytes; this one has {length}"));
    }
    let (at, bytes) = (now(), data.len());
    let file = SharedFile { from: &user.name, at, room: &room, name: &name, kind: &kind, data };
    tell(socket, &room, "file", &file).await;
    Ok(json!({ "at": at, "bytes": bytes }))
}

/// Volatile: a client that is behind with reading does not get it, and does not miss it.
async fn on_typing<A: Adapter>(
    socket: SocketRef<A>,
    Extension(user): Extension<User>,
    TryData(room): TryData<String>,
) {
    if let Ok(room) = is_in(&socket, room) {
        let typing = json!({ "room": room, "name": user.name });
        sent(socket.to(key(&room)).volatile().emit("typing", &typing).await);
    }
}

async fn on_knock<A: Adapter>(
    socket: SocketRef<A>,
    Extension(user): Extension<User>,
    TryData(name): TryData<String>,
    ack: AckSender<A>,
) {
    let name = name.unwrap_or_default();
    answer(&socket, ack, knock(&socket, &user, &name).await);
}

/// The server asks the other client, and passes its answer on.
async fn knock<A: Adapter>(socket: &SocketRef<A>, user: &User, name: &str) -> Answer {
    let door = socket.to(format!("name:{}", name.to_lowercase())).timeout(KNOCK);
    let question = json!({ "from": user.name });
    let answers = match door.clone().emit_with_ack::<_, Value>("knock", &question).await {
        Ok(answers) => answers,
        // Redis is away: whoever is on this node can be asked all the same.
        Err(_) => {
            door.local().emit_with_ack("knock", &question).await.map_err(|e| e.to_string())?
        }
    };
    match pin!(answers).next().await {
        Some((_, Ok(answer))) => Ok(json!({ "answer": answer })),
        Some((_, Err(_))) => Ok(json!({ "answer": null, "why": "no answer" })),
        None => Ok(json!({ "answer": null, "why": "not here" })),
    }
}

async fn on_disconnect<A: Adapter>(socket: SocketRef<A>, Extension(user): Extension<User>) {
    for room in rooms_of(&socket) {
        tell(&socket, &room, "left", &json!({ "room": room, "name": user.name })).await;
    }
}

/// What the acknowledgement says: fields of its own, or why not.
type Answer = Result<Value, String>;

#[derive(Clone)]
struct Refused(u32);

/// A client that goes on with what is refused is broken or means harm. The server ends its connection.
fn answer<A: Adapter>(socket: &SocketRef<A>, ack: AckSender<A>, answer: Answer) {
    let reply = match answer {
        Ok(mut fields) => {
            fields["ok"] = true.into();
            fields
        }
        Err(error) => json!({ "ok": false, "error": error }),
    };
    let refused = reply["ok"] == false;
    sent(ack.send(&reply));
    let before = socket.extensions.get().map_or(0, |Refused(count)| count);
    let count = if refused { before + 1 } else { 0 };
    socket.extensions.insert(Refused(count));
    if count >= MAX_REFUSED {
        sent(socket.clone().disconnect());
    }
}

/// To the others in the room, on all nodes.
async fn tell<A: Adapter, T: Serialize>(socket: &SocketRef<A>, room: &str, event: &str, data: &T) {
    sent(socket.to(key(room)).emit(event, data).await);
}

/// What can go wrong is that a client does not read, or has gone. It misses the message; the others have it.
fn sent<T, E: fmt::Display>(result: Result<T, E>) {
    if let Err(error) = result {
        eprintln!("socketio: a client missed a message: {error}");
    }
}

/// Names of all who are in the room, on all nodes.
async fn people<A: Adapter>(socket: &SocketRef<A>, room: &str) -> Vec<String> {
    let rooms = rooms(socket.within(key(room))).await;
    let mut names: Vec<_> =
        rooms.iter().filter_map(|room| room.strip_prefix("as:").map(String::from)).collect();
    names.sort();
    names
}

/// All Socket.IO rooms in which these clients are. Without Redis, only this node's are known.
async fn rooms<A: Adapter>(of: BroadcastOperators<A>) -> Vec<String> {
    let rooms = match of.clone().rooms().await {
        Ok(rooms) => rooms,
        Err(_) => of.local().rooms().await.unwrap_or_default(),
    };
    rooms.into_iter().map(String::from).collect()
}

/// The rooms of the chat that this client is in.
fn rooms_of<A: Adapter>(socket: &SocketRef<A>) -> Vec<String> {
    let rooms = socket.rooms();
    rooms.iter().filter_map(|room| room.strip_prefix("room:").map(String::from)).collect()
}

fn is_in<A: Adapter, E>(socket: &SocketRef<A>, room: Result<String, E>) -> Result<String, String> {
    let room = room.map_err(|_| "expected the name of a room")?;
    if rooms_of(socket).contains(&room) { Ok(room) } else { Err("you are not in this room".into()) }
}

fn key(room: &str) -> String {
    format!("room:{room}")
}

/// In milliseconds, as JavaScript counts.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis().try_into().unwrap_or(u64::MAX)
}
