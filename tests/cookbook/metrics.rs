use bowline::handshake::{Request, Response};
use bowline::tokio::{Ended, Server, WebSocket};
use bowline::{Config, End, Error, Stats};
use prometheus::{
    Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TEXT_FORMAT, TextEncoder,
};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone)]
struct Metrics {
    registry: Registry,
    open: IntGauge,
    ends: IntCounterVec,
    messages: IntCounterVec,
    payload: IntCounterVec,
    duration: Histogram,
}

impl Metrics {
    fn new() -> prometheus::Result<Self> {
        let counters = |name, help, label| IntCounterVec::new(Opts::new(name, help), &[label]);
        let duration = HistogramOpts::new(
            "websocket_connection_duration_seconds",
            "How long a connection was open.",
        );
        let metrics = Self {
            registry: Registry::new(),
            open: IntGauge::new("websocket_connections", "Connections that are open.")?,
            ends: counters("websocket_ends_total", "How connections ended.", "end")?,
            messages: counters("websocket_messages_total", "Whole messages.", "direction")?,
            payload: counters(
                "websocket_payload_bytes_total",
                "Payload of messages, without compression.",
                "direction",
            )?,
            duration: Histogram::with_opts(
                duration.buckets(vec![1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0]),
            )?,
        };
        metrics.registry.register(Box::new(metrics.open.clone()))?;
        metrics.registry.register(Box::new(metrics.ends.clone()))?;
        metrics.registry.register(Box::new(metrics.messages.clone()))?;
        metrics.registry.register(Box::new(metrics.payload.clone()))?;
        metrics.registry.register(Box::new(metrics.duration.clone()))?;
        Ok(metrics)
    }

    /// One of the words of `End::label`, so there are few series, whatever peers send.
    fn ended(&self, ended: &Ended<'_>) {
        let label = ended.end.map_or("dropped", End::label);
        self.ends.with_label_values(&[label]).inc();
        self.duration.observe(ended.duration.as_secs_f64());
    }

    fn moved(&self, stats: Stats) {
        for (direction, traffic) in [("received", stats.received), ("sent", stats.sent)] {
            self.messages.with_label_values(&[direction]).inc_by(traffic.messages);
            self.payload.with_label_values(&[direction]).inc_by(traffic.payload_bytes);
        }
    }

    fn answer(&self, request: &Request, open: usize) -> Response {
        if request.path() != "/metrics" {
            return Response::new(404);
        }
        self.open.set(open as i64);
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(text) => {
                let response = Response::new(200).body(text);
                response.header("Content-Type", TEXT_FORMAT).expect("a valid header")
            }
            Err(error) => Response::new(500).body(format!("{error}\n")),
        }
    }
}

/// Serves WebSockets on one listener, and the numbers on another, which only Prometheus can reach.
pub async fn serve(listener: TcpListener, scrapes: TcpListener) -> prometheus::Result<()> {
    let metrics = Metrics::new()?;
    let told = metrics.clone();
    let server = Server::new(Config::default().stats(true)).on_end(move |ended| told.ended(ended));
    let (exposed, running) = (metrics.clone(), server.clone());
    let exposed = Server::new(Config::default())
        .on_request(move |request| Err(exposed.answer(request, running.connections())));
    let handler = move |mut ws, _request| {
        let metrics = metrics.clone();
        async move {
            let result = echo(&mut ws).await;
            metrics.moved(ws.stats());
            result
        }
    };
    tokio::join!(server.run(listener, handler), exposed.run(scrapes, async |_, _| ()));
    Ok(())
}

async fn echo(ws: &mut WebSocket<TcpStream>) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.feed(message).await?;
    }
    Ok(())
}
