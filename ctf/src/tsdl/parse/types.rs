//! Types: what stands left of a name.

use super::attributes::{Value, base, byte_order};
use super::lexer::Token;
use super::{Parser, Result};
use crate::ir::{
    ArrayLength, Encoding, IntType, Lookup, MemberType, OptionType, Origin, Roles, SequenceKind,
    StructType, Type, TypeKind,
};
use kstrace_schema::{Base, IntegerRange, Mapping};
use std::sync::Arc;

/// Words of C that are types, or parts of their names.
const C_TYPES: [&str; 14] = [
    "void",
    "char",
    "short",
    "int",
    "long",
    "float",
    "double",
    "signed",
    "unsigned",
    "_Bool",
    "_Complex",
    "_Imaginary",
    "const",
    "complex",
];
/// An alignment is a power of two up to this.
const ALIGN_BITS_MAX: u32 = 1 << 16;

/// One `[...]` behind a name.
pub(super) enum Dimension {
    Static(u64),
    Dynamic(Lookup),
}

impl Parser<'_> {
    fn new_type(&self, kind: TypeKind) -> Result<Arc<Type>> {
        Type::new(kind).map_or_else(
            || self.fail("a type of too many parts, or nested too deeply"),
            Ok,
        )
    }

    /// A type, its name not included.
    pub(super) fn type_specifier(&mut self) -> Result<Arc<Type>> {
        while self.take_word("const") {}
        match self.peek() {
            Some(Token::Word(word)) => match word.as_str() {
                "integer" => {
                    self.at += 1;
                    self.integer()
                }
                "floating_point" => {
                    self.at += 1;
                    self.floating_point()
                }
                "string" => {
                    self.at += 1;
                    self.string()
                }
                "struct" => {
                    self.at += 1;
                    self.structure()
                }
                "variant" => {
                    self.at += 1;
                    self.variant()
                }
                "enum" => {
                    self.at += 1;
                    self.enumeration()
                }
                _ => self.named_type(),
            },
            other => {
                let found = other.map_or_else(|| "the end".to_owned(), Token::shown);
                self.fail(format!("expected a type, found {found}"))
            }
        }
    }

    /// The words of a type's name: `unsigned long`, `uint32_t`, with `*` for pointers.
    fn type_name(&mut self) -> Result<String> {
        let mut name = String::new();
        let mut own = false;
        while let Some(Token::Word(word)) = self.peek() {
            let c_word = C_TYPES.contains(&word.as_str());
            // After a whole name comes the field's.
            if !c_word && !name.is_empty() {
                break;
            }
            if own {
                break;
            }
            own = !c_word;
            let word = word.clone();
            self.at += 1;
            if word == "const" {
                continue;
            }
            if !name.is_empty() {
                name.push(' ');
            }
            name.push_str(&word);
        }
        while self.take_mark("*") {
            name.push_str(" *");
            while self.take_word("const") {}
        }
        Ok(name)
    }

    fn named_type(&mut self) -> Result<Arc<Type>> {
        let name = self.type_name()?;
        match self.found(&name, |s| &s.aliases) {
            Some(found) => Ok(found),
            None => self.fail(format!("unknown type '{name}'")),
        }
    }

    /// `{ key = value; ... }`, each shown to `each`.
    fn attributes(
        &mut self,
        mut each: impl FnMut(&mut Self, &str, &Value) -> Result<()>,
    ) -> Result<()> {
        self.braces(|p| {
            while !p.is_mark("}") {
                let key = p.word()?;
                let value = p.assigned()?;
                each(p, &key, &value)?;
            }
            Ok(())
        })
    }

    fn alignment(&self, value: &Value) -> Result<u32> {
        let align = self.number::<u32>("align", value)?;
        if align.is_power_of_two() && align <= ALIGN_BITS_MAX {
            Ok(align)
        } else {
            self.fail(format!(
                "align is {align}, allowed are powers of two up to {ALIGN_BITS_MAX}"
            ))
        }
    }

    fn encoding(&self, value: &Value) -> Result<Option<Encoding>> {
        match value.as_text() {
            Some("UTF8" | "utf8" | "utf-8" | "UTF-8" | "ASCII" | "ascii") => {
                Ok(Some(Encoding::Utf8))
            }
            Some("none" | "NONE") => Ok(None),
            _ => self.fail(format!(
                "encoding is {}, allowed are none, UTF8, ASCII",
                value.shown()
            )),
        }
    }

    fn integer(&mut self) -> Result<Arc<Type>> {
        let mut size = None;
        let mut align = None;
        let mut int = IntType {
            size_bits: 0,
            align_bits: 1,
            signed: false,
            order: self.order,
            base: Base::Decimal,
            encoding: None,
            clock: None,
            mappings: None,
            roles: Roles::default(),
            boolean: false,
        };
        let native = self.order;
        self.attributes(|p, key, value| {
            match key {
                "size" => size = Some(p.number::<u32>(key, value)?),
                "align" => align = Some(p.alignment(value)?),
                "signed" => match value.as_bool() {
                    Some(signed) => int.signed = signed,
                    None => {
                        return p.fail(format!(
                            "signed is {}, allowed are true, false",
                            value.shown()
                        ));
                    }
                },
                "byte_order" => match value.as_text().and_then(|w| byte_order(w, Some(native))) {
                    Some(order) => int.order = order,
                    None => {
                        return p.fail(format!(
                            "byte_order is {}, allowed are le, be, network, native",
                            value.shown()
                        ));
                    }
                },
                "base" => match base(value) {
                    Some(base) => int.base = base,
                    None => {
                        return p.fail(format!(
                            "base is {}, allowed are 2, 8, 10, 16",
                            value.shown()
                        ));
                    }
                },
                "encoding" => int.encoding = p.encoding(value)?,
                "map" => match value {
                    Value::Words(words) if words.len() >= 2 && words[0] == "clock" => {
                        int.clock = Some(words[1].as_str().into());
                    }
                    _ => {
                        return p.fail(format!(
                            "map is {}, allowed is clock.NAME.value",
                            value.shown()
                        ));
                    }
                },
                // A later writer's: it cannot change the layout.
                _ => {}
            }
            Ok(())
        })?;
        int.size_bits = match size {
            Some(size) if (1..=64).contains(&size) => size,
            Some(size) => return self.fail(format!("size is {size} bits, allowed are 1 to 64")),
            None => return self.fail("an integer needs a size"),
        };
        int.align_bits = align.unwrap_or(if int.size_bits.is_multiple_of(8) {
            8
        } else {
            1
        });
        self.new_type(TypeKind::Int(int))
    }

    fn floating_point(&mut self) -> Result<Arc<Type>> {
        let (mut exponent, mut mantissa) = (0u32, 0u32);
        let mut align = None;
        let native = self.order;
        let mut order = native;
        self.attributes(|p, key, value| {
            match key {
                "exp_dig" => exponent = p.number(key, value)?,
                "mant_dig" => mantissa = p.number(key, value)?,
                "align" => align = Some(p.alignment(value)?),
                "byte_order" => match value.as_text().and_then(|w| byte_order(w, Some(native))) {
                    Some(found) => order = found,
                    None => {
                        return p.fail(format!(
                            "byte_order is {}, allowed are le, be, network, native",
                            value.shown()
                        ));
                    }
                },
                _ => {}
            }
            Ok(())
        })?;
        let size_bits = match (exponent, mantissa) {
            (8, 24) => 32,
            (11, 53) => 64,
            _ => {
                return self.fail(format!(
                    "exp_dig and mant_dig are {exponent} and {mantissa}, allowed are 8 and 24, 11 and 53"
                ));
            }
        };
        self.new_type(TypeKind::Float {
            size_bits,
            align_bits: align.unwrap_or(8),
            order,
        })
    }

    fn string(&mut self) -> Result<Arc<Type>> {
        if self.is_mark("{") {
            self.attributes(|p, key, value| {
                if key == "encoding" {
                    p.encoding(value)?;
                }
                Ok(())
            })?;
        }
        self.new_type(TypeKind::Text(Encoding::Utf8))
    }

    /// A name behind `struct`, `variant`, `enum`, if there is one.
    fn tag_name(&mut self) -> Option<String> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Some(word)
            }
            _ => None,
        }
    }

    fn align_suffix(&mut self) -> Result<Option<u32>> {
        if !self.take_word("align") {
            return Ok(None);
        }
        self.expect("(")?;
        let value = self.value()?;
        let align = self.alignment(&value)?;
        self.expect(")")?;
        Ok(Some(align))
    }

    fn structure(&mut self) -> Result<Arc<Type>> {
        // `struct align(8) {` is no name.
        let name = if self.is_word("align") {
            None
        } else {
            self.tag_name()
        };
        let mut align = self.align_suffix()?;
        if !self.is_mark("{") {
            let Some(name) = name else {
                return self.fail("a struct needs a name or a body");
            };
            return match self.found(&name, |s| &s.structs) {
                Some(found) => Ok(found),
                None => self.fail(format!("unknown type 'struct {name}'")),
            };
        }
        let members = self.braces(|p| {
            let mut members = Vec::new();
            while !p.is_mark("}") {
                p.declaration(|p, written_name, class| {
                    if members
                        .iter()
                        .any(|m: &MemberType| m.written_name == written_name)
                    {
                        return p.fail(format!("a second field '{written_name}'"));
                    }
                    members.push(MemberType {
                        name: shown_name(&written_name),
                        written_name,
                        class,
                    });
                    Ok(())
                })?;
            }
            Ok(members)
        })?;
        if let Some(after) = self.align_suffix()? {
            align = Some(after);
        }
        let made = self.new_type(TypeKind::Struct(StructType {
            members,
            align_bits: align.unwrap_or(1),
        }))?;
        if let Some(name) = name {
            self.scope().structs.insert(name, Arc::clone(&made));
        }
        Ok(made)
    }

    fn variant(&mut self) -> Result<Arc<Type>> {
        let name = self.tag_name();
        let mut selector = self.tag()?;
        if !self.is_mark("{") {
            let Some(name) = name else {
                return self.fail("a variant needs a name or a body");
            };
            let Some(found) = self.found(&name, |s| &s.variants) else {
                return self.fail(format!("unknown type 'variant {name}'"));
            };
            return self.tagged(&found, selector);
        }
        let options = self.braces(|p| {
            let mut options = Vec::new();
            while !p.is_mark("}") {
                p.declaration(|_, written_name, class| {
                    options.push(OptionType {
                        name: shown_name(&written_name),
                        written_name,
                        ranges: None,
                        class,
                    });
                    Ok(())
                })?;
            }
            Ok(options)
        })?;
        if selector.is_none() {
            selector = self.tag()?;
        }
        let made = self.new_type(TypeKind::Variant {
            selector,
            options,
            optional: false,
        })?;
        if let Some(name) = name {
            self.scope().variants.insert(name, Arc::clone(&made));
        }
        Ok(made)
    }

    /// A variant that was defined before, with the tag that it has here.
    fn tagged(&self, found: &Arc<Type>, tag: Option<Lookup>) -> Result<Arc<Type>> {
        match (&found.kind, tag) {
            (TypeKind::Variant { options, .. }, Some(tag)) => self.new_type(TypeKind::Variant {
                selector: Some(tag),
                options: options.clone(),
                optional: false,
            }),
            _ => Ok(Arc::clone(found)),
        }
    }

    /// `<tag>` if it is next.
    fn tag(&mut self) -> Result<Option<Lookup>> {
        if !self.take_mark("<") {
            return Ok(None);
        }
        let tag = self.lookup()?;
        self.expect(">")?;
        Ok(Some(tag))
    }

    fn lookup(&mut self) -> Result<Lookup> {
        let words = self.dotted()?;
        let parts = words.iter().map(String::as_str).collect::<Vec<_>>();
        let (origin, used) = match parts.as_slice() {
            ["trace", "packet", "header", _, ..] => (Origin::PacketHeader, 3),
            ["stream", "packet", "context", _, ..] => (Origin::PacketContext, 3),
            ["stream", "event", "header", _, ..] => (Origin::EventHeader, 3),
            ["stream", "event", "context", _, ..] => (Origin::StreamContext, 3),
            ["event", "context", _, ..] => (Origin::EventContext, 2),
            ["event", "fields", _, ..] => (Origin::Fields, 2),
            _ => return Ok(Lookup::Relative(words)),
        };
        Ok(Lookup::Absolute(origin, words[used..].to_vec()))
    }

    fn enumeration(&mut self) -> Result<Arc<Type>> {
        let name = self.tag_name();
        let container = if self.take_mark(":") {
            Some(self.type_specifier()?)
        } else {
            None
        };
        if !self.is_mark("{") {
            let Some(name) = name else {
                return self.fail("an enum needs a name or a body");
            };
            return match self.found(&name, |s| &s.enums) {
                Some(found) => Ok(found),
                None => self.fail(format!("unknown type 'enum {name}'")),
            };
        }
        let container = match container.or_else(|| self.found("int", |s| &s.aliases)) {
            Some(container) => container,
            None => return self.fail("an enum without ': TYPE' needs a type named 'int'"),
        };
        let TypeKind::Int(int) = &container.kind else {
            return self.fail("an enum's type must be an integer");
        };
        let mut int = int.clone();
        int.mappings = Some(self.braces(Self::enumerators)?);
        let made = self.new_type(TypeKind::Int(int))?;
        if let Some(name) = name {
            self.scope().enums.insert(name, Arc::clone(&made));
        }
        Ok(made)
    }

    fn enumerators(&mut self) -> Result<Vec<Mapping>> {
        let mut mappings: Vec<Mapping> = Vec::new();
        let mut next = 0i128;
        while !self.is_mark("}") {
            let name = match self.next()? {
                Token::Word(name) | Token::Text(name) => name,
                other => {
                    self.at -= 1;
                    return self.fail(format!("expected a label, found {}", other.shown()));
                }
            };
            let (mut first, mut last) = (next, next);
            if self.take_mark("=") {
                let value = self.value()?;
                first = self.number("a label's value", &value)?;
                last = first;
                if self.take_mark("...") {
                    let value = self.value()?;
                    last = self.number("a label's value", &value)?;
                }
            }
            if last < first {
                return self.fail(format!("label '{name}' goes from {first} down to {last}"));
            }
            next = last + 1;
            let range = IntegerRange { first, last };
            match mappings.last_mut().filter(|m| m.name == name) {
                Some(mapping) => mapping.ranges.push(range),
                None => mappings.push(Mapping {
                    name,
                    ranges: vec![range],
                }),
            }
            if !self.take_mark(",") {
                break;
            }
        }
        Ok(mappings)
    }

    /// A line of a struct or variant: fields, or names of types.
    fn declaration(
        &mut self,
        mut each: impl FnMut(&mut Self, String, Arc<Type>) -> Result<()>,
    ) -> Result<()> {
        if self.type_declaration()? {
            return Ok(());
        }
        let class = self.type_specifier()?;
        if self.take_mark(";") {
            // Only a type was declared: `struct s { ... };`.
            return Ok(());
        }
        loop {
            let pointer = self.is_mark("*");
            while self.take_mark("*") {}
            if pointer {
                return self.fail("a pointer has no type here: name it with a typealias");
            }
            let (name, class) = self.declarator(&class)?;
            each(self, name, class)?;
            if !self.take_mark(",") {
                break;
            }
        }
        self.expect(";")
    }

    /// `name[2][n]` of a type.
    fn declarator(&mut self, class: &Arc<Type>) -> Result<(String, Arc<Type>)> {
        // Names may be any word, types' among them.
        let name = self.word()?;
        // `variant name <tag> field`: handled by the type; `field` may have a width no more.
        let mut dimensions = Vec::new();
        while self.take_mark("[") {
            dimensions.push(match self.peek() {
                Some(Token::Number(number)) => {
                    let number = *number;
                    self.at += 1;
                    Dimension::Static(number)
                }
                _ => Dimension::Dynamic(self.lookup()?),
            });
            self.expect("]")?;
        }
        let mut class = Arc::clone(class);
        for dimension in dimensions.into_iter().rev() {
            class = self.array(class, dimension)?;
        }
        Ok((name, class))
    }

    fn array(&self, element: Arc<Type>, dimension: Dimension) -> Result<Arc<Type>> {
        let kind = match &element.kind {
            TypeKind::Int(int)
                if int.size_bits == 8
                    && int.align_bits.is_multiple_of(8)
                    && int.mappings.is_none() =>
            {
                int.encoding.map_or(SequenceKind::Array, SequenceKind::Text)
            }
            _ => SequenceKind::Array,
        };
        let length = match dimension {
            Dimension::Static(count) => ArrayLength::Static(count),
            Dimension::Dynamic(lookup) => ArrayLength::Dynamic(lookup),
        };
        self.new_type(TypeKind::Array {
            element,
            length,
            kind,
            align_bits: 1,
            roles: Roles::default(),
        })
    }

    /// `typealias` or `typedef`; false if neither is next.
    pub(super) fn type_declaration(&mut self) -> Result<bool> {
        if self.take_word("typealias") {
            let class = self.type_specifier()?;
            // `typealias T name := alias` is allowed by the grammar with an abstract declarator.
            while self.take_mark("*") {}
            let class = if self.is_mark("[") || matches!(self.peek(), Some(Token::Word(_))) {
                self.declarator(&class)?.1
            } else {
                class
            };
            self.expect(":=")?;
            self.alias(class)?;
            self.expect(";")?;
            return Ok(true);
        }
        if self.take_word("typedef") {
            let class = self.type_specifier()?;
            loop {
                while self.take_mark("*") {}
                let (name, class) = self.declarator(&class)?;
                self.scope().aliases.insert(name, class);
                if !self.take_mark(",") {
                    break;
                }
            }
            self.expect(";")?;
            return Ok(true);
        }
        Ok(false)
    }

    /// The name on the right of a typealias.
    fn alias(&mut self, class: Arc<Type>) -> Result<()> {
        for (word, kind) in [("struct", 0), ("variant", 1), ("enum", 2)] {
            if self.take_word(word) {
                let name = self.word()?;
                let scope = self.scope();
                match kind {
                    0 => scope.structs.insert(name, class),
                    1 => scope.variants.insert(name, class),
                    _ => scope.enums.insert(name, class),
                };
                return Ok(());
            }
        }
        let name = self.type_name()?;
        if name.is_empty() {
            return self.fail("a typealias needs a name");
        }
        self.scope().aliases.insert(name, class);
        Ok(())
    }
}

/// A field's name as people write it: without the underscore that keeps it from being a keyword.
pub(super) fn shown_name(written: &str) -> String {
    written.strip_prefix('_').unwrap_or(written).to_owned()
}
