//! Does a component fit one of the worlds? If not, which import or export does
//! not, and what is its signature?

use holdfast_ports::plugins::World;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem, Type};

use crate::error::LoadError;

macro_rules! header {
    () => {
        "record { name: string, value: list<u8> }"
    };
}

macro_rules! message {
    () => {
        concat!(
            "record { key: string, id: option<string>, lane: option<string>, body: list<u8>, ",
            "content-type: option<string>, headers: list<",
            header!(),
            ">, consumer: string, side: string, attempt: u32, fence: u64, sequence: option<u64>, ",
            "timestamp-ms: option<u64>, redelivered: bool }"
        )
    };
}

macro_rules! failure {
    () => {
        concat!(
            "variant { retry(record { reason: string, after-ms: option<u64> }), ",
            "reject(string) }"
        )
    };
}

/// The functions of our interfaces, with every type written out.
const FUNCTIONS: &[(&str, &str, &str)] = &[
    (
        "handler",
        "handle",
        concat!(
            "func(message: ",
            message!(),
            ") -> result<_, ",
            failure!(),
            ">"
        ),
    ),
    (
        "batch-handler",
        "handle-batch",
        concat!(
            "func(messages: list<",
            message!(),
            ">) -> list<result<_, ",
            failure!(),
            ">>"
        ),
    ),
    (
        "log",
        "write",
        "func(level: enum { trace, debug, info, warn, error }, text: string)",
    ),
    ("vars", "get", "func(name: string) -> option<string>"),
    ("state", "get", "func(name: string) -> option<list<u8>>"),
    ("state", "set", "func(name: string, value: list<u8>)"),
    ("state", "delete", "func(name: string)"),
    (
        "state",
        "increment",
        "func(name: string, by: s64) -> result<s64, string>",
    ),
    (
        "outbox",
        "publish",
        concat!(
            "func(to: variant { queue(string), exchange(tuple<string, string>) }, ",
            "message: record { body: list<u8>, content-type: option<string>, headers: list<",
            header!(),
            ">, lane: option<string> }) -> result<_, string>"
        ),
    ),
];

const PACKAGE: &str = "holdfast:consumer/";
const VERSION: &str = "0.1.0";
const HTTP: &str = "wasi:http/";
const MESSAGING: &str = "wasi:messaging/";
const MESSAGING_VERSION: &str = "0.2.0-draft";

/// WASI's own packages that are linked, all at 0.2.
const WASI: &[&str] = &[
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// What a component is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) world: World,
    pub(crate) uses_state: bool,
}

/// Finds the world of a component and checks every import and the handler.
pub(crate) fn check(engine: &Engine, component: &Component) -> Result<Shape, LoadError> {
    let ty = component.component_type();
    let mut found = Vec::new();
    let mut world = None;
    for (name, item) in ty.exports(engine) {
        found.push(name.to_owned());
        let ComponentItem::ComponentInstance(instance) = &item.ty else {
            continue;
        };
        let of = match split(name) {
            (PACKAGE, "handler", VERSION) => World::Consumer,
            (PACKAGE, "batch-handler", VERSION) => World::BatchConsumer,
            (MESSAGING, "incoming-handler", MESSAGING_VERSION) => World::Messaging,
            _ => continue,
        };
        check_functions(engine, "export", name, instance)?;
        // The first of the list above counts, should there be several.
        if world.is_none_or(|known: World| rank(of) < rank(known)) {
            world = Some(of);
        }
    }
    let Some(world) = world else {
        let found = if found.is_empty() {
            "nothing".to_owned()
        } else {
            found.join(", ")
        };
        return Err(LoadError::WrongWorld { found });
    };
    let mut uses_state = false;
    for (name, item) in ty.imports(engine) {
        check_import(engine, world, name, &item.ty)?;
        uses_state |= name.starts_with("holdfast:consumer/state@");
    }
    Ok(Shape { world, uses_state })
}

fn rank(world: World) -> u8 {
    match world {
        World::Consumer => 0,
        World::BatchConsumer => 1,
        World::Messaging => 2,
    }
}

fn check_import(
    engine: &Engine,
    world: World,
    name: &str,
    item: &ComponentItem,
) -> Result<(), LoadError> {
    let unknown = |name: String, hint| LoadError::UnknownImport {
        name,
        world: world.as_str(),
        hint,
    };
    let instance = match item {
        ComponentItem::ComponentInstance(instance) => instance,
        ComponentItem::ComponentFunc(func) => {
            return Err(unknown(format!("{name}: {}", signature(func)), ""));
        }
        ComponentItem::Type(_) | ComponentItem::Resource(_) => return Ok(()),
        _ => return Err(unknown(format!("{name} (a module or component)"), "")),
    };
    let (package, interface, version) = split(name);
    let known = match (package, world) {
        (PACKAGE, World::Consumer) => {
            version == VERSION && ["types", "log", "vars", "state", "outbox"].contains(&interface)
        }
        (PACKAGE, World::BatchConsumer) => {
            version == VERSION && ["types", "log", "vars"].contains(&interface)
        }
        (PACKAGE, World::Messaging) => {
            version == VERSION && ["types", "log", "vars"].contains(&interface)
        }
        (MESSAGING, World::Messaging) => {
            version == MESSAGING_VERSION && ["types", "producer"].contains(&interface)
        }
        (HTTP, World::BatchConsumer) => false,
        (HTTP, _) => {
            version.starts_with("0.2.") && ["types", "outgoing-handler"].contains(&interface)
        }
        _ => WASI.contains(&package) && version.starts_with("0.2."),
    };
    if known {
        return check_functions(engine, "import", name, instance);
    }
    let hint = match (package, interface) {
        (PACKAGE, "state" | "outbox") if world == World::BatchConsumer => {
            ": an effect could not name its message"
        }
        (HTTP, "types" | "outgoing-handler") if world == World::BatchConsumer => {
            ": a request could not name its message"
        }
        (HTTP, "types" | "outgoing-handler" | "client" | "handler") => {
            ": this host speaks wasi:http 0.2"
        }
        (HTTP, _) => ": handlers make requests and serve none",
        (PACKAGE, _) if version != VERSION => ": this host speaks version 0.1.0",
        _ => "",
    };
    let functions = instance.exports(engine).filter_map(|(function, item)| {
        let ComponentItem::ComponentFunc(func) = item.ty else {
            return None;
        };
        Some(format!("{name}.{function}: {}", signature(&func)))
    });
    let first = functions.take(1).next();
    Err(unknown(first.unwrap_or_else(|| name.to_owned()), hint))
}

/// Compares the functions of one of our own interfaces.
fn check_functions(
    engine: &Engine,
    kind: &str,
    name: &str,
    instance: &ComponentInstance,
) -> Result<(), LoadError> {
    let (PACKAGE, interface, _) = split(name) else {
        return Ok(());
    };
    let wanted = |function: &str| {
        let mut all = FUNCTIONS.iter();
        all.find(|(of, known, _)| *of == interface && *known == function)
            .map(|(_, _, signature)| *signature)
    };
    for (function, item) in instance.exports(engine) {
        let ComponentItem::ComponentFunc(func) = &item.ty else {
            continue;
        };
        let found = signature(func);
        let wanted = match wanted(function) {
            Some(wanted) => wanted,
            // More than the interface has: an export is ignored.
            None if kind == "export" => continue,
            None => "(no such function)",
        };
        if found != wanted {
            return Err(LoadError::Signature {
                name: format!("the {kind} {name}.{function}"),
                wanted: wanted.to_owned(),
                found,
            });
        }
    }
    if kind == "export" {
        for (_, function, signature) in FUNCTIONS.iter().filter(|(of, ..)| *of == interface) {
            if instance.get_export(engine, function).is_none() {
                return Err(LoadError::Signature {
                    name: format!("the {kind} {name}.{function}"),
                    wanted: (*signature).to_owned(),
                    found: "(nothing)".to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// The package with its slash, the interface and the version of a name.
fn split(name: &str) -> (&str, &str, &str) {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    match path.find('/') {
        Some(slash) => (&path[..=slash], &path[slash + 1..], version),
        None => ("", path, version),
    }
}

/// A function type, written out.
pub(crate) fn signature(func: &ComponentFunc) -> String {
    let params = func
        .params()
        .map(|(name, ty)| format!("{name}: {}", written(&ty)));
    let params = params.collect::<Vec<_>>().join(", ");
    let results: Vec<_> = func.results().map(|ty| written(&ty)).collect();
    let word = if func.async_() { "async func" } else { "func" };
    match results.as_slice() {
        [] => format!("{word}({params})"),
        results => format!("{word}({params}) -> {}", results.join(", ")),
    }
}

fn written(ty: &Type) -> String {
    let list = |types: &mut dyn Iterator<Item = String>| types.collect::<Vec<_>>().join(", ");
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::S8 => "s8".to_owned(),
        Type::U8 => "u8".to_owned(),
        Type::S16 => "s16".to_owned(),
        Type::U16 => "u16".to_owned(),
        Type::S32 => "s32".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::S64 => "s64".to_owned(),
        Type::U64 => "u64".to_owned(),
        Type::Float32 => "f32".to_owned(),
        Type::Float64 => "f64".to_owned(),
        Type::Char => "char".to_owned(),
        Type::String => "string".to_owned(),
        Type::List(inner) => format!("list<{}>", written(&inner.ty())),
        Type::Record(record) => {
            let mut fields = record
                .fields()
                .map(|field| format!("{}: {}", field.name, written(&field.ty)));
            format!("record {{ {} }}", list(&mut fields))
        }
        Type::Tuple(tuple) => {
            format!("tuple<{}>", list(&mut tuple.types().map(|ty| written(&ty))))
        }
        Type::Variant(variant) => {
            let mut cases = variant.cases().map(|case| match case.ty {
                Some(ty) => format!("{}({})", case.name, written(&ty)),
                None => case.name.to_owned(),
            });
            format!("variant {{ {} }}", list(&mut cases))
        }
        Type::Enum(names) => {
            format!("enum {{ {} }}", list(&mut names.names().map(str::to_owned)))
        }
        Type::Flags(names) => {
            format!(
                "flags {{ {} }}",
                list(&mut names.names().map(str::to_owned))
            )
        }
        Type::Option(inner) => format!("option<{}>", written(&inner.ty())),
        Type::Result(result) => {
            let part = |ty: Option<Type>| ty.map_or("_".to_owned(), |ty| written(&ty));
            match (result.ok(), result.err()) {
                (None, None) => "result".to_owned(),
                (ok, None) => format!("result<{}>", part(ok)),
                (ok, err) => format!("result<{}, {}>", part(ok), part(err)),
            }
        }
        Type::Own(_) => "own<resource>".to_owned(),
        Type::Borrow(_) => "borrow<resource>".to_owned(),
        _ => "(a type that handlers do not use)".to_owned(),
    }
}
