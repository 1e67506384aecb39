use super::*;

fn refusal(kind: &Kind, arguments: &str, item: &str) -> String {
    let item: ItemFn = syn::parse_str(item).expect("a function");
    expand(kind, arguments.parse().expect("tokens"), &item)
        .expect_err("the function must be refused")
        .to_string()
}

#[test]
fn a_handler_keeps_its_function_and_gains_an_export_for_wasm_only() {
    let item = syn::parse_str("fn f(m: Message) -> Result<(), Failure> { Ok(()) }").unwrap();
    let expanded = expand(&HANDLER, Tokens::new(), &item).unwrap().to_string();
    assert!(expanded.starts_with("fn f (m : Message)"));
    assert!(expanded.contains(r#"cfg (target_arch = "wasm32")"#));
    assert!(expanded.contains("export_consumer"));
}

#[test]
fn an_async_handler_is_refused_with_the_reason() {
    let message = refusal(
        &HANDLER,
        "",
        "async fn f(m: Message) -> Result<(), Failure> { Ok(()) }",
    );
    assert!(message.contains("synchronous"), "{message}");
}

#[test]
fn a_generic_handler_is_refused() {
    let message = refusal(
        &HANDLER,
        "",
        "fn f<T>(m: Json<T>) -> Result<(), Failure> { Ok(()) }",
    );
    assert!(message.contains("generic"), "{message}");
}

#[test]
fn a_handler_without_a_message_or_with_too_many_arguments_is_told_what_it_takes() {
    for item in [
        "fn f() -> Result<(), Failure> { Ok(()) }",
        "fn f(a: Message, b: &Context, c: u8) -> Result<(), Failure> { Ok(()) }",
    ] {
        let message = refusal(&HANDLER, "", item);
        assert!(message.contains("`&Context`"), "{message}");
    }
}

#[test]
fn a_handler_that_returns_nothing_is_told_what_to_return() {
    let message = refusal(&HANDLER, "", "fn f(m: Message) {}");
    assert!(message.contains("Result<(), Failure>"), "{message}");
    let message = refusal(&BATCH_HANDLER, "", "fn f(m: Vec<Message>) {}");
    assert!(message.contains("Vec<Result<(), Failure>>"), "{message}");
}

#[test]
fn arguments_of_the_attribute_are_refused() {
    let message = refusal(
        &HANDLER,
        "retries = 3",
        "fn f(m: Message) -> Result<(), Failure> { Ok(()) }",
    );
    assert!(message.contains("configuration"), "{message}");
}
