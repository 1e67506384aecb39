//! The adapter keeps the rules of every broker, on a real RabbitMQ.

use std::sync::Arc;

use holdfast_ports::broker::Broker;
use holdfast_ports::conformance::broker;
use holdfast_rabbitmq::{Options, RabbitMq};
use holdfast_servers::shared_rabbitmq;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_keeps_every_rule_of_a_broker() {
    let server = tokio::task::spawn_blocking(shared_rabbitmq);
    let server = server.await.expect("a task").expect("a server");
    let url = server.url();
    broker::run(async || {
        let options = Options::new(url.clone(), "conformance");
        let broker = RabbitMq::connect(options).expect("an address");
        Arc::new(broker) as Arc<dyn Broker>
    })
    .await;
}
