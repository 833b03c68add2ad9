//! Limits of classes, by a clock that the test moves where time matters.

use super::*;
use crate::test_database::TestDatabase;

async fn rates(settings: Settings) -> Rates {
    Rates::new(TestDatabase::open().await.db, settings)
}

fn network(text: &str) -> Party {
    Party::at(Some(text.parse().unwrap()))
}

#[tokio::test]
async fn a_party_has_its_limit_in_each_class_and_window() {
    let settings = Settings {
        catalogue: 2,
        webhooks: 1,
        window: Duration::from_millis(300),
        ..Settings::default()
    };
    let rates = rates(settings).await;
    let here = network("192.0.2.1");
    for remaining in [1, 0] {
        let quota = rates.admit(Class::Catalogue, here).await;
        assert_eq!((quota.remaining, quota.is_exceeded), (remaining, false));
        assert!(quota.check().is_ok());
    }
    let refused = rates.admit(Class::Catalogue, here).await;
    assert!(refused.is_exceeded);
    assert_eq!((refused.remaining, refused.more_in), (0, 1));
    let error = refused.check().unwrap_err();
    assert_eq!(error.message, "Too many requests. Try again in a second.");
    assert_eq!(error.retry_after, Some(1));
    let other = rates.admit(Class::Catalogue, network("192.0.2.2")).await;
    assert!(!other.is_exceeded);
    assert!(!rates.admit(Class::Webhooks, here).await.is_exceeded);
    tokio::time::sleep(settings.window).await;
    assert!(!rates.admit(Class::Catalogue, here).await.is_exceeded);
    tokio::time::sleep(2 * settings.window).await;
    let rested = rates.admit(Class::Catalogue, here).await;
    assert_eq!((rested.remaining, rested.is_exceeded), (1, false));
}

#[tokio::test]
async fn a_burst_across_an_edge_has_one_limit() {
    let rates = rates(Settings::default()).await;
    let (counter, began) = (rates.counter(Class::Catalogue), Instant::now());
    let here = network("192.0.2.1");
    let at = |millis: u64| {
        let now = began + Duration::from_millis(millis);
        !rates.step(counter, here, now).1.is_exceeded
    };
    assert!(at(0), "begins the window");
    let before = (0..99_u64)
        .filter(|number: &u64| at(58_500 + *number * 15))
        .count();
    assert_eq!(before, 99);
    let after = (0..100_u64)
        .filter(|number: &u64| at(60_000 + *number * 15))
        .count();
    assert!((1..=3).contains(&after), "{after}");
}

#[tokio::test]
async fn one_request_passes_after_the_time_that_a_refusal_says() {
    let settings = Settings {
        catalogue: 7,
        ..Settings::default()
    };
    let rates = rates(settings).await;
    let counter = rates.counter(Class::Catalogue);
    let here = network("192.0.2.1");
    let mut now = Instant::now();
    for _ in 0..7 {
        rates.step(counter, here, now);
    }
    let mut waits = Vec::new();
    for _ in 0..6 {
        now += Duration::from_millis(100);
        let (step, refused) = rates.step(counter, here, now);
        assert_eq!(step, Step::Refused);
        assert!(refused.is_exceeded);
        let early = now + Duration::from_secs(refused.more_in - 1);
        assert_eq!(rates.step(counter, here, early).0, Step::Refused);
        now += Duration::from_secs(refused.more_in);
        assert_eq!(rates.step(counter, here, now).0, Step::Admitted);
        waits.push(refused.more_in);
    }
    assert_eq!(waits, [60, 9, 8, 9, 8, 9]);
}

#[tokio::test]
async fn a_refusal_is_right_for_many_seconds() {
    let settings = Settings {
        customers: 1,
        ..Settings::default()
    };
    let rates = rates(settings).await;
    let account = Party::Account(UserId::from_u128(1));
    assert!(!rates.admit(Class::Customers, account).await.is_exceeded);
    let refused = rates.admit(Class::Customers, account).await;
    let error = refused.check().unwrap_err();
    assert_eq!(error.message, "Too many requests. Try again in 60 seconds.");
    assert_eq!(error.retry_after, Some(60));
}

#[tokio::test]
async fn an_ipv6_network_is_one_party() {
    let settings = Settings {
        catalogue: 1,
        ..Settings::default()
    };
    let rates = rates(settings).await;
    let first = rates.admit(Class::Catalogue, network("2001:db8::1")).await;
    let neighbour = rates.admit(Class::Catalogue, network("2001:db8::2")).await;
    let other = rates
        .admit(Class::Catalogue, network("2001:db8:0:1::1"))
        .await;
    let exceeded = [first, neighbour, other].map(|quota| quota.is_exceeded);
    assert_eq!(exceeded, [false, true, false]);
}

#[tokio::test]
async fn strangers_fill_no_more_than_a_bounded_memory() {
    let rates = rates(Settings::default()).await;
    for number in 0..150_000_u32 {
        let address = IpAddr::V4(number.into());
        rates
            .admit(Class::Catalogue, Party::at(Some(address)))
            .await;
    }
    assert!(rates.catalogue.windows.lock().len() <= 100_000);
    assert_eq!(rates.customers.windows.lock().len(), 0);
}
