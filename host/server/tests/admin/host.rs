//! A host with embedded broker and store, and its admin interface.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast::app::App;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::http::Request;

/// Three consumers: `probe` in lanes with a cut-over, `plain` that gives up at
/// once, `leased`.
const CONFIG: &str = r#"
version = 1

[store]
kind = "embedded"

[brokers.main]
kind = "embedded"

[consumers.probe]
broker = "main"
queue = "work"
plugin = "probe"
claim = { group = "jobs", side = "new" }
retry = { attempts = 3, initial = "1h", max = "1h", hold-below = "1h" }

[consumers.plain]
broker = "main"
queue = "plain"
plugin = "echo"

[consumers.leased]
broker = "main"
queue = "leased"
plugin = "echo"
lease = { ttl = "10s", renew = "3s", retry = "1s" }

[cutover.jobs]
from = "old"
to = "new"
enabled = true
percent = 100
"#;

pub(crate) struct TestHost {
    pub(crate) app: Arc<App>,
    pub(crate) at: SocketAddr,
    folder: tempfile::TempDir,
}

impl TestHost {
    /// A host without a token, all of whose consumers consume.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// A host with these settings of `[admin]`.
    pub(crate) async fn start_with(admin: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let prebuilt = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/prebuilt");
        for plugin in ["probe.wasm", "echo.wasm"] {
            std::fs::copy(prebuilt.join(plugin), folder.path().join(plugin)).expect("copied");
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let text = format!(
            "plugin-dir = {:?}\n{CONFIG}\n[admin]\n{admin}\n",
            folder.path().to_str().expect("UTF-8")
        );
        let loaded = holdfast::config::parse_str("test.toml", &text, &|_| None);
        let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        let app = match holdfast::run::build(loaded).await {
            Ok(app) => app,
            Err(failure) => panic!("{failure:?}"),
        };
        let served = holdfast::admin::serve(listener, Arc::clone(&app), app.stopped.clone());
        tokio::spawn(served);
        let host = Self { app, at, folder };
        host.until("it is ready", async || {
            host.request("GET /readyz").send().await.status == 200
        })
        .await;
        host
    }

    pub(crate) fn request(&self, line: &str) -> Request {
        Request::new(self.at, line)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.request(&format!("GET {path}")).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Publishes a message with this id and waits for its claim to have a state.
    pub(crate) async fn message(
        &self,
        queue: &str,
        id: &str,
        body: &str,
        claim: &str,
        state: &str,
    ) {
        let request = self.request(&format!("POST /api/v1/queues/{queue}/messages"));
        let answer = request
            .header("Holdfast-Message-Id", id)
            .body(body)
            .send()
            .await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.json()["id"], id);
        self.until(&format!("{claim} is {state}"), async || {
            let shown = self
                .request(&format!("GET /api/v1/claims/{claim}"))
                .send()
                .await;
            shown.status == 200 && shown.json()["state"] == state
        })
        .await;
    }

    /// Waits for something.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !holds().await {
            assert!(Instant::now() < end, "waited in vain until {what}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Puts another component in the place of a plugin.
    pub(crate) fn replace(&self, plugin: &str, content: &[u8]) {
        let file = self.folder.path().join(format!("{plugin}.wasm"));
        std::fs::write(file, content).expect("written");
    }

    /// The component of a plugin.
    pub(crate) fn component(&self, plugin: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(format!("{plugin}.wasm"))).expect("there")
    }
}
