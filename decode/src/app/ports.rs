//! Which protocol a port stands for (spec 13.1).

use super::App;

/// How conversations are given to decoders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classify {
    /// By configured ports, then by the first payload bytes, with well-known ports as a hint.
    #[default]
    Content,
    /// By ports alone, as the original does.
    Ports,
}

/// Transport of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortOf {
    /// A TCP port.
    Tcp,
    /// A UDP port.
    Udp,
}

/// What the user said about ports. Empty lists leave the usual ports.
#[derive(Clone, Debug, Default)]
pub struct PortLists {
    /// HTTP besides 80.
    pub http: Vec<u16>,
    /// TLS besides 443.
    pub tls: Vec<u16>,
    /// DNS in place of 53, UDP and TCP.
    pub dns: Vec<u16>,
    /// RADIUS in place of 1812 and 1813.
    pub radius: Vec<u16>,
}

/// What a port says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMatch {
    /// The protocol.
    pub app: App,
    /// The user has named the port: content does not overrule it.
    pub is_configured: bool,
}

/// The table of ports.
#[derive(Clone, Debug)]
pub struct Ports {
    rows: Vec<Row>,
    /// A bit for each port that has a row.
    known: Box<[u64]>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    transport: PortOf,
    port: u16,
    app: App,
    origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Configured,
    /// In the original's table.
    Original,
    Added,
}

const WELL_KNOWN: &[(PortOf, u16, App, Origin)] = &[
    (PortOf::Tcp, 80, App::Http, Origin::Original),
    (PortOf::Tcp, 443, App::Tls, Origin::Original),
    (PortOf::Udp, 67, App::Dhcp, Origin::Original),
    (PortOf::Udp, 68, App::Dhcp, Origin::Original),
    (PortOf::Tcp, 22, App::Ssh, Origin::Added),
    (PortOf::Tcp, 25, App::Smtp, Origin::Added),
    (PortOf::Tcp, 587, App::Smtp, Origin::Added),
    (PortOf::Tcp, 3306, App::Mysql, Origin::Added),
    (PortOf::Tcp, 5060, App::Sip, Origin::Added),
    (PortOf::Tcp, 5432, App::Postgres, Origin::Added),
    (PortOf::Tcp, 6379, App::Redis, Origin::Added),
    (PortOf::Tcp, 853, App::Tls, Origin::Added),
    (PortOf::Tcp, 993, App::Tls, Origin::Added),
    (PortOf::Udp, 443, App::Quic, Origin::Added),
    (PortOf::Udp, 546, App::Dhcpv6, Origin::Added),
    (PortOf::Udp, 547, App::Dhcpv6, Origin::Added),
    (PortOf::Udp, 5060, App::Sip, Origin::Added),
    (PortOf::Udp, 5353, App::Mdns, Origin::Added),
];

impl Ports {
    /// The usual ports and those of the user. A port that the user has named is looked up before
    /// a well-known one of the same number.
    #[must_use]
    pub fn new(lists: &PortLists) -> Self {
        let mut rows = Vec::new();
        let mut add = |transport, ports: &[u16], app, origin| {
            rows.extend(ports.iter().map(|&port| Row { transport, port, app, origin }));
        };
        add(PortOf::Tcp, &lists.http, App::Http, Origin::Configured);
        add(PortOf::Tcp, &lists.tls, App::Tls, Origin::Configured);
        add(PortOf::Udp, &lists.dns, App::Dns, Origin::Configured);
        add(PortOf::Tcp, &lists.dns, App::Dns, Origin::Configured);
        add(PortOf::Udp, &lists.radius, App::Radius, Origin::Configured);
        if lists.dns.is_empty() {
            add(PortOf::Udp, &[53], App::Dns, Origin::Original);
            add(PortOf::Tcp, &[53], App::Dns, Origin::Added);
        }
        if lists.radius.is_empty() {
            add(PortOf::Udp, &[1812, 1813], App::Radius, Origin::Original);
        }
        for &(transport, port, app, origin) in WELL_KNOWN {
            add(transport, &[port], app, origin);
        }
        let mut known = vec![0; 1 << 10];
        for row in &rows {
            if let Some(word) = known.get_mut(usize::from(row.port >> 6)) {
                *word |= 1 << (row.port & 63);
            }
        }
        Self { rows, known: known.into_boxed_slice() }
    }

    /// What two ports say: the smaller, if nothing the larger. With [`Classify::Ports`] only ports
    /// that the user has named or the original knew.
    #[must_use]
    pub fn find(
        &self,
        transport: PortOf,
        ports: [u16; 2],
        classify: Classify,
    ) -> Option<PortMatch> {
        let of = |port: u16| {
            let word = self.known.get(usize::from(port >> 6))?;
            if word & 1 << (port & 63) == 0 {
                return None;
            }
            let fits = |row: &&Row| {
                row.transport == transport
                    && row.port == port
                    && (classify == Classify::Content || row.origin != Origin::Added)
            };
            let row = self.rows.iter().find(fits)?;
            Some(PortMatch { app: row.app, is_configured: row.origin == Origin::Configured })
        };
        let [a, b] = ports;
        of(a.min(b)).or_else(|| of(a.max(b)))
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self::new(&PortLists::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(ports: &Ports, transport: PortOf, pair: [u16; 2]) -> Option<App> {
        ports.find(transport, pair, Classify::Ports).map(|found| found.app)
    }

    #[test]
    fn the_original_table_is_kept() {
        let ports = Ports::default();
        assert_eq!(app(&ports, PortOf::Udp, [0, 53]), Some(App::Dns));
        assert_eq!(app(&ports, PortOf::Tcp, [0, 80]), Some(App::Http));
        assert_eq!(app(&ports, PortOf::Tcp, [0, 33]), None);
        assert_eq!(app(&ports, PortOf::Tcp, [443, 50_000]), Some(App::Tls));
        assert_eq!(app(&ports, PortOf::Udp, [68, 67]), Some(App::Dhcp));
        assert_eq!(app(&ports, PortOf::Udp, [1813, 1812]), Some(App::Radius));
        assert_eq!(app(&ports, PortOf::Udp, [80, 443]), None);
        assert_eq!(app(&ports, PortOf::Tcp, [22, 50_000]), None);
    }

    #[test]
    fn the_smaller_port_is_asked_first() {
        let ports = Ports::default();
        assert_eq!(app(&ports, PortOf::Tcp, [443, 80]), Some(App::Http));
    }

    #[test]
    fn lists_add_to_http_and_tls_and_replace_dns_and_radius() {
        let lists = PortLists {
            http: vec![8000, 443],
            tls: vec![8443],
            dns: vec![5300],
            radius: vec![1645],
        };
        let ports = Ports::new(&lists);
        let find = |transport, port| ports.find(transport, [port, 50_000], Classify::Content);
        let is = |app, is_configured| Some(PortMatch { app, is_configured });
        assert_eq!(find(PortOf::Tcp, 80), is(App::Http, false));
        assert_eq!(find(PortOf::Tcp, 8000), is(App::Http, true));
        assert_eq!(find(PortOf::Tcp, 443), is(App::Http, true));
        assert_eq!(find(PortOf::Tcp, 8443), is(App::Tls, true));
        assert_eq!(find(PortOf::Udp, 5300), is(App::Dns, true));
        assert_eq!(find(PortOf::Tcp, 5300), is(App::Dns, true));
        assert_eq!(find(PortOf::Udp, 53), None);
        assert_eq!(find(PortOf::Udp, 1645), is(App::Radius, true));
        assert_eq!(find(PortOf::Udp, 1812), None);
        assert_eq!(find(PortOf::Tcp, 22), is(App::Ssh, false));
    }
}
