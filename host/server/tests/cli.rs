//! The binary, as a shell sees it: exit codes, standard output, standard error.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const CONFIG: &str = r#"
version = 1
admin.listen = "127.0.0.1:1"

[store]
kind = "embedded"

[brokers.main]
kind = "embedded"

[consumers.orders]
broker = "main"
queue = "orders"
plugin = "echo"
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn configured() -> Self {
        let folder = Self::new();
        folder.write("holdfast.toml", CONFIG);
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("written");
    }

    fn run(&self, line: &str) -> Output {
        let mut command = self.command(line);
        command.stdin(Stdio::null()).output().expect("it runs")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command
            .args(line.split_whitespace())
            .current_dir(self.path());
        command
            .env_remove("HOLDFAST_ADMIN_TOKEN")
            .env("NO_COLOR", "1");
        command
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Bad input: Command line | an unknown flag | exit code 2
#[test]
fn a_wrong_use_is_exit_code_2_and_prints_no_data() {
    let folder = Folder::configured();
    for line in [
        "",
        "--flag",
        "walk",
        "new 1st",
        "new a --sdk .",
        "build .",
        "publish orders x",
        "claims list --url https://127.0.0.1:1",
        "publish orders - --broker other",
        "publish orders - --header x-holdfast-key=a",
    ] {
        let done = folder.run(line);
        assert_eq!(code(&done), 2, "{line}: {}", err(&done));
        assert_eq!(out(&done), "", "{line}");
        assert!(!err(&done).is_empty(), "{line}");
    }
}

/// Bad input: Configuration | any error of the file | exit code 78 with file, line and column; nothing was connected
#[test]
fn a_wrong_configuration_is_exit_code_78_and_says_where() {
    let folder = Folder::new();
    folder.write("holdfast.toml", "version = 1\nservce = \"a\"\n");
    for line in [
        "claims list",
        "pause orders",
        "publish orders -",
        "build .",
        "invoke echo --body -",
    ] {
        folder.write("Cargo.toml", "");
        let done = folder.run(line);
        assert_eq!(code(&done), 78, "{line}: {}", err(&done));
        assert!(
            err(&done).contains("holdfast.toml:2:1"),
            "{line}: {}",
            err(&done)
        );
        assert_eq!(out(&done), "", "{line}");
    }
}

#[test]
fn a_host_that_is_away_is_exit_code_1_and_the_error_says_how_to_start_it() {
    let folder = Folder::configured();
    for line in [
        "claims show a",
        "claims list",
        "claims release a",
        "explain a",
        "lease show",
        "lease step-down orders",
        "cutover show orders",
        "cutover set orders --enable",
        "pause orders",
        "resume orders",
        "plugins list",
        "plugins reload echo",
        "store accept",
        "publish orders -",
    ] {
        let done = folder.run(line);
        assert_eq!(code(&done), 1, "{line}: {}", err(&done));
        let said = err(&done);
        assert!(said.contains("http://127.0.0.1:1"), "{line}: {said}");
        assert!(
            said.contains("holdfast run --config holdfast.toml"),
            "{line}: {said}"
        );
    }
}

#[test]
fn the_schema_is_json_and_the_completions_know_the_commands() {
    let folder = Folder::new();
    let schema = folder.run("schema");
    assert_eq!(code(&schema), 0);
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).expect("JSON");
    assert!(schema["properties"]["consumers"].is_object());
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.run(&format!("completions {shell}"));
        assert_eq!(code(&script), 0);
        assert!(out(&script).contains("step-down"), "{shell}");
    }
}

/// Bad input: Command line | a closed standard output | no panic
#[test]
fn a_closed_standard_output_is_no_error() {
    let folder = Folder::new();
    for line in ["schema", "completions bash", "--help"] {
        let mut child = folder
            .command(line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        drop(child.stdout.take());
        let done = child.wait_with_output().expect("it ends");
        assert_eq!(code(&done), 0, "{line}: {}", err(&done));
        assert_eq!(err(&done), "", "{line}");
    }
}

#[test]
fn a_new_project_passes_its_own_test() {
    let folder = Folder::new();
    let made = folder.run("new my-orders --json");
    assert_eq!(code(&made), 0, "{}", err(&made));
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let sdk = Path::new(made["sdk"].as_str().expect("the SDK of this checkout"));
    assert_eq!(sdk, repository().join("sdk").canonicalize().expect("there"));

    let project = folder.path().join("my-orders");
    for file in ["Cargo.toml", "src/lib.rs", "README.md", ".gitignore"] {
        let text = std::fs::read_to_string(project.join(file)).expect(file);
        assert!(!text.contains("{{"), "{file}: {text}");
    }
    let tested = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--offline"])
        .current_dir(&project)
        .env("CARGO_TARGET_DIR", folder.path().join("target"))
        .output()
        .expect("cargo runs");
    assert!(
        tested.status.success(),
        "{}\n{}",
        out(&tested),
        err(&tested)
    );
    assert!(out(&tested).contains("2 passed"), "{}", out(&tested));
}

#[test]
fn a_new_project_never_overwrites_what_is_there() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("orders")).expect("made");
    let done = folder.run("new orders");
    assert_eq!(code(&done), 1);
    assert!(
        err(&done).contains("failed to create orders"),
        "{}",
        err(&done)
    );
}

#[test]
fn a_plugin_is_invoked_without_a_host() {
    let folder = Folder::configured();
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).expect("made");
    let echo = repository().join("plugins/prebuilt/echo.wasm");
    std::fs::copy(echo, plugins.join("echo.wasm")).expect("copied");
    folder.write("body.txt", "hello");

    let done = folder.run("invoke echo --body body.txt --header reply-to=answers --json");
    assert_eq!(code(&done), 0, "{}", err(&done));
    let outcome: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(outcome["outcome"], "success");
    assert_eq!(outcome["published"][0]["body"], "hello");
    assert!(
        err(&done).contains("5 bytes"),
        "the log is shown: {}",
        err(&done)
    );

    let probe = repository().join("plugins/prebuilt/probe.wasm");
    std::fs::copy(probe, plugins.join("probe.wasm")).expect("copied");
    let rejected = folder.run("invoke probe --body body.txt");
    assert_eq!(code(&rejected), 1);
    assert!(out(&rejected).contains("reject"), "{}", out(&rejected));
    assert!(err(&rejected).contains("not json"), "{}", err(&rejected));

    std::fs::write(plugins.join("echo.wasm"), "").expect("written");
    let broken = folder.run("invoke echo --body body.txt");
    assert_eq!(code(&broken), 78, "{}", err(&broken));
}

#[test]
fn the_body_of_an_invocation_can_come_from_standard_input() {
    let folder = Folder::configured();
    std::fs::create_dir(folder.path().join("plugins")).expect("made");
    let probe = repository().join("plugins/prebuilt/probe.wasm");
    std::fs::copy(probe, folder.path().join("plugins/echo.wasm")).expect("copied");
    let mut child = folder
        .command("invoke echo --body - --attempt 3")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let body = br#"{"fail_times": 2, "state_incr": "n", "publish_to": "out"}"#;
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(body).expect("written");
    drop(stdin);
    let done = child.wait_with_output().expect("it ends");
    assert_eq!(code(&done), 0, "{}", err(&done));
    let said = out(&done);
    assert!(said.contains("state: n = 1"), "{said}");
    assert!(said.contains("publish: to queue \"out\""), "{said}");
    assert!(said.contains("\"attempt\":3"), "{said}");
}

#[test]
fn check_lists_what_a_plugin_may_ask_and_invoke_refuses_the_rest() {
    let folder = Folder::new();
    let plugins = repository().join("plugins/prebuilt");
    let plugins = plugins.canonicalize().expect("a folder");
    let granted = r#"allow-hosts = ["api.example.com:443", "10.0.0.0/8"]"#;
    let text = format!(
        "plugin-dir = {plugins:?}\n{}\n[plugins.probe]\n{granted}\n",
        CONFIG.replace("\"echo\"", "\"probe\"").trim_start()
    );
    folder.write("holdfast.toml", &text);
    let done = folder.run("check --offline");
    assert_eq!(code(&done), 0, "{}", err(&done));
    let told = out(&done);
    assert!(
        told.contains("probe may ask api.example.com:443, 10.0.0.0/8"),
        "{told}"
    );

    folder.write("body.json", r#"{"http_get": "http://127.0.0.1:9/"}"#);
    let done = folder.run("invoke probe --body body.json");
    assert_eq!(code(&done), 1, "{}", out(&done));
    assert!(
        err(&done).contains("add \"127.0.0.1:9\" to plugins.probe.allow-hosts"),
        "{}",
        err(&done)
    );
}
