//! TSDL text as tokens.

use super::TsdlError;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// An identifier or keyword.
    Word(String),
    /// A literal in double or single quotes, unescaped.
    Text(String),
    /// An integer literal.
    Number(u64),
    /// Punctuation: `;`, `:=`, `...`, `->` and the like.
    Mark(&'static str),
}

impl Token {
    /// For messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Token::Word(word) => format!("'{word}'"),
            Token::Text(text) => format!("\"{text}\""),
            Token::Number(number) => number.to_string(),
            Token::Mark(mark) => format!("'{mark}'"),
        }
    }
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) line: u32,
    /// Byte offset of its first byte, and of the byte after it.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Longest first, so that `:=` is not taken for `:`.
const MARKS: [&str; 22] = [
    "...", ":=", "->", "{", "}", "(", ")", "[", "]", "<", ">", ";", ":", ",", "=", ".", "*", "+",
    "-", "@", "~", "&",
];

/// Splits `text` into tokens, up to what is none; comments and directives (`#`) are left out.
pub(super) fn tokens(text: &str) -> (Vec<Placed>, Option<TsdlError>) {
    let mut out = Vec::new();
    let damage = split(text, &mut out).err();
    (out, damage)
}

fn split(text: &str, out: &mut Vec<Placed>) -> Result<(), TsdlError> {
    let bytes = text.as_bytes();
    let mut line = 1u32;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let rest = &bytes[at..];
        match byte {
            b'\n' => {
                line = line.saturating_add(1);
                at += 1;
                continue;
            }
            b' ' | b'\t' | b'\r' | 0x0b | 0x0c | 0 => {
                at += 1;
                continue;
            }
            b'#' => {
                at += until(rest, b"\n").unwrap_or(rest.len());
                continue;
            }
            b'/' if rest.starts_with(b"//") => {
                at += until(rest, b"\n").unwrap_or(rest.len());
                continue;
            }
            b'/' if rest.starts_with(b"/*") => {
                let end = until(&rest[2..], b"*/")
                    .ok_or_else(|| TsdlError::at(line, "comment without end"))?;
                let comment = &rest[..end + 4];
                line = line.saturating_add(comment.iter().filter(|b| **b == b'\n').count() as u32);
                at += comment.len();
                continue;
            }
            b'"' | b'\'' => {
                let (text, len) = literal(rest, byte, line)?;
                at += len;
                out.push(Placed {
                    token: Token::Text(text),
                    line,
                    start,
                    end: at,
                });
                continue;
            }
            b'0'..=b'9' => {
                let (number, len) = number(rest, line)?;
                at += len;
                out.push(Placed {
                    token: Token::Number(number),
                    line,
                    start,
                    end: at,
                });
                continue;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let len = rest
                    .iter()
                    .position(|b| !(b.is_ascii_alphanumeric() || *b == b'_'))
                    .unwrap_or(rest.len());
                let word = String::from_utf8_lossy(&rest[..len]).into_owned();
                at += len;
                // `L"..."`: the prefix says nothing here.
                if word == "L" && matches!(bytes.get(at), Some(b'"' | b'\'')) {
                    continue;
                }
                out.push(Placed {
                    token: Token::Word(word),
                    line,
                    start,
                    end: at,
                });
                continue;
            }
            _ => {}
        }
        let Some(mark) = MARKS.iter().find(|m| rest.starts_with(m.as_bytes())) else {
            return Err(TsdlError::at(
                line,
                format!("byte {byte:#04x} begins no token"),
            ));
        };
        at += mark.len();
        out.push(Placed {
            token: Token::Mark(mark),
            line,
            start,
            end: at,
        });
    }
    Ok(())
}

fn until(bytes: &[u8], end: &[u8]) -> Option<usize> {
    bytes.windows(end.len()).position(|w| w == end)
}

fn number(bytes: &[u8], line: u32) -> Result<(u64, usize), TsdlError> {
    let len = bytes
        .iter()
        .position(|b| !b.is_ascii_alphanumeric())
        .unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..len]);
    let digits = text.trim_end_matches(['u', 'U', 'l', 'L']);
    let parsed = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => u64::from_str_radix(&digits[2..], 16),
        [b'0', b'b' | b'B', ..] => u64::from_str_radix(&digits[2..], 2),
        [b'0', _, ..] => u64::from_str_radix(&digits[1..], 8),
        _ => digits.parse(),
    };
    parsed
        .map(|n| (n, len))
        .map_err(|_| TsdlError::at(line, format!("'{text}' is no 64-bit number")))
}

/// A quoted literal and its length with the quotes.
fn literal(bytes: &[u8], quote: u8, line: u32) -> Result<(String, usize), TsdlError> {
    let mut out = Vec::new();
    let mut at = 1;
    loop {
        let byte = match bytes.get(at) {
            None | Some(b'\n') => return Err(TsdlError::at(line, "literal without end")),
            Some(byte) => *byte,
        };
        at += 1;
        if byte == quote {
            break;
        }
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let escape = *bytes
            .get(at)
            .ok_or_else(|| TsdlError::at(line, "literal without end"))?;
        at += 1;
        match escape {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'v' => out.push(11),
            b'e' => out.push(27),
            b'0'..=b'7' => {
                let mut value = u32::from(escape - b'0');
                let mut digits = 1;
                while digits < 3
                    && let Some(digit @ b'0'..=b'7') = bytes.get(at)
                {
                    value = value * 8 + u32::from(digit - b'0');
                    at += 1;
                    digits += 1;
                }
                out.push(value as u8);
            }
            b'x' => {
                let mut value = 0u32;
                let mut digits = 0;
                while digits < 2
                    && let Some(digit) = bytes.get(at).and_then(|b| char::from(*b).to_digit(16))
                {
                    value = value * 16 + digit;
                    at += 1;
                    digits += 1;
                }
                out.push(value as u8);
            }
            b'u' | b'U' => {
                let wanted = if escape == b'u' { 4 } else { 8 };
                let text = bytes.get(at..at + wanted).unwrap_or_default();
                let code = std::str::from_utf8(text)
                    .ok()
                    .and_then(|t| u32::from_str_radix(t, 16).ok())
                    .and_then(char::from_u32)
                    .ok_or_else(|| {
                        TsdlError::at(line, "universal character name is no character")
                    })?;
                at += wanted;
                out.extend_from_slice(code.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => out.push(other),
        }
    }
    Ok((String::from_utf8_lossy(&out).into_owned(), at))
}
