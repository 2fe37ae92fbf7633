use decode::app::Verdict;
use decode::app::redis::Redis;

use crate::recordings::{decode_streams, tshark, values};

const PORT: u16 = 6379;

#[test]
fn redis_cli_with_values_an_error_and_a_pipeline() {
    let (lines, verdicts) = decode_streams("redis/client.pcap", PORT, Redis::new);
    assert_eq!(verdicts, [Verdict::More; 5]);
    // redis-cli ends its pipeline with an ECHO of its own.
    let expected = "\
> command=AUTH
< * command=AUTH result=OK
> command=SET key=user:1
< * command=SET result=OK
> command=AUTH
< * command=AUTH result=OK
> command=GET key=user:1
< * command=GET result=OK
> command=AUTH
< * command=AUTH result=OK
> command=LPUSH key=user:1
< * command=LPUSH result=WRONGTYPE
> command=AUTH
< * command=AUTH result=OK
> command=CONFIG GET
< * command=CONFIG GET result=OK
> command=AUTH
< * command=AUTH result=OK
> command=MULTI
> command=INCR key=visits
> command=HSET key=hash:1
> command=EXEC
> command=HGETALL key=hash:1
< * command=MULTI result=OK
< * command=INCR result=OK
< * command=HSET result=OK
< * command=EXEC result=OK
< * command=HGETALL result=OK
> command=ECHO
< * command=ECHO result=OK";
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
    if let Some(errors) = tshark("redis/client.pcap", "resp.error", "resp.error") {
        let words: Vec<_> = errors.iter().map(|error| error.split(' ').next().unwrap()).collect();
        let own = values(&lines, "<", "result");
        assert_eq!(own.iter().filter(|word| *word != "OK").collect::<Vec<_>>(), words);
    }
}

#[test]
fn redis_cli_with_the_third_version_and_a_subscription() {
    let (lines, verdicts) = decode_streams("redis/resp3.pcap", PORT, Redis::new);
    assert_eq!(verdicts, [Verdict::More, Verdict::More, Verdict::More, Verdict::Done]);
    let expected = "\
> command=AUTH
< * command=AUTH result=OK
> command=HELLO
< * command=HELLO result=OK
> command=HSET key=hash:2
< * command=HSET result=OK
> command=AUTH
< * command=AUTH result=OK
> command=HELLO
< * command=HELLO result=OK
> command=HGETALL key=hash:2
< * command=HGETALL result=OK
> command=AUTH
< * command=AUTH result=OK
> command=HELLO
< * command=HELLO result=OK
> command=OBJECT ENCODING key=hash:2
< * command=OBJECT ENCODING result=OK
> command=AUTH
< * command=AUTH result=OK
> command=SUBSCRIBE
< * command=SUBSCRIBE result=OK";
    assert_eq!(lines, expected.lines().collect::<Vec<_>>());
}
