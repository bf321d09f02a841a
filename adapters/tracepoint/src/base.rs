//! Which integers people prefer to read in hexadecimal.

use kstrace_schema::Base;
use tracefs::format::FormatField;

/// Names of fields that hold addresses, masks or other bit patterns.
const HEXADECIMAL: [&str; 24] = [
    "address",
    "addr",
    "args",
    "attrs",
    "base",
    "call_site",
    "caller",
    "callsite",
    "error_code",
    "flags",
    "func",
    "function",
    "fn",
    "gfp_flags",
    "hrtimer",
    "ip",
    "location",
    "mask",
    "parent_ip",
    "pc",
    "ptr",
    "rip",
    "sp",
    "timer",
];

/// The base for a field, from its type and name.
pub(crate) fn preferred(event: &str, field: &FormatField) -> Base {
    let name = field.name.as_str();
    let system_call_argument = event.starts_with("syscalls:sys_enter_") && name != "__syscall_nr";
    let address_like = !field.signed
        && (HEXADECIMAL.contains(&name)
            || name.contains("addr")
            || name.ends_with("_ip")
            || name.ends_with("_flags")
            || name.ends_with("_ptr"));
    if field.is_pointer() || address_like || (system_call_argument && field.size_bytes == 8) {
        Base::Hexadecimal
    } else {
        Base::Decimal
    }
}
