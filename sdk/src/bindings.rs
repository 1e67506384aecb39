//! The bindings of both worlds, generated from `wit/holdfast.wit`. The export
//! macros are public because the handler's crate, not this one, has the export.

pub mod consumer {
    wit_bindgen::generate!({
        path: "wit",
        world: "consumer",
        pub_export_macro: true,
        export_macro_name: "export_consumer",
        default_bindings_module: "::holdfast_sdk::__private::consumer",
    });
}

pub mod batch_consumer {
    wit_bindgen::generate!({
        path: "wit",
        world: "batch-consumer",
        pub_export_macro: true,
        export_macro_name: "export_batch_consumer",
        default_bindings_module: "::holdfast_sdk::__private::batch_consumer",
        with: {
            "holdfast:consumer/types@0.1.0": crate::bindings::consumer::holdfast::consumer::types,
            "holdfast:consumer/log@0.1.0": crate::bindings::consumer::holdfast::consumer::log,
            "holdfast:consumer/vars@0.1.0": crate::bindings::consumer::holdfast::consumer::vars,
        },
    });
}
