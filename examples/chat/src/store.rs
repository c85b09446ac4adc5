//! The history of a single node, in SQLite. SQLite blocks, so it has a thread of its own, which runs one piece of work after the other.

use std::path::Path;
use std::sync::{Arc, mpsc};

use async_trait::async_trait;
use hub::broker::{Appended, Broker, Page};
use hub::{Away, Draft, Message, Position};
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::oneshot;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS history (epoch INTEGER NOT NULL);
    INSERT INTO history SELECT abs(random()) WHERE NOT EXISTS (SELECT 1 FROM history);
    CREATE TABLE IF NOT EXISTS messages (
        topic TEXT NOT NULL,
        offset INTEGER NOT NULL,
        key TEXT NOT NULL,
        sender TEXT NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (topic, offset),
        UNIQUE (topic, key)
    ) WITHOUT ROWID;
";

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle to the thread. The thread ends with the last handle.
#[derive(Clone)]
pub struct Store {
    work: mpsc::Sender<Work>,
    epoch: u64,
}

impl Store {
    /// `:memory:` keeps nothing. A file of an older version of this program is an error.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let mut database = Connection::open(path)?;
        database.execute_batch(SCHEMA)?;
        database.prepare("SELECT topic FROM messages")?;
        let epoch: i64 = database.query_row("SELECT epoch FROM history", [], |row| row.get(0))?;
        // A topic waits for its piece of work, so the channel holds few.
        let (sender, receiver) = mpsc::channel::<Work>();
        std::thread::spawn(move || {
            for work in receiver {
                work(&mut database);
            }
        });
        Ok(Self { work: sender, epoch: epoch.unsigned_abs() })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Away> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(|database| {
            // Nothing waits for the answer if the hub has lost its patience.
            let _ = answer.send(work(database));
        });
        self.work.send(work).map_err(|_| Away)?;
        answered.await.map_err(|_| Away)?.map_err(|error| {
            eprintln!("chat: {error}");
            Away
        })
    }
}

#[async_trait]
impl Broker for Store {
    fn is_shared(&self) -> bool {
        false
    }

    async fn append(&self, topic: &str, draft: &Draft) -> Result<Appended, Away> {
        let (topic, draft, epoch) = (topic.to_owned(), draft.clone(), self.epoch);
        self.run(move |database| {
            let offset: Option<i64> = database
                .prepare_cached(
                    "INSERT INTO messages (topic, offset, key, sender, data)
                     SELECT ?1, COALESCE(MAX(offset), 0) + 1, ?2, ?3, ?4 FROM messages WHERE topic = ?1
                     ON CONFLICT (topic, key) DO NOTHING
                     RETURNING offset",
                )?
                .query_row(params![topic, draft.key, draft.from, &draft.data[..]], |row| row.get(0))
                .optional()?;
            let before = || {
                database
                    .prepare_cached("SELECT offset FROM messages WHERE topic = ?1 AND key = ?2")?
                    .query_row(params![topic, draft.key], |row| row.get(0))
            };
            let duplicate = offset.is_none();
            let offset = offset.map_or_else(before, Ok)?.unsigned_abs();
            Ok(Appended { position: Position { epoch, offset }, duplicate })
        })
        .await
    }

    async fn since(&self, topic: &str, after: u64, most: usize) -> Result<Page, Away> {
        let (topic, epoch) = (topic.to_owned(), self.epoch);
        self.run(move |database| {
            let last: i64 = database
                .prepare_cached("SELECT COALESCE(MAX(offset), 0) FROM messages WHERE topic = ?1")?
                .query_row([&topic], |row| row.get(0))?;
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let messages = database
                .prepare_cached(
                    "SELECT offset, key, sender, data FROM messages
                     WHERE topic = ?1 AND offset > ?2 ORDER BY offset LIMIT ?3",
                )?
                .query_map(params![topic, after, most], |row| message(epoch, row))?
                .collect::<rusqlite::Result<_>>()?;
            // All are kept for ever.
            Ok(Page { epoch, first: 1, last: last.unsigned_abs(), messages })
        })
        .await
    }
}

fn message(epoch: u64, row: &Row<'_>) -> rusqlite::Result<Arc<Message>> {
    let offset = row.get::<_, i64>(0)?.unsigned_abs();
    let data: Vec<u8> = row.get(3)?;
    let position = Some(Position { epoch, offset });
    Ok(Arc::new(Message { position, key: row.get(1)?, from: row.get(2)?, data: data.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Store {
        Store::open(Path::new(":memory:")).expect("a database")
    }

    async fn add(store: &Store, topic: &str, key: &str, text: &str) -> (u64, bool) {
        let draft = Draft::new(text.to_owned()).key(key);
        let appended = store.append(topic, &draft).await.expect("it is kept");
        (appended.position.offset, appended.duplicate)
    }

    async fn texts(store: &Store, topic: &str, after: u64, most: usize) -> Vec<(u64, String)> {
        let page = store.since(topic, after, most).await.expect("messages");
        let text = |message: &Message| String::from_utf8(message.data.to_vec()).expect("UTF-8");
        let offset = |message: &Message| message.position.expect("a position").offset;
        page.messages.iter().map(|message| (offset(message), text(message))).collect()
    }

    #[tokio::test]
    async fn offsets_count_in_each_topic() {
        let store = memory();
        assert_eq!(store.since("a", 0, 9).await.expect("a page").last, 0);
        assert_eq!(add(&store, "a", "k1", "one").await, (1, false));
        assert_eq!(add(&store, "a", "k2", "two").await, (2, false));
        assert_eq!(add(&store, "b", "k3", "three").await, (1, false));
        assert_eq!(store.since("a", 9, 9).await.expect("a page").last, 2);
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
        assert_eq!(texts(&store, "a", u64::MAX, 9).await, []);
        assert_eq!(texts(&store, "b", 0, 9).await, []);
    }

    #[tokio::test]
    async fn what_is_sent_again_is_kept_once() {
        let store = memory();
        assert_eq!(add(&store, "a", "k1", "one").await, (1, false));
        assert_eq!(add(&store, "a", "k2", "two").await, (2, false));
        assert_eq!(add(&store, "a", "k1", "one").await, (1, true));
        assert_eq!(add(&store, "a", "k3", "three").await, (3, false));
        assert_eq!(
            add(&store, "b", "k1", "one").await,
            (1, false),
            "another room, another message"
        );
    }

    #[tokio::test]
    async fn text_is_no_sql() {
        let store = memory();
        let text = "'; DROP TABLE messages; --";
        add(&store, "a", "k1", text).await;
        assert_eq!(texts(&store, "a", 0, 9).await, [(1, text.into())]);
    }

    #[tokio::test]
    async fn the_file_outlives_the_process_and_another_file_is_another_history() {
        let folder = std::env::temp_dir().join(format!("bowline-chat-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("chat.sqlite");
        let before = Store::open(&file).expect("a database");
        add(&before, "a", "k1", "one").await;
        // The file is not locked, so the thread of the first need not have ended.
        let after = Store::open(&file).expect("the same database");
        assert_eq!(texts(&after, "a", 0, 9).await, [(1, "one".into())]);
        assert_eq!(add(&after, "a", "k2", "two").await, (2, false));
        assert_eq!(before.epoch, after.epoch);
        assert_ne!(before.epoch, memory().epoch);
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn a_file_of_an_older_version_is_an_error() {
        let folder = std::env::temp_dir().join(format!("bowline-chat-old-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("chat.sqlite");
        let old = Connection::open(&file).expect("a database");
        old.execute_batch("CREATE TABLE messages (room TEXT, id INTEGER)").expect("a table");
        assert!(Store::open(&file).is_err());
        let _ = std::fs::remove_dir_all(folder);
    }
}
