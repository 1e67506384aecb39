//! A page for people: one file, nothing loaded from elsewhere.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;

use super::Admin;

const PAGE: &str = include_str!("dashboard.html");

/// The dashboard. Its script runs under a fresh nonce, and it may talk to this
/// interface only.
pub(super) async fn page(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let random = &admin.app.host.parts().surroundings.random;
    let nonce = format!("{:016x}{:016x}", random(), random());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, PAGE.replace("{{nonce}}", &nonce))
}
