//! Latencies on both pages: percentiles, and Prometheus histograms.

use flowtable::Latencies;
use serde::Serialize;

use super::metrics::Text;

/// Upper bounds of the Prometheus buckets, µs.
const BOUNDS_US: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000, 20_000_000,
];

/// `latency_us` of `/v1/status`.
#[derive(Debug, Serialize)]
pub(super) struct LatencyPage {
    client: Percentiles,
    server: Percentiles,
    application: Percentiles,
}

/// In µs, within 1 %; 0 without samples.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Percentiles {
    count: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

impl LatencyPage {
    pub(super) fn new(latencies: &Latencies) -> Self {
        let [client, server, application] = three(latencies).map(|(_, histogram)| Percentiles {
            count: histogram.len(),
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        });
        Self { client, server, application }
    }
}

/// `kprobe_latency_seconds` with a label for each kind.
pub(super) fn metrics(page: &mut Text, latencies: &Latencies) {
    let help = "Handshake round trips to clients and servers, and answers of applications";
    page.head("latency_seconds", "histogram", help);
    for (kind, histogram) in three(latencies) {
        for bound_us in BOUNDS_US {
            let labels = format!("kind=\"{kind}\",le=\"{}\"", seconds(bound_us));
            let count = histogram.count_between(0, bound_us);
            page.line("latency_seconds_bucket", &labels, count);
        }
        let labels = format!("kind=\"{kind}\",le=\"+Inf\"");
        page.line("latency_seconds_bucket", &labels, histogram.len());
        let labels = format!("kind=\"{kind}\"");
        let sum = histogram.mean() * histogram.len() as f64 / 1e6;
        page.line("latency_seconds_sum", &labels, sum);
        page.line("latency_seconds_count", &labels, histogram.len());
    }
}

fn three(latencies: &Latencies) -> [(&'static str, &hdrhistogram::Histogram<u64>); 3] {
    [
        ("client", &latencies.client),
        ("server", &latencies.server),
        ("application", &latencies.application),
    ]
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies() -> Latencies {
        let mut latencies = Latencies::default();
        for us in [20, 200, 200, 2_000, 2_000_000] {
            latencies.client.record(us).unwrap();
        }
        latencies
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let page = LatencyPage::new(&latencies());
        let expected = Percentiles { count: 5, p50: 200, p90: 2_000_000, p99: 2_000_000, max: 0 };
        assert_eq!((page.client.count, page.client.p50), (expected.count, expected.p50));
        assert!(page.client.p90.abs_diff(expected.p90) < 20_000, "{:?}", page.client);
        assert!(page.client.max.abs_diff(2_000_000) < 20_000, "{:?}", page.client);
        assert_eq!((page.server.count, page.server.p50, page.server.max), (0, 0, 0));
    }

    #[test]
    fn the_buckets_of_the_histogram_are_cumulative() {
        let mut page = Text::default();
        metrics(&mut page, &latencies());
        let text = page.into_text();
        for line in [
            "kprobe_latency_seconds_bucket{kind=\"client\",le=\"0.00005\"} 1",
            "kprobe_latency_seconds_bucket{kind=\"client\",le=\"0.00025\"} 3",
            "kprobe_latency_seconds_bucket{kind=\"client\",le=\"1\"} 4",
            "kprobe_latency_seconds_bucket{kind=\"client\",le=\"+Inf\"} 5",
            "kprobe_latency_seconds_count{kind=\"client\"} 5",
            "kprobe_latency_seconds_count{kind=\"server\"} 0",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in {text}");
        }
    }
}
