//! What was typed, turned into what it means.

use std::path::PathBuf;

use benches::mix::{Profile, Size};
use benches::traffic::Plan;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

/// One run of the command.
pub enum Job {
    /// Write generated frames to a capture file.
    Pcap { out: PathBuf, packets: u64, rate_pps: u64, plan: Plan },
    /// Write whole DNS, HTTP and TLS transactions to a capture file.
    Transactions { out: PathBuf, packets: u64, rate_pps: u64, seed: u64 },
    /// Copy a capture file and damage its frames.
    Corrupt { input: PathBuf, out: PathBuf, seed: u64 },
    /// Send frames onto an interface.
    Send { interface: String, source: Source, rate_pps: u64 },
}

/// Where the frames to send come from.
pub enum Source {
    /// A capture file, sent this many times over.
    File(PathBuf, u64),
    /// The generator: so many packets of this plan.
    Plan(u64, Plan),
}

/// Reads the command line; prints help or a usage error and ends the process where due.
pub fn parse() -> Job {
    job(&command().get_matches())
}

fn command() -> Command {
    Command::new("trafficgen")
        .about("Generates, damages and sends network traffic with known truth")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            plan_args(Command::new("pcap"))
                .about("Write a capture file; print what is in it as one line of JSON")
                .arg(path("out").required(true).help("File to write (classic pcap, ns)"))
                .arg(number("rate", "1000000").help("Packets per second, for the timestamps"))
                .mut_arg("packets", |arg| arg.default_value("1000000")),
        )
        .subcommand(
            Command::new("transactions")
                .about("Write a capture file of whole DNS, HTTP and TLS transactions")
                .arg(path("out").required(true).help("File to write (classic pcap, ns)"))
                .arg(number("packets", "1000000").help("Number of packets"))
                .arg(number("rate", "1000000").help("Packets per second, for the timestamps"))
                .arg(number("seed", "1").help("Same seed, same frames")),
        )
        .subcommand(
            Command::new("corrupt")
                .about("Copy a capture file, damaging half of its frames")
                .arg(path("in").required(true).help("File to read (pcap or pcapng)"))
                .arg(path("out").required(true).help("File to write (classic pcap, ns)"))
                .arg(number("seed", "1").help("Same seed, same damage")),
        )
        .subcommand(
            plan_args(Command::new("send"))
                .about("Send frames onto an interface; print what was sent as one line of JSON")
                .arg(
                    Arg::new("interface")
                        .long("interface")
                        .short('i')
                        .value_name("IF")
                        .required(true)
                        .help("Interface to send on (needs root or CAP_NET_RAW)"),
                )
                .arg(
                    path("in")
                        .conflicts_with_all(["packets", "unique", "ipv6-percent"])
                        .help("Send the frames of this capture file, times ignored"),
                )
                .arg(number("repeat", "1").requires("in").help("Send the file this many times"))
                .arg(number("rate", "0").help("Packets per second; 0 is as fast as possible"))
                .mut_arg("packets", |arg| arg.required_unless_present("in")),
        )
}

fn plan_args(command: Command) -> Command {
    command
        .arg(number_without_default("packets").help("Number of packets"))
        .arg(
            number_without_default("conversations")
                .value_parser(value_parser!(u32))
                .default_value("1000")
                .help("Number of bidirectional conversations, half TCP, half UDP"),
        )
        .arg(
            Arg::new("size")
                .long("size")
                .value_name("BYTES|imix")
                .value_parser(str::parse::<Size>)
                .default_value("60")
                .help("Frame size without FCS, or the 7:4:1 mix of 60, 570 and 1500"),
        )
        .arg(
            Arg::new("profile")
                .long("profile")
                .value_name("uniform|zipf")
                .value_parser(str::parse::<Profile>)
                .default_value("uniform")
                .help("How packets spread over conversations"),
        )
        .arg(
            number_without_default("ipv6-percent")
                .value_parser(value_parser!(u8).range(0..=100))
                .default_value("0")
                .help("Share of conversations over IPv6"),
        )
        .arg(number("seed", "1").help("Same seed, same frames"))
        .arg(
            Arg::new("unique")
                .long("unique")
                .action(ArgAction::SetTrue)
                .help("Every packet is a conversation of its own"),
        )
}

fn number(name: &'static str, default: &'static str) -> Arg {
    number_without_default(name).default_value(default)
}

fn number_without_default(name: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u64))
}

fn path(name: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf))
}

fn job(matches: &ArgMatches) -> Job {
    match matches.subcommand() {
        Some(("pcap", args)) => Job::Pcap {
            out: take(args, "out"),
            packets: take(args, "packets"),
            rate_pps: take::<u64>(args, "rate").max(1),
            plan: plan(args),
        },
        Some(("transactions", args)) => Job::Transactions {
            out: take(args, "out"),
            packets: take(args, "packets"),
            rate_pps: take::<u64>(args, "rate").max(1),
            seed: take(args, "seed"),
        },
        Some(("corrupt", args)) => Job::Corrupt {
            input: take(args, "in"),
            out: take(args, "out"),
            seed: take(args, "seed"),
        },
        Some(("send", args)) => Job::Send {
            interface: take(args, "interface"),
            source: match args.get_one::<PathBuf>("in") {
                Some(input) => Source::File(input.clone(), take(args, "repeat")),
                None => Source::Plan(take(args, "packets"), plan(args)),
            },
            rate_pps: take(args, "rate"),
        },
        _ => unreachable!("clap requires one of the subcommands"),
    }
}

fn plan(args: &ArgMatches) -> Plan {
    Plan {
        conversations: take(args, "conversations"),
        unique: args.get_flag("unique"),
        size: take(args, "size"),
        profile: take(args, "profile"),
        ipv6_percent: take(args, "ipv6-percent"),
        seed: take(args, "seed"),
    }
}

/// The value of an argument that is required or has a default.
fn take<T: Clone + Send + Sync + 'static>(args: &ArgMatches, name: &str) -> T {
    args.get_one::<T>(name).cloned().expect("clap fills required and defaulted arguments")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn send_takes_a_file_or_a_number_of_packets_but_not_neither() {
        let parse = |words: &[&str]| command().try_get_matches_from(words);
        assert!(parse(&["trafficgen", "send", "-i", "x", "--in", "f"]).is_ok());
        assert!(parse(&["trafficgen", "send", "-i", "x", "--packets", "5"]).is_ok());
        assert!(parse(&["trafficgen", "send", "-i", "x"]).is_err());
        assert!(parse(&["trafficgen", "send", "-i", "x", "--in", "f", "--packets", "5"]).is_err());
    }
}
