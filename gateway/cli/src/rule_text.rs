//! Rate-limit rules as people type and read them: `100/minute per_key /v1/* priority=1`.
//!
//! What is typed becomes a [`Rule`], held to the engine's own bounds; what the API answers is shown in the same words.

use portcullis_config::{Mode, Rule, Unit};
use serde::Deserialize;

/// Explained under every command that takes rules.
pub(crate) const HELP: &str = "\
Rules: COUNT/[DURATION]UNIT [MODE] [PATH...] [priority=N]
  COUNT     requests admitted per window
  UNIT      millisecond, second, minute, hour, day, calendar_day, month (30 days), calendar_month
  DURATION  window in units, 1 when left out: 100/10minute
  MODE      whose requests count together: per_key, per_ip, per_app, per_key_and_ip, per_app_and_ip;
            per_app when left out
  PATH      paths it holds for: /v1/search, /v1/* for all below, or *; every path when left out
  N         rules with lower numbers are looked at first";

/// Reads a typed rule.
pub(crate) fn parse(text: &str) -> Result<Rule, String> {
    let mut words = text.split_whitespace();
    let rate = words.next().unwrap_or_default();
    let (max_requests, duration, unit) = parse_rate(rate)?;
    let mut rule = Rule {
        unit,
        duration,
        max_requests,
        mode: None,
        endpoints: None,
        priority: None,
    };
    for word in words {
        if word.starts_with('/') || word == "*" {
            rule.endpoints.get_or_insert_default().push(word.to_owned());
        } else if let Some(number) = word.strip_prefix("priority=") {
            let priority = number
                .parse()
                .map_err(|_| format!("`{word}` is not a priority: write priority=N"))?;
            set_once(&mut rule.priority, priority, word)?;
        } else if let Some(mode) = mode(word) {
            set_once(&mut rule.mode, mode, word)?;
        } else {
            return Err(format!(
                "`{word}` is neither a mode (per_key, per_ip, per_app, per_key_and_ip, per_app_and_ip), a path \
                 (/v1/*), nor priority=N"
            ));
        }
    }
    rule.validate().map_err(|fault| fault.to_string())?;
    Ok(rule)
}

fn parse_rate(rate: &str) -> Result<(i32, i32, Unit), String> {
    let wrong = || {
        format!(
            "`{rate}` is not a rate: write COUNT/UNIT or COUNT/DURATION UNIT in one word, such as 100/minute or 100/10second"
        )
    };
    let (count, window) = rate.split_once('/').ok_or_else(wrong)?;
    let digits = window.bytes().take_while(u8::is_ascii_digit).count();
    let (duration, unit) = window.split_at(digits);
    let number = |digits: &str| digits.replace('_', "").parse::<i32>().map_err(|_| wrong());
    let duration = if duration.is_empty() { 1 } else { number(duration)? };
    Ok((number(count)?, duration, self::unit(unit).ok_or_else(wrong)?))
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "ms" | "millisecond" | "milliseconds" => Unit::Millisecond,
        "s" | "second" | "seconds" => Unit::Second,
        "m" | "minute" | "minutes" => Unit::Minute,
        "h" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "calendar_day" => Unit::CalendarDay,
        "month" => Unit::Month,
        "calendar_month" => Unit::CalendarMonth,
        _ => return None,
    })
}

fn mode(word: &str) -> Option<Mode> {
    [
        Mode::PerKey,
        Mode::PerIp,
        Mode::PerApp,
        Mode::PerKeyAndIp,
        Mode::PerAppAndIp,
    ]
    .into_iter()
    .find(|mode| mode.name() == word)
}

fn set_once<T>(setting: &mut Option<T>, value: T, word: &str) -> Result<(), String> {
    match setting.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!(
            "`{word}` is said twice in other words: a rule has one mode and one priority"
        )),
    }
}

/// A rule as the API answers it. Units and modes of later versions are shown as they are.
#[derive(Deserialize)]
pub(crate) struct AnsweredRule {
    unit: String,
    duration: i64,
    max_requests: i64,
    mode: Option<String>,
    endpoints: Option<Vec<String>>,
    priority: Option<i64>,
}

impl AnsweredRule {
    /// The rule in the words of [`parse`].
    pub(crate) fn text(&self) -> String {
        let duration = if self.duration == 1 {
            String::new()
        } else {
            self.duration.to_string()
        };
        let mut text = format!("{}/{duration}{}", self.max_requests, self.unit);
        let mut add = |word: &str| {
            text.push(' ');
            text.push_str(word);
        };
        self.mode.iter().for_each(|mode| add(mode));
        self.endpoints.iter().flatten().for_each(|path| add(path));
        self.priority
            .iter()
            .for_each(|priority| add(&format!("priority={priority}")));
        text
    }
}

/// All rules, one a line.
pub(crate) fn lines(rules: &[AnsweredRule]) -> String {
    rules.iter().map(AnsweredRule::text).collect::<Vec<_>>().join("\n")
}
