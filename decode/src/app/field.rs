//! The protocols and the attributes they report: one table from which JSON, kflow columns,
//! redaction and documentation follow.

/// A protocol that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum App {
    Dns,
    Http,
    Tls,
    Dhcp,
    Radius,
    Postgres,
    Mysql,
    Redis,
    Ssh,
    Smtp,
    Sip,
    Quic,
    Http2,
    Dhcpv6,
    Mdns,
}

impl App {
    /// Every protocol, in the order of [`App::index`].
    pub const ALL: [Self; 15] = [
        Self::Dns,
        Self::Http,
        Self::Tls,
        Self::Dhcp,
        Self::Radius,
        Self::Postgres,
        Self::Mysql,
        Self::Redis,
        Self::Ssh,
        Self::Smtp,
        Self::Sip,
        Self::Quic,
        Self::Http2,
        Self::Dhcpv6,
        Self::Mdns,
    ];

    /// Place in [`App::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Name in JSON, status and flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Dhcp => "dhcp",
            Self::Radius => "radius",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Ssh => "ssh",
            Self::Smtp => "smtp",
            Self::Sip => "sip",
            Self::Quic => "quic",
            Self::Http2 => "http2",
            Self::Dhcpv6 => "dhcpv6",
            Self::Mdns => "mdns",
        }
    }

    /// Application id on the wire; 0 for all but the documented ones (spec 12.3).
    #[must_use]
    pub fn wire_id(self) -> u32 {
        match self {
            Self::Dns => 1,
            Self::Http => 2,
            Self::Tls => 3,
            Self::Dhcp => 4,
            Self::Radius => 9,
            _ => 0,
        }
    }
}

/// Which member of the common shape an attribute is (besides being listed under its own name).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// What was asked: method, query type, statement kind.
    Operation,
    /// What came back: code or word.
    Status,
    /// Neither.
    Detail,
}

/// What `--redact` can name to have an attribute dropped or hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Redaction {
    /// Never redacted: codes, versions, sizes.
    None,
    /// URLs, paths, referers.
    Url,
    /// Names of servers and domains.
    Name,
    /// Users, hosts and devices of people.
    User,
    /// Programs that people use.
    UserAgent,
    /// What was asked: DNS names and answers, SQL statements, keys.
    Query,
}

/// What is known of a field.
#[derive(Clone, Copy, Debug)]
pub struct FieldInfo {
    /// The field.
    pub field: Field,
    /// Whose it is.
    pub app: App,
    /// Name in JSON.
    pub name: &'static str,
    /// Column of its own (scheme A of spec 12.1, or an extra column), empty for none.
    pub column: &'static str,
    /// Generic column (scheme B), empty for none.
    pub generic: &'static str,
    /// Member of the common shape.
    pub face: Face,
    /// Under which word it can be redacted.
    pub redaction: Redaction,
    /// What it means, with unit.
    pub doc: &'static str,
}

macro_rules! fields {
    ($($field:ident: $app:ident, $name:literal, $column:literal, $generic:literal, $face:ident,
       $redaction:ident, $doc:literal;)*) => {
        /// An attribute of an event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Field {
            $(#[doc = $doc] $field),*
        }

        /// Every field, in the order of [`Field::index`].
        pub const FIELDS: &[FieldInfo] = &[$(FieldInfo {
            field: Field::$field,
            app: App::$app,
            name: $name,
            column: $column,
            generic: $generic,
            face: Face::$face,
            redaction: Redaction::$redaction,
            doc: $doc,
        }),*];
    };
}

fields! {
    DnsQuery: Dns, "query", "KFLOW_DNS_QUERY", "STR00", Detail, Query, "name asked for";
    DnsQueryType: Dns, "query_type", "KFLOW_DNS_QUERY_TYPE", "INT00", Detail, None,
        "type asked for, as a number";
    DnsOperation: Dns, "type", "", "", Operation, None, "type asked for, as a word";
    DnsRcode: Dns, "rcode", "KFLOW_DNS_RET_CODE", "INT01", Detail, None,
        "response code, as a number";
    DnsStatus: Dns, "rcode_name", "", "", Status, None, "response code, as a word";
    DnsAnswer: Dns, "answer", "KFLOW_DNS_RESPONSE", "STR01", Detail, Query,
        "answers, value/type each, joined by ;";

    HttpMethod: Http, "method", "", "", Operation, None, "request method";
    HttpUrl: Http, "url", "KFLOW_HTTP_URL", "STR00", Detail, Url, "request target as sent";
    HttpHost: Http, "host", "KFLOW_HTTP_HOST", "STR01", Detail, Name, "Host header";
    HttpReferer: Http, "referer", "KFLOW_HTTP_REFERER", "STR02", Detail, Url, "Referer header";
    HttpUserAgent: Http, "user_agent", "KFLOW_HTTP_UA", "STR03", Detail, UserAgent,
        "User-Agent header";
    HttpStatus: Http, "status_code", "KFLOW_HTTP_STATUS", "INT00", Status, None,
        "status of the response";

    TlsServerName: Tls, "server_name", "TLS_SERVER_NAME", "STR00", Detail, Name,
        "server name of the client hello";
    TlsVersion: Tls, "version", "TLS_SERVER_VERSION", "INT00", Detail, None,
        "version chosen by the server, major × 256 + minor";
    TlsCipher: Tls, "cipher", "TLS_CIPHER_SUITE", "INT01", Detail, None,
        "cipher suite chosen by the server";
    TlsAlpn: Tls, "alpn", "TLS_ALPN", "", Detail, None,
        "application protocol: the server's choice, else the client's first offer";
    TlsJa4: Tls, "ja4", "TLS_JA4", "", Detail, None, "JA4 fingerprint of the client hello";
    TlsCertSubject: Tls, "certificate_subject", "TLS_CERT_SUBJECT", "", Detail, Name,
        "common name, else first alternative name, of the server's certificate";
    TlsCertExpiry: Tls, "certificate_not_after", "TLS_CERT_NOT_AFTER", "", Detail, None,
        "end of the certificate's validity, seconds since 1970";
    TlsAlert: Tls, "alert", "", "", Status, None, "fatal alert in clear, by its name";

    DhcpOperation: Dhcp, "message", "", "", Operation, None, "message type, as a word";
    DhcpOp: Dhcp, "op", "DHCP_OP", "INT00", Detail, None, "1 request, 2 reply";
    DhcpMessageType: Dhcp, "message_type", "DHCP_MSG_TYPE", "INT01", Detail, None,
        "option 53, 0 when absent";
    DhcpClientMac: Dhcp, "client_mac", "DHCP_CH_ADDR", "STR00", Detail, User,
        "hardware address of the client";
    DhcpHostName: Dhcp, "host_name", "DHCP_HOSTNAME", "STR01", Detail, User, "option 12";
    DhcpDomain: Dhcp, "domain", "DHCP_DOMAIN", "STR02", Detail, Name, "option 15";
    DhcpLease: Dhcp, "lease_s", "DHCP_LEASE", "INT02", Detail, None, "option 51, seconds";
    DhcpClientAddress: Dhcp, "client_address", "DHCP_CI_ADDR", "INET_00", Detail, None, "ciaddr";
    DhcpYourAddress: Dhcp, "your_address", "DHCP_YI_ADDR", "INET_01", Detail, None, "yiaddr";
    DhcpServerAddress: Dhcp, "server_address", "DHCP_SI_ADDR", "INET_02", Detail, None, "siaddr";

    RadiusOperation: Radius, "packet", "", "", Operation, None, "code of a request, as a word";
    RadiusStatus: Radius, "result", "", "", Status, None, "code of an answer, as a word";
    RadiusCode: Radius, "code", "RADIUS_CODE", "INT00", Detail, None, "code of the header";
    RadiusUserName: Radius, "user_name", "RADIUS_USER_NAME", "STR00", Detail, User, "attribute 1";
    RadiusServiceType: Radius, "service_type", "RADIUS_SERVICE_TYPE", "INT01", Detail, None,
        "attribute 6";
    RadiusFramedProtocol: Radius, "framed_protocol", "RADIUS_FRAMED_PROTO", "STR01", Detail, None,
        "attribute 7";
    RadiusFramedAddress: Radius, "framed_address", "RADIUS_FRAMED_IP_ADDR", "INET_00", Detail,
        User, "attribute 8";
    RadiusFramedMask: Radius, "framed_mask", "RADIUS_FRAMED_IP_MASK", "INET_01", Detail, None,
        "attribute 9";
    RadiusAcctStatus: Radius, "accounting_status", "RADIUS_ACCT_STATUS", "INT02", Detail, None,
        "attribute 40";
    RadiusAcctSession: Radius, "accounting_session", "RADIUS_ACCT_SESSION_ID", "STR02", Detail,
        None, "attribute 44";

    PostgresOperation: Postgres, "command", "PG_COMMAND", "STR01", Operation, None,
        "first word of the statement, or kind of message";
    PostgresQuery: Postgres, "query", "PG_QUERY", "STR00", Detail, Query,
        "statement, its literals replaced by ?";
    PostgresStatus: Postgres, "sqlstate", "PG_SQLSTATE", "STR02", Status, None,
        "00000 or the SQLSTATE of the error";
    PostgresRows: Postgres, "rows", "PG_ROWS", "INT00", Detail, None, "rows sent or changed";
    PostgresUser: Postgres, "user", "PG_USER", "STR03", Detail, User, "user of the session";
    PostgresDatabase: Postgres, "database", "PG_DATABASE", "", Detail, Name,
        "database of the session";

    MysqlOperation: Mysql, "command", "MYSQL_COMMAND", "STR01", Operation, None,
        "first word of the statement, or the command's name";
    MysqlQuery: Mysql, "query", "MYSQL_QUERY", "STR00", Detail, Query,
        "statement, its literals replaced by ?";
    MysqlStatus: Mysql, "error_code", "MYSQL_ERROR", "INT01", Status, None,
        "0 or the number of the error";
    MysqlRows: Mysql, "rows", "MYSQL_ROWS", "INT00", Detail, None, "rows sent or changed";
    MysqlUser: Mysql, "user", "MYSQL_USER", "STR03", Detail, User, "user of the session";
    MysqlVersion: Mysql, "server_version", "", "", Detail, None, "version in the greeting";

    RedisOperation: Redis, "command", "REDIS_COMMAND", "STR00", Operation, None,
        "command, without arguments";
    RedisKey: Redis, "key", "REDIS_KEY", "STR01", Detail, Query, "first key of the command";
    RedisStatus: Redis, "result", "REDIS_STATUS", "STR02", Status, None,
        "OK, or the first word of the error";

    SshClient: Ssh, "client_banner", "SSH_CLIENT", "STR00", Detail, UserAgent,
        "identification string of the client";
    SshServer: Ssh, "server_banner", "SSH_SERVER", "STR01", Detail, None,
        "identification string of the server";
    SshKeyExchange: Ssh, "key_exchange", "SSH_KEX", "STR02", Detail, None,
        "key exchange algorithm that both ends agree on";
    SshHostKey: Ssh, "host_key", "SSH_HOST_KEY", "", Detail, None,
        "host key algorithm that both ends agree on";
    SshCipher: Ssh, "cipher", "SSH_CIPHER", "STR03", Detail, None,
        "cipher from client to server that both ends agree on";
    SshMac: Ssh, "mac", "", "", Detail, None, "MAC from client to server, likewise";
    SshHassh: Ssh, "hassh", "", "", Detail, None, "HASSH fingerprint of the client";

    SmtpOperation: Smtp, "command", "SMTP_COMMAND", "STR00", Operation, None, "command verb";
    SmtpStatus: Smtp, "reply", "SMTP_REPLY", "INT00", Status, None, "reply code";
    SmtpDomain: Smtp, "domain", "SMTP_DOMAIN", "STR01", Detail, Name,
        "name that the client gives in HELO or EHLO";
    SmtpSender: Smtp, "sender", "SMTP_SENDER", "STR02", Detail, User, "address of MAIL FROM";
    SmtpRecipient: Smtp, "recipient", "SMTP_RECIPIENT", "STR03", Detail, User,
        "address of RCPT TO";

    SipOperation: Sip, "method", "SIP_METHOD", "STR00", Operation, None, "request method";
    SipStatus: Sip, "status_code", "SIP_STATUS", "INT00", Status, None, "status of the response";
    SipFrom: Sip, "from", "SIP_FROM", "STR01", Detail, User, "URI of the From header";
    SipTo: Sip, "to", "SIP_TO", "STR02", Detail, User, "URI of the To header";
    SipUserAgent: Sip, "user_agent", "SIP_UA", "STR03", Detail, UserAgent,
        "User-Agent or Server header";
    SipCallId: Sip, "call_id", "", "", Detail, None, "Call-ID header";

    QuicServerName: Quic, "server_name", "QUIC_SERVER_NAME", "STR00", Detail, Name,
        "server name of the client hello";
    QuicVersion: Quic, "version", "QUIC_VERSION", "INT00", Detail, None,
        "version of the long header, known before the hello is whole";
    QuicAlpn: Quic, "alpn", "QUIC_ALPN", "STR01", Detail, None, "first protocol offered";
    QuicJa4: Quic, "ja4", "QUIC_JA4", "STR02", Detail, None,
        "JA4 fingerprint of the client hello";

    Http2Method: Http2, "method", "", "", Operation, None, "request method";
    Http2Path: Http2, "url", "KFLOW_HTTP_URL", "STR00", Detail, Url, "request path";
    Http2Authority: Http2, "host", "KFLOW_HTTP_HOST", "STR01", Detail, Name, "authority";
    Http2UserAgent: Http2, "user_agent", "KFLOW_HTTP_UA", "STR03", Detail, UserAgent,
        "user-agent header";
    Http2Status: Http2, "status_code", "KFLOW_HTTP_STATUS", "INT00", Status, None,
        "status of the response";
    GrpcStatus: Http2, "grpc_status", "GRPC_STATUS", "INT01", Detail, None,
        "grpc-status of the trailers";

    Dhcpv6Operation: Dhcpv6, "message", "", "", Operation, None, "message type, as a word";
    Dhcpv6MessageType: Dhcpv6, "message_type", "DHCPV6_MSG_TYPE", "INT00", Detail, None,
        "message type";
    Dhcpv6ClientId: Dhcpv6, "client_id", "DHCPV6_CLIENT_ID", "STR00", Detail, User,
        "DUID of the client, hexadecimal";
    Dhcpv6Name: Dhcpv6, "client_name", "DHCPV6_FQDN", "STR01", Detail, User, "option 39";
    Dhcpv6Address: Dhcpv6, "address", "DHCPV6_ADDRESS", "INET_00", Detail, User,
        "first address assigned";
    Dhcpv6Prefix: Dhcpv6, "prefix", "DHCPV6_PREFIX", "INET_01", Detail, User,
        "first prefix delegated";
    Dhcpv6Status: Dhcpv6, "status_code", "DHCPV6_STATUS", "INT01", Status, None,
        "status code option, 0 for success";
    Dhcpv6Lifetime: Dhcpv6, "valid_lifetime_s", "DHCPV6_LIFETIME", "INT02", Detail, None,
        "valid lifetime of the first address or prefix, seconds";
    Dhcpv6PrefixLength: Dhcpv6, "prefix_length", "", "", Detail, None,
        "length of the first prefix, bits";

    MdnsOperation: Mdns, "type", "", "", Operation, None, "type asked for, as a word";
    MdnsName: Mdns, "query", "MDNS_QUERY", "STR00", Detail, Query, "name asked for or announced";
    MdnsAnswer: Mdns, "answer", "MDNS_ANSWER", "STR01", Detail, Query,
        "answers, value/type each, joined by ;";
}

impl Field {
    /// Place in [`FIELDS`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// What is known of it.
    #[must_use]
    pub fn info(self) -> &'static FieldInfo {
        &FIELDS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_tables_are_in_order_and_names_are_unique_within_a_protocol() {
        assert!(FIELDS.iter().enumerate().all(|(index, info)| info.field.index() == index));
        assert!(App::ALL.iter().enumerate().all(|(index, app)| app.index() == index));
        let names: HashSet<_> = FIELDS.iter().map(|info| (info.app, info.name)).collect();
        assert_eq!(names.len(), FIELDS.len());
    }

    #[test]
    fn a_generic_column_has_one_meaning_within_a_protocol() {
        let used: Vec<_> = FIELDS
            .iter()
            .filter(|info| !info.generic.is_empty())
            .map(|info| (info.app, info.generic))
            .collect();
        assert_eq!(used.iter().collect::<HashSet<_>>().len(), used.len());
    }
}
