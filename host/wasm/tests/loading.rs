//! What is refused when a plugin is loaded, and in which words.

mod support;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use holdfast_ports::plugins::{PluginSettings, World};
use holdfast_wasm::{LoadError, Options, Registry};
use support::*;

/// Bad input: Plugins | an empty file | refused
#[tokio::test]
async fn an_empty_file_is_refused() {
    assert!(matches!(
        refusal(&host(), Vec::new()).await,
        LoadError::Empty
    ));
}

/// Bad input: Plugins | a core module | refused; how to make a component of it is named
#[tokio::test]
async fn a_core_module_is_refused_and_the_way_out_is_named() {
    let error = refusal(&host(), component("(module)")).await;
    assert!(matches!(error, LoadError::CoreModule));
    assert!(error.to_string().contains("wasm32-wasip2"));
}

/// Bad input: Plugins | a truncated file | refused
#[tokio::test]
async fn a_truncated_file_is_refused() {
    let (host, whole) = (host(), prebuilt("probe"));
    for part in [3, 7, 50, 90, 99] {
        let cut = whole[..whole.len() * part / 100].to_vec();
        let error = refusal(&host, cut).await;
        assert!(matches!(error, LoadError::Truncated(_)), "{part}%: {error}");
    }
}

/// Bad input: Plugins | a precompiled file | refused
#[tokio::test]
async fn a_precompiled_file_is_refused() {
    let engine = wasmtime::Engine::default();
    let code = engine
        .precompile_component(&guest(1, OK))
        .expect("it compiles");
    let error = refusal(&host(), code).await;
    assert!(matches!(error, LoadError::Precompiled), "{error}");
}

#[tokio::test]
async fn something_else_is_refused() {
    let error = refusal(&host(), b"PK\x03\x04 not wasm at all".to_vec()).await;
    assert!(matches!(error, LoadError::NotWasm), "{error}");
}

#[tokio::test]
async fn a_damaged_component_is_refused() {
    let host = host();
    let whole = prebuilt("echo");
    let mut refused = 0;
    for place in (8..whole.len()).step_by(whole.len() / 40) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0xff;
        // Some damage is in texts or data and stays without effect on loading.
        if let Err(error) = host.load("damaged", damaged, settings()).await {
            assert!(error.to_string().starts_with("failed to"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 10, "{refused}");
}

/// Bad input: Plugins | a file that is far too large | refused without being compiled
#[tokio::test]
async fn a_file_that_is_far_too_large_is_refused() {
    let host = with(Options {
        max_file: 1000,
        ..Options::default()
    });
    let error = refusal(&host, prebuilt("probe")).await;
    assert!(matches!(error, LoadError::TooLarge { max: 1000, .. }));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("large.wasm");
    std::fs::write(&path, prebuilt("probe")).expect("written");
    let error = host.load_file("large", &path, settings()).await.err();
    assert!(matches!(error, Some(LoadError::TooLarge { .. })));
}

#[tokio::test]
async fn a_file_that_is_not_there_is_an_error_with_its_path() {
    let error = host().load_file("gone", "/no/such.wasm", settings()).await;
    let text = error.err().expect("refused").to_string();
    assert!(text.contains("/no/such.wasm"), "{text}");
}

/// Bad input: Plugins | another digest than the pinned one | refused
#[tokio::test]
async fn another_digest_than_the_pinned_one_is_refused() {
    let (host, bytes) = (host(), guest(1, OK));
    let pinned = |sha256: String| PluginSettings {
        sha256: Some(sha256),
        ..settings()
    };
    let right = Registry::sha256(&bytes);
    let loaded = host.load("pinned", bytes.clone(), pinned(right.to_uppercase()));
    assert!(loaded.await.is_ok());
    let error = host.load("pinned", bytes, pinned("0".repeat(64))).await;
    let text = error.err().expect("refused").to_string();
    assert!(text.contains(&right), "{text}");
}

/// Bad input: Plugins | a component of another world | refused; what it exports is named
#[tokio::test]
async fn another_world_is_refused_with_what_was_found_instead() {
    let text = refusal(
        &host(),
        component(r#"(component (instance $i) (export "acme:app/run@1.0.0" (instance $i)))"#),
    )
    .await
    .to_string();
    assert!(text.contains("found acme:app/run@1.0.0"), "{text}");
    assert!(text.contains("holdfast:consumer/handler@0.1.0"), "{text}");
    let nothing = refusal(&host(), component("(component)")).await.to_string();
    assert!(nothing.contains("found nothing"), "{nothing}");
}

/// Bad input: Plugins | an unknown import | refused; named with its signature
#[tokio::test]
async fn an_unknown_import_is_named_with_its_signature() {
    let import = r#"(import "acme:tools/clock@1.0.0" (instance
        (export "now" (func (param "zone" string) (result u64)))))"#;
    let text = refusal(&host(), guest_with(import, 1, OK))
        .await
        .to_string();
    let wanted = "acme:tools/clock@1.0.0.now: func(zone: string) -> u64";
    assert!(text.contains(wanted), "{text}");
    assert!(text.contains("world consumer"), "{text}");
}

#[tokio::test]
async fn an_import_of_another_shape_is_shown_beside_the_right_one() {
    let import = r#"(import "holdfast:consumer/vars@0.1.0" (instance
        (export "get" (func (param "name" string) (result string)))))"#;
    let text = refusal(&host(), guest_with(import, 1, OK))
        .await
        .to_string();
    for part in [
        "holdfast:consumer/vars@0.1.0.get",
        "`func(name: string) -> string`",
        "`func(name: string) -> option<string>`",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_handler_of_another_shape_is_shown_beside_the_right_one() {
    let odd = r#"(component
        (core module $m (func (export "f") (param i32) (result i32) (local.get 0)))
        (core instance $i (instantiate $m))
        (func $f (param "message" u32) (result u32) (canon lift (core func $i "f")))
        (instance $h (export "handle" (func $f)))
        (export "holdfast:consumer/handler@0.1.0" (instance $h)))"#;
    let text = refusal(&host(), component(odd)).await.to_string();
    assert!(text.contains("`func(message: u32) -> u32`"), "{text}");
    assert!(
        text.contains("`func(message: record { key: string"),
        "{text}"
    );
    let none =
        r#"(component (instance $h) (export "holdfast:consumer/handler@0.1.0" (instance $h)))"#;
    let text = refusal(&host(), component(none)).await.to_string();
    assert!(text.contains("(nothing)"), "{text}");
}

#[tokio::test]
async fn a_handler_of_another_version_is_refused() {
    let other =
        r#"(component (instance $h) (export "holdfast:consumer/handler@0.2.0" (instance $h)))"#;
    let text = refusal(&host(), component(other)).await.to_string();
    assert!(
        text.contains("found holdfast:consumer/handler@0.2.0"),
        "{text}"
    );
}

#[tokio::test]
async fn a_component_that_starts_with_more_memory_than_it_may_have_is_refused() {
    let small = PluginSettings {
        memory: 1 << 20,
        ..settings()
    };
    let error = host().load("fat", guest(32, OK), small).await.err();
    let text = error.expect("refused").to_string();
    assert!(text.contains("1 MiB") && text.contains("2097152"), "{text}");
}

#[tokio::test]
async fn a_component_that_cannot_start_is_refused() {
    let (host, start) = (host(), |body: &str| {
        guest_with(
            &format!(
                "(core module $s (func $f {body}) (start $f)) (core instance (instantiate $s))"
            ),
            1,
            OK,
        )
    });
    let trap = refusal(&host, start("unreachable")).await.to_string();
    assert!(trap.contains("failed to start it"), "{trap}");
    let spin = refusal_with(&host, start("(loop $l (br $l))"), hasty()).await;
    let spin = spin.to_string();
    assert!(spin.contains("time limit of 300ms"), "{spin}");
}

/// Bad input: Plugins | a component that takes minutes to compile | given up at the limit
/// Hazard: wasmtime | compiling hostile code takes minutes and gigabytes | limits of size and time, tasks of its own
#[tokio::test]
async fn a_component_that_takes_too_long_to_compile_is_given_up() {
    let host = with(Options {
        load_timeout: Duration::from_millis(1),
        ..Options::default()
    });
    let error = refusal(&host, prebuilt("probe")).await;
    assert!(matches!(error, LoadError::Timeout(_)), "{error}");
}

#[tokio::test]
async fn a_refused_version_leaves_the_old_one_serving() {
    let host = host();
    serve(&host, "orders", guest(1, OK)).await;
    let before = host.list();
    refusal(&host, component("(module)")).await;
    assert_eq!(host.list(), before);
    assert_eq!(handle(&host, "orders", "{}").await.result, Ok(()));
}

#[tokio::test]
async fn the_worlds_of_the_example_components_are_found() {
    let host = host();
    for name in ["probe", "orders", "echo"] {
        let loaded = host.load(name, prebuilt(name), settings()).await;
        let loaded = loaded.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(loaded.info().world, World::Consumer);
        assert_eq!(loaded.info().uses_state, name != "echo", "{name}");
    }
    let loaded = host.load("batch", batch_guest(1), settings()).await;
    assert_eq!(loaded.expect("it loads").info().world, World::BatchConsumer);
}

#[tokio::test]
async fn a_batch_handler_gets_no_state() {
    let import = r#"(import "holdfast:consumer/state@0.1.0" (instance
        (export "delete" (func (param "name" string)))))"#;
    let text = String::from_utf8(batch_guest_text(import)).expect("text");
    let error = refusal(&host(), component(&text)).await.to_string();
    assert!(
        error.contains("holdfast:consumer/state@0.1.0.delete"),
        "{error}"
    );
    assert!(error.contains("could not name its message"), "{error}");
}

fn batch_guest_text(import: &str) -> Vec<u8> {
    format!(
        r#"(component {TYPES} {import}
            (core module $m (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
                (func (export "handle") (param i32 i32) (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func $handle (param "messages" (list $message)) (result (list (result (error $failure))))
                (canon lift (core func $i "handle") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (instance $handler (export "handle-batch" (func $handle)))
            (export "holdfast:consumer/batch-handler@0.1.0" (instance $handler)))"#
    )
    .into_bytes()
}

fn cached(folder: &Path) -> Registry {
    with(Options {
        cache: Some(folder.to_owned()),
        ..Options::default()
    })
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

#[tokio::test]
async fn a_compiled_component_is_kept_and_used_by_the_next_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("cache");
    serve(&cached(&place), "probe", prebuilt("probe")).await;
    let kept = files(&place);
    assert_eq!(kept.len(), 1, "{kept:?}");
    // A component that is compiled again is written anew.
    let file = || std::fs::metadata(&kept[0]).expect("it is there").ino();
    let written = file();
    let host = cached(&place);
    serve(&host, "probe", prebuilt("probe")).await;
    assert_eq!(file(), written);
    assert_eq!(handle(&host, "probe", "{}").await.result, Ok(()));
}

/// Hazard: wasmtime | a compiled file is damaged | compiled again
#[tokio::test]
async fn a_damaged_cache_file_is_compiled_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("cache");
    serve(&cached(&place), "orders", guest(1, OK)).await;
    let path = files(&place).remove(0);
    let whole = std::fs::read(&path).expect("read");
    for damaged in [
        Vec::new(),
        whole[..whole.len() / 2].to_vec(),
        [&whole[..whole.len() - 1], &[!whole[whole.len() - 1]]].concat(),
        [&[0u8; 8], &whole[8..]].concat(),
    ] {
        std::fs::write(&path, &damaged).expect("written");
        let host = cached(&place);
        serve(&host, "orders", guest(1, OK)).await;
        assert_eq!(handle(&host, "orders", "{}").await.result, Ok(()));
        assert_eq!(std::fs::read(&path).expect("read").len(), whole.len());
    }
}

#[tokio::test]
async fn a_cache_file_under_a_wrong_name_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("cache");
    let (first, second) = (guest(1, OK), guest(1, &reject(0)));
    serve(&cached(&place), "orders", first.clone()).await;
    let path = files(&place).remove(0);
    let name = path
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let swapped = name.replace(&Registry::sha256(&first), &Registry::sha256(&second));
    std::fs::rename(&path, place.join(swapped)).expect("renamed");
    let host = cached(&place);
    serve(&host, "orders", second).await;
    assert!(handle(&host, "orders", "{}").await.result.is_err());
}

/// Hazard: wasmtime | compiled files are trusted blindly | only files that the host wrote, in a folder that only it can write
#[tokio::test]
async fn a_cache_folder_that_others_can_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).expect("changed");
    let host = cached(folder.path());
    assert_eq!(host.cache(), None);
    serve(&host, "orders", guest(1, OK)).await;
    assert!(files(folder.path()).is_empty());
}
