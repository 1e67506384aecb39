//! `holdfast check`: file, references, plugins, then real connections.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use holdfast_ports::store::{Agreement, GroupRules, Open};
use holdfast_runtime::consumer::{disagreement, topology};
use serde_json::{Value, json};

use crate::config::valid::Plugin;
use crate::config::{self, Loaded, Problem};
use crate::plugin_dir::PluginDir;
use crate::run::WRONG_CONFIGURATION;
use crate::wire;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One line of the result.
struct Line {
    layer: &'static str,
    what: String,
    /// None: good. Otherwise what is wrong, and whether that stops a host.
    wrong: Option<(bool, String)>,
}

/// Checks a configuration in layers and prints what it found. `offline` stops
/// before the servers; `json` prints one object.
pub async fn check(path: &Path, offline: bool, json: bool) -> ExitCode {
    let loaded = match config::load(path, &|name| std::env::var(name).ok()) {
        Ok(loaded) => loaded,
        Err(errors) => return wrong(&errors.to_string(), &errors.to_json(), json),
    };
    if let Err(errors) = config::check_files(&loaded) {
        return wrong(&errors.to_string(), &errors.to_json(), json);
    }
    if !loaded.warnings.is_empty() && !json {
        eprintln!("{}", loaded.warnings.render(false).trim_end());
    }
    if let Err(problems) = plugins(&loaded).await {
        let errors = loaded.errors(problems);
        return wrong(&errors.to_string(), &errors.to_json(), json);
    }
    let mut lines = vec![
        line("file", path.display().to_string()),
        line(
            "plugins",
            format!(
                "{} compiled and of the right shape",
                loaded.valid.plugins.len()
            ),
        ),
    ];
    lines.extend(grants(&loaded));
    if !offline {
        servers(&loaded, &mut lines).await;
    }
    print(&lines, json)
}

fn wrong(text: &str, data: &Value, json: bool) -> ExitCode {
    if json {
        println!("{data}");
    }
    eprintln!("{}", text.trim_end());
    ExitCode::from(WRONG_CONFIGURATION)
}

fn line(layer: &'static str, what: String) -> Line {
    Line {
        layer,
        what,
        wrong: None,
    }
}

/// Compiles every plugin that a consumer uses, without serving any.
async fn plugins(loaded: &Loaded) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    for (name, error) in PluginDir::try_all(&loaded.valid).await {
        let user = loaded
            .valid
            .consumers
            .iter()
            .find(|(_, consumer)| consumer.plugin == name);
        let at = user.map_or_else(
            || format!("plugins.{name}"),
            |(user, _)| format!("consumers.{user}.plugin"),
        );
        let message = format!("the plugin `{name}` cannot be used: {error}");
        problems.push(loaded.problem(&at, message, None));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

/// What plugins may ask over HTTP; one that may ask nobody has no line.
fn grants(loaded: &Loaded) -> Vec<Line> {
    let granted = |(name, plugin): (&String, &Plugin)| {
        let hosts: Vec<String> = plugin.allow_hosts.iter().map(ToString::to_string).collect();
        let what = format!("{name} may ask {}", hosts.join(", "));
        (!hosts.is_empty()).then(|| line("plugins", what))
    };
    loaded.valid.plugins.iter().filter_map(granted).collect()
}

async fn servers(loaded: &Loaded, lines: &mut Vec<Line>) {
    let config = &loaded.valid;
    let specs = match wire::consumers(config) {
        Ok(specs) => specs,
        Err(error) => return lines.push(bad("file", String::new(), error.to_string())),
    };
    match within(wire::store(config)).await {
        Err(error) => lines.push(bad("store", String::new(), error)),
        Ok(store) => {
            match within(store.open(Open::Look)).await {
                Ok(_) => lines.push(line("store", "reachable".into())),
                Err(error) => return lines.push(bad("store", String::new(), error)),
            }
            for spec in &specs {
                let rules = GroupRules {
                    rules: spec.group_rules(),
                };
                let what = format!("group {}", spec.group);
                match within(store.agree(&spec.group, &rules)).await {
                    Ok(Agreement::Agreed) => {}
                    Ok(Agreement::Differs(rules)) => {
                        lines.push(bad(
                            "store",
                            what,
                            disagreement(spec.group.as_str(), &rules),
                        ));
                    }
                    Err(error) => lines.push(bad("store", what, error)),
                }
            }
        }
    }
    let brokers = match within(wire::brokers(config)).await {
        Ok(brokers) => brokers,
        Err(error) => return lines.push(bad("broker", String::new(), error)),
    };
    for spec in &specs {
        let Some(broker) = brokers.get(&spec.broker) else {
            continue;
        };
        let what = format!("{}: queue {}", spec.broker, spec.queue);
        match within(broker.depth(&spec.queue)).await {
            Err(error) => lines.push(bad("broker", what, error)),
            Ok(None) if spec.declare => {
                lines.push(line(
                    "broker",
                    format!("{what}: not there yet, declared at start"),
                ));
            }
            Ok(_) => {
                let mut topology = topology(spec);
                topology.declare = false;
                match within(broker.prepare(&topology)).await {
                    Ok(findings) if findings.is_empty() => lines.push(line("broker", what)),
                    Ok(findings) => lines.extend(findings.into_iter().map(|finding| Line {
                        layer: "broker",
                        what: format!("{}: queue {}", spec.broker, finding.queue),
                        wrong: Some((finding.fatal && !spec.declare, finding.text)),
                    })),
                    Err(error) => lines.push(bad("broker", what, error)),
                }
            }
        }
    }
    for broker in brokers.values() {
        broker.close().await;
    }
}

async fn within<T, E: std::fmt::Display>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

fn bad(layer: &'static str, what: String, why: String) -> Line {
    Line {
        layer,
        what,
        wrong: Some((true, why)),
    }
}

fn print(lines: &[Line], as_json: bool) -> ExitCode {
    let failed = lines
        .iter()
        .any(|line| matches!(line.wrong, Some((true, _))));
    if as_json {
        let rows: Vec<Value> = lines
            .iter()
            .map(|line| {
                let (state, text) = match &line.wrong {
                    None => ("ok", ""),
                    Some((false, text)) => ("warning", text.as_str()),
                    Some((true, text)) => ("error", text.as_str()),
                };
                json!({"layer": line.layer, "what": line.what, "state": state, "text": text})
            })
            .collect();
        println!("{}", json!({"ok": !failed, "checks": rows}));
    } else {
        for line in lines {
            match &line.wrong {
                None => println!("ok       {:8} {}", line.layer, line.what),
                Some((false, text)) => {
                    println!("warning  {:8} {}\n         {text}", line.layer, line.what)
                }
                Some((true, text)) => {
                    println!("error    {:8} {}\n         {text}", line.layer, line.what)
                }
            }
        }
    }
    if failed {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}
