//! Windows by a clock that the test moves, alone and beside others on one row.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn shared(limit: u32) -> Rule {
    Rule {
        limit,
        length: MINUTE,
        is_shared: true,
    }
}

fn alone(limit: u32) -> Rule {
    Rule {
        is_shared: false,
        ..shared(limit)
    }
}

fn drain(window: &mut Window, now: Instant, rule: Rule) -> u32 {
    let steps = std::iter::from_fn(|| Some(window.admit(now, rule)));
    let admitted = steps.take_while(|step| *step == Step::Admitted).count();
    u32::try_from(admitted).unwrap()
}

/// Counts the requests that are refused when `times` of them come at one distance.
fn refused_of(times: u32, distance: Duration, rule: Rule) -> usize {
    let began = Instant::now();
    let mut window = Window::begin(began, rule);
    let refused = (0..times).filter(|number| {
        let now = began + distance * *number;
        window.follow(now, rule);
        window.admit(now, rule) != Step::Admitted
    });
    refused.count()
}

#[test]
fn a_quiet_party_is_admitted_without_asking() {
    let (now, rule) = (Instant::now(), shared(100));
    let mut window = Window::begin(now, rule);
    let step = window.admit(now, rule);
    assert_eq!(step, Step::Admitted);
    assert_eq!(window.ask(step, now, rule), None);
    assert_eq!(window.remaining(now, rule), 99);
    let step = window.admit(now, rule);
    assert_eq!(step, Step::Admitted);
    let owed = window.ask(step, now, rule);
    assert_eq!(owed, Some(2), "the free ones are used up");
    let again = window.ask(step, now, rule);
    assert_eq!(again, None, "one question at a time");
    assert_eq!(window.admit(now, rule), Step::Wait);
}

#[test]
fn a_small_limit_has_no_free_requests() {
    let (now, rule) = (Instant::now(), shared(1));
    let mut window = Window::begin(now, rule);
    let step = window.admit(now, rule);
    assert_eq!(step, Step::Wait);
    assert_eq!(window.ask(step, now, rule), Some(0));
}

#[test]
fn portions_are_admitted_until_none_is_left() {
    let (now, rule) = (Instant::now(), shared(60));
    let mut window = Window::begin(now, rule);
    assert_eq!(drain(&mut window, now, rule), 1);
    assert_eq!(window.ask(Step::Wait, now, rule), Some(1));
    let taken = |used, portion| Taken {
        used,
        used_before: 0,
        portion,
        left: 5_000,
    };
    window.take(now, taken(40, 20), now);
    let ends = now + Duration::from_secs(5);
    assert_eq!(window.ends, ends, "the database's");
    assert_eq!(window.remaining(now, rule), 40);
    assert_eq!(drain(&mut window, now, rule), 20);
    assert_eq!(window.ask(Step::Wait, now, rule), Some(0));
    window.take(now, taken(60, 0), now);
    let step = window.admit(now, rule);
    assert_eq!(step, Step::Refused);
    let asked = window.ask(step, now, rule);
    assert_eq!(asked, None, "refused without another question");
    assert_eq!(window.more_in(now, rule), Duration::from_secs(5));
}

#[test]
fn small_portions_are_taken_when_a_request_waits_for_one() {
    let (now, rule) = (Instant::now(), shared(60));
    let mut window = Window::begin(now, rule);
    window.ask(Step::Wait, now, rule);
    let taken = Taken {
        used: 50,
        used_before: 0,
        portion: 3,
        left: 60_000,
    };
    window.take(now, taken, now);
    assert_eq!(drain(&mut window, now, rule), 4);
    assert_eq!(window.ask(Step::Admitted, now, rule), None);
    assert_eq!(window.ask(Step::Wait, now, rule), Some(0));
}

#[test]
fn an_answer_to_an_earlier_window_changes_nothing() {
    let (now, rule) = (Instant::now(), shared(60));
    let later = now + MINUTE;
    let mut window = Window::begin(later, rule);
    let step = window.admit(later, rule);
    window.ask(step, later, rule);
    let taken = Taken {
        used: 60,
        used_before: 0,
        portion: 9,
        left: 1,
    };
    window.take(now, taken, later);
    assert_eq!(window.remaining(later, rule), 59);
    window.count_alone();
    window.take(later, taken, later);
    let rest = drain(&mut window, later, rule);
    assert_eq!(rest, 59, "the limit, and no portion on top");
}

#[test]
fn a_steady_rate_below_the_limit_always_passes() {
    for limit in [7, 60, 100] {
        let rule = alone(limit);
        let below = MINUTE / (limit - 1);
        assert_eq!(refused_of(6 * limit, below, rule), 0, "{limit}");
        let above = MINUTE / (limit + 1);
        assert!(refused_of(6 * limit, above, rule) > 0, "{limit}");
    }
}

#[test]
fn requests_of_the_window_before_fade() {
    let (began, rule) = (Instant::now(), alone(100));
    let mut window = Window::begin(began, rule);
    assert_eq!(drain(&mut window, began, rule), 100);
    for (seconds, admitted) in [(60, 1), (75, 25), (90, 25), (119, 48)] {
        let now = began + Duration::from_secs(seconds);
        window.follow(now, rule);
        assert_eq!(drain(&mut window, now, rule), admitted, "{seconds}");
    }
    // Two windows later nothing is left of them.
    let now = began + Duration::from_secs(240);
    window.follow(now, rule);
    assert_eq!(window.remaining(now, rule), 100);
}

/// The row of the database, as its statement changes it.
struct Row {
    used: u32,
    before: u32,
    ends: Instant,
}

impl Row {
    fn take(&mut self, owed: u32, now: Instant, rule: Rule) -> Taken {
        if self.ends <= now {
            self.before = self.used;
            self.used = 0;
            self.ends += rule.length;
        }
        self.used += owed;
        let left = self.ends - now;
        let fading = rule.fading(self.before, left);
        let portion = rule.limit.saturating_sub(fading + self.used).div_ceil(4);
        self.used += portion;
        Taken {
            used: self.used.into(),
            used_before: self.before.into(),
            portion: portion.into(),
            left: i64::try_from(left.as_millis()).unwrap(),
        }
    }
}

/// Sends a request to a server, which asks the row as often as it waits.
fn send(window: &mut Window, row: &mut Row, now: Instant, rule: Rule) -> bool {
    window.follow(now, rule);
    loop {
        let step = window.admit(now, rule);
        if let Some(owed) = window.ask(step, now, rule) {
            let taken = row.take(owed, now, rule);
            window.take(window.began, taken, now);
        }
        if step != Step::Wait {
            return step == Step::Admitted;
        }
    }
}

#[test]
fn three_servers_hold_one_limit_across_an_edge() {
    let (began, rule) = (Instant::now(), shared(100));
    let mut servers = [Window::begin(began, rule); 3];
    let mut row = Row {
        used: 0,
        before: 0,
        ends: began + MINUTE,
    };
    let mut burst = |from: u64| {
        let admitted = (0..1_500_u64).filter(|number: &u64| {
            let now = began + Duration::from_millis(from + *number);
            let server = usize::try_from(*number % 3).unwrap();
            send(&mut servers[server], &mut row, now, rule)
        });
        admitted.count()
    };
    let (before, after) = (burst(58_500), burst(60_000));
    assert!((100..=104).contains(&before), "{before}");
    assert!((1..=7).contains(&after), "{after}");
}
