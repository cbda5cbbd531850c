//! How far lines are indented, and how times and numbers are written.

use std::time::SystemTime;

use jiff::Timestamp;

use crate::sink::Style;

/// How far the lines below a record's first one are indented.
pub(super) const INDENT: usize = 4;

/// A time in the zone of the style, for `strftime`.
pub(super) fn time(style: &Style, time: SystemTime, format: &str) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => time
            .to_zoned(style.zone.clone())
            .strftime(format)
            .to_string(),
        Err(_) => "(no time)".to_owned(),
    }
}

/// A number that can be read at a glance.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
