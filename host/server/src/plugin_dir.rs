//! The plugin folder: what is in it, what of it is in service.

use std::path::PathBuf;

use holdfast_ports::plugins::PluginInfo;

/// One plugin, for people.
#[derive(Clone, Debug)]
pub struct PluginRow {
    /// What is in service.
    pub info: PluginInfo,
    /// Its file.
    pub file: PathBuf,
    /// The digest of the version before, which `rollback` brings back.
    pub previous: Option<String>,
    /// Why the file that is there now was refused, if it was.
    pub refused: Option<String>,
}

/// The plugins of one host.
pub struct PluginDir {}

impl PluginDir {
    /// All plugins by name.
    #[must_use]
    pub fn rows(&self) -> Vec<PluginRow> {
        Vec::new()
    }
}
