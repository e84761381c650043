//! What a record looks like from outside, and why one ends a connection.

/// Plaintext of one record at most.
pub const RECORD_BYTES: usize = 16 << 10;
/// Type, version and length of a record.
pub const HEADER_BYTES: usize = 5;
/// What may stand behind the header: plaintext, padding and the tag (RFC 8446, section 5.2).
pub const MOST_SEALED: usize = RECORD_BYTES + 256;
/// The longest record.
pub const MOST_RECORD: usize = HEADER_BYTES + MOST_SEALED;

/// Kinds of content (RFC 8446, section 5.1).
pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const APPLICATION_DATA: u8 = 23;

/// Why a peer's records end a connection: the alert that it is sent (RFC 8446, section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Alert {
    UnexpectedMessage = 10,
    BadRecordMac = 20,
    RecordOverflow = 22,
    IllegalParameter = 47,
    DecodeError = 50,
}

/// The length of the record that begins here, its header included; `None` where less than a header has come.
pub fn record_length(bytes: &[u8]) -> Result<Option<usize>, Alert> {
    let Some(&[kind, _, _, high, low]) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let sealed = usize::from(u16::from_be_bytes([high, low]));
    // Nothing comes in the clear any more. The version says nothing (RFC 8446, section 5.1).
    if kind != APPLICATION_DATA {
        return Err(Alert::UnexpectedMessage);
    }
    if sealed > MOST_SEALED {
        return Err(Alert::RecordOverflow);
    }
    Ok(Some(HEADER_BYTES + sealed))
}
