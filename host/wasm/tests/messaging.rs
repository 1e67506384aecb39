//! Handlers written for the draft interface `wasi:messaging`.

mod support;

use holdfast_core::settle::CallFailure;
use holdfast_ports::message::{Header, Target};
use holdfast_ports::plugins::World;
use support::*;

/// Sends the message on to the queue `out` of a broker, with one header more.
/// An empty message is an error.
fn forwarder(broker: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (type $types (instance
                (export "client" (type $client (sub resource)))
                (export "message" (type $message (sub resource)))
                (type $e (variant (case "timeout") (case "connection" string)
                    (case "permission-denied" string) (case "other" string)))
                (export "error" (type $error (eq $e)))
                (export "[static]client.connect" (func (param "name" string)
                    (result (result (own $client) (error $error)))))
                (export "[constructor]message" (func (param "data" (list u8)) (result (own $message))))
                (export "[method]message.data" (func (param "self" (borrow $message)) (result (list u8))))
                (export "[method]message.add-metadata" (func (param "self" (borrow $message))
                    (param "key" string) (param "value" string)))))
            (import "wasi:messaging/types@0.2.0-draft" (instance $types (type $types)))
            (alias export $types "client" (type $client))
            (alias export $types "message" (type $message))
            (alias export $types "error" (type $error))
            (import "wasi:messaging/producer@0.2.0-draft" (instance $producer
                (alias outer 1 $client (type $client))
                (alias outer 1 $message (type $message))
                (alias outer 1 $error (type $error))
                (export "send" (func (param "c" (borrow $client)) (param "topic" string)
                    (param "message" (own $message)) (result (result (error $error)))))))
            (core module $memory
                (memory (export "memory") 2)
                (global $free (mut i32) (i32.const 4096))
                (data (i32.const 512) "why")
                (data (i32.const 520) "{broker}")
                (data (i32.const 560) "out")
                (data (i32.const 570) "k")
                (data (i32.const 580) "v")
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
                    (global.set $free (i32.add (local.get $at) (local.get 3)))
                    (local.get $at)))
            (core instance $s (instantiate $memory))
            (core func $connect (canon lower (func $types "[static]client.connect")
                (memory (core memory $s "memory")) (realloc (core func $s "realloc"))))
            (core func $new (canon lower (func $types "[constructor]message")
                (memory (core memory $s "memory"))))
            (core func $data (canon lower (func $types "[method]message.data")
                (memory (core memory $s "memory")) (realloc (core func $s "realloc"))))
            (core func $add (canon lower (func $types "[method]message.add-metadata")
                (memory (core memory $s "memory"))))
            (core func $send (canon lower (func $producer "send")
                (memory (core memory $s "memory")) (realloc (core func $s "realloc"))))
            (core module $m
                (import "s" "memory" (memory 2))
                (import "h" "connect" (func $connect (param i32 i32 i32)))
                (import "h" "new" (func $new (param i32 i32) (result i32)))
                (import "h" "data" (func $data (param i32 i32)))
                (import "h" "add" (func $add (param i32 i32 i32 i32 i32)))
                (import "h" "send" (func $send (param i32 i32 i32 i32 i32)))
                (func (export "handle") (param $message i32) (result i32) (local $copy i32)
                    (call $data (local.get $message) (i32.const 16))
                    (if (i32.eqz (i32.load (i32.const 20))) (then
                        (i32.store8 (i32.const 0) (i32.const 1))
                        (i32.store8 (i32.const 4) (i32.const 3))
                        (i32.store (i32.const 8) (i32.const 512))
                        (i32.store (i32.const 12) (i32.const 3))
                        (return (i32.const 0))))
                    (call $connect (i32.const 520) (i32.const {length}) (i32.const 32))
                    (if (i32.load8_u (i32.const 32)) (then
                        ;; Hands on the error as it is.
                        (i32.store8 (i32.const 0) (i32.const 1))
                        (i64.store (i32.const 4) (i64.load (i32.const 36)))
                        (i32.store (i32.const 12) (i32.load (i32.const 44)))
                        (return (i32.const 0))))
                    (local.set $copy (call $new (i32.load (i32.const 16)) (i32.load (i32.const 20))))
                    (call $add (local.get $copy)
                        (i32.const 570) (i32.const 1) (i32.const 580) (i32.const 1))
                    (call $send (i32.load (i32.const 36)) (i32.const 560) (i32.const 3)
                        (local.get $copy) (i32.const 0))
                    (i32.const 0)))
            (core instance $i (instantiate $m (with "s" (instance $s)) (with "h" (instance
                (export "connect" (func $connect)) (export "new" (func $new))
                (export "data" (func $data)) (export "add" (func $add))
                (export "send" (func $send))))))
            (func $handle (param "message" (own $message)) (result (result (error $error)))
                (canon lift (core func $i "handle")
                    (memory (core memory $s "memory")) (realloc (core func $s "realloc"))))
            (instance $handler (export "handle" (func $handle)))
            (export "wasi:messaging/incoming-handler@0.2.0-draft" (instance $handler)))"#,
        length = broker.len()
    );
    component(&text)
}

#[tokio::test]
async fn a_handler_of_the_draft_interface_is_hosted() {
    let host = host();
    serve(&host, "forwards", forwarder("other")).await;
    assert_eq!(host.list()[0].world, World::Messaging);
    let outcome = handle(&host, "forwards", "hello").await;
    assert_eq!(outcome.result, Ok(()));
    let sent = &outcome.effects.outbox;
    assert_eq!(sent.len(), 1, "{outcome:?}");
    assert_eq!(sent[0].broker.as_deref(), Some("other"));
    assert_eq!(sent[0].to, Target::Queue("out".to_owned()));
    assert_eq!(sent[0].body, b"hello");
    assert_eq!(sent[0].headers, vec![Header::text("k", "v")]);
}

#[tokio::test]
async fn no_name_means_the_consumers_own_broker() {
    let host = host();
    serve(&host, "forwards", forwarder("")).await;
    let outcome = handle(&host, "forwards", "hello").await;
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(outcome.effects.outbox[0].broker, None);
}

#[tokio::test]
async fn any_error_of_such_a_handler_is_a_retry() {
    let host = host();
    serve(&host, "forwards", forwarder("")).await;
    let outcome = handle(&host, "forwards", "").await;
    let expected = CallFailure::Retry {
        reason: "why".to_owned(),
        after: None,
    };
    assert_eq!(outcome.result, Err(expected));
}

#[tokio::test]
async fn a_broker_that_is_not_configured_is_an_error_for_the_guest() {
    let host = host();
    serve(&host, "forwards", forwarder("nowhere")).await;
    let outcome = handle(&host, "forwards", "hello").await;
    let Err(CallFailure::Retry { reason, .. }) = outcome.result else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("no broker named \"nowhere\""), "{reason}");
}
