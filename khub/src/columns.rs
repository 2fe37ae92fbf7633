//! Custom columns that every device announces, and the names under which values are shown.

use std::collections::HashMap;
use std::fmt::Write as _;

use kflow::api::CustomColumn;

/// Ids, names and types announced to agents. A fixed set, all or none (KH-A-11).
pub(crate) struct Columns {
    announced: Vec<CustomColumn>,
}

impl Columns {
    /// The columns of the reference test server, ids 1 to 55 (wire contract, 7.5): both naming
    /// schemes at once. Used with `--dev`.
    pub(crate) fn reference() -> Self {
        let mut list = List::default();
        list.add(
            "uint32",
            "RETRANSMITTED_IN_PKTS RETRANSMITTED_OUT_PKTS FRAGMENTS CLIENT_NW_LATENCY_MS \
             SERVER_NW_LATENCY_MS APPL_LATENCY_MS FPEX_LATENCY_MS OOORDER_IN_PKTS OOORDER_OUT_PKTS",
        );
        list.add("string", "KFLOW_HTTP_URL");
        list.add("uint32", "KFLOW_HTTP_STATUS");
        list.add("string", "KFLOW_HTTP_UA KFLOW_HTTP_REFERER KFLOW_HTTP_HOST KFLOW_DNS_QUERY");
        list.add("uint32", "KFLOW_DNS_QUERY_TYPE KFLOW_DNS_RET_CODE");
        list.add("string", "KFLOW_DNS_RESPONSE");
        list.add(
            "uint32",
            "REPEATED_RETRANSMITS RECEIVE_WINDOW ZERO_WINDOWS CONNECTION_ID OOORDER_PKTS \
             RETRANSMITTED_PKTS APP_PROTOCOL",
        );
        list.add_numbered("uint32", "INT", 0..6);
        list.add_numbered("string", "STR", 0..21);
        list.add_numbered("inet", "INET_", 0..3);
        list.add_extras();
        Self { announced: list.columns }
    }

    /// The columns of the hosted service by their ids there (KH-A-11), so that readers with its
    /// mapping read our batches too. Used without `--dev`.
    pub(crate) fn hosted() -> Self {
        let mut list = List { next_id: 2870, ..List::default() };
        list.add(
            "uint32",
            "FRAGMENTS APPL_LATENCY_MS CLIENT_NW_LATENCY_MS SERVER_NW_LATENCY_MS \
             RETRANSMITTED_OUT_PKTS REPEATED_RETRANSMITS OOORDER_IN_PKTS RECEIVE_WINDOW \
             ZERO_WINDOWS CONNECTION_ID APP_PROTOCOL",
        );
        list.add_numbered("uint32", "INT", 0..6);
        list.add_numbered("string", "STR", 0..6);
        list.next_id = 3102;
        list.add("uint32", "FPEX_LATENCY_MS");
        list.next_id = 6498;
        list.add_numbered("addr", "INET_", 0..5);
        list.add_numbered("uint64", "INT64_", 0..5);
        list.next_id = 7662;
        list.add_numbered("string", "STR", 6..17);
        list.next_id = 10_434;
        list.add_numbered("uint32", "INT", 6..10);
        list.add_numbered("uint64", "INT64_", 5..10);
        list.add_extras();
        Self { announced: list.columns }
    }

    /// For `custom_column_data`.
    pub(crate) fn announced(&self) -> &[CustomColumn] {
        &self.announced
    }

    /// For `custom_columns`: `NAME=id,…`.
    pub(crate) fn as_text(&self) -> String {
        let mut text = String::new();
        for column in &self.announced {
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{}={}", column.col_name, column.field_id);
        }
        text
    }

    /// The names of these columns by id.
    pub(crate) fn names(&self) -> Names {
        let named = self.announced.iter().map(|c| (c.field_id as u32, c.col_name.clone()));
        Names { by_id: named.collect() }
    }
}

/// Column names by the id that records carry.
#[derive(Clone)]
pub(crate) struct Names {
    by_id: HashMap<u32, String>,
}

impl Names {
    pub(crate) fn name(&self, id: u32) -> Option<&str> {
        self.by_id.get(&id).map(String::as_str)
    }

    /// Adds a column that khub fills itself.
    pub(crate) fn add(&mut self, id: u32, name: String) {
        self.by_id.insert(id, name);
    }
}

struct List {
    columns: Vec<CustomColumn>,
    next_id: u64,
}

/// Ids from here on are ours.
const FIRST_EXTRA_ID: u64 = 81_001;

impl Default for List {
    fn default() -> Self {
        Self { columns: Vec::new(), next_id: 1 }
    }
}

impl List {
    fn add(&mut self, col_type: &str, names: &str) {
        for name in names.split_whitespace() {
            self.columns.push(CustomColumn {
                field_id: self.next_id,
                col_name: name.into(),
                col_type: col_type.into(),
            });
            self.next_id += 1;
        }
    }

    /// What the probe can say beyond the columns of the original, under ids that nobody else uses.
    fn add_extras(&mut self) {
        self.next_id = FIRST_EXTRA_ID;
        self.add("string", "TCP_ROLE TCP_CLOSE");
        self.add(
            "uint32",
            "TCP_HANDSHAKE_RTT_US TCP_RTT_MIN_US TCP_RTT_MEAN_US TCP_RTT_MAX_US TCP_RTT_LAST_US \
             TCP_RTT_SAMPLES TCP_RETRANSMITTED_FAST TCP_RETRANSMITTED_TIMEOUT \
             TCP_RETRANSMITTED_TAIL TCP_RETRANSMITTED_NEEDLESS TCP_LOST_UPSTREAM TCP_DUPLICATES \
             TCP_DUP_ACKS TCP_SACKS TCP_DSACKS TCP_ZERO_WINDOW_TRANSITIONS TCP_ZERO_WINDOW_US \
             TCP_INITIAL_WINDOW TCP_MIN_WINDOW TCP_UNSEEN_BYTES TCP_GAPS TCP_CAPTURE_LOSS_GAPS \
             TCP_CAPTURE_LOSS_FILLS TCP_HOLES_DROPPED TCP_LACKING TLS_CERT_NOT_AFTER",
        );
        self.add("string", "TLS_ALPN TLS_JA4 TLS_CERT_SUBJECT SSH_HOST_KEY PG_DATABASE");
    }

    fn add_numbered(&mut self, col_type: &str, prefix: &str, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.add(col_type, &format!("{prefix}{number:02}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Columns;

    fn id(columns: &Columns, name: &str) -> u64 {
        columns.announced().iter().find(|c| c.col_name == name).map_or(0, |c| c.field_id)
    }

    #[test]
    fn the_reference_list_has_the_ids_of_the_contract() {
        let columns = Columns::reference();
        assert_eq!(columns.announced().len(), 55 + 33);
        assert_eq!(id(&columns, "FRAGMENTS"), 3);
        assert_eq!(id(&columns, "KFLOW_DNS_QUERY"), 15);
        assert_eq!(id(&columns, "APP_PROTOCOL"), 25);
        assert_eq!(id(&columns, "INT00"), 26);
        assert_eq!(id(&columns, "STR20"), 52);
        assert_eq!(id(&columns, "INET_02"), 55);
        assert_eq!((id(&columns, "TCP_ROLE"), id(&columns, "PG_DATABASE")), (81_001, 81_033));
        assert!(columns.as_text().starts_with("RETRANSMITTED_IN_PKTS=1,"));
    }

    #[test]
    fn the_hosted_list_has_the_ids_of_the_service() {
        let columns = Columns::hosted();
        assert_eq!(id(&columns, "APP_PROTOCOL"), 2880);
        assert_eq!(id(&columns, "INT05"), 2886);
        assert_eq!(id(&columns, "STR05"), 2892);
        assert_eq!(id(&columns, "FPEX_LATENCY_MS"), 3102);
        assert_eq!(id(&columns, "INET_04"), 6502);
        assert_eq!(id(&columns, "INT64_04"), 6507);
        assert_eq!(id(&columns, "STR16"), 7672);
        assert_eq!(id(&columns, "INT64_09"), 10_442);
    }
}
