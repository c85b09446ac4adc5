//! Subscriptions of GraphQL, with async-graphql-axum.

use async_graphql::{EmptyMutation, Object, Schema, Subscription};
use async_graphql_axum::GraphQLSubscription;
use futures_util::{Stream, stream};
use tokio::net::TcpListener;

struct Query;

#[Object]
impl Query {
    async fn ready(&self) -> bool {
        true
    }
}

struct Numbers;

#[Subscription]
impl Numbers {
    async fn count(&self, to: i32) -> impl Stream<Item = i32> {
        stream::iter(1..=to)
    }

    /// A long message, and then nothing: it is the client that ends it.
    async fn text(&self, length: usize) -> impl Stream<Item = String> {
        use futures_util::StreamExt;
        stream::iter(["k".repeat(length)]).chain(stream::pending())
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let service = GraphQLSubscription::new(Schema::new(Query, EmptyMutation, Numbers));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, axum::Router::new().route_service("/ws", service)).await
}
