//! Numbers, sizes, times and switches, as nodes take and print them.

use lustre_types::ByteSize;

/// Decimal, `0x` hex or `0` octal.
pub(super) fn int(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (digits, radix) = match digits {
        _ if digits.starts_with("0x") || digits.starts_with("0X") => (&digits[2..], 16),
        _ if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    // from_str_radix takes a sign of its own.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    // u64 is the widest that any tunable holds.
    u64::from_str_radix(digits, radix).ok().map(|value| sign * i128::from(value))
}

/// A size in bytes; `bare` is what a number without suffix counts.
pub(super) fn size(bare: u64, text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<u64>().ok()?.checked_mul(bare);
    }
    text.parse().ok().map(|ByteSize(bytes)| bytes)
}

/// A time in ms: a bare number is in ms; suffixes ms, s, m, h.
pub(super) fn millis(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let factor = match suffix {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// As the kernel's `kstrtobool`: the first character counts, and after `o` the second.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let mut letters = text.bytes().map(|byte| byte.to_ascii_lowercase());
    match letters.next()? {
        b'1' | b'y' | b't' => Some(true),
        b'0' | b'n' | b'f' => Some(false),
        b'o' => match letters.next()? {
            b'n' => Some(true),
            b'f' => Some(false),
            _ => None,
        },
        _ => None,
    }
}
