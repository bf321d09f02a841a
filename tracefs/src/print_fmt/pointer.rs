//! Writes what the kernel's `%p` extensions write.

use super::directive::{Ip6Style, Pointer};
use super::eval::Fault;
use super::number::{decimal, hex, hex_digits, signed_decimal};
use super::symbols::Symbols;

/// `%p`, `%pS` and the like: the argument is an address of the kernel.
pub(super) fn address(kind: Pointer, address: u64, symbols: &dyn Symbols, out: &mut Vec<u8>) {
    match kind {
        Pointer::Symbol { backtrace } => {
            // A return address may be the first byte behind a function.
            let looked_up = address.wrapping_sub(u64::from(backtrace));
            symbol(address, looked_up, true, symbols, out);
        }
        Pointer::SymbolName => symbol(address, address, false, symbols, out),
        Pointer::Error if (-4095..0).contains(&(address as i64)) => {
            signed_decimal(address as i64, out);
        }
        _ => hex_digits(address, 16, out),
    }
}

fn symbol(address: u64, looked_up: u64, offset: bool, symbols: &dyn Symbols, out: &mut Vec<u8>) {
    let Some(found) = symbols.kernel_symbol(looked_up) else {
        out.extend_from_slice(b"0x");
        hex(address, out);
        return;
    };
    out.extend_from_slice(found.name.as_bytes());
    if offset {
        out.extend_from_slice(b"+0x");
        hex(found.offset + address.wrapping_sub(looked_up), out);
        if let Some(size) = found.size_bytes {
            out.extend_from_slice(b"/0x");
            hex(size, out);
        }
    }
    if let Some(module) = found.module {
        out.extend_from_slice(b" [");
        out.extend_from_slice(module.as_bytes());
        out.push(b']');
    }
}

/// Whether the argument is something in the entry rather than an address.
pub(super) fn points_into_the_entry(kind: Pointer) -> bool {
    !matches!(
        kind,
        Pointer::Address | Pointer::Symbol { .. } | Pointer::SymbolName | Pointer::Error
    )
}

/// The other extensions: the argument is something in the entry.
pub(super) fn memory(
    kind: Pointer,
    bytes: &[u8],
    width: Option<usize>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    match kind {
        Pointer::Mac {
            separator,
            reversed,
        } => {
            let mut mac: [u8; 6] = *bytes.first_chunk().ok_or(Fault::Truncated)?;
            if reversed {
                mac.reverse();
            }
            separated(&mac, separator, out);
        }
        Pointer::Ip4 { padded, reversed } => {
            let mut ip: [u8; 4] = *bytes.first_chunk().ok_or(Fault::Truncated)?;
            if reversed {
                ip.reverse();
            }
            ip4(ip, padded, out);
        }
        Pointer::Ip6 { style } => {
            ip6(bytes.first_chunk().ok_or(Fault::Truncated)?, style, out);
        }
        Pointer::SockAddr { .. } => sock_addr(kind, bytes, out)?,
        Pointer::Uuid {
            upper,
            little_endian,
        } => {
            let uuid: [u8; 16] = *bytes.first_chunk().ok_or(Fault::Truncated)?;
            write_uuid(uuid, upper, little_endian, out);
        }
        Pointer::HexDump { separator } => {
            // As the kernel: nothing without a length, at most 64 bytes.
            let len = width.unwrap_or(1).min(64);
            separated(bytes.get(..len).ok_or(Fault::Truncated)?, separator, out);
        }
        Pointer::Bitmap { list } => {
            let bits = width.unwrap_or(0);
            let bytes = bytes.get(..bits.div_ceil(8)).ok_or(Fault::Truncated)?;
            if list {
                bitmap_list(bytes, bits, out)
            } else {
                bitmap(bytes, bits, out)
            }
        }
        Pointer::Address | Pointer::Symbol { .. } | Pointer::SymbolName | Pointer::Error => {}
    }
    Ok(())
}

fn separated(bytes: &[u8], separator: Option<u8>, out: &mut Vec<u8>) {
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 {
            out.extend(separator);
        }
        hex_digits((*byte).into(), 2, out);
    }
}

fn ip4(ip: [u8; 4], padded: bool, out: &mut Vec<u8>) {
    for (i, byte) in ip.into_iter().enumerate() {
        if i > 0 {
            out.push(b'.');
        }
        if padded {
            out.extend([b'0' + byte / 100, b'0' + byte / 10 % 10, b'0' + byte % 10]);
        } else {
            decimal(byte.into(), out);
        }
    }
}

fn ip6(bytes: &[u8; 16], style: Ip6Style, out: &mut Vec<u8>) {
    let mut groups = [0u16; 8];
    for (group, pair) in groups.iter_mut().zip(bytes.chunks_exact(2)) {
        *group = pair.iter().fold(0, |g, b| g << 8 | u16::from(*b));
    }
    match style {
        Ip6Style::Compressed => ip6_compressed(bytes, groups, out),
        Ip6Style::Full | Ip6Style::NoColons => {
            for (i, group) in groups.into_iter().enumerate() {
                if i > 0 && style == Ip6Style::Full {
                    out.push(b':');
                }
                hex_digits(group.into(), 4, out);
            }
        }
    }
}

/// RFC 5952, and the IPv4 forms that the kernel writes with dots.
fn ip6_compressed(bytes: &[u8; 16], groups: [u16; 8], out: &mut Vec<u8>) {
    let [_, _, _, _, _, _, _, _, _, _, _, _, a, b, c, d] = *bytes;
    let mapped = matches!(groups, [0, 0, 0, 0, 0, 0xffff, _, _]);
    // An ISATAP interface identifier: 00-00-5e-fe or 02-00-5e-fe and the IPv4 address.
    let isatap = groups[4] | 0x0200 == 0x0200 && groups[5] == 0x5efe;
    let range = if mapped || isatap { 6 } else { 8 };
    let mut longest = (0, 0);
    let mut run = (0, 0);
    for (i, group) in groups.into_iter().enumerate().take(range) {
        run = match (group, run) {
            (0, (_, 0)) => (i, 1),
            (0, (start, len)) => (start, len + 1),
            _ => (0, 0),
        };
        if run.1 > longest.1 {
            longest = run;
        }
    }
    // One group of zeros is not shortened.
    let (start, len) = if longest.1 > 1 {
        longest
    } else {
        (usize::MAX, 0)
    };
    let mut colon = false;
    let mut i = 0;
    while i < range {
        if i == start {
            if colon || i == 0 {
                out.push(b':');
            }
            out.push(b':');
            colon = false;
            i += len;
            continue;
        }
        if colon {
            out.push(b':');
        }
        hex(groups.get(i).copied().unwrap_or(0).into(), out);
        colon = true;
        i += 1;
    }
    if range == 6 {
        if colon {
            out.push(b':');
        }
        ip4([a, b, c, d], false, out);
    }
}

fn sock_addr(kind: Pointer, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    let Pointer::SockAddr {
        style,
        padded,
        port,
        flow,
        scope,
    } = kind
    else {
        return Ok(());
    };
    let family = u16::from_ne_bytes(*bytes.first_chunk().ok_or(Fault::Truncated)?);
    let part = |range: std::ops::Range<usize>| bytes.get(range).ok_or(Fault::Truncated);
    let big_endian = |bytes: &[u8]| bytes.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
    match family {
        AF_INET => {
            let ip: [u8; 4] = *part(4..8)?.first_chunk().ok_or(Fault::Truncated)?;
            ip4(ip, padded, out);
            if port {
                out.push(b':');
                decimal(big_endian(part(2..4)?), out);
            }
        }
        AF_INET6 => {
            let ip: &[u8; 16] = part(8..24)?.first_chunk().ok_or(Fault::Truncated)?;
            let brackets = port || flow || scope;
            if brackets {
                out.push(b'[');
            }
            ip6(ip, style, out);
            if brackets {
                out.push(b']');
            }
            if port {
                out.push(b':');
                decimal(big_endian(part(2..4)?), out);
            }
            if flow {
                out.push(b'/');
                decimal(big_endian(part(4..8)?) & 0x0fff_ffff, out);
            }
            if scope {
                let id: [u8; 4] = *part(24..28)?.first_chunk().ok_or(Fault::Truncated)?;
                out.push(b'%');
                decimal(u32::from_ne_bytes(id).into(), out);
            }
        }
        _ => out.extend_from_slice(b"(einval)"),
    }
    Ok(())
}

fn write_uuid(mut uuid: [u8; 16], upper: bool, little_endian: bool, out: &mut Vec<u8>) {
    if little_endian {
        // The first three parts are little-endian numbers.
        for part in [0..4, 4..6, 6..8] {
            if let Some(part) = uuid.get_mut(part) {
                part.reverse();
            }
        }
    }
    let start = out.len();
    for (i, byte) in uuid.into_iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        hex_digits(byte.into(), 2, out);
    }
    if upper && let Some(written) = out.get_mut(start..) {
        written.make_ascii_uppercase();
    }
}

/// A bitmap as groups of 32 bits in hexadecimal, highest first. It is an array of
/// `unsigned long`, so that its bytes depend on the byte order.
pub(super) fn bitmap(bytes: &[u8], bits: usize, out: &mut Vec<u8>) {
    let words = bits.div_ceil(32);
    for word in (0..words).rev() {
        let bits_here = if word + 1 == words && !bits.is_multiple_of(32) {
            bits % 32
        } else {
            32
        };
        let value = (0..bits_here)
            .filter(|bit| is_set(bytes, word * 32 + bit))
            .fold(0u64, |value, bit| value | 1 << bit);
        if word + 1 != words {
            out.push(b',');
        }
        hex_digits(value, bits_here.div_ceil(4), out);
    }
}

/// A bitmap as ranges: `0-3,7`.
fn bitmap_list(bytes: &[u8], bits: usize, out: &mut Vec<u8>) {
    let mut bit = 0;
    let mut first = true;
    while bit < bits {
        if !is_set(bytes, bit) {
            bit += 1;
            continue;
        }
        let start = bit;
        while bit < bits && is_set(bytes, bit) {
            bit += 1;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        decimal(start as u64, out);
        if bit - start > 1 {
            out.push(b'-');
            decimal(bit as u64 - 1, out);
        }
    }
}

fn is_set(bytes: &[u8], bit: usize) -> bool {
    let byte = if cfg!(target_endian = "little") {
        bit / 8
    } else {
        bit / 64 * 8 + 7 - bit % 64 / 8
    };
    bytes.get(byte).is_some_and(|b| b >> (bit % 8) & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip6c(text: &str) -> String {
        let ip: std::net::Ipv6Addr = text.parse().unwrap();
        let mut out = Vec::new();
        ip6(&ip.octets(), Ip6Style::Compressed, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn compressed_ip6_addresses() {
        for text in [
            "::",
            "::1",
            "1::",
            "1:2:3:4:5:6:7:8",
            "fe80::1:2",
            "1:0:2::3",
            "1:2:3:4:5:6:7:0",
            "1:0:0:2::3",
            "::ffff:1.2.3.4",
            "2001:db8::5:0:0:1",
            "0:1:2:3:4:5:6:7",
        ] {
            let expected = if text == "1:0:0:2::3" {
                "1:0:0:2::3"
            } else {
                text
            };
            assert_eq!(ip6c(text), expected);
        }
        assert_eq!(ip6c("fe80::5efe:102:304"), "fe80::5efe:1.2.3.4");
    }

    #[test]
    fn bitmaps() {
        let text = |bytes: &[u8], bits, list| {
            let mut out = Vec::new();
            memory(Pointer::Bitmap { list }, bytes, Some(bits), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(&[0b1000_1111, 0, 0, 0, 0, 0, 0, 0], 64, true), "0-3,7");
        assert_eq!(text(&[0xff; 8], 64, true), "0-63");
        assert_eq!(text(&[0; 8], 64, true), "");
        assert_eq!(
            text(&[3, 0, 0, 0, 1, 0, 0, 0], 64, false),
            "00000001,00000003"
        );
        assert_eq!(text(&[3, 0, 0, 0, 1, 0, 0, 0], 36, false), "1,00000003");
        assert_eq!(text(&[3, 0, 0, 0, 0, 0, 0, 0], 6, false), "03");
    }

    #[test]
    fn addresses_of_the_network() {
        let text = |kind, bytes: &[u8]| {
            let mut out = Vec::new();
            memory(kind, bytes, None, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let sock = Pointer::SockAddr {
            style: Ip6Style::Compressed,
            padded: false,
            port: true,
            flow: false,
            scope: false,
        };
        let mut v4 = 2u16.to_ne_bytes().to_vec();
        v4.extend([0, 80, 127, 0, 0, 1]);
        assert_eq!(text(sock, &v4), "127.0.0.1:80");
        let mut v6 = 10u16.to_ne_bytes().to_vec();
        v6.extend([1, 0, 0, 0, 0, 0]);
        v6.extend([0; 15]);
        v6.extend([1, 0, 0, 0, 0]);
        assert_eq!(text(sock, &v6), "[::1]:256");
        assert_eq!(text(sock, &[9, 9]), "(einval)");
        let mac = Pointer::Mac {
            separator: Some(b':'),
            reversed: false,
        };
        assert_eq!(text(mac, &[1, 2, 3, 0xaa, 0xbb, 0xcc]), "01:02:03:aa:bb:cc");
        let uuid: Vec<u8> = (0..16).collect();
        let plain = Pointer::Uuid {
            upper: false,
            little_endian: false,
        };
        assert_eq!(text(plain, &uuid), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        let little = Pointer::Uuid {
            upper: true,
            little_endian: true,
        };
        assert_eq!(text(little, &uuid), "03020100-0504-0706-0809-0A0B0C0D0E0F");
    }
}
