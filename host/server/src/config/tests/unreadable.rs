//! Files that cannot be read, and files that a configuration names.

use std::fs;
use std::path::Path;

use super::env;
use crate::config::{ConfigErrors, check_files, load, parse_str};

fn loading(path: &Path) -> String {
    load(path, &env).unwrap_err().to_string()
}

/// Bad input: Configuration | a file that is not UTF-8, or not there | refused with its path; the two are told apart
#[test]
fn a_file_that_is_no_text_is_told_apart_from_one_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none.toml");
    let shown = loading(&missing);
    assert!(
        shown.contains("none.toml: there is no such file"),
        "{shown}"
    );
    assert!(shown.contains("--config FILE"), "{shown}");
    assert!(loading(dir.path()).contains("it is a directory"));

    let file = dir.path().join("f.toml");
    fs::write(&file, b"version = 1\nservice = \"\xff\"\n").unwrap();
    let shown = loading(&file);
    assert!(
        shown.contains("the file is not UTF-8: byte 0xff at offset 23"),
        "{shown}"
    );
    assert!(shown.contains("f.toml:2:12"), "{shown}");

    fs::write(&file, b"").unwrap();
    let shown = loading(&file);
    assert!(
        shown.contains("the file is empty") && shown.contains("f.toml:1:1"),
        "{shown}"
    );

    fs::write(&file, "#".repeat((4 << 20) + 1)).unwrap();
    assert!(loading(&file).contains("it is larger than 4 MiB"));
}

#[test]
fn a_file_is_loaded_under_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.toml");
    fs::write(&file, super::BASE).unwrap();
    let loaded = load(&file, &env).unwrap();
    assert!(loaded.source.name().ends_with("f.toml"));
}

fn checking(dir: &Path, plugin: &str) -> Result<(), ConfigErrors> {
    let text = super::BASE
        .replacen(
            "version = 1",
            &format!("version = 1\nplugin-dir = {:?}", dir.display().to_string()),
            1,
        )
        .replacen("plugin = \"p\"", &format!("plugin = \"{plugin}\""), 1);
    check_files(&parse_str("f.toml", &text, &env).unwrap())
}

#[test]
fn the_plugin_of_a_consumer_is_a_file_in_the_plugin_folder() {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    let refused = |plugin: &str| checking(&plugins, plugin).unwrap_err().to_string();
    let shown = refused("orders");
    assert!(
        shown.contains("failed to open the plugin folder"),
        "{shown}"
    );
    assert!(shown.contains("f.toml:2:14"), "{shown}");

    fs::create_dir(&plugins).unwrap();
    assert!(refused("orders").contains("the plugin folder holds no .wasm file"));
    fs::write(plugins.join("orders.wasm"), b"").unwrap();
    checking(&plugins, "orders").unwrap();

    let shown = refused("order");
    assert!(shown.contains("there is no plugin `order`"), "{shown}");
    assert!(shown.contains("f.toml:12:10"), "{shown}");
    assert!(shown.contains("did you mean \"orders\"?"), "{shown}");

    fs::create_dir(plugins.join("folder.wasm")).unwrap();
    assert!(refused("folder").contains("is not a file"));
}

/// Bad input: Configuration | a symbolic link out of the plugin folder | refused
#[cfg(unix)]
#[test]
fn a_link_may_not_lead_out_of_the_plugin_folder() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    fs::create_dir_all(plugins.join("..data")).unwrap();
    fs::write(dir.path().join("out.wasm"), b"").unwrap();
    fs::write(plugins.join("..data/in.wasm"), b"").unwrap();
    symlink("../out.wasm", plugins.join("out.wasm")).unwrap();
    symlink("..data/in.wasm", plugins.join("in.wasm")).unwrap();
    let shown = checking(&plugins, "out").unwrap_err().to_string();
    assert!(
        shown.contains("is a link that leads out of the plugin folder"),
        "{shown}"
    );
    checking(&plugins, "in").unwrap();
    // The folder itself may be reached through a link.
    let link = dir.path().join("link");
    symlink(&plugins, &link).unwrap();
    checking(&link, "in").unwrap();
}

#[test]
fn the_certificates_of_a_server_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("p.wasm"), b"").unwrap();
    let text = super::BASE
        .replacen(
            "version = 1",
            &format!(
                "version = 1\nplugin-dir = {:?}",
                dir.path().display().to_string()
            ),
            1,
        )
        .replacen(
            "kind = \"embedded\"",
            "kind = \"redis\"\nurl = \"rediss://localhost\"\nca = \"none.pem\"",
            1,
        );
    let shown = check_files(&parse_str("f.toml", &text, &env).unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        shown.contains("failed to read the certificates in none.pem"),
        "{shown}"
    );
    assert!(shown.contains("f.toml:6:6"), "{shown}");
}
