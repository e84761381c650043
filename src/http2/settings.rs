//! SETTINGS (RFC 9113, section 6.5).

use super::error_code::ErrorCode;

const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// The largest window.
pub const MOST_WINDOW: i64 = (1 << 31) - 1;
/// A window that nobody has said anything of.
pub const FIRST_WINDOW: i32 = 65_535;

/// The payload of what a node says of itself.
pub fn own(streams: u32, head_bytes: u32) -> [u8; 12] {
    let mut payload = [0; 12];
    for (at, (name, value)) in
        [(MAX_CONCURRENT_STREAMS, streams), (MAX_HEADER_LIST_SIZE, head_bytes)].into_iter().enumerate()
    {
        payload[6 * at..6 * at + 2].copy_from_slice(&name.to_be_bytes());
        payload[6 * at + 2..6 * at + 6].copy_from_slice(&value.to_be_bytes());
    }
    payload
}

/// What of a client's settings counts here: the window that its streams begin with, if it says one. What it sends its
/// heads by, and how large frames it takes, changes nothing: the least that all must take is what is sent here.
pub fn initial_window(payload: &[u8]) -> Result<Option<i32>, ErrorCode> {
    let (settings, []) = payload.as_chunks::<6>() else { return Err(ErrorCode::FrameSize) };
    let mut window = None;
    for [a, b, value @ ..] in settings {
        let value = u32::from_be_bytes(*value);
        match u16::from_be_bytes([*a, *b]) {
            ENABLE_PUSH if value > 1 => return Err(ErrorCode::Protocol),
            INITIAL_WINDOW_SIZE if i64::from(value) > MOST_WINDOW => return Err(ErrorCode::FlowControl),
            INITIAL_WINDOW_SIZE => window = Some(value as i32),
            MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => return Err(ErrorCode::Protocol),
            _ => {}
        }
    }
    Ok(window)
}
