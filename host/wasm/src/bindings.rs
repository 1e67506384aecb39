//! What wasmtime makes of the interface in `wit/`. Messages are borrowed, so
//! that the one copy of a body is the one into the guest.

pub(crate) mod consumer {
    wasmtime::component::bindgen!({
        path: "../../wit/holdfast.wit",
        world: "consumer",
        ownership: Borrowing { duplicate_if_necessary: true },
        imports: { default: trappable },
        exports: { default: async },
    });
}

pub(crate) mod batch {
    wasmtime::component::bindgen!({
        path: "../../wit/holdfast.wit",
        world: "batch-consumer",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "holdfast:consumer/types": crate::bindings::consumer::holdfast::consumer::types,
            "holdfast:consumer/log": crate::bindings::consumer::holdfast::consumer::log,
            "holdfast:consumer/vars": crate::bindings::consumer::holdfast::consumer::vars,
        },
        imports: { default: trappable },
        exports: { default: async },
    });
}

pub(crate) mod messaging {
    wasmtime::component::bindgen!({
        path: "../../wit/messaging",
        world: "messaging-core",
        with: {
            "wasi:messaging/types.client": crate::host::messaging::Client,
            "wasi:messaging/types.message": crate::host::messaging::Message,
        },
        imports: { default: trappable },
        exports: { default: async },
    });
}
