//! What the documents say is there: files they link to, headings, commands.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use holdfast_tidy::{files, lines, root};

#[test]
fn every_link_within_the_project_leads_somewhere() {
    let mut dead = Vec::new();
    for page in pages() {
        for (number, line) in prose(&page) {
            for target in links(&line) {
                if target.contains("://") {
                    continue;
                }
                let (path, heading) = target.split_once('#').unwrap_or((&target, ""));
                let folder = page.parent().unwrap_or(&page);
                let to = if path.is_empty() {
                    page.clone()
                } else {
                    folder.join(path)
                };
                if !to.exists() {
                    dead.push(format!("{}:{number}: no {path}", shown(&page)));
                } else if !heading.is_empty() && !headings(&to).contains(heading) {
                    dead.push(format!("{}:{number}: no heading {target}", shown(&page)));
                }
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn every_command_of_the_project_that_is_named_exists() {
    let commands = variants(&["xtask/src/main.rs"], "Command");
    assert!(commands.contains("demo"), "{commands:?}");
    let unknown = unknown("cargo xtask ", |words| {
        words
            .first()
            .is_none_or(|command| commands.contains(*command))
    });
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn every_command_of_the_binary_that_is_named_exists() {
    let words = [
        "host/server/src/cli/args.rs",
        "host/server/src/cli/args/cutover.rs",
    ];
    let commands = variants(&words, "Command");
    assert!(commands.contains("run"), "{commands:?}");
    let unknown = unknown("holdfast ", |said| {
        let Some(command) = said.first() else {
            return true;
        };
        let below = match *command {
            "claims" => "Claims",
            "lease" => "Lease",
            "cutover" => "Cutover",
            "dead" => "Dead",
            "plugins" => "Plugins",
            "store" => "Store",
            _ => return commands.contains(*command),
        };
        let subcommands = variants(&words, below);
        said.get(1).is_none_or(|word| subcommands.contains(*word))
    });
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

/// The names of files, metrics and settings are in code style; so are commands.
/// Each use of one in code, its first words checked.
fn unknown(program: &str, known: impl Fn(&[&str]) -> bool) -> Vec<String> {
    let mut unknown = Vec::new();
    for page in pages() {
        for (number, code) in code(&page) {
            let code = code.trim_start_matches("$ ").trim_start_matches("(cd ");
            for part in code.split(['|', ';', '&']) {
                let Some(rest) = part.trim().strip_prefix(program) else {
                    continue;
                };
                let words: Vec<&str> = rest
                    .split_whitespace()
                    .take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
                    .collect();
                if !known(&words) {
                    unknown.push(format!("{}:{number}: {program}{rest}", shown(&page)));
                }
            }
        }
    }
    unknown
}

/// The documents.
fn pages() -> Vec<PathBuf> {
    let pages = files(&["."], &[".md"]);
    assert!(pages.len() > 5, "{pages:?}");
    pages
}

/// Lines that are not in a block of code.
fn prose(page: &Path) -> Vec<(usize, String)> {
    split(page).0
}

/// Everything in code style: lines of shell blocks, and spans in a line.
fn code(page: &Path) -> Vec<(usize, String)> {
    let (prose, mut code) = split(page);
    for (number, line) in prose {
        let spans = line.split('`').skip(1).step_by(2);
        code.extend(spans.map(|span| (number, span.to_owned())));
    }
    code
}

type Numbered = Vec<(usize, String)>;

fn split(page: &Path) -> (Numbered, Numbered) {
    let (mut prose, mut shell, mut block) = (Vec::new(), Vec::new(), None);
    for (number, line) in lines(page) {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            block = match block {
                None => Some(kind.to_owned()),
                Some(_) => None,
            };
        } else if let Some(kind) = &block {
            if matches!(kind.as_str(), "console" | "sh" | "bash") {
                shell.push((number, line));
            }
        } else {
            prose.push((number, line));
        }
    }
    assert!(block.is_none(), "{}: a block is not closed", shown(page));
    (prose, shell)
}

fn links(line: &str) -> Vec<String> {
    let ends = line.split("](").skip(1);
    ends.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// Headings in the form in which links name them.
fn headings(page: &Path) -> BTreeSet<String> {
    let titles = prose(page);
    let titles = titles
        .iter()
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| line.trim_start_matches('#').trim().to_lowercase());
    titles
        .map(|title| {
            title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// The variants of an enum in files of clap definitions, as typed.
fn variants(files: &[&str], name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut inside = false;
    for (_, line) in files.iter().flat_map(|file| lines(&root().join(file))) {
        if line
            .trim_start_matches("pub ")
            .starts_with(&format!("enum {name} {{"))
        {
            inside = true;
        } else if line == "}" {
            inside = false;
        } else if inside && line.starts_with("    ") && !line.starts_with("     ") {
            let word: String = line
                .trim()
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            if word.starts_with(|c: char| c.is_ascii_uppercase()) {
                found.insert(kebab(&word));
            }
        }
    }
    found
}

fn kebab(word: &str) -> String {
    let mut out = String::new();
    for (at, c) in word.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}
