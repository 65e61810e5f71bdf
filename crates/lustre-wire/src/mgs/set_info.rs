//! Setting a parameter: what MDTs up to 2.14 send for the striping of the root. Source: `struct mgs_send_param`; MGS
//! specification, section 2.

use crate::bytes::{Reader, WireError, Writer};
use crate::fixed::text;

/// Size of the parameter's text, in request and reply.
pub const SET_INFO_LEN: usize = 1024;
const WHAT: &str = "mgs_send_param";

/// The parameter in a buffer, as in `gold-MDT0000.lov.stripesize=1048576`. Errors: cut, no end, no text.
pub fn decode_set_info(bytes: &[u8]) -> Result<&str, WireError> {
    let mut r = Reader::new(WHAT, bytes);
    let field = r.bytes("mgs_param", SET_INFO_LEN)?;
    text(&r, "mgs_param", field)
}

/// A buffer with a parameter; what is longer than 1023 bytes is cut.
pub fn encode_set_info(param: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(SET_INFO_LEN);
    out.put_padded(&param.as_bytes()[..param.len().min(SET_INFO_LEN - 1)], SET_INFO_LEN);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_and_decoding_are_inverse_and_cut_anywhere_it_is_short() {
        let bytes = encode_set_info("gold-MDT0000.lov.stripecount=2");
        assert_eq!(decode_set_info(&bytes), Ok("gold-MDT0000.lov.stripecount=2"));
        for cut in 0..bytes.len() {
            assert!(matches!(decode_set_info(&bytes[..cut]), Err(WireError::Short { .. })), "cut at {cut}");
        }
        assert!(matches!(decode_set_info(&[b'x'; SET_INFO_LEN]), Err(WireError::Value { .. })));
    }
}
