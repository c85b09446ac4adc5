//! One connection: the rules of graphql-transport-ws, and the operations that run.

use std::collections::HashMap;
use std::time::Duration;

use async_graphql::{Request, Response};
use bowline::axum::WebSocket;
use bowline::tokio::Group;
use bowline::{Config, Error, Message};
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{self, BoxStream, SelectAll, StreamExt};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};

use crate::protocol::{FromClient, FromServer, Refusal, is_request_error};
use crate::schema::{Chat, Viewer};

/// What all connections have in common.
#[derive(Clone)]
pub struct App {
    pub schema: Chat,
    /// What a client has to know, if there is one.
    pub token: Option<String>,
    pub init_within: Duration,
    pub max_operations: usize,
    pub config: Config,
    pub group: Group,
}

pub async fn serve(mut ws: WebSocket, app: App, subprotocol: bool) -> Result<(), Error> {
    let refusal = if subprotocol {
        Session::new(&app).run(&mut ws).await?
    } else {
        Some(Refusal::Subprotocol)
    };
    if let Some(refusal) = refusal {
        // The operations are gone by now.
        ws.close(refusal.code(), refusal.reason()).await?;
    }
    Ok(())
}

/// A response of an operation, or its end.
type Step = (String, Option<Response>);

struct Operation {
    abort: AbortHandle,
    executed: bool,
}

struct Session<'a> {
    app: &'a App,
    init_until: Option<Instant>,
    /// There is one once the connection is acknowledged.
    viewer: Option<Viewer>,
    operations: HashMap<String, Operation>,
    steps: SelectAll<Abortable<BoxStream<'static, Step>>>,
}

impl<'a> Session<'a> {
    fn new(app: &'a App) -> Self {
        Self {
            app,
            init_until: Some(Instant::now() + app.init_within),
            viewer: None,
            operations: HashMap::new(),
            steps: SelectAll::new(),
        }
    }

    /// Runs until the client closes, or has to be closed.
    async fn run(mut self, ws: &mut WebSocket) -> Result<Option<Refusal>, Error> {
        loop {
            // The next `recv` writes what was fed. If the client does not read, `feed` waits, and so do its
            // operations, until `Config::send_timeout` ends the connection.
            let result = tokio::select! {
                message = ws.recv() => match message? {
                    Some(message) => self.hear(ws, &message).await?,
                    None => return Ok(None),
                },
                Some((id, response)) = self.steps.next(), if !self.steps.is_empty() => {
                    self.step(ws, &id, response).await?;
                    Ok(())
                }
                () = sleep_until(self.init_until.unwrap_or_else(Instant::now)),
                    if self.init_until.is_some() => Err(Refusal::InitTimeout),
            };
            if let Err(refusal) = result {
                return Ok(Some(refusal));
            }
        }
    }

    async fn hear(
        &mut self,
        ws: &mut WebSocket,
        message: &Message,
    ) -> Result<Result<(), Refusal>, Error> {
        let message = match FromClient::parse(message) {
            Ok(message) => message,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match message {
            FromClient::Init { payload } => match self.init(payload.unwrap_or_default()) {
                Ok(()) => ws.feed(FromServer::Ack.json()).await?,
                Err(refusal) => return Ok(Err(refusal)),
            },
            FromClient::Ping { payload } => ws.feed(FromServer::Pong { payload }.json()).await?,
            FromClient::Pong => {}
            FromClient::Subscribe { id, request } => {
                let Some(viewer) = self.viewer.clone() else {
                    return Ok(Err(Refusal::Unauthorized));
                };
                if self.operations.contains_key(&id) {
                    return Ok(Err(Refusal::Duplicate));
                }
                let max = self.app.max_operations;
                if self.operations.len() >= max {
                    let text = format!("{max} operations run on this connection already");
                    let errors = [async_graphql::ServerError::new(text, None)];
                    ws.feed(FromServer::Error { id: &id, errors: &errors }.json()).await?;
                } else {
                    self.start(id, request.data(viewer));
                }
            }
            // One that has ended may cross its own `complete`.
            FromClient::Complete { id } => self.end(&id),
        }
        Ok(Ok(()))
    }

    fn init(&mut self, payload: Map<String, Value>) -> Result<(), Refusal> {
        if self.init_until.take().is_none() {
            return Err(Refusal::SecondInit);
        }
        let text = |name| payload.get(name).and_then(Value::as_str);
        if self.app.token.is_some() && self.app.token.as_deref() != text("token") {
            return Err(Refusal::Forbidden);
        }
        self.viewer = Some(Viewer(text("name").unwrap_or("guest").into()));
        Ok(())
    }

    fn start(&mut self, id: String, request: Request) {
        let (abort, registration) = AbortHandle::new_pair();
        let responses = self.app.schema.execute_stream(request).map(Some);
        let all = responses.chain(stream::once(async { None }));
        let name = id.clone();
        let steps = all.map(move |response| (name.clone(), response)).boxed();
        self.steps.push(Abortable::new(steps, registration));
        self.operations.insert(id, Operation { abort, executed: false });
    }

    async fn step(
        &mut self,
        ws: &mut WebSocket,
        id: &str,
        response: Option<Response>,
    ) -> Result<(), Error> {
        let Some(operation) = self.operations.get_mut(id) else { return Ok(()) };
        let message = match &response {
            // It ends the operation: no `complete` comes after it.
            Some(response) if !operation.executed && is_request_error(response) => {
                self.end(id);
                FromServer::Error { id, errors: &response.errors }
            }
            Some(response) => {
                operation.executed = true;
                FromServer::Next { id, response }
            }
            None => {
                self.end(id);
                FromServer::Complete { id }
            }
        };
        ws.feed(message.json()).await
    }

    /// The id is free from now on, and nothing more of the operation is sent.
    fn end(&mut self, id: &str) {
        if let Some(operation) = self.operations.remove(id) {
            operation.abort.abort();
        }
    }
}
