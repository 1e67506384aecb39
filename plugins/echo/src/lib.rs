//! Logs every message, and sends it back to the queue that it names.

use holdfast_sdk::{Context, Failure, Message, handler};

#[handler]
fn echo(message: Message, ctx: &Context) -> Result<(), Failure> {
    ctx.log().info(format_args!("{} bytes", message.body.len()));
    if let Some(queue) = message.header("reply-to") {
        ctx.publish(queue, message.body.clone())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
