//! A guest that makes a request with nothing but `wasi:http` itself.

use super::support::{TYPES, component};

/// The types of an error, all of which the type of `handle` names.
const CODES: &str = r#"
    (type $dns (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns-error (eq $dns)))
    (type $alert (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $tls-alert (eq $alert)))
    (type $size (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $field-size (eq $size)))
    (type $codes (variant
        (case "DNS-timeout") (case "DNS-error" $dns-error) (case "destination-not-found")
        (case "destination-unavailable") (case "destination-IP-prohibited")
        (case "destination-IP-unroutable") (case "connection-refused")
        (case "connection-terminated") (case "connection-timeout")
        (case "connection-read-timeout") (case "connection-write-timeout")
        (case "connection-limit-reached") (case "TLS-protocol-error")
        (case "TLS-certificate-error") (case "TLS-alert-received" $tls-alert)
        (case "HTTP-request-denied") (case "HTTP-request-length-required")
        (case "HTTP-request-body-size" (option u64)) (case "HTTP-request-method-invalid")
        (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
        (case "HTTP-request-header-section-size" (option u32))
        (case "HTTP-request-header-size" (option $field-size))
        (case "HTTP-request-trailer-section-size" (option u32))
        (case "HTTP-request-trailer-size" $field-size) (case "HTTP-response-incomplete")
        (case "HTTP-response-header-section-size" (option u32))
        (case "HTTP-response-header-size" $field-size)
        (case "HTTP-response-body-size" (option u64))
        (case "HTTP-response-trailer-section-size" (option u32))
        (case "HTTP-response-trailer-size" $field-size)
        (case "HTTP-response-transfer-coding" (option string))
        (case "HTTP-response-content-coding" (option string)) (case "HTTP-response-timeout")
        (case "HTTP-upgrade-failed") (case "HTTP-protocol-error") (case "loop-detected")
        (case "configuration-error") (case "internal-error" (option string))))
    (export "error-code" (type $code (eq $codes)))"#;

/// A guest that makes a request and then does `body` with it. `text` is in its
/// memory at 2048.
pub(crate) fn asker(body: &str, text: &str) -> Vec<u8> {
    let text = format!(
        r#"(component {TYPES}
            (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
            (alias export $error "error" (type $io-error))
            (import "wasi:io/streams@0.2.0" (instance $streams
                (alias outer 1 $io-error (type $e))
                (type $failed (variant (case "last-operation-failed" (own $e)) (case "closed")))
                (export "stream-error" (type $stream-error (eq $failed)))
                (export "output-stream" (type $out (sub resource)))
                (export "[method]output-stream.blocking-write-and-flush"
                    (func (param "self" (borrow $out)) (param "contents" (list u8))
                        (result (result (error $stream-error)))))))
            (alias export $streams "output-stream" (type $output-stream))
            (import "wasi:http/types@0.2.0" (instance $http
                (alias outer 1 $output-stream (type $out))
                (export "fields" (type $fields (sub resource)))
                (type $h (own $fields))
                (export "outgoing-request" (type $request (sub resource)))
                (export "outgoing-body" (type $body (sub resource)))
                (export "request-options" (type $options (sub resource)))
                (export "future-incoming-response" (type $future (sub resource)))
                {CODES}
                (type $s (variant (case "HTTP") (case "HTTPS") (case "other" string)))
                (export "scheme" (type $scheme (eq $s)))
                (export "[constructor]fields" (func (result (own $fields))))
                (export "[constructor]outgoing-request"
                    (func (param "headers" (own $fields)) (result (own $request))))
                (export "[method]outgoing-request.body"
                    (func (param "self" (borrow $request)) (result (result (own $body)))))
                (export "[method]outgoing-request.set-authority"
                    (func (param "self" (borrow $request)) (param "authority" (option string)) (result (result))))
                (export "[method]outgoing-request.set-path-with-query"
                    (func (param "self" (borrow $request)) (param "path-with-query" (option string)) (result (result))))
                (export "[method]outgoing-request.set-scheme"
                    (func (param "self" (borrow $request)) (param "scheme" (option $scheme)) (result (result))))
                (export "[method]outgoing-body.write"
                    (func (param "self" (borrow $body)) (result (result (own $out)))))))
            (alias export $http "outgoing-request" (type $request))
            (alias export $http "request-options" (type $options))
            (alias export $http "future-incoming-response" (type $future))
            (alias export $http "error-code" (type $code))
            (import "wasi:http/outgoing-handler@0.2.0" (instance $outgoing
                (alias outer 1 $request (type $r))
                (alias outer 1 $options (type $o))
                (alias outer 1 $future (type $f))
                (alias outer 1 $code (type $c))
                (export "handle" (func (param "request" (own $r)) (param "options" (option (own $o)))
                    (result (result (own $f) (error $c)))))))
            (core module $memory
                (memory (export "memory") 1)
                (data (i32.const 2048) "{text}")
                (global $free (mut i32) (i32.const 4096))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
                    (global.set $free (i32.add (local.get $at) (local.get 3)))
                    (local.get $at)))
            (core instance $m (instantiate $memory))
            (core func $fields (canon lower (func $http "[constructor]fields")))
            (core func $request (canon lower (func $http "[constructor]outgoing-request")))
            (core func $body (canon lower (func $http "[method]outgoing-request.body") (memory (core memory $m "memory"))))
            (core func $authority (canon lower (func $http "[method]outgoing-request.set-authority") (memory (core memory $m "memory"))))
            (core func $path (canon lower (func $http "[method]outgoing-request.set-path-with-query") (memory (core memory $m "memory"))))
            (core func $scheme (canon lower (func $http "[method]outgoing-request.set-scheme") (memory (core memory $m "memory"))))
            (core func $write (canon lower (func $http "[method]outgoing-body.write") (memory (core memory $m "memory"))))
            (core func $push (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory (core memory $m "memory")) (realloc (core func $m "realloc"))))
            (core func $handle (canon lower (func $outgoing "handle") (memory (core memory $m "memory")) (realloc (core func $m "realloc"))))
            (core module $code
                (import "m" "memory" (memory 1))
                (import "h" "fields" (func $fields (result i32)))
                (import "h" "request" (func $request (param i32) (result i32)))
                (import "h" "body" (func $body (param i32 i32)))
                (import "h" "authority" (func $authority (param i32 i32 i32 i32) (result i32)))
                (import "h" "path" (func $path (param i32 i32 i32 i32) (result i32)))
                (import "h" "scheme" (func $scheme (param i32 i32 i32 i32 i32) (result i32)))
                (import "h" "write" (func $write (param i32 i32)))
                (import "h" "push" (func $push (param i32 i32 i32 i32)))
                (import "h" "handle" (func $handle (param i32 i32 i32 i32)))
                (func (export "handle") (param i32) (result i32)
                    (local $request i32) (local $stream i32)
                    (local.set $request (call $request (call $fields)))
                    {body}))
            (core instance $i (instantiate $code (with "m" (instance $m)) (with "h" (instance
                (export "fields" (func $fields)) (export "request" (func $request))
                (export "body" (func $body)) (export "authority" (func $authority))
                (export "path" (func $path)) (export "scheme" (func $scheme)) (export "write" (func $write))
                (export "push" (func $push)) (export "handle" (func $handle))))))
            (func $lifted (param "message" $message) (result (result (error $failure)))
                (canon lift (core func $i "handle") (memory (core memory $m "memory")) (realloc (core func $m "realloc"))))
            (instance $handler (export "handle" (func $lifted)))
            (export "holdfast:consumer/handler@0.1.0" (instance $handler)))"#
    );
    component(&text)
}
