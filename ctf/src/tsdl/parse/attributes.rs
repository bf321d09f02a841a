//! `key = value` and what the values mean.

use super::lexer::Token;
use super::{Parser, Result};
use kstrace_schema::{Base, ByteOrder};

/// The right side of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(i128),
    Text(String),
    /// A name, or several with dots between.
    Words(Vec<String>),
}

impl Value {
    pub(super) fn shown(&self) -> String {
        match self {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => format!("\"{text}\""),
            Value::Words(words) => words.join("."),
        }
    }

    /// Text, or a single name.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Words(words) => words.first().map(String::as_str),
            Value::Number(_) => None,
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Number(number) => Some(*number != 0),
            other => match other.as_text()? {
                "true" | "TRUE" => Some(true),
                "false" | "FALSE" => Some(false),
                _ => None,
            },
        }
    }
}

/// A byte order by its name; `native` only where that is known.
pub(super) fn byte_order(word: &str, native: Option<ByteOrder>) -> Option<ByteOrder> {
    match word {
        "le" => Some(ByteOrder::LittleEndian),
        "be" | "network" => Some(ByteOrder::BigEndian),
        "native" => native,
        _ => None,
    }
}

/// A base by its number or one of its names.
pub(super) fn base(value: &Value) -> Option<Base> {
    match value {
        Value::Number(2) => Some(Base::Binary),
        Value::Number(8) => Some(Base::Octal),
        Value::Number(10) => Some(Base::Decimal),
        Value::Number(16) => Some(Base::Hexadecimal),
        Value::Number(_) => None,
        other => match other.as_text()? {
            "binary" | "b" => Some(Base::Binary),
            "octal" | "oct" | "o" => Some(Base::Octal),
            "decimal" | "dec" | "d" | "i" | "u" => Some(Base::Decimal),
            "hexadecimal" | "hex" | "x" | "X" | "p" => Some(Base::Hexadecimal),
            _ => None,
        },
    }
}

impl Parser<'_> {
    /// A name with dots: `model.emf.uri`.
    pub(super) fn dotted(&mut self) -> Result<Vec<String>> {
        let mut words = vec![self.word()?];
        while self.is_mark(".") || self.is_mark("->") {
            self.at += 1;
            words.push(self.word()?);
        }
        Ok(words)
    }

    pub(super) fn value(&mut self) -> Result<Value> {
        let negative = self.take_mark("-");
        if !negative {
            self.take_mark("+");
        }
        match self.peek() {
            Some(Token::Number(number)) => {
                let number = i128::from(*number);
                self.at += 1;
                Ok(Value::Number(if negative { -number } else { number }))
            }
            Some(Token::Text(_)) if !negative => {
                let mut all = String::new();
                while let Some(Token::Text(text)) = self.peek() {
                    all.push_str(text);
                    self.at += 1;
                }
                Ok(Value::Text(all))
            }
            Some(Token::Word(_)) if !negative => Ok(Value::Words(self.dotted()?)),
            other => {
                let found = other.map_or_else(|| "the end".to_owned(), Token::shown);
                self.fail(format!("expected a value, found {found}"))
            }
        }
    }

    /// `key = value;` after the key.
    pub(super) fn assigned(&mut self) -> Result<Value> {
        self.expect("=")?;
        let value = self.value()?;
        self.expect(";")?;
        Ok(value)
    }

    /// A number that fits.
    pub(super) fn number<T: TryFrom<i128>>(&self, key: &str, value: &Value) -> Result<T> {
        let number = match value {
            Value::Number(number) => T::try_from(*number).ok(),
            _ => None,
        };
        number.map_or_else(
            || self.fail(format!("{key} is {}: not a number in range", value.shown())),
            Ok,
        )
    }
}
