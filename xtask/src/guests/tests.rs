use super::*;

/// A repository with the files that a guest is built from, each naming itself.
fn sources() -> tempfile::TempDir {
    let repository = tempfile::tempdir().unwrap();
    for file in [
        "wit/holdfast.wit",
        "sdk/Cargo.toml",
        "sdk/src/lib.rs",
        "sdk/src/state.rs",
        "sdk/macros/Cargo.toml",
        "sdk/macros/src/lib.rs",
        "plugins/Cargo.toml",
        "plugins/Cargo.lock",
        "plugins/echo/Cargo.toml",
        "plugins/echo/src/lib.rs",
    ] {
        put(&repository, file, &format!("{file}\nsecond line\n"));
    }
    repository
}

fn put(repository: &tempfile::TempDir, file: &str, content: &str) {
    let path = repository.path().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn digest(repository: &tempfile::TempDir) -> String {
    source_digest(repository.path(), "echo").unwrap()
}

#[test]
fn the_prebuilt_components_are_those_of_the_sources() {
    let kept = fs::read_to_string(prebuilt_folder().join("digests.toml")).unwrap_or_default();
    let current = digests(&repository()).unwrap();
    assert!(
        kept == current,
        "plugins/prebuilt is not built from these sources; run `{UPDATE}` and commit it"
    );
}

#[test]
fn the_guests_are_the_members_of_their_workspace() {
    let manifest = fs::read_to_string(repository().join("plugins/Cargo.toml")).unwrap();
    let members = format!("members = {GUESTS:?}");
    assert!(manifest.contains(&members), "expected {members}");
}

#[test]
fn the_sdk_is_built_from_the_one_interface() {
    let wit = |folder: &str| read(&repository().join(folder).join("holdfast.wit")).unwrap();
    assert!(
        wit("sdk/wit") == wit("wit"),
        "sdk/wit must be the same as wit"
    );
}

#[test]
fn a_change_in_any_source_changes_the_digest() {
    let before = digest(&sources());
    for file in [
        "wit/holdfast.wit",
        "sdk/src/state.rs",
        "sdk/macros/src/lib.rs",
        "plugins/Cargo.lock",
        "plugins/echo/src/lib.rs",
        "plugins/echo/src/new.rs",
    ] {
        let changed = sources();
        put(&changed, file, "something else\n");
        assert_ne!(digest(&changed), before, "{file}");
    }
}

#[test]
fn line_ends_the_place_of_the_repository_and_tests_do_not_change_the_digest() {
    let before = digest(&sources());
    let other = sources();
    put(
        &other,
        "sdk/src/lib.rs",
        "sdk/src/lib.rs\r\nsecond line\r\n",
    );
    put(&other, "plugins/echo/src/tests.rs", "a test");
    put(&other, "plugins/probe/src/lib.rs", "another guest");
    put(&other, "wit/messaging/messaging.wit", "another interface");
    assert_eq!(digest(&other), before);
}

#[test]
fn a_component_is_replaced_in_one_step_and_only_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo.wasm");
    write(&path, b"one").unwrap();
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    write(&path, b"one").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
    write(&path, b"two").unwrap();
    assert_eq!(read(&path).unwrap(), b"two");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn without_a_toolchain_the_prebuilt_examples_are_used() {
    let advice = "install it".to_owned();
    let guests = build_all(&GuestTarget::Missing { advice }).unwrap();
    assert_eq!(guests.origin, Origin::Prebuilt);
    for guest in PREBUILT {
        assert!(
            guests.folder.join(format!("{guest}.wasm")).is_file(),
            "{guest}"
        );
    }
}
