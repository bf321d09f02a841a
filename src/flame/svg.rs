//! The flame graph: one SVG that needs nothing else.
//!
//! Every frame is a rectangle as wide as its share, above the frame that called it. All is drawn
//! in the file itself; its script only adds zooming and searching, so that a viewer without
//! scripts shows the same picture, with the numbers as tool tips.

use super::options::{SvgOptions, Weight};
use super::tree::{FrameKind, NodeId, StackTree};
use std::io::{Result, Write};

const STYLE: &str = include_str!("flame.css");
const SCRIPT: &str = include_str!("flame.js");

/// Between the drawing's edge and its frames.
const MARGIN_PX: f64 = 10.0;
/// Above the frames: the headline and the buttons.
const HEAD_PX: u64 = 58;
/// Below them: what is pointed at.
const FOOT_PX: u64 = 30;
const ROW_PX: u64 = 17;
const FRAME_PX: u64 = 16;
/// Width of a character of the font of 12 px; the script has the same number.
const CHARACTER_PX: f64 = 7.25;
/// Room beside a frame's text.
const TEXT_MARGIN_PX: f64 = 6.0;
/// A text shorter than this says nothing.
const MIN_CHARACTERS: usize = 3;
const WIDTHS_PX: std::ops::RangeInclusive<u32> = 200..=20_000;

/// What the drawing is of.
pub(super) struct About<'a> {
    pub(super) event: Option<&'a str>,
    pub(super) weight: Weight,
    pub(super) lost: u64,
}

impl About<'_> {
    fn unit(&self) -> &'static str {
        match self.weight {
            Weight::Samples => "samples",
            Weight::Period => "events",
        }
    }
}

/// A frame that is wide enough to be drawn.
struct Drawn {
    node: NodeId,
    depth: u64,
    /// What was counted left of it.
    start: u64,
    total: u64,
}

/// Writes the drawing.
pub(super) fn write(
    tree: &StackTree,
    about: &About<'_>,
    options: &SvgOptions,
    out: &mut dyn Write,
) -> Result<()> {
    let width = options.width_px.clamp(*WIDTHS_PX.start(), *WIDTHS_PX.end());
    let inner = f64::from(width) - 2.0 * MARGIN_PX;
    let (boxes, left_out) = layout(tree, inner, options.min_frame_px);
    let all = boxes.first().map_or(0, |b| b.total);
    let rows = boxes.iter().map(|b| b.depth + 1).max().unwrap_or(1);
    let height = HEAD_PX + rows * ROW_PX + FOOT_PX;
    write_head(about, options, (width, height), all, left_out, out)?;
    if all == 0 {
        writeln!(
            out,
            "<text class=\"t\" x=\"50%\" y=\"{}\" text-anchor=\"middle\">no stacks were recorded</text>",
            HEAD_PX + 12
        )?;
    }
    writeln!(out, "<g id=\"frames\">")?;
    let scale = if all > 0 { inner / all as f64 } else { 0.0 };
    for b in boxes.iter().filter(|_| all > 0) {
        let row = if options.inverted {
            b.depth
        } else {
            rows - 1 - b.depth
        };
        write_frame(tree, about, b, HEAD_PX + row * ROW_PX, scale, all, out)?;
    }
    writeln!(out, "</g>")?;
    writeln!(
        out,
        "<text id=\"details\" class=\"t\" x=\"{MARGIN_PX}\" y=\"{}\"> </text>",
        height - 11
    )?;
    writeln!(
        out,
        "<text id=\"matched\" class=\"t\" x=\"{}\" y=\"{}\" text-anchor=\"end\"> </text>",
        f64::from(width) - MARGIN_PX,
        height - 11
    )?;
    writeln!(out, "<script><![CDATA[\n{SCRIPT}]]></script>\n</svg>")
}

/// Places the frames, each before those it calls; says how many are too narrow.
fn layout(tree: &StackTree, inner_px: f64, min_px: f64) -> (Vec<Drawn>, u64) {
    let totals = tree.totals();
    let all = totals[StackTree::index(StackTree::ROOT)];
    let shortest = min_px.max(0.0) * all as f64 / inner_px;
    let mut left_out = 0;
    let mut boxes = Vec::new();
    let mut waiting = vec![Drawn {
        node: StackTree::ROOT,
        depth: 0,
        start: 0,
        total: all,
    }];
    while let Some(b) = waiting.pop() {
        let mut start = b.start;
        let first = waiting.len();
        for child in tree.children(b.node) {
            let total = totals[StackTree::index(child)];
            if total > 0 && total as f64 >= shortest {
                waiting.push(Drawn {
                    node: child,
                    depth: b.depth + 1,
                    start,
                    total,
                });
            } else {
                left_out += u64::from(total > 0);
            }
            start = start.saturating_add(total);
        }
        // The last one comes off first.
        waiting[first..].reverse();
        boxes.push(b);
    }
    (boxes, left_out)
}

fn write_head(
    about: &About<'_>,
    options: &SvgOptions,
    (width, height): (u32, u64),
    all: u64,
    left_out: u64,
    out: &mut dyn Write,
) -> Result<()> {
    let title = match (&options.title, about.event) {
        (Some(title), _) => title.clone(),
        (None, Some(event)) => format!("Flame graph of {event}"),
        (None, None) => "Flame graph".to_owned(),
    };
    let title = escaped(&title);
    let mut facts = format!("{} {}", grouped(all), about.unit());
    if about.lost > 0 {
        facts.push_str(&format!(", {} records lost", grouped(about.lost)));
    }
    if left_out > 0 {
        facts.push_str(&format!(
            ", {} frames narrower than {} px not drawn",
            grouped(left_out),
            options.min_frame_px
        ));
    }
    let middle = f64::from(width) / 2.0;
    let right = f64::from(width) - MARGIN_PX;
    writeln!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" data-unit=\"{}\">\n\
         <title>{title}</title>\n\
         <style>\n{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"h\" x=\"{middle}\" y=\"24\" text-anchor=\"middle\">{title}</text>\n\
         <text class=\"t\" x=\"{middle}\" y=\"44\" text-anchor=\"middle\">{}</text>\n\
         <text id=\"reset\" class=\"t b\" x=\"{MARGIN_PX}\" y=\"24\">Reset zoom</text>\n\
         <text id=\"search\" class=\"t b\" x=\"{right}\" y=\"24\" text-anchor=\"end\">Search</text>",
        about.unit(),
        escaped(&facts),
    )
}

fn write_frame(
    tree: &StackTree,
    about: &About<'_>,
    b: &Drawn,
    y: u64,
    scale: f64,
    all: u64,
    out: &mut dyn Write,
) -> Result<()> {
    let name = tree.name(b.node);
    let (x, width) = (MARGIN_PX + b.start as f64 * scale, b.total as f64 * scale);
    let percent = 100.0 * b.total as f64 / all as f64;
    let kind = tree.kind(b.node);
    write!(
        out,
        "<g class=\"f\" data-x=\"{}\" data-w=\"{}\" data-d=\"{}\"><title>{} ({} {}, {percent:.2}%)</title>\
         <rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{FRAME_PX}\" fill=\"{}\"/>",
        b.start,
        b.total,
        b.depth,
        escaped(name),
        grouped(b.total),
        about.unit(),
        colour(name, kind),
    )?;
    let label = fitted(name, width);
    // The script needs the element even where there is no room yet.
    writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{}\">{}</text></g>",
        x + TEXT_MARGIN_PX / 2.0,
        y + 12,
        escaped(&label)
    )
}

/// As much of a name as there is room for.
fn fitted(name: &str, width_px: f64) -> String {
    // Negative or large floats saturate.
    let room = ((width_px - TEXT_MARGIN_PX) / CHARACTER_PX) as usize;
    if room < MIN_CHARACTERS {
        return String::new();
    }
    if name.chars().count() <= room {
        return name.to_owned();
    }
    name.chars().take(room - 1).chain(['…']).collect()
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // XML 1.0 allows no other control characters, and not these two.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A colour for a name: warm for user space, red for the kernel, grey for what has no name.
/// The same name has the same colour in every drawing.
fn colour(name: &str, kind: FrameKind) -> String {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // Two numbers from 0 to 1 that have nothing to do with each other.
    let part = |shift: u32| (hash >> shift & 0xff) as f64 / 255.0;
    let (a, b) = (part(20), part(40));
    let (hue, saturation, lightness) = match kind {
        FrameKind::User => (26.0 + 24.0 * a, 0.86, 0.60 + 0.10 * b),
        FrameKind::Kernel => (2.0 + 14.0 * a, 0.70, 0.64 + 0.09 * b),
        FrameKind::Task => (205.0 + 20.0 * a, 0.42, 0.68 + 0.06 * b),
        FrameKind::Unknown => (40.0, 0.05, 0.74 + 0.08 * b),
    };
    hex_colour(hue, saturation, lightness)
}

/// From hue in degrees, saturation and lightness to `#rrggbb`.
fn hex_colour(hue: f64, saturation: f64, lightness: f64) -> String {
    let chroma = saturation * lightness.min(1.0 - lightness);
    let channel = |offset: f64| {
        let k = (offset + hue / 30.0) % 12.0;
        let value = lightness - chroma * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    };
    format!(
        "#{:02x}{:02x}{:02x}",
        channel(0.0),
        channel(8.0),
        channel(4.0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours() {
        assert_eq!(hex_colour(0.0, 1.0, 0.5), "#ff0000");
        assert_eq!(hex_colour(120.0, 1.0, 0.5), "#00ff00");
        assert_eq!(hex_colour(240.0, 0.0, 0.5), "#808080");
        let of = |kind| colour("schedule", kind);
        assert_eq!(of(FrameKind::User), of(FrameKind::User));
        assert_ne!(of(FrameKind::User), of(FrameKind::Kernel));
    }

    #[test]
    fn numbers_and_names() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(fitted("do_syscall_64", 200.0), "do_syscall_64");
        assert_eq!(fitted("do_syscall_64", 50.0), "do_sy…");
        assert_eq!(fitted("do_syscall_64", 20.0), "");
        assert_eq!(fitted("x", -5.0), "");
        assert_eq!(escaped("<a & 'b'>\u{1}"), "&lt;a &amp; &apos;b&apos;&gt;?");
    }
}
