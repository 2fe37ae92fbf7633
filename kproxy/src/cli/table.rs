//! Every flag of the agent: what help shows, what is accepted, and what works.
//!
//! The collector's flags are rows already, so that a command line written for the whole agent
//! starts this one; those whose function is not there yet are [`Class::Absent`].

use super::syntax::{Class, Flag, Kind};

const fn switch(class: Class, name: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Switch, class, default: "", help }
}

const fn integer(
    class: Class,
    name: &'static str,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, kind: Kind::Integer, class, default, help }
}

const fn text(class: Class, name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Text, class, default, help }
}

const fn secret(class: Class, name: &'static str, help: &'static str) -> Flag {
    Flag { name, kind: Kind::Secret, class, default: "", help }
}

use Class::{Absent, Ignored, Works};

/// The table, in the order of help.
pub static FLAGS: &[Flag] = &[
    text(
        Works,
        "proxy-http",
        "",
        "`[addr:]port` of the HTTP forward proxy; a bare port is on -host",
    ),
    text(
        Works,
        "proxy-http-allow",
        ".kentik.com",
        "hosts that the proxy forwards to: `host[:port],...`, * for all",
    ),
    switch(
        Works,
        "proxy-http-private",
        "forward to allowed names whose address is private or this machine's, too",
    ),
    integer(Works, "proxy-http-connections", "1024", "most client connections at once"),
    integer(
        Works,
        "proxy-http-head-timeout",
        "10",
        "`seconds` for a client to send a request head",
    ),
    integer(Works, "proxy-http-connect-timeout", "10", "`seconds` to resolve and reach a host"),
    integer(Works, "proxy-http-idle-timeout", "900", "`seconds` without a byte that end a tunnel"),
    secret(
        Works,
        "local_proxy",
        "`http://[user:pass@]host:port` of the proxy for what is forwarded",
    ),
    text(Works, "api_email", "", "e-mail of the account; environment: KENTIK_API_EMAIL"),
    secret(Works, "api_token", "token of the account; better in the environment: KENTIK_API_TOKEN"),
    secret(Works, "api_pass", "older name of -api_token"),
    text(Works, "region", "us", "region of the account: us, eu, ...; environment: KENTIK_REGION"),
    text(Works, "host", "127.0.0.1", "`ip` to listen on"),
    integer(Works, "port", "9995", "flow port; the health page is on the next one"),
    text(Works, "healthcheck", "127.0.0.1", "`ip[:port]` of the health page"),
    text(Works, "log_level", "info", "access, debug, info, warn, error, panic or off"),
    switch(Works, "verbose", "as -log_level debug"),
    switch(Works, "stdout", "log to standard output, which is the default"),
    switch(Ignored, "fg", "stays in the foreground always"),
    switch(Works, "v", "print the version"),
    // The collector, the enrichment and the delivery of flow: to come.
    text(Absent, "type", "proxy", "protocols to accept"),
    text(Absent, "api", "", "root `url` of the API"),
    text(Absent, "flow_url", "", "`url` for flow"),
    text(Absent, "tsdb_url", "", "`url` for metrics"),
    text(Absent, "hub", "", "`url` of a khub for all three"),
    text(Absent, "bootstrap_devices", "", "device `ids` that start without flow"),
    text(Absent, "dns", "", "`[internal:]ip:port` of the server for names"),
    switch(Absent, "exit_low_traffic", "end when no flow arrives"),
    text(Absent, "exporter_address", "", "where a device's address is taken from"),
    text(Absent, "http", "off", "listen for kflow over HTTP"),
    text(Absent, "mapping_file", "", "`file` of field mappings"),
    text(Absent, "mask_file", "", "`file` of prefixes to mask"),
    text(Absent, "remap_file", "", "`file` of addresses to exchange"),
    text(Absent, "my_network", "", "internal `prefixes`"),
    integer(Absent, "max", "4000", "most records/s of a device"),
    integer(Absent, "sampleInterval", "15000", "window of the rate limit in `ms`"),
    integer(Absent, "sample_rate", "0", "sample rate of all devices"),
    text(Absent, "sample_rate_source", "", "which sample rate counts"),
    integer(Absent, "sample_metric", "1", "one of so many metric records"),
    integer(Absent, "max_http_send", "10", "batches of a device that may wait"),
    integer(Absent, "num_http_send", "5", "uploads of a device at once"),
    text(Absent, "metrics", "none", "none, stderr, syslog or graphite:host:port"),
    text(Absent, "proxy_snmp", "", "`ip` that SNMP requests leave from"),
    integer(Absent, "rcvbuf_size", "16777216", "receive buffer in bytes"),
    switch(Absent, "sflow_agent_address", "look devices up by sFlow agent address"),
    switch(Absent, "sflow_drop_egress", "drop sFlow samples taken at the output"),
    integer(Absent, "site_id", "0", "serve this site's devices only"),
    integer(Absent, "sleep", "0", "wait `ms` before the first API call"),
    secret(Absent, "snmp_community", "self-test: community"),
    text(Absent, "snmp_ip", "", "self-test: address"),
    secret(Absent, "snmp_v3", "self-test: version 3 settings"),
    text(Absent, "snmp_file", "", "`file` of SNMP settings"),
    switch(Absent, "snmp_low", "poll descriptions only"),
    integer(Absent, "snmp_max", "750", "interfaces of the first cycle"),
    integer(Absent, "snmp_max_cycle", "500", "interfaces of later cycles"),
    integer(Absent, "snmp_max_repetitions", "50", "repetitions of a bulk request"),
    integer(Absent, "snmp_retries", "", "repeated SNMP requests"),
    integer(Absent, "snmp_timeout_seconds", "5", "`seconds` for an SNMP answer"),
    switch(Absent, "test_snmp", "poll once and end"),
    text(Absent, "spool_dir", "", "`directory` for batches that wait"),
    text(Absent, "spool_max", "", "most bytes there"),
    text(Absent, "st_dialout_listener", "", "streaming telemetry: auto, junos or ios"),
    text(Absent, "st_tcp_bind", "", "`ip:port` of telemetry over TCP"),
    text(Absent, "st_udp_bind", "", "`ip:port` of telemetry over UDP"),
    text(Absent, "st_v1", "", "telemetry settings"),
    switch(Absent, "syslog", "log to syslog"),
    text(Absent, "syslog_bind", "", "`address` for syslog lines"),
    text(Absent, "syslog_conf", "", "`file` of syslog patterns"),
    text(Absent, "syslog_config", "", "`file` of syslog patterns"),
    text(Absent, "tee_kproxy", "", "`[src:]dst:port` that gets a copy of each datagram"),
    text(Absent, "template_file", "", "`file` that keeps templates"),
    text(Absent, "template_key", "", "what tells exporters apart"),
    text(Absent, "tls_ca_file", "", "`file` of a further root certificate"),
    text(Absent, "tls_cert_file", "", "`file` of the client certificate"),
    secret(Absent, "tls_key_file", "`file` of the client's key"),
    switch(Absent, "use_asn_from_flow", "keep the AS numbers of the flow"),
    text(Absent, "active_listen", "", "active measurement"),
    text(Absent, "active_max_speed", "", "active measurement"),
    text(Absent, "active_protocol", "", "active measurement"),
    text(Absent, "active_servers", "", "active measurement"),
    switch(Absent, "just_active", "active measurement"),
    text(Absent, "alert_fwd", "", "second destination"),
    text(Absent, "cloud_map", "", "`file` of cloud range names"),
    text(Absent, "http_udr", "", "`address` for metrics as JSON"),
    text(Absent, "rpki_bind", "", "route validation"),
    text(Absent, "rpki_cache", "", "route validation"),
    text(Absent, "rpki_local_cache", "", "route validation"),
    text(Absent, "tag_url", "", "`url` of flow tags"),
    // Accepted for the sake of old command lines.
    integer(Ignored, "base_port", "40010", "no child has a port"),
    text(Ignored, "bgp_neighbor_asn", "", "see kbgp"),
    text(Ignored, "bgp_neighbor_ip", "", "see kbgp"),
    text(Ignored, "bgp_neighbor_ip6", "", "see kbgp"),
    text(Ignored, "bgp_proxy", "", "see kbgp"),
    text(Ignored, "bgp_proxy6", "", "see kbgp"),
    text(Ignored, "bgp_config_file", "", "see kbgp"),
    text(Ignored, "client_id", "", "there are no children"),
    text(Ignored, "leader_id", "", "there are no children"),
    text(Ignored, "custom_cols", "", "comes from the API"),
    text(Ignored, "extensible_cols", "", "comes from the API"),
    text(Ignored, "device_stat", "", "obsolete"),
    text(Ignored, "device_stat_ssl_url", "", "obsolete"),
    text(Ignored, "device_type", "", "there are no children"),
    text(Ignored, "device_subtype", "", "there are no children"),
    text(Ignored, "dnstagd", "", "a hosted service"),
    integer(Ignored, "dump", "1000", "cadence of debug lines"),
    switch(Ignored, "force_bgp", "obsolete"),
    text(Ignored, "forked_pprof_host", "", "profiler of another language"),
    text(Ignored, "geo", "", "the receiver enriches"),
    text(Ignored, "geo_small", "", "the receiver enriches"),
    text(Ignored, "hostname", "", "obsolete"),
    text(Ignored, "listen", "", "obsolete"),
    text(Ignored, "interface_metadata_comparison", "", "a hosted service"),
    text(Ignored, "logstash", "", "a hosted service"),
    integer(Ignored, "max_big", "30", "there is no low-resolution stream"),
    text(Ignored, "pcap_flow_period", "", "obsolete"),
    text(Ignored, "pcap_transmit_period", "", "obsolete"),
    text(Ignored, "proxy_pcap", "", "obsolete"),
    text(Works, "proxy_host", "", "`ip`, checked and not used: there are no children"),
    text(Ignored, "rateLimit", "", "obsolete"),
    text(Ignored, "realtime", "", "obsolete"),
    text(Ignored, "servers", "", "obsolete"),
    integer(Ignored, "shard_num", "", "there are no children"),
    integer(Ignored, "total_shards", "", "there are no children"),
    text(Ignored, "snmp", "", "obsolete"),
    text(Ignored, "sql_proxy_listen", "", "not used"),
    integer(Ignored, "tag_update", "", "obsolete"),
    switch(Ignored, "update_on_restart", "packages update the program"),
    switch(Ignored, "use_ue_from_flow", "a hosted service"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_name_stands_twice_whatever_its_hyphens() {
        let mut seen = HashSet::new();
        for flag in FLAGS {
            assert!(seen.insert(flag.name.replace('-', "_")), "{}", flag.name);
        }
    }

    #[test]
    fn a_default_of_an_integer_is_an_integer() {
        for flag in FLAGS.iter().filter(|flag| flag.kind == Kind::Integer) {
            assert!(
                flag.default.is_empty() || flag.default.parse::<i64>().is_ok(),
                "{}",
                flag.name
            );
        }
    }
}
