//! Numbers that wrap: sequence numbers, and times in microseconds.

/// Differences beyond this tell nothing: the stream is taken up afresh (spec 11.4).
pub(super) const FAR: i32 = 1 << 30;

/// Signed distance from `b` to `a`, modulo 2³² (RFC 1982, RFC 9293 section 3.4).
#[inline(always)]
pub(super) fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b).cast_signed()
}

/// Microseconds from `then` to `now`; 0 when the clock stepped back. Right up to 35 minutes.
#[inline(always)]
pub(super) fn elapsed_us(now: u32, then: u32) -> u32 {
    u32::try_from(distance(now, then)).unwrap_or(0)
}
