//! `--print-config`: all settings as a configuration file, with where each came from.

use export::Url;
use toml::Value;

use super::backend::urls;
use crate::cli::{FLAGS, Flag, Kind, Secret, Settings, UsageError};

const MASK: &str = "***";

/// The merged settings as TOML; what nobody set is a comment. Secrets are `***`.
///
/// # Errors
/// The region or a URL is wrong.
pub fn print(settings: &Settings) -> Result<String, UsageError> {
    let urls = urls(settings)?;
    let mut text = String::from("# flag > environment > file > device > default\n");
    let mut group = "";
    for flag in FLAGS.iter().filter(|flag| flag.is_key && !flag.hidden) {
        let given = settings.get(flag.long);
        if flag.group != group {
            group = flag.group;
            text.push_str(&format!("\n# {group}\n"));
        }
        let by_region = match flag.long {
            "api-url" => Some(&urls.api),
            "flow-url" => Some(&urls.flow),
            "metrics-url" => Some(&urls.metrics),
            "dns-url" => Some(&urls.dns),
            _ => None,
        };
        let read_from_file = settings.has(&format!("{}-file", flag.long));
        let line = match (given, by_region, flag.default) {
            (Some(_), _, _) if read_from_file => {
                format!("# {}: from the file\n", flag.long)
            }
            (Some(given), _, _) => {
                format!("{} = {}  # {}\n", flag.long, toml_of(flag, &given.values), given.origin)
            }
            (None, Some(url), _) => {
                format!("# {} = {}  # default, by region\n", flag.long, quoted(url.as_str()))
            }
            (None, None, Some(default)) => {
                let default = toml_of(flag, &[default.to_owned()]);
                format!("# {} = {default}  # default\n", flag.long)
            }
            (None, None, None) if flag.long == "sample" => "# sample: of the device\n".to_owned(),
            (None, None, None) => format!("# {}: not set\n", flag.long),
        };
        text.push_str(&line);
    }
    Ok(text)
}

fn toml_of(flag: &Flag, values: &[String]) -> String {
    let shown: Vec<String> = values.iter().map(|text| scalar(flag, text)).collect();
    match flag.kind {
        Kind::Switch => "true".to_owned(),
        Kind::Repeated(_) | Kind::List(_) => format!("[{}]", shown.join(", ")),
        Kind::Value(_) | Kind::Count => shown.concat(),
    }
}

fn scalar(flag: &Flag, text: &str) -> String {
    match flag.secret {
        Secret::Whole => return quoted(MASK),
        Secret::UrlLogin if text.contains('@') => return quoted(&without_login(text)),
        _ => {}
    }
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => text.to_owned(),
        _ => quoted(text),
    }
}

/// A proxy may be given without scheme: then nothing in front of the `@` is shown.
fn without_login(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return MASK.to_owned() };
    let hidden = url.set_username(MASK).is_ok() && url.set_password(None).is_ok();
    if hidden { url.to_string() } else { MASK.to_owned() }
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}
