//! What a changed file changes.

use super::{BASE, good, swap, with};
use crate::config::{Change, Effect};

fn changes(old: &str, new: &str) -> Vec<(String, Effect)> {
    let changes = good(old).valid.diff(&good(new).valid);
    for Change { key, effect, why } in &changes {
        assert_eq!(*effect == Effect::Live, why.is_empty(), "{key}");
    }
    changes
        .into_iter()
        .map(|change| (change.key, change.effect))
        .collect()
}

fn live(key: &str) -> Vec<(String, Effect)> {
    vec![(key.to_owned(), Effect::Live)]
}

fn restart(key: &str) -> Vec<(String, Effect)> {
    vec![(key.to_owned(), Effect::NeedsRestart)]
}

#[test]
fn the_same_settings_written_another_way_change_nothing() {
    assert_eq!(changes(BASE, &with("concurrency = 64 # as ever\n")), []);
}

#[test]
fn most_settings_are_taken_up_live() {
    for (new, key) in [
        (with("concurrency = 5\n"), "consumers.a"),
        (with("[consumers.a.retry]\nattempts = 2\n"), "consumers.a"),
        (
            with("[consumers.a.claim]\ngroup = \"other\"\nkey = \"json:/k\"\n"),
            "consumers.a",
        ),
        (
            with("[consumers.b]\nbroker = \"main\"\nqueue = \"b\"\nplugin = \"p\"\n"),
            "consumers.b",
        ),
        (swap("timeout = \"5s\"", "timeout = \"6s\""), "plugins.p"),
        (with("[admin]\ntoken = \"t\"\n"), "admin.token"),
        (with("[cutover.a]\nfrom = \"a\"\nto = \"b\"\n"), "cutover.a"),
    ] {
        assert_eq!(changes(BASE, &new), live(key));
    }
}

#[test]
fn what_cannot_change_live_says_so() {
    for (new, key) in [
        (
            swap("version = 1", "version = 1\nservice = \"other\""),
            "service",
        ),
        (
            swap("[brokers.main]", "path = \"x\"\n[brokers.main]"),
            "store",
        ),
        (with("[admin]\nlisten = \"127.0.0.1:0\"\n"), "admin.listen"),
        (with("[log]\nformat = \"json\"\n"), "log.format"),
        (with("[log]\nlevel = \"debug\"\n"), "log.level"),
        (
            with("[brokers.second]\nkind = \"embedded\"\n"),
            "brokers.second",
        ),
        (
            swap("version = 1", "version = 1\nplugin-dir = \"other\""),
            "plugin-dir",
        ),
        (
            with("[consumers.a.claim]\nkey = \"json:/k\"\n"),
            "consumers.a.claim.key",
        ),
        (
            with("[consumers.a.claim]\nfingerprint = false\n"),
            "consumers.a.claim.fingerprint",
        ),
        (
            with("[consumers.a.claim]\nslot = \"key\"\n"),
            "consumers.a.claim.slot",
        ),
        (
            with("[consumers.a.order]\nmode = \"strict\"\n"),
            "consumers.a.order",
        ),
    ] {
        assert_eq!(changes(BASE, &new), restart(key));
    }
    let broker = |path: &str| {
        swap("[plugins.p]", &format!("path = \"{path}\"\n[plugins.p]")).replacen(
            "[brokers.main]",
            "path = \"s\"\n[brokers.main]",
            1,
        )
    };
    assert_eq!(changes(&broker("x"), &broker("y")), restart("brokers.main"));
}

#[test]
fn a_later_edit_of_a_cut_over_is_ignored() {
    let cutover = |percent: u8| {
        with(&format!(
            "[cutover.a]\nfrom = \"a\"\nto = \"b\"\npercent = {percent}\n"
        ))
    };
    let ignored = vec![("cutover.a".to_owned(), Effect::Ignored)];
    assert_eq!(changes(&cutover(1), &cutover(2)), ignored);
}
