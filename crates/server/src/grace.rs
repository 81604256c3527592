//! How long this server's sessions outlive their links.

use std::time::Duration;

use outpost_wire::OnLost;

/// How long sessions outlive their links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// For clients that ask for nothing else.
    pub default: Duration,
    /// Longest that a client may ask for; zero: no session outlives its link.
    pub most: Duration,
}

impl Grace {
    /// Sessions end with their links.
    pub const NONE: Grace = Grace { default: Duration::ZERO, most: Duration::ZERO };

    /// What becomes of a session whose client asked for `wish`, its time given.
    pub fn apply(self, wish: Option<OnLost>) -> OnLost {
        let time = |wanted: Option<Duration>| Some(wanted.unwrap_or(self.default).min(self.most));
        match wish.unwrap_or(OnLost::Hold(None)) {
            OnLost::Hold(wanted) => OnLost::Hold(time(wanted)),
            OnLost::Run(wanted) => OnLost::Run(time(wanted)),
            other => other,
        }
    }
}

impl Default for Grace {
    /// A minute, an hour if asked for.
    fn default() -> Grace {
        Grace { default: Duration::from_secs(60), most: Duration::from_secs(3600) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_asks_for_up_to_the_limit() {
        let seconds = Duration::from_secs;
        let grace = Grace { default: seconds(60), most: seconds(100) };
        assert_eq!(grace.apply(None), OnLost::Hold(Some(seconds(60))));
        assert_eq!(grace.apply(Some(OnLost::Hold(Some(seconds(5))))), OnLost::Hold(Some(seconds(5))));
        assert_eq!(grace.apply(Some(OnLost::Run(Some(seconds(500))))), OnLost::Run(Some(seconds(100))));
        assert_eq!(grace.apply(Some(OnLost::Kill)), OnLost::Kill);
        assert_eq!(Grace::NONE.apply(Some(OnLost::Hold(Some(seconds(5))))).grace(), Duration::ZERO);
    }
}
