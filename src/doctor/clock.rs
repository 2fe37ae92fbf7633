//! The clock source: every packet's time is read from it by the kernel.

use super::facts::Facts;
use super::finding::{Finding, Grade};

const CHECK: &str = "clock";
const FOLDER: &str = "sys/devices/system/clocksource/clocksource0";
/// Read in user space's vDSO and in tens of nanoseconds.
const FAST: &[&str] = &["tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page"];

/// Judges the clock source in use.
pub fn check(facts: &Facts) -> Finding {
    let current = match facts.text(&format!("{FOLDER}/current_clocksource")) {
        Ok(current) => current,
        Err(error) => return Finding::unread(CHECK, "the clock source", &error),
    };
    let available = facts.text(&format!("{FOLDER}/available_clocksource")).unwrap_or_default();
    let evidence = format!("{current} (available: {available})");
    if FAST.contains(&current.as_str()) {
        return Finding::new(CHECK, Grade::Ok, evidence);
    }
    let evidence = format!(
        "{evidence}. The kernel reads it for every packet, and a read of {current} takes around \
         a microsecond"
    );
    match available.split_whitespace().find(|name| FAST.contains(name)) {
        Some(better) => Finding::new(CHECK, Grade::Bad, evidence)
            .advise(format!("echo {better} > /{FOLDER}/current_clocksource")),
        None => Finding::new(CHECK, Grade::Warn, evidence),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::host;
    use super::*;

    fn with(current: &str, available: &str) -> Finding {
        let path = |name: &str| format!("{FOLDER}/{name}");
        let host = host(&[
            (path("current_clocksource").as_str(), current),
            (path("available_clocksource").as_str(), available),
        ]);
        check(&host.facts)
    }

    #[test]
    fn tsc_is_fine() {
        assert_eq!(with("tsc\n", "tsc hpet acpi_pm\n").grade, Grade::Ok);
    }

    #[test]
    fn hpet_beside_tsc_is_bad_and_has_a_command() {
        let finding = with("hpet", "tsc hpet acpi_pm");
        assert_eq!(finding.grade, Grade::Bad);
        assert_eq!(
            finding.advice,
            ["echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource"]
        );
    }

    #[test]
    fn hpet_alone_cannot_be_helped() {
        let finding = with("hpet", "hpet acpi_pm");
        assert_eq!((finding.grade, finding.advice.len()), (Grade::Warn, 0));
    }
}
