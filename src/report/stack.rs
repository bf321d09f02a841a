//! The frames of a stack.

use super::number;
use super::symbols::{Context, FIRST_CONTEXT_MARK, Frame, Symbols};
use kstrace_schema::decode::{FieldAccess, Value};

/// The end of ftrace's fixed-size stacks.
const END_OF_STACK: u64 = u64::MAX;

/// Calls `each` for every frame, innermost first, with its address and what that is.
/// The kernel's marks decide whose the addresses after them are.
pub(super) fn for_each_frame(
    callchain: &FieldAccess,
    payload: &[u8],
    pid: i32,
    symbols: &mut Symbols,
    mut each: impl FnMut(u64, Option<&Frame>),
) {
    let Some(Value::Array(addresses)) = callchain.get(payload) else {
        return;
    };
    let mut context = None;
    for address in addresses.iter().filter_map(|v| v.as_u64()) {
        if address == END_OF_STACK {
            break;
        }
        if address >= FIRST_CONTEXT_MARK {
            context = Some(Context::of_mark(address));
            continue;
        }
        let context = context.unwrap_or_else(|| Context::of_address(address));
        let frame = symbols
            .enabled()
            .then(|| symbols.frame(context, pid, address));
        each(address, frame);
    }
}

/// `symbol+0xoffset (file)`, with `[unknown]` for what is not known.
pub(super) fn write_frame(out: &mut Vec<u8>, frame: &Frame) {
    match &frame.symbol {
        Some((name, offset)) => {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"+0x");
            number::hex(out, *offset);
        }
        None => out.extend_from_slice(b"[unknown]"),
    }
    out.extend_from_slice(b" (");
    super::fields_text::escaped(out, frame.dso.as_deref().unwrap_or("[unknown]").as_bytes());
    out.push(b')');
}
