//! Whether the files a configuration names are there.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::reader::suggestion;
use super::report::Problem;
use super::valid::{Broker, Store};
use super::{ConfigErrors, Loaded};

/// Checks that the plugin of every consumer is a file in the plugin folder,
/// also when links are followed, and that certificate files can be read.
///
/// Nothing is opened for longer than the check, and nothing in a plugin is
/// looked at.
///
/// # Errors
/// Every file that is missing or out of place, at the setting that names it.
pub fn check_files(loaded: &Loaded) -> Result<(), ConfigErrors> {
    let mut problems = Vec::new();
    plugins(loaded, &mut problems);
    certificates(loaded, &mut problems);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(loaded.errors(problems))
    }
}

fn plugins(loaded: &Loaded, problems: &mut Vec<Problem>) {
    let dir = &loaded.valid.plugin_dir;
    let real_dir = match fs::canonicalize(dir).and_then(|real| is_dir(&real).map(|()| real)) {
        Ok(real) => real,
        Err(err) => {
            let message = format!("failed to open the plugin folder {}: {err}", dir.display());
            let help = "create it, or name another with plugin-dir".to_owned();
            problems.push(loaded.problem("plugin-dir", message, Some(help)));
            return;
        }
    };
    for (name, consumer) in &loaded.valid.consumers {
        let file = loaded.valid.plugin_file(&consumer.plugin);
        if let Some((message, help)) = plugin(&file, &real_dir, &consumer.plugin) {
            let path = format!("consumers.{name}.plugin");
            problems.push(loaded.problem(&path, message, Some(help)));
        }
    }
}

fn is_dir(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        Ok(())
    } else {
        Err(ErrorKind::NotADirectory.into())
    }
}

/// What is wrong with a plugin's file, and what to do.
fn plugin(file: &Path, real_dir: &Path, name: &str) -> Option<(String, String)> {
    let shown = file.display();
    let real = match fs::canonicalize(file) {
        Ok(real) => real,
        Err(err) if err.kind() == ErrorKind::NotFound => {
            let message = format!("there is no plugin `{name}`: {shown} does not exist");
            let there = components_in(real_dir);
            let help = match suggestion(name, there.iter().map(String::as_str)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None if there.is_empty() => "the plugin folder holds no .wasm file".to_owned(),
                None => format!("the plugin folder holds: {}", there.join(", ")),
            };
            return Some((message, help));
        }
        Err(err) => {
            let message = format!("failed to open the plugin {shown}: {err}");
            return Some((message, "check who may read it".to_owned()));
        }
    };
    if !real.starts_with(real_dir) {
        let message = format!("{shown} is a link that leads out of the plugin folder");
        return Some((
            message,
            "put the file itself into the plugin folder".to_owned(),
        ));
    }
    let is_file = fs::metadata(&real).is_ok_and(|meta| meta.is_file());
    let message = format!("{shown} is not a file");
    (!is_file).then(|| (message, "a plugin is one .wasm component".to_owned()))
}

fn components_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let name = |path: PathBuf| {
        let component = path
            .extension()
            .is_some_and(|extension| extension == "wasm");
        component.then(|| {
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
        })?
    };
    let mut names: Vec<String> = entries.filter_map(|entry| name(entry.path())).collect();
    names.sort();
    names
}

fn certificates(loaded: &Loaded, problems: &mut Vec<Problem>) {
    let store = match &loaded.valid.store {
        Store::Redis { ca: Some(ca), .. } => Some(("store".to_owned(), ca)),
        _ => None,
    };
    let brokers = loaded
        .valid
        .brokers
        .iter()
        .filter_map(|(name, broker)| match broker {
            Broker::RabbitMq { ca: Some(ca), .. } => Some((format!("brokers.{name}"), ca)),
            _ => None,
        });
    for (key, ca) in store.into_iter().chain(brokers) {
        if let Err(err) = fs::read(ca) {
            let message = format!("failed to read the certificates in {}: {err}", ca.display());
            let help = "name a file in PEM format".to_owned();
            problems.push(loaded.problem(&format!("{key}.ca"), message, Some(help)));
        }
    }
}
