//! Figures: medians with their spread, and the goals that they are held against.

use std::fmt;

/// Repeated measurements of one thing.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// The middle one; NaN if there is none.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Each sample by the other's of the same round.
    #[must_use]
    pub fn by(&self, other: &Self) -> Self {
        let rounds = self.0.iter().zip(&other.0);
        rounds.map(|(this, other)| this / other).collect()
    }

    /// The value below which this share of the samples lies, interpolated; NaN if there is none.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return f64::NAN;
        };
        let position = share * last as f64;
        let below = position.floor() as usize;
        let above = (below + 1).min(last);
        let weight = position - below as f64;
        sorted[below] * (1.0 - weight) + sorted[above] * weight
    }

    /// Median, and the range of the middle half.
    pub fn shown(&self, unit: Unit) -> String {
        let middle = unit.show(self.median());
        if self.0.len() < 2 {
            return middle;
        }
        format!(
            "{middle} ({} to {})",
            unit.show(self.quantile(0.25)),
            unit.show(self.quantile(0.75))
        )
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A factor.
    Times,
    /// A share of one.
    Percent,
    /// Nanoseconds.
    Nanoseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// MiB.
    Mebibytes,
    /// Gigabits a second.
    Gigabits,
    /// Things.
    Count,
    /// Things a second.
    PerSecond,
}

impl Unit {
    /// A number with its unit, in as many digits as mean something.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Times => format!("{value:.2}×"),
            Self::Percent => format!("{:.1} %", value * 100.0),
            Self::Nanoseconds => format!("{value:.0} ns"),
            Self::Milliseconds => format!("{value:.0} ms"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::Gigabits => format!("{value:.1} Gbit/s"),
            Self::Count => format!("{value:.0}"),
            Self::PerSecond => format!("{value:.0}/s"),
        }
    }
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// At most this.
    AtMost(f64),
    /// Below this.
    Below(f64),
    /// At least this.
    AtLeast(f64),
    /// This and nothing else.
    Exactly(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::Below(limit) => value < limit,
            Self::AtLeast(limit) => value >= limit,
            Self::Exactly(wanted) => (value - wanted).abs() < f64::EPSILON,
        }
    }

    fn show(self, unit: Unit) -> String {
        match self {
            Self::AtMost(limit) => format!("at most {}", unit.show(limit)),
            Self::Below(limit) => format!("below {}", unit.show(limit)),
            Self::AtLeast(limit) => format!("at least {}", unit.show(limit)),
            Self::Exactly(wanted) => unit.show(wanted),
        }
    }
}

/// One line of a table: what was measured, what it came to, and what it should be.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    samples: Samples,
    unit: Unit,
    goal: Option<Goal>,
    /// What the README calls it, if the README shows it.
    pub headline: Option<&'static str>,
}

impl Figure {
    /// A figure without a goal.
    pub fn new(what: impl Into<String>, unit: Unit, samples: impl Into<Samples>) -> Self {
        Self {
            what: what.into(),
            samples: samples.into(),
            unit,
            goal: None,
            headline: None,
        }
    }

    /// With a goal.
    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Shown in the README, under this name.
    #[must_use]
    pub fn headline(mut self, name: &'static str) -> Self {
        self.headline = Some(name);
        self
    }

    /// Whether the median meets the goal; `None` without one.
    pub fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| goal.is_met(self.samples.median()))
    }

    /// The cells of its line: what, figure, goal, and whether that is met.
    pub fn cells(&self) -> [String; 4] {
        let met = match self.is_met() {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        [
            self.what.clone(),
            self.samples.shown(self.unit),
            self.goal
                .map(|goal| goal.show(self.unit))
                .unwrap_or_default(),
            met.to_owned(),
        ]
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [what, figure, goal, met] = self.cells();
        write!(f, "  {what}: {figure}")?;
        if !goal.is_empty() {
            write!(f, "  [goal: {goal}; met: {met}]")?;
        }
        Ok(())
    }
}

impl From<f64> for Samples {
    fn from(only: f64) -> Self {
        Self(vec![only])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_middle_half() {
        let samples: Samples = [5.0, 1.0, 3.0, 2.0, 4.0].into_iter().collect();
        assert_eq!(samples.shown(Unit::Count), "3 (2 to 4)");
        assert_eq!(Samples::from(2.0).shown(Unit::Times), "2.00×");
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn a_goal_is_held_against_the_median() {
        let samples: Samples = [1.5, 1.6, 9.0].into_iter().collect();
        let figure = |goal| Figure::new("x", Unit::Times, samples.clone()).goal(goal);
        assert_eq!(figure(Goal::AtMost(1.6)).is_met(), Some(true));
        assert_eq!(figure(Goal::Below(1.6)).is_met(), Some(false));
        assert_eq!(figure(Goal::AtLeast(1.7)).is_met(), Some(false));
        let nothing = Figure::new("x", Unit::Times, Samples::default());
        assert_eq!(nothing.clone().is_met(), None);
        assert_eq!(nothing.goal(Goal::AtMost(1.0)).is_met(), Some(false));
    }
}
