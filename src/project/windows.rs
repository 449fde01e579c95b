//! Sync windows: when Applications of a project may be synced.
//!
//! ```text
//! windows of the project ──those for this Application──▶ active now? ──▶ by itself? by hand? ──▶ when that may change
//! ```
//!
//! A window that cannot be read denies: what it was meant to forbid must not happen because of a typing error.

mod cron;

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

pub use cron::Schedule;

use super::Destination;
use crate::{
    api::{SyncWindow, duration},
    glob::{Dialect, Glob},
};

/// Whoever waits for a window looks again after this time at the latest.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// What an Application is, as far as windows ask.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its name.
    pub application: &'a str,
    /// The namespace that it is synced to.
    pub namespace: &'a str,
    /// The cluster that it is synced to.
    pub destination: &'a Destination,
}

/// A project's windows.
#[derive(Clone, Debug, Default)]
pub struct SyncWindows {
    windows: Vec<Window>,
}

/// One window.
#[derive(Clone, Debug)]
struct Window {
    declared: SyncWindow,
    opening: Result<Opening, String>,
    applications: Vec<Option<Glob>>,
    namespaces: Vec<Option<Glob>>,
    clusters: Vec<Option<Glob>>,
}

/// When a window is open.
#[derive(Clone, Debug)]
struct Opening {
    schedule: Schedule,
    duration: Duration,
    zone: TimeZone,
    is_allow: bool,
}

/// What windows say to a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may begin, or go on.
    pub is_allowed: bool,
    /// When to ask again.
    pub ask_again: Duration,
}

/// A window as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownWindow {
    /// As it is declared.
    pub window: SyncWindow,
    /// Whether it is open now.
    pub is_active: bool,
}

impl SyncWindows {
    /// Compiles the windows of a project. What cannot be read is named in the second value.
    pub fn compile(declared: &[SyncWindow]) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let windows = declared
            .iter()
            .enumerate()
            .map(|(index, window)| {
                let field = format!("spec.syncWindows[{index}]");
                let mut globs = |list: &[String], name: &str| -> Vec<Option<Glob>> {
                    let compiled = list.iter().map(|text| match Glob::new(text, Dialect::Plain) {
                        Ok(glob) => Some(glob),
                        Err(error) => {
                            problems.push(format!("{field}.{name}: {error}"));
                            None
                        }
                    });
                    compiled.collect()
                };
                let applications = globs(&window.applications, "applications");
                let namespaces = globs(&window.namespaces, "namespaces");
                let clusters = globs(&window.clusters, "clusters");
                let opening = opening(window);
                if let Err(problem) = &opening {
                    problems.push(format!("{field}.{problem}"));
                }
                if window.applications.is_empty()
                    && window.namespaces.is_empty()
                    && window.clusters.is_empty()
                {
                    problems.push(format!(
                        "{field}: it is for nothing: set 'applications', 'namespaces' or 'clusters'"
                    ));
                }
                Window { declared: window.clone(), opening, applications, namespaces, clusters }
            })
            .collect();
        (Self { windows }, problems)
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// The windows that are for an Application.
    pub fn shown(&self, subject: &Subject<'_>, now: Timestamp) -> Vec<ShownWindow> {
        self.of(subject)
            .map(|window| ShownWindow { window: window.declared.clone(), is_active: window.is_active(now) })
            .collect()
    }

    /// Whether an Application may be synced now. `begun` is when the sync began, if it goes on.
    pub fn judge(
        &self,
        subject: &Subject<'_>,
        is_manual: bool,
        begun: Option<Timestamp>,
        now: Timestamp,
    ) -> Verdict {
        let windows: Vec<&Window> = self.of(subject).collect();
        let next = windows.iter().filter_map(|window| window.next_change(now)).min();
        Verdict {
            is_allowed: allows(&windows, is_manual, begun, now),
            ask_again: next.unwrap_or(LOOK_AGAIN).clamp(Duration::from_secs(1), LOOK_AGAIN),
        }
    }

    fn of<'a>(&'a self, subject: &'a Subject<'_>) -> impl Iterator<Item = &'a Window> {
        self.windows.iter().filter(|window| window.is_for(subject))
    }
}

fn allows(windows: &[&Window], is_manual: bool, begun: Option<Timestamp>, now: Timestamp) -> bool {
    let deny: Vec<&&Window> =
        windows.iter().filter(|window| !window.is_allow() && window.is_active(now)).collect();
    let goes_on = |of: &[&&Window]| {
        let was_allowed = |begun: Timestamp| begun < now && allows(windows, is_manual, None, begun);
        of.iter().all(|window| window.declared.sync_overrun) && begun.is_some_and(was_allowed)
    };
    let by_hand = |of: &[&&Window]| is_manual && of.iter().all(|window| window.declared.manual_sync);
    if !deny.is_empty() {
        return by_hand(&deny) || goes_on(&deny);
    }
    let allow: Vec<&&Window> = windows.iter().filter(|window| window.is_allow()).collect();
    allow.is_empty() || allow.iter().any(|window| window.is_active(now)) || by_hand(&allow) || goes_on(&allow)
}

fn opening(window: &SyncWindow) -> Result<Opening, String> {
    let is_allow = match window.kind.as_str() {
        "allow" => true,
        "deny" => false,
        other => return Err(format!("kind: '{other}' is neither 'allow' nor 'deny'")),
    };
    let schedule = Schedule::parse(&window.schedule).map_err(|problem| format!("schedule: {problem}"))?;
    let duration = duration::parse(&window.duration).map_err(|error| format!("duration: {error}"))?;
    let zone = if window.time_zone.is_empty() {
        TimeZone::UTC
    } else {
        TimeZone::get(&window.time_zone)
            .map_err(|_| format!("timeZone: '{}' is not an IANA time zone", window.time_zone))?
    };
    Ok(Opening { schedule, duration, zone, is_allow })
}

impl Window {
    fn is_allow(&self) -> bool {
        self.opening.as_ref().is_ok_and(|opening| opening.is_allow)
    }

    /// Whether it is open. One that cannot be read denies always.
    fn is_active(&self, now: Timestamp) -> bool {
        self.opening.as_ref().map_or(true, |opening| opening.is_open(now))
    }

    fn next_change(&self, now: Timestamp) -> Option<Duration> {
        self.opening.as_ref().ok()?.next_change(now)
    }

    fn is_for(&self, subject: &Subject<'_>) -> bool {
        // A pattern that cannot be read is one of everything: the window may be a denial.
        let fits = |globs: &[Option<Glob>], texts: &[&str]| {
            globs
                .iter()
                .any(|glob| glob.as_ref().is_none_or(|glob| texts.iter().any(|text| glob.matches(text))))
        };
        let cluster = [subject.destination.name.as_str(), subject.destination.server.as_str()];
        let lists = [
            (&self.applications, fits(&self.applications, &[subject.application])),
            (&self.namespaces, fits(&self.namespaces, &[subject.namespace])),
            (&self.clusters, fits(&self.clusters, &cluster)),
        ];
        if self.declared.and_operator {
            let mut set = lists.iter().filter(|(globs, _)| !globs.is_empty()).peekable();
            set.peek().is_some() && set.all(|(_, fits)| *fits)
        } else {
            lists.iter().any(|(_, fits)| *fits)
        }
    }
}

impl Opening {
    fn is_open(&self, now: Timestamp) -> bool {
        let local = now.to_zoned(self.zone.clone()).datetime();
        let Ok(since) = local.checked_sub(self.duration) else { return false };
        self.schedule.next(since).is_some_and(|opened| opened < local)
    }

    /// When it opens or closes next.
    fn next_change(&self, now: Timestamp) -> Option<Duration> {
        let local = now.to_zoned(self.zone.clone()).datetime();
        let opens = self.schedule.next(local);
        let since = local.checked_sub(self.duration).ok()?;
        let closes = self
            .schedule
            .next(since)
            .filter(|opened| *opened < local)
            .and_then(|opened| opened.checked_add(self.duration).ok());
        let until = |at: jiff::civil::DateTime| Duration::try_from(local.duration_until(at)).ok();
        opens.and_then(until).into_iter().chain(closes.and_then(until)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination() -> Destination {
        let (server, name) = ("https://kubernetes.default.svc".to_owned(), "in-cluster".to_owned());
        Destination { server, name, project: String::new() }
    }

    fn window(kind: &str, schedule: &str, duration: &str) -> SyncWindow {
        SyncWindow {
            kind: kind.to_owned(),
            schedule: schedule.to_owned(),
            duration: duration.to_owned(),
            applications: vec!["*".to_owned()],
            ..SyncWindow::default()
        }
    }

    fn verdict(windows: &[SyncWindow], is_manual: bool, begun: Option<&str>, now: &str) -> Verdict {
        let destination = destination();
        let subject = Subject { application: "orders", namespace: "shop", destination: &destination };
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        SyncWindows::compile(windows).0.judge(&subject, is_manual, begun.map(at), at(now))
    }

    fn may(windows: &[SyncWindow], is_manual: bool, now: &str) -> bool {
        verdict(windows, is_manual, None, now).is_allowed
    }

    const NIGHT: &str = "2026-11-22T23:00:00Z";
    const DAY: &str = "2026-11-22T12:00:00Z";

    #[test]
    fn without_windows_everything_may_be_synced() {
        assert!(may(&[], false, DAY));
    }

    #[test]
    fn a_window_is_open_from_its_time_for_its_duration() {
        let night = [window("deny", "0 22 * * *", "2h")];
        let at = |time: &str| may(&night, false, &format!("2026-11-22T{time}Z"));
        assert!(at("21:59:59") && at("22:00:00"), "the first instant is before");
        assert!(!at("22:00:01") && !at("23:59:59"));
        assert!(at("12:00:00"));
        assert!(may(&night, false, "2026-11-23T00:00:00Z"), "the last instant is after");
    }

    #[test]
    fn an_allow_window_forbids_what_is_outside_of_it_and_a_deny_window_wins() {
        let night = window("allow", "0 22 * * *", "2h");
        let only = std::slice::from_ref(&night);
        assert!(may(only, false, NIGHT) && !may(only, false, DAY));
        let deny = window("deny", "0 20 * * *", "8h");
        assert!(!may(&[night, deny], false, NIGHT));
    }

    #[test]
    fn people_may_sync_where_every_window_says_so() {
        let by_hand = |kind: &str| SyncWindow { manual_sync: true, ..window(kind, "0 22 * * *", "2h") };
        assert!(may(&[by_hand("deny")], true, NIGHT) && !may(&[by_hand("deny")], false, NIGHT));
        assert!(may(&[by_hand("allow")], true, DAY) && !may(&[by_hand("allow")], false, DAY));
        assert!(!may(&[by_hand("deny"), window("deny", "0 22 * * *", "2h")], true, NIGHT));
    }

    #[test]
    fn a_sync_that_has_begun_may_go_on_where_every_window_says_so() {
        let overrun = SyncWindow { sync_overrun: true, ..window("deny", "0 22 * * *", "2h") };
        let going =
            |windows: &[SyncWindow], begun: &str| verdict(windows, false, Some(begun), NIGHT).is_allowed;
        assert!(going(std::slice::from_ref(&overrun), "2026-11-22T21:50:00Z"));
        assert!(!going(std::slice::from_ref(&overrun), "2026-11-22T22:10:00Z"), "it was denied then too");
        assert!(!going(&[window("deny", "0 22 * * *", "2h")], "2026-11-22T21:50:00Z"));
    }

    #[test]
    fn a_time_zone_moves_the_window() {
        let berlin =
            SyncWindow { time_zone: "Europe/Berlin".to_owned(), ..window("deny", "0 22 * * *", "1h") };
        assert!(!may(std::slice::from_ref(&berlin), false, "2026-11-22T21:30:00Z"), "winter: an hour ahead");
        assert!(
            !may(std::slice::from_ref(&berlin), false, "2026-07-22T20:30:00Z"),
            "summer: two hours ahead"
        );
        assert!(may(&[berlin], false, "2026-11-22T22:30:00Z"));
    }

    #[test]
    fn a_window_is_for_what_any_of_its_lists_names_or_with_and_for_what_all_of_them_name() {
        let list = |text: &str| vec![text.to_owned()];
        let named = |application: &str, namespace: &str, cluster: &str, and_operator| SyncWindow {
            applications: if application.is_empty() { Vec::new() } else { list(application) },
            namespaces: if namespace.is_empty() { Vec::new() } else { list(namespace) },
            clusters: if cluster.is_empty() { Vec::new() } else { list(cluster) },
            and_operator,
            ..window("deny", "* * * * *", "1h")
        };
        let denies = |window: SyncWindow| !may(&[window], false, DAY);
        assert!(denies(named("ord*", "", "", false)) && !denies(named("pay*", "", "", false)));
        assert!(denies(named("pay*", "shop", "", false)) && !denies(named("pay*", "shop", "", true)));
        assert!(denies(named("", "", "in-cluster", false)));
        assert!(denies(named("", "", "https://kubernetes*", true)));
        assert!(denies(named("orders", "", "in-*", true)) && !denies(named("orders", "", "other", true)));
        assert!(!denies(named("", "", "", true)) && !denies(named("", "", "", false)));
    }

    #[test]
    fn a_window_that_cannot_be_read_denies_and_is_told() {
        for (broken, field) in [
            (window("allow", "0 22 * *", "2h"), "schedule"),
            (window("allow", "* * * * *", "soon"), "duration"),
            (window("maybe", "* * * * *", "2h"), "kind"),
            (SyncWindow { time_zone: "Moon".to_owned(), ..window("allow", "* * * * *", "1h") }, "timeZone"),
        ] {
            let (_, problems) = SyncWindows::compile(std::slice::from_ref(&broken));
            assert!(problems[0].contains(&format!("spec.syncWindows[0].{field}:")), "{problems:?}");
            assert!(!may(&[broken], true, DAY));
        }
    }

    #[test]
    fn it_is_told_when_to_ask_again() {
        let night = [window("deny", "0 22 * * *", "2h")];
        assert_eq!(verdict(&night, false, None, "2026-11-22T21:30:00Z").ask_again, Duration::from_secs(1800));
        assert_eq!(verdict(&night, false, None, "2026-11-22T23:30:00Z").ask_again, Duration::from_secs(1800));
        assert_eq!(verdict(&night, false, None, DAY).ask_again, LOOK_AGAIN);
    }
}
