//! What a client or an operator types at kproxy: any text gives a target, a list, a proxy, flags, a
//! request head, or an error; what was read says the same when it is read again, and nothing that
//! the default list lets through is outside its domain.
#![no_main]

use std::net::IpAddr;

use kproxy::allow::{Allow, Verdict};
use kproxy::cli::{self, FLAGS, syntax};
use kproxy::head;
use kproxy::reach::Reach;
use kproxy::target::{Host, Target};
use kproxy::upstream::Upstream;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    request_head(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    target(text);
    if let Ok(allow) = text.parse::<Allow>() {
        assert_eq!(allow.to_string().parse(), Ok(allow));
    }
    if let Ok(upstream) = Upstream::parse(text) {
        assert!(upstream.target.port > 0);
    }
    flags(text);
});

fn target(text: &str) {
    let Ok(target) = Target::parse(text, Some(80)) else { return };
    assert_eq!(Target::parse(&target.to_string(), None), Ok(target.clone()));
    let list: Allow = ".kentik.com".parse().expect("a list");
    match &target.host {
        Host::Name(name) => {
            assert!(name.parse::<IpAddr>().is_err() && !name.contains(['@', '/', ':', '%']));
            let inside = name == "kentik.com" || name.ends_with(".kentik.com");
            let allowed = list.check(&target) == Verdict::Allowed { listed: false };
            assert_eq!(allowed, inside && matches!(target.port, 80 | 443));
        }
        Host::Address(address) => {
            assert_eq!(list.check(&target), Verdict::Address);
            let _ = Reach::of(*address).is_permitted(true, true);
        }
    }
}

fn flags(text: &str) {
    let words = || text.split('\n');
    if let Err(error) = syntax::parse(FLAGS, words()) {
        assert!(!error.to_string().contains('\n'));
    }
    let environment = |name: &str| Some(name.to_owned());
    let _ = cli::request(words().map(Into::into), &environment);
}

/// What passes has one meaning: at most one length or coding.
fn request_head(bytes: &[u8]) {
    let Some(end) = head::end(bytes, 0) else { return };
    let head = &bytes[..end];
    for from in 0..end {
        assert_eq!(head::end(bytes, from), Some(end));
    }
    if head::check(head).is_ok() {
        let lower = head.to_ascii_lowercase();
        let count =
            |name: &[u8]| lower.windows(name.len()).filter(|window| *window == name).count();
        assert!(count(b"\ncontent-length:") + count(b"\ntransfer-encoding:") <= 1);
    }
}
