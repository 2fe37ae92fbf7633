use decode::app::Verdict;
use decode::app::smtp::Smtp;

use crate::recordings::{decode_streams, tshark, values};

const PORT: u16 = 25;

#[test]
fn curl_and_python_with_a_refused_address_and_a_login() {
    let (lines, verdicts) = decode_streams("smtp/plain.pcap", PORT, Smtp::new);
    assert_eq!(verdicts, [Verdict::More; 3]);
    let expected = "\
< - reply=220
> command=EHLO domain=client.example
< * command=EHLO domain=client.example reply=250
> command=MAIL sender=ann@a.example
< * command=MAIL sender=ann@a.example reply=250
> command=RCPT recipient=nobody@b.example
< * command=RCPT recipient=nobody@b.example reply=550
> command=RCPT recipient=bob@b.example
< * command=RCPT recipient=bob@b.example reply=250
> command=DATA
< * command=DATA reply=354
> command=MESSAGE
< * command=MESSAGE reply=250
> command=QUIT
< * command=QUIT reply=221
< - reply=220
> command=EHLO domain=client.example
< * command=EHLO domain=client.example reply=250
> command=AUTH
< * command=AUTH reply=235
> command=MAIL sender=ann@a.example
< * command=MAIL sender=ann@a.example reply=250
> command=RCPT recipient=bob@b.example
< * command=RCPT recipient=bob@b.example reply=250
> command=DATA
< * command=DATA reply=354
> command=MESSAGE
< * command=MESSAGE reply=250
> command=QUIT
< * command=QUIT reply=221
< - reply=220
> command=HELO domain=python.example
< * command=HELO domain=python.example reply=250
> command=VRFY
< * command=VRFY reply=252
> command=MAIL sender=<>
< * command=MAIL sender=<> reply=250
> command=RSET
< * command=RSET reply=250
> command=QUIT
< * command=QUIT reply=221";
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
    if let Some(commands) = tshark("smtp/plain.pcap", "smtp.req.command", "smtp.req.command") {
        let commands: Vec<_> = commands.iter().map(|verb| verb.to_ascii_uppercase()).collect();
        let own = values(&lines, ">", "command");
        assert_eq!(own.into_iter().filter(|verb| verb != "MESSAGE").collect::<Vec<_>>(), commands);
    }
    if let Some(mut codes) = tshark("smtp/plain.pcap", "smtp.response.code", "smtp.response.code") {
        // It gives the code of every line, and we that of the last one, without those of a login.
        let mut own = values(&lines, "<", "reply");
        codes.retain(|code| code != "334");
        codes.dedup();
        own.dedup();
        assert_eq!(own, codes);
    }
}

#[test]
fn curl_with_encryption() {
    let (lines, verdicts) = decode_streams("smtp/starttls.pcap", PORT, Smtp::new);
    assert_eq!(verdicts, [Verdict::Done]);
    let expected = "\
< - reply=220
> command=EHLO domain=client.example
< * command=EHLO domain=client.example reply=250
> command=STARTTLS
< * command=STARTTLS reply=220";
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
}
