//! Numbers, kept exactly as they came.

use std::cmp::Ordering;
use std::fmt;

/// A number of Terraform: 512 bits of mantissa on its side, so no primitive type holds every one.
///
/// What is integral and fits is [`Number::Int`]; other exact binary fractions are [`Number::Float`]; the rest (0.1,
/// integers beyond 64 bits) stays the decimal text in which it came, because answering it rounded is an invalid plan.
#[derive(Debug, Clone)]
pub enum Number {
    /// An integer.
    Int(i64),
    /// An integer beyond `i64::MAX`.
    UInt(u64),
    /// A binary fraction.
    Float(f64),
    /// Decimal text: `0.1`, `12345678901234567890123`.
    Decimal(String),
}

/// Longest decimal text that is taken: Terraform's 512 bits are 155 digits, with an exponent at most some more.
const MAX_DECIMAL: usize = 1024;

impl Number {
    /// From a float; an integral one becomes an integer.
    pub fn from_f64(value: f64) -> Self {
        // 2^53: beyond it, neighbouring integers are the same float.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0 && value.abs() <= EXACT {
            #[expect(clippy::cast_possible_truncation, reason = "integral and within 2^53: checked above")]
            return Self::Int(value as i64);
        }
        Self::Float(value)
    }

    /// From an unsigned integer.
    pub fn from_u64(value: u64) -> Self {
        i64::try_from(value).map_or(Self::UInt(value), Self::Int)
    }

    /// From decimal text; `None` if it isn't a number, or longer than any that Terraform writes.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_DECIMAL || !is_decimal(text) {
            return None;
        }
        if let Ok(int) = text.parse::<i64>() {
            return Some(Self::Int(int));
        }
        if let Ok(int) = text.parse::<u64>() {
            return Some(Self::UInt(int));
        }
        Some(Self::Decimal(text.to_owned()))
    }

    /// The integer, if it is one and fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::UInt(_) | Self::Float(_) => None,
            // 5.0 or 1e3: integral, but written as a fraction.
            Self::Decimal(text) => match text.parse().map(Self::from_f64) {
                Ok(Self::Int(value)) => Some(value),
                _ => None,
            },
        }
    }

    /// The integer, if it is one, fits and isn't negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::UInt(value) => Some(*value),
            other => other.as_i64().and_then(|value| u64::try_from(value).ok()),
        }
    }

    /// The nearest float.
    pub fn to_f64(&self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
            Self::Int(value) => *value as f64,
            #[expect(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
            Self::UInt(value) => *value as f64,
            Self::Float(value) => *value,
            Self::Decimal(text) => text.parse().unwrap_or(f64::NAN),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Int(_) => 0,
            Self::UInt(_) => 1,
            Self::Float(_) => 2,
            Self::Decimal(_) => 3,
        }
    }
}

/// `[+-]digits[.digits][(e|E)[+-]digits]`, with at least one digit before or after the point.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    (!whole.is_empty() || !fraction.is_empty())
        && digits(whole)
        && digits(fraction)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

// By value where both are of one kind (constructors make kinds canonical); a total order, so that sets can be sorted.
impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::UInt(a), Self::UInt(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Decimal(a), Self::Decimal(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => value.fmt(f),
            Self::UInt(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Decimal(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_one_form() {
        assert_eq!(Number::from_f64(5.0), Number::Int(5));
        assert_eq!(Number::parse("5"), Some(Number::Int(5)));
        assert_eq!(Number::from_u64(5), Number::Int(5));
        assert_eq!(Number::parse("18446744073709551615"), Some(Number::UInt(u64::MAX)));
    }

    #[test]
    fn what_no_primitive_holds_stays_text() {
        for text in ["0.1", "12345678901234567890123", "-1.5e-30"] {
            let number = Number::parse(text).expect("a number");
            assert!(matches!(number, Number::Decimal(_)), "{text}");
            assert_eq!(number.to_string(), text);
            assert_eq!(number.as_i64(), None);
        }
        assert_eq!(Number::parse("1e3").and_then(|number| number.as_i64()), Some(1000));
    }

    #[test]
    fn text_that_is_no_number_is_refused() {
        for text in ["", "+", ".", "1e", "e5", "0x10", "1_000", "NaN", "1 ", "--1", &"9".repeat(2000)] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }
}
