//! The format string: literal text and conversions, as the kernel's `vsnprintf` reads them.

use super::error::{PrintFmtErrorKind as Kind, Result, error};

/// Largest width or precision that is obeyed.
pub(super) const MAX_WIDTH: usize = 1024;

/// A width or a precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    None,
    Fixed(usize),
    /// `*`: the next argument.
    Argument,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) left: bool,
    pub(super) plus: bool,
    pub(super) space: bool,
    pub(super) alternative: bool,
    pub(super) zero: bool,
}

/// How an integer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IntStyle {
    pub(super) size: u8,
    pub(super) signed: bool,
    /// 8, 10 or 16.
    pub(super) base: u8,
    pub(super) upper: bool,
}

/// What a pointer conversion makes of its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pointer {
    /// The address in 16 hexadecimal digits.
    Address,
    /// `%pS`: symbol, offset, size. `%pB` looks one byte further down.
    Symbol {
        backtrace: bool,
    },
    /// `%ps`: symbol.
    SymbolName,
    /// `%pe`: an error number.
    Error,
    Mac {
        separator: Option<u8>,
        reversed: bool,
    },
    Ip4 {
        padded: bool,
        reversed: bool,
    },
    Ip6 {
        style: Ip6Style,
    },
    SockAddr {
        style: Ip6Style,
        padded: bool,
        port: bool,
        flow: bool,
        scope: bool,
    },
    Uuid {
        upper: bool,
        little_endian: bool,
    },
    /// `%*ph`.
    HexDump {
        separator: Option<u8>,
    },
    /// `%*pb`, `%*pbl`.
    Bitmap {
        list: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ip6Style {
    Full,
    NoColons,
    Compressed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conversion {
    Int(IntStyle),
    Char,
    Text,
    Pointer(Pointer),
}

/// A piece of the format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(Vec<u8>),
    Directive {
        flags: Flags,
        width: Size,
        precision: Size,
        conversion: Conversion,
    },
}

/// Splits a format string. `position` is where it begins, for errors.
pub(super) fn split(format: &[u8], position: usize) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    let mut rest = format;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            literal.push(*byte);
            continue;
        }
        let mut cursor = Cursor { rest };
        let piece = match cursor.directive() {
            Ok(piece) => piece,
            Err(len) => {
                let shown = rest.get(..len.min(rest.len())).unwrap_or_default();
                let shown = String::from_utf8_lossy(shown).into_owned();
                return error(position, Kind::UnknownConversion(shown));
            }
        };
        rest = cursor.rest;
        match piece {
            None => literal.push(b'%'),
            Some(piece) => {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(piece);
            }
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn accept(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// What follows a `%`; `None` for `%%`. An error gives the length of what is not understood.
    fn directive(&mut self) -> std::result::Result<Option<Piece>, usize> {
        let start = self.rest.len();
        let mut flags = Flags::default();
        loop {
            match self.peek() {
                Some(b'-') => flags.left = true,
                Some(b'+') => flags.plus = true,
                Some(b' ') => flags.space = true,
                Some(b'#') => flags.alternative = true,
                Some(b'0') => flags.zero = true,
                _ => break,
            }
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        let width = self.size();
        let precision = if self.accept(b'.') {
            match self.size() {
                Size::None => Size::Fixed(0),
                size => size,
            }
        } else {
            Size::None
        };
        let size = self.length();
        let consumed = start - self.rest.len();
        let Some((letter, rest)) = self.rest.split_first() else {
            return Err(consumed);
        };
        self.rest = rest;
        let int = |signed, base, upper| {
            Conversion::Int(IntStyle {
                size,
                signed,
                base,
                upper,
            })
        };
        let conversion = match letter {
            b'%' => return Ok(None),
            b'd' | b'i' => int(true, 10, false),
            b'u' => int(false, 10, false),
            b'x' => int(false, 16, false),
            b'X' => int(false, 16, true),
            b'o' => int(false, 8, false),
            b'c' => Conversion::Char,
            b's' => Conversion::Text,
            b'p' => {
                let len = self
                    .rest
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric())
                    .count();
                let (suffix, rest) = self.rest.split_at(len);
                self.rest = rest;
                Conversion::Pointer(pointer(suffix).ok_or(consumed + 1 + len)?)
            }
            _ => return Err(consumed + 1),
        };
        Ok(Some(Piece::Directive {
            flags,
            width,
            precision,
            conversion,
        }))
    }

    fn size(&mut self) -> Size {
        if self.accept(b'*') {
            return Size::Argument;
        }
        let mut size = None;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            let value = size.unwrap_or(0usize) * 10 + usize::from(digit - b'0');
            size = Some(value.min(MAX_WIDTH));
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        size.map_or(Size::None, Size::Fixed)
    }

    /// The length modifier, as bytes of the integer.
    fn length(&mut self) -> u8 {
        if self.accept(b'h') {
            return if self.accept(b'h') { 1 } else { 2 };
        }
        let mut size = 4;
        while let Some(b'l' | b'L' | b'z' | b'Z' | b't' | b'j' | b'q') = self.peek() {
            size = 8;
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        size
    }
}

/// What follows `%p`.
fn pointer(suffix: &[u8]) -> Option<Pointer> {
    let style = |rest: &[u8], six: bool| match (six, rest.contains(&b'c')) {
        (true, true) => Ip6Style::Compressed,
        (true, false) => Ip6Style::Full,
        (false, _) => Ip6Style::NoColons,
    };
    Some(match suffix {
        [] | [b'x' | b'K'] => Pointer::Address,
        [b'S' | b'F', b'R' | b'b', ..] | [b'S' | b'F'] => Pointer::Symbol { backtrace: false },
        [b'B', ..] => Pointer::Symbol { backtrace: true },
        [b's' | b'f', ..] => Pointer::SymbolName,
        [b'e'] => Pointer::Error,
        [b'M', rest @ ..] => Pointer::Mac {
            separator: Some(if rest.contains(&b'F') { b'-' } else { b':' }),
            reversed: rest.contains(&b'R'),
        },
        [b'm', rest @ ..] => Pointer::Mac {
            separator: None,
            reversed: rest.contains(&b'R'),
        },
        [letter @ (b'I' | b'i'), b'4', rest @ ..] => Pointer::Ip4 {
            padded: *letter == b'i',
            reversed: (rest.contains(&b'h') && cfg!(target_endian = "little"))
                || rest.contains(&b'l'),
        },
        [letter @ (b'I' | b'i'), b'6', rest @ ..] => Pointer::Ip6 {
            style: style(rest, *letter == b'I'),
        },
        [letter @ (b'I' | b'i'), b'S', rest @ ..] => Pointer::SockAddr {
            style: style(rest, *letter == b'I'),
            padded: *letter == b'i',
            port: rest.contains(&b'p'),
            flow: rest.contains(&b'f'),
            scope: rest.contains(&b's'),
        },
        [b'U', rest @ ..] => Pointer::Uuid {
            upper: matches!(rest.first(), Some(b'L' | b'B')),
            little_endian: matches!(rest.first(), Some(b'L' | b'l')),
        },
        [b'h', rest @ ..] => Pointer::HexDump {
            separator: match rest.first() {
                Some(b'C') => Some(b':'),
                Some(b'D') => Some(b'-'),
                Some(b'N') => None,
                _ => Some(b' '),
            },
        },
        [b'b', rest @ ..] => Pointer::Bitmap {
            list: rest.first() == Some(&b'l'),
        },
        _ => return None,
    })
}
