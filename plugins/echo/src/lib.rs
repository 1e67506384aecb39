//! Sends every message back to the queue that it names.

use holdfast_sdk::{Context, Failure, Message, OrReject, handler};

#[handler]
fn echo(message: Message, ctx: &Context) -> Result<(), Failure> {
    ctx.log().info(format_args!("{} bytes", message.body.len()));
    let queue = message.header("reply-to").or_reject("no reply-to header")?;
    ctx.publish(queue, message.body.clone())?;
    Ok(())
}

#[cfg(test)]
mod tests;
