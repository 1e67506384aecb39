//! The committed inputs, those that once were wrong among them.

use std::path::Path;

use holdfast_inputs::TARGETS;

/// What all corpora may take together.
const ROOM: u64 = 300 << 10;

#[test]
fn every_committed_input_is_answered() {
    let mut inputs = 0;
    let mut size = 0;
    for (name, _, entry) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        let mut paths: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        assert!(!paths.is_empty(), "{name} has none");
        for path in paths {
            let data = std::fs::read(&path).unwrap();
            size += data.len() as u64;
            inputs += 1;
            // Its name, should the next line panic.
            println!("{}", path.display());
            entry(&data);
        }
    }
    assert!(inputs >= TARGETS.len());
    assert!(size <= ROOM, "{size} bytes");
}

/// A cheap search beside the fuzzer's: each input cut, and with a byte changed.
#[test]
fn inputs_that_are_cut_or_changed_are_answered() {
    for (name, _, entry) in TARGETS {
        // Compiling takes its time.
        let few = if name == "component" { 4 } else { 64 };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(name);
        for path in std::fs::read_dir(folder).unwrap().take(100) {
            let data = std::fs::read(path.unwrap().path()).unwrap();
            for step in 0..few {
                let at = data.len() * step / few;
                entry(&data[..at]);
                let mut changed = data.clone();
                if let Some(byte) = changed.get_mut(at) {
                    *byte ^= 1 << (step % 8);
                    entry(&changed);
                }
            }
        }
    }
}
