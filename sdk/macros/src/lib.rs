//! The attribute macros of `holdfast-sdk`, which re-exports them; depend on
//! that crate, not on this one.
//!
//! Each macro leaves the function as it is, checks its signature, and adds the
//! component export that a host calls. The export exists only in a wasm32
//! build, so the same crate also builds natively, for its tests.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Error, ItemFn, parse_macro_input, spanned::Spanned};

/// Makes a function the handler of this crate: the world `consumer`, one
/// message per call.
///
/// The function takes the message (`Message`, `Json<T>`, or any type that
/// implements `FromMessage`) and, if it wants one, a `&Context`. It returns
/// `Result<(), E>` where `E` is `Failure` or converts into it.
///
/// ```
/// use holdfast_sdk::{Context, Failure, Json, handler};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Order {
///     id: String,
/// }
///
/// #[handler]
/// fn handle(order: Json<Order>, ctx: &Context) -> Result<(), Failure> {
///     ctx.log().info(format_args!("order {}", order.id));
///     Ok(())
/// }
/// ```
///
/// One that does not fit is refused where it is written:
///
/// ```compile_fail
/// use holdfast_sdk::{Failure, handler};
///
/// #[handler]
/// fn handle(order: u8) -> Result<(), Failure> {
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    expand(&HANDLER, arguments.into(), &item)
        .unwrap_or_else(|error| refused(&item, &error))
        .into()
}

/// Makes a function the handler of this crate for many messages at a time: the
/// world `batch-consumer`.
///
/// The function takes `Vec<Message>` and, if it wants one, a `&BatchContext`.
/// It returns one `Result<(), Failure>` for each message, in their order.
///
/// ```
/// use holdfast_sdk::{Failure, Message, batch_handler};
///
/// #[batch_handler]
/// fn handle(messages: Vec<Message>) -> Vec<Result<(), Failure>> {
///     messages.iter().map(|_| Ok(())).collect()
/// }
/// ```
#[proc_macro_attribute]
pub fn batch_handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    expand(&BATCH_HANDLER, arguments.into(), &item)
        .unwrap_or_else(|error| refused(&item, &error))
        .into()
}

/// What differs between the two macros.
struct Kind {
    attribute: &'static str,
    arguments: &'static str,
    answer: &'static str,
    export: fn(&syn::Ident) -> Tokens,
}

const HANDLER: Kind = Kind {
    attribute: "#[handler]",
    arguments: "the message and, after it, `&Context`",
    answer: "Result<(), Failure>",
    export: |name| {
        quote! {
            const _: fn() = || ::holdfast_sdk::__private::assert_handler(&#name);

            #[cfg(target_arch = "wasm32")]
            const _: () = {
                struct Component;

                impl ::holdfast_sdk::__private::HandlerExport for Component {
                    fn handle(
                        message: ::holdfast_sdk::__private::WireMessage,
                    ) -> ::core::result::Result<(), ::holdfast_sdk::__private::WireFailure> {
                        ::holdfast_sdk::__private::handle(&#name, message)
                    }
                }

                ::holdfast_sdk::__private::export_consumer!(
                    Component with_types_in ::holdfast_sdk::__private::consumer
                );
            };
        }
    },
};

const BATCH_HANDLER: Kind = Kind {
    attribute: "#[batch_handler]",
    arguments: "`Vec<Message>` and, after it, `&BatchContext`",
    answer: "Vec<Result<(), Failure>>",
    export: |name| {
        quote! {
            const _: fn() = || ::holdfast_sdk::__private::assert_batch_handler(&#name);

            #[cfg(target_arch = "wasm32")]
            const _: () = {
                struct Component;

                impl ::holdfast_sdk::__private::BatchHandlerExport for Component {
                    fn handle_batch(
                        messages: ::std::vec::Vec<::holdfast_sdk::__private::WireMessage>,
                    ) -> ::std::vec::Vec<
                        ::core::result::Result<(), ::holdfast_sdk::__private::WireFailure>,
                    > {
                        ::holdfast_sdk::__private::handle_batch(&#name, messages)
                    }
                }

                ::holdfast_sdk::__private::export_batch_consumer!(
                    Component with_types_in ::holdfast_sdk::__private::batch_consumer
                );
            };
        }
    },
};

fn expand(kind: &Kind, arguments: Tokens, item: &ItemFn) -> Result<Tokens, Error> {
    let name = kind.attribute;
    if !arguments.is_empty() {
        return Err(Error::new(
            arguments.span(),
            format!("{name} takes no arguments; settings belong to the host's configuration"),
        ));
    }
    let signature = &item.sig;
    if let Some(keyword) = &signature.asyncness {
        return Err(Error::new(
            keyword.span(),
            format!("{name} functions are synchronous: the host runs each call in its own sandbox"),
        ));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new(
            signature.generics.span(),
            format!("{name} functions have no generic parameters: a host calls exactly one"),
        ));
    }
    if signature.inputs.is_empty() || signature.inputs.len() > 2 {
        return Err(Error::new(
            signature.ident.span(),
            format!("{name} functions take {}", kind.arguments),
        ));
    }
    if let syn::ReturnType::Default = signature.output {
        return Err(Error::new(
            signature.ident.span(),
            format!(
                "{name} functions return `{}`: a host must know how the call ended",
                kind.answer
            ),
        ));
    }
    let export = (kind.export)(&signature.ident);
    Ok(quote! { #item #export })
}

/// The function stays, so that the only error shown is the one that matters.
fn refused(item: &ItemFn, error: &Error) -> Tokens {
    let error = error.to_compile_error();
    quote! { #item #error }
}

#[cfg(test)]
mod tests;
