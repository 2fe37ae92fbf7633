//! HTTP/1 (spec 13.3, 17.2, 17.3).

use decode::app::{App, Field, Interest, Kind};

use crate::capture::{Capture, Connection, fields, recording, shared, tshark};

/// `GET /a host=h agent=u referer=r` for a request, with ` -> 200` for a response.
fn lines(connection: &Connection) -> Vec<String> {
    let lines = connection.events.iter().map(|event| {
        let fields = fields(&event);
        let text = |field| fields.get(&field).map_or("missing", String::as_str);
        let request = format!(
            "{} {} host={} agent={} referer={}",
            text(Field::HttpMethod),
            text(Field::HttpUrl),
            text(Field::HttpHost),
            text(Field::HttpUserAgent),
            text(Field::HttpReferer)
        );
        match event.kind {
            Kind::Response => format!("{request} -> {}", text(Field::HttpStatus)),
            _ => request,
        }
    });
    lines.collect()
}

fn latencies_us(connection: &Connection) -> Vec<u64> {
    connection.events.iter().filter_map(|event| event.latency_us).collect()
}

#[test]
fn one_get_answered_with_302() {
    let Some(path) = shared("http/google.com.pcap") else { return };
    let mut capture = Capture::read(&path);
    let get = "GET / host=google.com agent=curl/7.38.0 referer=";
    let expected = [get.to_owned(), format!("{get} -> 302")];
    // From the second packet on, too: the SYN+ACK names the server.
    for _ in 0..2 {
        let connections = capture.connections();
        assert_eq!(connections.len(), 1);
        assert_eq!(lines(&connections[0]), expected);
        // In whole ms, as records have it: 7.
        assert_eq!(latencies_us(&connections[0])[0] / 1000, 7);
        assert_eq!(connections[0].app(), Some(App::Http));
        capture.frames.remove(0);
    }
}

#[test]
fn a_capture_played_twice_gives_everything_twice() {
    let Some(path) = shared("http/google.com.pcap") else { return };
    let mut capture = Capture::read(&path);
    let again = capture.frames.clone();
    capture
        .frames
        .extend(again.into_iter().map(|(time_us, data, len)| (time_us + 2_000_000, data, len)));
    let connections = capture.connections();
    let latencies: Vec<_> = latencies_us(&connections[0]).iter().map(|us| us / 1000).collect();
    assert_eq!(latencies, [7, 7]);
}

#[test]
fn a_response_of_http_1_0_ends_with_its_fin() {
    let Some(path) = shared("http/http-1.0-fin-data.pcap") else { return };
    let connections = Capture::read(&path).connections();
    let get = "GET /application1 host=server3.sjc1 \
               agent=Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.0) referer=";
    assert_eq!(lines(&connections[0]), [get.to_owned(), format!("{get} -> 200")]);
    // The spec's 2 ms are rounded up or down from what is between.
    let latency_us = latencies_us(&connections[0])[0];
    assert!((1_500..2_500).contains(&latency_us), "{latency_us}");
}

#[test]
fn curl_and_nginx_speak_of_everything() {
    let path = recording("http/curl.pcap");
    let connections = Capture::read(&path).connections();
    let texts = |line: &str| {
        let (request, status) = line.split_once(" -> ").unwrap();
        let request = format!("{request} host=10.9.0.2 agent=curl referer=");
        [request.clone(), format!("{request} -> {status}")]
    };
    let all = |lines: &[&str]| lines.iter().flat_map(|line| texts(line)).collect::<Vec<_>>();
    let numbers = "GET /numbers.txt host=10.9.0.2:8000 agent=curl referer=http://referer.example/";
    let expected = [
        all(&["GET /a.txt -> 200", "GET /missing?x=1 -> 404", "GET /moved -> 302"]),
        all(&["HEAD /a.txt -> 200"]),
        all(&["GET /a.txt -> 304"]),
        vec![numbers.to_owned(), format!("{numbers} -> 200")],
        all(&["POST /post -> 201"]),
        all(&["GET /numbers.txt -> 200"]),
    ];
    assert_eq!(connections.len(), expected.len());
    for (connection, expected) in connections.iter().zip(expected) {
        assert_eq!(lines(connection), expected);
        assert_eq!(connection.interest, Some(Interest::Nothing));
        assert_eq!(connection.app(), Some(App::Http));
    }
}

#[test]
fn pipelined_and_split_requests_are_reported_one_by_one() {
    let connections = Capture::read(&recording("http/pieces.pcap")).connections();
    let expected = [
        "GET /a.txt host=pipe.example agent= referer=",
        "HEAD /a.txt host=pipe.example agent= referer=",
        "GET /missing host=pipe.example agent= referer=",
        "GET /a.txt host=pipe.example agent= referer= -> 200",
        "HEAD /a.txt host=pipe.example agent= referer= -> 200",
        "GET /missing host=pipe.example agent= referer= -> 404",
    ];
    assert_eq!(lines(&connections[0]), expected);
    let split = "GET /a.txt?split=yes host=pipe.example agent=split agent referer=";
    assert_eq!(lines(&connections[1]), [split.to_owned(), format!("{split} -> 200")]);
    // The pieces were sent at intervals of 20 ms; the time of the request is that of the first.
    let latency_us = latencies_us(&connections[1])[0];
    assert!((60_000..100_000).contains(&latency_us), "{latency_us}");
}

#[test]
fn packets_seen_twice_change_nothing() {
    for name in ["http/curl.pcap", "http/pieces.pcap"] {
        let mut capture = Capture::read(&recording(name));
        let once: Vec<_> = capture.connections().iter().map(lines).collect();
        capture.frames =
            capture.frames.iter().flat_map(|frame| [frame.clone(), frame.clone()]).collect();
        let twice: Vec<_> = capture.connections().iter().map(lines).collect();
        assert_eq!(once, twice);
    }
}

/// What remains when the capture misses one packet, whichever it is, is true: nothing that was not
/// said, and no answer to another's question.
#[test]
fn a_packet_that_was_missed_makes_nothing_wrong() {
    for name in ["http/curl.pcap", "http/pieces.pcap"] {
        let whole = Capture::read(&recording(name));
        let expected: Vec<_> = whole.connections().iter().map(lines).collect();
        let all = expected.iter().map(Vec::len).sum::<usize>();
        for missed in 0..whole.frames.len() {
            let mut capture = Capture::read(&recording(name));
            capture.frames.remove(missed);
            let found = capture.connections();
            let mut count = 0;
            for (connection, expected) in found.iter().zip(&expected) {
                for line in lines(connection) {
                    assert!(expected.contains(&line), "{name} without {missed}: {line}");
                    count += 1;
                }
            }
            // At worst one connection is not decoded at all.
            assert!(count + 6 >= all, "{name} without {missed}: {count} of {all}");
        }
    }
}

#[test]
fn tshark_says_the_same() {
    for name in ["http/curl.pcap", "http/google.com.pcap", "http/http-1.0-fin-data.pcap"] {
        let path = if name == "http/curl.pcap" { Some(recording(name)) } else { shared(name) };
        let Some(path) = path else { continue };
        let fields = [
            "tcp.stream",
            "http.request.method",
            "http.request.uri",
            "http.response.code",
            "http.time",
        ];
        let Some(theirs) = tshark(&path, &["-Y", "http"], &fields) else { return };
        let theirs = theirs.iter().map(|line| line.split('|').map(str::to_owned).collect());
        let theirs: Vec<Vec<String>> = theirs.collect();
        let continued: Vec<_> =
            theirs.iter().filter(|line| line[3] == "100").map(|line| line[0].clone()).collect();
        for (stream, connection) in Capture::read(&path).connections().iter().enumerate() {
            let stream = stream.to_string();
            let theirs = || theirs.iter().filter(|line| line[0] == stream);
            let requests: Vec<_> =
                theirs().filter(|line| !line[1].is_empty()).map(|line| &line[1..3]).collect();
            let responses: Vec<_> = theirs()
                .filter(|line| !line[3].is_empty() && line[3] != "100")
                .map(|line| (line[3].clone(), line[4].parse::<f64>().unwrap()))
                .collect();
            let (mut asked, mut answered) = (Vec::new(), Vec::new());
            for event in connection.events.iter() {
                let fields = crate::capture::fields(&event);
                match event.latency_us {
                    None => asked.push(
                        [&fields[&Field::HttpMethod], &fields[&Field::HttpUrl]].map(String::clone),
                    ),
                    Some(us) => answered.push((fields[&Field::HttpStatus].clone(), us)),
                }
            }
            assert_eq!(asked, requests);
            assert_eq!(answered.len(), responses.len());
            for ((status, us), (their_status, seconds)) in answered.iter().zip(responses) {
                assert_eq!(*status, their_status);
                // Theirs begins with the last packet of the request and ends with the first of a
                // response until FIN: ours is longer, by less than 2 ms but where the body came
                // after a 100.
                let theirs = (seconds * 1e6).round() as u64;
                let is_near = us - theirs < 2_000 || continued.contains(&stream);
                assert!(is_near, "{name} {stream}: {us} µs, {seconds} s");
            }
        }
    }
}
