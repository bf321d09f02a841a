//! Tokens of C, as far as print formats use them.

use super::error::{PrintFmtErrorKind as Kind, Result, error};
use super::expr::IntTy;

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Ident(&'a str),
    Int(u64, IntTy),
    Str(Vec<u8>),
    /// An operator or another sign.
    Sign(&'static str),
    End,
}

/// Signs, those that begin like another one first.
const SIGNS: [&str; 39] = [
    "<<=", ">>=", "...", "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "+=", "-=", "|=",
    "&=", "++", "--", "(", ")", "[", "]", "{", "}", ",", ";", "?", ":", "+", "-", "*", "/", "%",
    "<", ">", "&", "|", "^", "!",
];

/// Splits the text into tokens with their positions. The last one is `End`.
pub(super) fn lex(text: &str) -> Result<Vec<(Token<'_>, usize)>> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let start = at;
        let token = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            b'"' => {
                let (text, end) = quoted(bytes, at, b'"')?;
                at = end;
                Token::Str(text)
            }
            b'\'' => {
                let (text, end) = quoted(bytes, at, b'\'')?;
                at = end;
                match text.as_slice() {
                    [byte] => Token::Int(*byte as i8 as u64, IntTy::INT),
                    _ => return error(start, Kind::Malformed("character")),
                }
            }
            b'0'..=b'9' => {
                at += bytes
                    .get(at..)
                    .unwrap_or_default()
                    .iter()
                    .take_while(|b| is_word(**b))
                    .count();
                number(text.get(start..at).unwrap_or_default(), start)?
            }
            b if is_word(*b) => {
                at += bytes
                    .get(at..)
                    .unwrap_or_default()
                    .iter()
                    .take_while(|b| is_word(**b))
                    .count();
                Token::Ident(text.get(start..at).unwrap_or_default())
            }
            b'~' => {
                at += 1;
                Token::Sign("~")
            }
            b'=' if bytes.get(at + 1) != Some(&b'=') => {
                at += 1;
                Token::Sign("=")
            }
            b'.' if !bytes.get(at..).unwrap_or_default().starts_with(b"...") => {
                at += 1;
                Token::Sign(".")
            }
            _ => {
                let rest = text.get(at..).unwrap_or_default();
                let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) else {
                    return error(at, Kind::BadCharacter(rest.chars().next().unwrap_or('?')));
                };
                at += sign.len();
                Token::Sign(sign)
            }
        };
        tokens.push((token, start));
    }
    tokens.push((Token::End, text.len()));
    Ok(tokens)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The bytes of a quoted text that begins at `start`, and the place after it.
fn quoted(bytes: &[u8], start: usize, quote: u8) -> Result<(Vec<u8>, usize)> {
    let what = if quote == b'"' { "string" } else { "character" };
    let mut text = Vec::new();
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => return error(start, Kind::Malformed(what)),
            Some(b) if *b == quote => return Ok((text, at + 1)),
            Some(b'\\') => {
                let (byte, len) = escape(bytes.get(at + 1..).unwrap_or_default());
                match byte {
                    Some(byte) => text.push(byte),
                    None => return error(at, Kind::Malformed(what)),
                }
                at += 1 + len;
            }
            Some(b) => {
                text.push(*b);
                at += 1;
            }
        }
    }
}

/// What follows a backslash: the byte it means and its length.
fn escape(rest: &[u8]) -> (Option<u8>, usize) {
    let Some(first) = rest.first() else {
        return (None, 0);
    };
    let byte = match first {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'v' => 11,
        b'e' => 27,
        b'x' => {
            let digits = rest
                .iter()
                .skip(1)
                .take(2)
                .take_while(|b| b.is_ascii_hexdigit())
                .count();
            let value = rest
                .get(1..1 + digits)
                .and_then(|d| std::str::from_utf8(d).ok());
            return (
                value.and_then(|v| u8::from_str_radix(v, 16).ok()),
                1 + digits,
            );
        }
        b'0'..=b'7' => {
            let digits = rest
                .iter()
                .take(3)
                .take_while(|b| (b'0'..=b'7').contains(b))
                .count();
            let value = rest
                .iter()
                .take(digits)
                .fold(0u32, |value, b| value * 8 + u32::from(b - b'0'));
            return (u8::try_from(value).ok(), digits);
        }
        other => *other,
    };
    (Some(byte), 1)
}

/// A number with its C type.
fn number(text: &str, position: usize) -> Result<Token<'_>> {
    let digits = text.trim_end_matches(['u', 'U', 'l', 'L']);
    let suffix = text
        .get(digits.len()..)
        .unwrap_or_default()
        .to_ascii_lowercase();
    let (digits, radix) = if let Some(hex) = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        (hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (digits.trim_start_matches('0'), 8)
    } else {
        (digits, 10)
    };
    let digits = if digits.is_empty() && radix == 8 {
        "0"
    } else {
        digits
    };
    let Ok(value) = u64::from_str_radix(digits, radix) else {
        return error(position, Kind::Malformed("number"));
    };
    let unsigned_suffix = suffix.contains('u');
    let long = suffix.contains('l');
    let fits_int = value <= i32::MAX as u64;
    let fits_unsigned = value <= u64::from(u32::MAX);
    let fits_long = value <= i64::MAX as u64;
    let may_be_unsigned = unsigned_suffix || radix != 10;
    let ty = if !long && fits_int && !unsigned_suffix {
        IntTy::INT
    } else if !long && fits_unsigned && may_be_unsigned {
        IntTy::UINT
    } else if fits_long && !unsigned_suffix {
        IntTy::LONG
    } else {
        IntTy::ULONG
    };
    Ok(Token::Int(value, ty))
}
