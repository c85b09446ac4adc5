//! The history, in SQLite. SQLite blocks, so it has a thread of its own, which runs one piece of work after
//! the other.

use std::fmt;
use std::path::Path;
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::oneshot;

use crate::protocol::Said;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS messages (
        room TEXT NOT NULL,
        id INTEGER NOT NULL,
        at INTEGER NOT NULL,
        name TEXT NOT NULL,
        key TEXT NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (room, id),
        UNIQUE (room, key)
    ) WITHOUT ROWID;
";

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the thread. The thread ends with the last handle.
#[derive(Clone)]
pub struct Store(mpsc::Sender<Work>);

impl Store {
    /// `:memory:` keeps nothing.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let mut database = Connection::open(path)?;
        database.execute_batch(SCHEMA)?;
        // A connection waits for its piece of work, so the channel holds at most one for each connection.
        let (sender, receiver) = mpsc::channel::<Work>();
        std::thread::spawn(move || {
            for work in receiver {
                work(&mut database);
            }
        });
        Ok(Self(sender))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(|database| {
            // Nothing waits for the answer if the connection's task has ended.
            let _ = answer.send(work(database));
        });
        self.0.send(work).map_err(|_| StoreError::Gone)?;
        answered.await.map_err(|_| StoreError::Gone)?.map_err(StoreError::Sqlite)
    }

    /// Keeps a message, under the next id of the room. None: a message with this key is kept already.
    pub async fn add(
        &self,
        room: &str,
        name: &str,
        key: &str,
        text: &str,
    ) -> Result<Option<Said>, StoreError> {
        let (room, name, key, text) =
            (room.to_owned(), name.to_owned(), key.to_owned(), text.to_owned());
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.run(move |database| {
            database
                .prepare_cached(
                    "INSERT INTO messages (room, id, at, name, key, text)
                     SELECT ?1, COALESCE(MAX(id), 0) + 1, ?2, ?3, ?4, ?5
                     FROM messages WHERE room = ?1
                     ON CONFLICT (room, key) DO NOTHING
                     RETURNING id, at, name, key, text",
                )?
                .query_row(params![room, at as i64, name, key, text], said)
                .optional()
        })
        .await
    }

    /// The id of the newest message, or 0.
    pub async fn last(&self, room: &str) -> Result<u64, StoreError> {
        let room = room.to_owned();
        self.run(move |database| {
            database
                .prepare_cached("SELECT COALESCE(MAX(id), 0) FROM messages WHERE room = ?1")?
                .query_row([room], |row| Ok(row.get::<_, i64>(0)? as u64))
        })
        .await
    }

    /// The messages after the one with this id, in order, at most `most` of them.
    pub async fn since(&self, room: &str, id: u64, most: usize) -> Result<Vec<Said>, StoreError> {
        let room = room.to_owned();
        self.run(move |database| {
            database
                .prepare_cached(
                    "SELECT id, at, name, key, text FROM messages
                     WHERE room = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
                )?
                .query_map(params![room, id as i64, most as i64], said)?
                .collect()
        })
        .await
    }
}

fn said(row: &Row<'_>) -> rusqlite::Result<Said> {
    Ok(Said {
        id: row.get::<_, i64>(0)? as u64,
        at: row.get::<_, i64>(1)? as u64,
        name: row.get(2)?,
        key: row.get(3)?,
        text: row.get(4)?,
    })
}

#[derive(Debug)]
pub enum StoreError {
    Sqlite(rusqlite::Error),
    /// The thread has ended. While there is a `Store`, only a panic can end it.
    Gone,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => error.fmt(f),
            Self::Gone => f.write_str("the thread of the store has ended"),
        }
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Store {
        Store::open(Path::new(":memory:")).expect("a database")
    }

    async fn add(store: &Store, room: &str, key: &str, text: &str) -> Option<u64> {
        store.add(room, "Ada", key, text).await.expect("it is kept").map(|said| said.id)
    }

    async fn texts(store: &Store, room: &str, id: u64, most: usize) -> Vec<(u64, String)> {
        let messages = store.since(room, id, most).await.expect("messages");
        messages.into_iter().map(|said| (said.id, said.text)).collect()
    }

    #[tokio::test]
    async fn ids_count_in_each_room() {
        let store = memory();
        assert_eq!(store.last("a").await.expect("an id"), 0);
        assert_eq!(add(&store, "a", "k1", "one").await, Some(1));
        assert_eq!(add(&store, "a", "k2", "two").await, Some(2));
        assert_eq!(add(&store, "b", "k3", "three").await, Some(1));
        assert_eq!(store.last("a").await.expect("an id"), 2);
    }

    #[tokio::test]
    async fn since_gives_what_follows_in_order() {
        let store = memory();
        for (key, text) in [("k1", "one"), ("k2", "two"), ("k3", "three")] {
            add(&store, "a", key, text).await;
        }
        assert_eq!(texts(&store, "a", 1, 9).await, [(2, "two".into()), (3, "three".into())]);
        assert_eq!(texts(&store, "a", 0, 2).await, [(1, "one".into()), (2, "two".into())]);
        assert_eq!(texts(&store, "a", 3, 9).await, []);
        assert_eq!(texts(&store, "b", 0, 9).await, []);
    }

    #[tokio::test]
    async fn what_is_sent_again_is_kept_once() {
        let store = memory();
        assert_eq!(add(&store, "a", "k1", "one").await, Some(1));
        assert_eq!(add(&store, "a", "k1", "one").await, None);
        assert_eq!(add(&store, "a", "k2", "two").await, Some(2));
        assert_eq!(add(&store, "b", "k1", "one").await, Some(1), "another room, another message");
    }

    #[tokio::test]
    async fn text_is_no_sql() {
        let store = memory();
        let text = "'; DROP TABLE messages; --";
        add(&store, "a", "k1", text).await;
        assert_eq!(texts(&store, "a", 0, 9).await, [(1, text.into())]);
    }

    #[tokio::test]
    async fn the_file_outlives_the_process() {
        let folder = std::env::temp_dir().join(format!("bowline-chat-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("chat.sqlite");
        let before = Store::open(&file).expect("a database");
        add(&before, "a", "k1", "one").await;
        // The file is not locked, so the thread of the first need not have ended.
        let after = Store::open(&file).expect("the same database");
        assert_eq!(texts(&after, "a", 0, 9).await, [(1, "one".into())]);
        assert_eq!(add(&after, "a", "k2", "two").await, Some(2));
        let _ = std::fs::remove_dir_all(folder);
    }
}
