//! Print formats: the text of an event as the kernel itself would write it.
//!
//! The last line of a format file is the C source of a `printf` call: a format
//! string and expressions over the event's fields. [`PrintFmt::compile`] parses
//! and types it once; [`PrintFmt::render`] then writes the text of one entry,
//! with no allocation but the growth of the output.
//!
//! Known: the integer part of C with its types and promotions, casts, `sizeof`,
//! `?:`, array elements, GNU statement expressions; all conversions of the kernel's
//! `vsnprintf` whose data are in the entry; and its helpers (`__get_str`,
//! `__print_flags`, `__print_symbolic`, `__print_array`, ...).
//!
//! Different from the kernel's own text on purpose: `%p` is the address in the
//! entry, never hashed; a string in the kernel's memory is looked up by
//! [`Symbols::printk_string`] and is an address where that knows nothing; what
//! lies behind the end of a short entry is `<truncated>`.

mod arith;
mod calls;
mod constants;
mod directive;
mod error;
mod eval;
mod expr;
mod fallback;
mod lexer;
mod number;
mod parser;
mod pointer;
mod program;
mod symbols;
mod text;
mod value;

pub use constants::{BtfConstants, BtfError, Constants, NoConstants};
pub use error::{PrintFmtError, PrintFmtErrorKind};
pub use symbols::{KernelSymbol, KernelText, NoSymbols, Symbols};

use crate::format::EventFormat;
use error::Result;
use expr::{IntExpr, Names, TextExpr};
use lexer::Token;
use parser::Parser;
use program::Op;

/// A compiled print format.
#[derive(Clone, Debug)]
pub struct PrintFmt {
    ops: Box<[Op]>,
    unknown: Box<[Box<str>]>,
    missing: Box<[Box<str>]>,
}

impl PrintFmt {
    /// Compiles an event's print format.
    ///
    /// # Errors
    /// [`PrintFmtError`] with the place in the text. [`PrintFmt::fields`] can do
    /// without the print format.
    pub fn compile(format: &EventFormat) -> Result<Self> {
        Self::compile_with(format, &NoConstants)
    }

    /// Compiles an event's print format with values for the names of the kernel's constants.
    ///
    /// # Errors
    /// As [`PrintFmt::compile`].
    pub fn compile_with(format: &EventFormat, constants: &dyn Constants) -> Result<Self> {
        let tokens = lexer::lex(&format.print_fmt)?;
        let mut parser = Parser::new(&tokens, format, constants);
        let position = parser.position();
        let text = parser.string()?;
        let pieces = directive::split(&text, position)?;
        let mut arguments = Vec::new();
        while parser.accept(",") {
            let position = parser.position();
            arguments.push((parser.expression()?, position));
        }
        if *parser.peek() != Token::End {
            return parser.unexpected("',' or the end");
        }
        let boxed = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        let (unknown, missing) = (boxed(&parser.unknown), boxed(&parser.missing));
        Ok(PrintFmt {
            unknown,
            missing,
            ops: program::grouped(program::build(pieces, arguments)?).into(),
        })
    }

    /// Writes the event's own fields as `name=value`, for an event whose print
    /// format cannot be compiled.
    pub fn fields(format: &EventFormat) -> Self {
        PrintFmt {
            unknown: Box::default(),
            missing: Box::default(),
            ops: program::grouped(fallback::fields(format)).into(),
        }
    }

    /// Names of the kernel's constants that were not known and are left out of the
    /// text. To keep a trace readable elsewhere, look them up where it is recorded
    /// (in [`BtfConstants`]) and give them to [`PrintFmt::compile_with`].
    pub fn missing_constants(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().map(|name| &**name)
    }

    /// The names that the text gives to the values of plain fields, by the field's
    /// offset: what `__print_symbolic(REC->field, ...)` says. Of several names for
    /// one value the first counts.
    pub fn value_names(&self) -> impl Iterator<Item = (u32, ValueNames<'_>)> {
        let mut found = Vec::new();
        for op in &self.ops {
            if let Op::Text(text) | Op::PaddedText { text, .. } = op {
                value_names(text, &mut found);
            }
        }
        found.into_iter()
    }

    /// Compiles an event's print format; [`PrintFmt::fields`] and the error if that fails.
    pub fn compile_or_fields(format: &EventFormat) -> (Self, Option<PrintFmtError>) {
        Self::compile_or_fields_with(format, &NoConstants)
    }

    /// As [`PrintFmt::compile_or_fields`], with values for the names of the kernel's constants.
    pub fn compile_or_fields_with(
        format: &EventFormat,
        constants: &dyn Constants,
    ) -> (Self, Option<PrintFmtError>) {
        match Self::compile_with(format, constants) {
            Ok(compiled) => (compiled, None),
            Err(error) => (Self::fields(format), Some(error)),
        }
    }

    /// Variables and functions of the kernel that the text needs (`jiffies`,
    /// `vmemmap_base`, ...). What depends on them is `<unknown>` in the text.
    pub fn unknown_names(&self) -> impl Iterator<Item = &str> {
        self.unknown.iter().map(|name| &**name)
    }

    /// Whether the text can only consist of numbers and of the format's own words, none of which
    /// has a control character.
    pub fn is_tame(&self) -> bool {
        self.ops.iter().all(Op::is_tame)
    }

    /// Appends the text of an entry to `out`, without a newline of its own.
    ///
    /// `entry` begins with the `common_*` fields. It may be too short, or hold
    /// anything: what cannot be read leaves a marker such as `<truncated>`.
    pub fn render(&self, entry: &[u8], symbols: &dyn Symbols, out: &mut Vec<u8>) {
        program::run(&self.ops, entry, symbols, out);
    }
}

/// Names of a field's values; see [`PrintFmt::value_names`].
#[derive(Clone, Copy, Debug)]
pub struct ValueNames<'a> {
    names: &'a Names,
}

impl<'a> ValueNames<'a> {
    /// Values, extended to 64 bits by the sign of their C type, and their names.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        self.names
            .values
            .iter()
            .copied()
            .zip(self.names.names.iter().map(|name| &**name))
    }
}

fn value_names<'a>(text: &'a TextExpr, found: &mut Vec<(u32, ValueNames<'a>)>) {
    match text {
        TextExpr::Symbolic {
            value: IntExpr::Field { offset, .. },
            names,
        } if !found.iter().any(|(have, _)| have == offset) => {
            found.push((*offset, ValueNames { names }));
        }
        TextExpr::Cond(parts) => {
            value_names(&parts.1, found);
            value_names(&parts.2, found);
        }
        _ => {}
    }
}
