//! A subscriber that keeps what this thread tells it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

type Fields = BTreeMap<String, String>;

/// A span or an event.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    pub(crate) level: Level,
    pub(crate) fields: Fields,
    pub(crate) parent: Option<u64>,
    /// A span that is over.
    pub(crate) is_closed: bool,
}

impl Told {
    fn new(metadata: &Metadata<'static>, parent: Option<u64>) -> Self {
        let (name, target, level) = (metadata.name(), metadata.target(), *metadata.level());
        Self { name, target, level, fields: Fields::new(), parent, is_closed: false }
    }

    /// A field, or nothing if it was not told.
    pub(crate) fn get(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", |value| value)
    }

    #[track_caller]
    pub(crate) fn has(&self, expected: &[(&str, &str)]) {
        for (field, value) in expected {
            assert_eq!(self.get(field), *value, "{field} in {self:?}");
        }
    }
}

#[derive(Debug, Default)]
struct Collected {
    spans: Vec<Told>,
    handles: Vec<usize>,
    events: Vec<Told>,
    entered: Vec<u64>,
}

#[derive(Clone, Debug, Default)]
struct Collector(Arc<Mutex<Collected>>);

impl Collector {
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.lock().expect("no test panics in here")
    }
}

/// What this thread tells while this lives.
pub(crate) struct Collecting(Collector, #[allow(dead_code, reason = "it is dropped")] DefaultGuard);

pub(crate) fn collect() -> Collecting {
    let collector = Collector::default();
    let guard = tracing::subscriber::set_default(collector.clone());
    Collecting(collector, guard)
}

impl Collecting {
    /// The spans of one side.
    pub(crate) fn spans(&self, kind: &str) -> Vec<Told> {
        let collected = self.0.lock();
        assert!(collected.entered.is_empty(), "a span was not left: {collected:?}");
        let of_kind = |span: &&Told| span.get("otel.kind") == kind;
        collected.spans.iter().filter(of_kind).cloned().collect()
    }

    /// The one span of a side, which is over.
    #[track_caller]
    pub(crate) fn span(&self, kind: &str) -> Told {
        let [span] = &self.spans(kind)[..] else { panic!("{:?}", self.spans(kind)) };
        assert!(span.is_closed, "{span:?}");
        assert_eq!((span.name, span.target), ("websocket.handshake", "bowline"));
        assert_eq!(span.level, Level::INFO);
        span.clone()
    }

    /// The events of one side, for the ends of connections.
    pub(crate) fn ends(&self, role: &str) -> Vec<Told> {
        let of_role = |event: &&Told| event.get("websocket.role") == role;
        self.0.lock().events.iter().filter(of_role).cloned().collect()
    }

    #[track_caller]
    pub(crate) fn end(&self, role: &str) -> Told {
        let [end] = &self.ends(role)[..] else { panic!("{:?}", self.ends(role)) };
        assert_eq!((end.target, end.level), ("bowline", Level::INFO));
        end.clone()
    }

    /// How many spans and events there are.
    pub(crate) fn count(&self) -> (usize, usize) {
        let collected = self.0.lock();
        (collected.spans.len(), collected.events.len())
    }

    /// All that was told, as text.
    pub(crate) fn text(&self) -> String {
        format!("{:?}", self.0.lock())
    }
}

struct Visitor<'a>(&'a mut Fields);

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        let before = self.0.insert(field.name().into(), value.into());
        assert_eq!(before, None, "{field} is told twice");
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        panic!("{field} = {value}: tracing-opentelemetry makes text of an unsigned number");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // smol's executor has spans of its own.
        metadata.target() == "bowline" || metadata.target() == "test"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut collected = self.lock();
        let parent = collected.entered.last().copied().filter(|_| span.is_contextual());
        let mut told = Told::new(span.metadata(), parent);
        span.record(&mut Visitor(&mut told.fields));
        collected.spans.push(told);
        collected.handles.push(1);
        Id::from_u64(collected.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let told = &mut self.lock().spans[span.into_u64() as usize - 1];
        values.record(&mut Visitor(&mut told.fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut collected = self.lock();
        let mut told = Told::new(event.metadata(), collected.entered.last().copied());
        event.record(&mut Visitor(&mut told.fields));
        collected.events.push(told);
    }

    fn enter(&self, span: &Id) {
        self.lock().entered.push(span.into_u64());
    }

    /// A span that is held across an await is left after another one was entered.
    fn exit(&self, span: &Id) {
        assert_eq!(self.lock().entered.pop(), Some(span.into_u64()));
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.lock().handles[span.into_u64() as usize - 1] += 1;
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let at = span.into_u64() as usize - 1;
        let mut collected = self.lock();
        collected.handles[at] -= 1;
        let is_last = collected.handles[at] == 0;
        collected.spans[at].is_closed |= is_last;
        is_last
    }
}
