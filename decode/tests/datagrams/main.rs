//! DNS, mDNS, DHCP of both families and RADIUS on captures of real programs, and on any bytes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod captures;
mod dhcp;
mod dhcpv6;
mod dns;
mod dns_stream;
mod flood;
mod mdns;
mod oracle;
mod player;
mod properties;
mod radius;
mod recordings;
