//! What is known of C types by their name.

/// Size and sign of a C type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CType {
    /// Size in bytes.
    pub size_bytes: u32,
    /// Whether it is a signed integer.
    pub signed: bool,
    /// Whether it is `char` or `signed char`: text rather than numbers.
    pub text: bool,
    /// Whether it is a pointer.
    pub pointer: bool,
}

const fn integer(size_bytes: u32, signed: bool) -> CType {
    CType {
        size_bytes,
        signed,
        text: false,
        pointer: false,
    }
}

/// The type of that name on a 64-bit kernel, if the name says it.
///
/// Knows C's own types, the kernel's fixed-width ones, enumerations, pointers,
/// and the typedefs whose size is the same on every architecture. `None` for the others:
/// the format file then has to say the size.
pub fn known_type(name: &str) -> Option<CType> {
    if name.contains('*') {
        return Some(CType {
            size_bytes: 8,
            signed: false,
            text: false,
            pointer: true,
        });
    }
    let mut words = [""; 4];
    let mut count = 0;
    for word in name.split_ascii_whitespace() {
        if matches!(
            word,
            "const" | "volatile" | "__force" | "__user" | "__kernel"
        ) {
            continue;
        }
        *words.get_mut(count)? = word;
        count += 1;
    }
    Some(match words.get(..count)? {
        ["char"] | ["signed", "char"] => CType {
            text: true,
            ..integer(1, true)
        },
        ["unsigned", "char"] | ["bool"] | ["_Bool"] => integer(1, false),
        ["short"] | ["short", "int"] | ["signed", "short"] => integer(2, true),
        ["unsigned", "short"] | ["unsigned", "short", "int"] => integer(2, false),
        ["int"] | ["signed"] | ["signed", "int"] => integer(4, true),
        ["unsigned"] | ["unsigned", "int"] | ["uint"] => integer(4, false),
        ["enum", _] => integer(4, false),
        ["long"] | ["long", "int"] | ["signed", "long"] | ["long", "long"] => integer(8, true),
        ["long", "long", "int"] | ["signed", "long", "long"] => integer(8, true),
        ["unsigned", "long"] | ["unsigned", "long", "int"] | ["unsigned", "long", "long"] => {
            integer(8, false)
        }
        [word] => match *word {
            "s8" | "__s8" | "int8_t" => integer(1, true),
            "u8" | "__u8" | "uint8_t" | "u_char" => integer(1, false),
            "s16" | "__s16" | "int16_t" => integer(2, true),
            "u16" | "__u16" | "uint16_t" | "__le16" | "__be16" | "umode_t" => integer(2, false),
            "s32" | "__s32" | "int32_t" | "pid_t" => integer(4, true),
            "u32" | "__u32" | "uint32_t" | "__le32" | "__be32" | "gfp_t" | "dev_t" | "uid_t"
            | "gid_t" => integer(4, false),
            "s64" | "__s64" | "int64_t" | "loff_t" | "ssize_t" | "time64_t" | "ktime_t" => {
                integer(8, true)
            }
            "u64" | "__u64" | "uint64_t" | "__le64" | "__be64" | "size_t" | "sector_t"
            | "uintptr_t" => integer(8, false),
            _ => return None,
        },
        _ => return None,
    })
}
