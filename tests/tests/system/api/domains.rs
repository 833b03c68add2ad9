//! Tests of customers' domains: claimed, proven by a record or a file, led to an instance, and taken back.

mod named;

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_shop::{db::new_id, execute, fetch_one, ids::DomainId};
use dermaga_tests::both_engines;
use serde_json::{Value, json};

use self::named::{EMPTY, Named, PRIVATE, UNKNOWN, text};

const ALL: &str = "/api/admin/domains";
const HERE: &str = "A domain of yours leads here now.";
const NOT_HERE: &str = "A domain of yours does not lead here any more.";

both_engines!(
    Named,
    [
        a_record_leads_a_domain_to_an_instance_until_it_is_removed,
        a_file_is_a_proof_and_no_other_answer_is,
        a_name_without_a_public_address_has_its_reason,
        the_first_who_proves_a_domain_has_it,
        a_claim_is_refused_with_its_reason,
        the_shop_looks_by_itself_and_ends_what_is_never_proven,
        an_expired_claim_keeps_no_place,
        administrators_see_all_domains_and_remove_them,
        a_domain_ends_with_its_service,
        what_is_being_taken_back_is_counted_and_removed_once,
        a_claim_outlives_a_clock_that_is_wrong,
        a_domain_of_a_service_that_is_gone_is_free
    ]
);

async fn a_record_leads_a_domain_to_an_instance_until_it_is_removed(named: Named) {
    let owner = named.owner("rekam@example.com").await;
    assert_eq!(owner.all().await, Vec::<Value>::new());
    let claimed = owner.claim(" WWW.Toko.Example.COM. ").await;
    assert_eq!(
        (&claimed["domain"], &claimed["state"]),
        (&json!("www.toko.example.com"), &json!("PENDING"))
    );
    let own = claimed["target"].as_str().unwrap();
    let proof = &claimed["proof"];
    assert_eq!(proof["recordName"], "_dermaga.www.toko.example.com");
    let reason = owner.fails_to_verify(&claimed).await;
    let nothing = "There is no TXT record of _dermaga.www.toko.example.com.";
    assert!(reason.contains(nothing), "{reason}");
    named.publish_text(&claimed, "dermaga-verify=0123456789abcdef");
    let reason = owner.fails_to_verify(&claimed).await;
    assert!(reason.contains("has another value"), "{reason}");
    named.leads(&owner, &[own]).await;
    assert!(!owner.events().await.contains(HERE));

    named.publish(&claimed);
    let proven = owner.proves(&claimed).await;
    assert_eq!(proven["provenBy"], "DNS");
    assert!(proven["provenAt"].is_string());
    for field in ["proof", "problem", "expiresAt"] {
        assert_eq!(proven[field], Value::Null, "{field}");
    }
    named.leads(&owner, &[own, "www.toko.example.com"]).await;
    assert!(owner.events().await.contains(HERE));
    let path = format!("/api/instances/{}", owner.instance);
    let before = owner.client.get(&path).await.data(200);
    owner.proves(&claimed).await;
    let after = owner.client.get(&path).await.data(200);
    assert_eq!(after["generation"], before["generation"]);

    owner.remove(&claimed).await.data(202);
    named.leads(&owner, &[own]).await;
    owner.has(&[]).await;
    owner.remove(&claimed).await.fails(404, "NOT_FOUND");
    owner.verify(&claimed).await.fails(404, "NOT_FOUND");
    assert!(owner.events().await.contains(NOT_HERE));
}

async fn a_file_is_a_proof_and_no_other_answer_is(named: Named) {
    let owner = named.owner("berkas@example.com").await;
    let claimed = owner.claim("berkas.example.com").await;
    let proof = &claimed["proof"];
    let content = proof["fileContent"].as_str().unwrap();
    let (_, token) = proof["fileUrl"].as_str().unwrap().rsplit_once('/').unwrap();
    let path = format!("/.well-known/dermaga/{token}");
    assert!(
        proof["fileUrl"].as_str().unwrap().ends_with(&path),
        "{proof}"
    );
    for (status, content, expected) in [
        (404, content, "is answered with status 404"),
        (302, content, "is answered with status 302"),
        (200, "0123456789abcdef", "has another content"),
        // As a server has it that repeats what it is asked for.
        (200, token, "has another content"),
    ] {
        named.web.answer_always(status);
        named.web.say(content);
        let reason = owner.fails_to_verify(&claimed).await;
        assert!(reason.contains(expected), "{reason}");
    }
    assert!(named.web.at("/elsewhere").is_empty(), "not followed");
    // As some editors keep a text.
    named.web.say(&format!("\u{feff}{content}\r\n"));
    let proven = owner.proves(&claimed).await;
    assert_eq!(proven["provenBy"], "HTTP");
    assert!(named.web.at(&path).len() >= 4);
    let own = claimed["target"].as_str().unwrap();
    named.leads(&owner, &[own, "berkas.example.com"]).await;
}

async fn a_name_without_a_public_address_has_its_reason(named: Named) {
    let owner = named.owner("kemana@example.com").await;
    let expected = [
        (
            UNKNOWN,
            format!(
                "There is no TXT record of _dermaga.{UNKNOWN}. The name {UNKNOWN} does not exist in DNS, or leads to a \
                 name that does not exist."
            ),
            format!(
                "Tidak ada catatan TXT untuk _dermaga.{UNKNOWN}. Nama {UNKNOWN} tidak ada di DNS, atau mengarah ke nama \
                 yang tidak ada."
            ),
        ),
        (
            EMPTY,
            format!(
                "There is no TXT record of _dermaga.{EMPTY}. The name {EMPTY} has no address in DNS."
            ),
            format!(
                "Tidak ada catatan TXT untuk _dermaga.{EMPTY}. Nama {EMPTY} tidak memiliki alamat di DNS."
            ),
        ),
        (
            PRIVATE,
            format!(
                "There is no TXT record of _dermaga.{PRIVATE}. The address of {PRIVATE} is not public."
            ),
            format!(
                "Tidak ada catatan TXT untuk _dermaga.{PRIVATE}. Alamat {PRIVATE} bukan alamat publik."
            ),
        ),
    ];
    for (domain, english, _) in &expected {
        let claimed = owner.claim(domain).await;
        assert_eq!(owner.fails_to_verify(&claimed).await, *english);
    }
    let indonesian = owner.client.in_language(Some("id"));
    let all = indonesian.get(&owner.path()).await.data(200);
    for (place, (_, _, expected)) in expected.iter().enumerate() {
        assert_eq!(all[place]["problem"], json!(expected));
    }
}

async fn the_first_who_proves_a_domain_has_it(named: Named) {
    const DOMAIN: &str = "rebutan.example.com";
    let (first, other) = (
        named.owner("satu@example.com").await,
        named.owner("dua@example.com").await,
    );
    let (own, theirs) = (first.claim(DOMAIN).await, other.claim(DOMAIN).await);
    assert_ne!(own["proof"]["recordValue"], theirs["proof"]["recordValue"]);
    named.publish(&own);
    named.publish(&theirs);
    other.proves(&theirs).await;
    let refused = first.verify(&own).await;
    refused.fails(409, "CONFLICT");
    let message = refused.body["message"].as_str().unwrap();
    assert!(
        message.contains("leads to a service of another customer"),
        "{message}"
    );
    for theirs in ["dua@example.com", other.name.as_str()] {
        assert!(!refused.text.contains(theirs), "{}", refused.text);
    }

    // Of two services of one customer the second is refused as well, and named.
    let second = named
        .buy(other.client.clone(), ("uptime-kuma", "free"))
        .await;
    let again = second.claim(DOMAIN).await;
    named.publish(&again);
    let refused = second.verify(&again).await;
    refused.fails(409, "CONFLICT");
    assert!(refused.text.contains(&other.name), "{}", refused.text);

    other.remove(&theirs).await.data(202);
    other.has(&[]).await;
    first.proves(&own).await;
    first.has(&[(DOMAIN, "ACTIVE")]).await;
    second.has(&[(DOMAIN, "PENDING")]).await;

    // At the same moment, one of them has it.
    let both = "serentak.example.com";
    let (own, theirs) = (first.claim(both).await, other.claim(both).await);
    named.publish(&own);
    named.publish(&theirs);
    let (one, two) = tokio::join!(first.verify(&own), other.verify(&theirs));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{} {}", one.text, two.text);
}

async fn a_claim_is_refused_with_its_reason(named: Named) {
    let owner = named.owner("tolak@example.com").await;
    for (domain, message) in [
        ("*.toko.example.com", "must be one name, without a wildcard"),
        ("192.0.2.1", "must be a name, not an IP address"),
        ("toko", "must be a domain, such as www.example.com"),
        (
            "https://toko.example.com",
            "must be a domain, such as www.example.com",
        ),
        ("printer.local", "must be a name that everybody can reach"),
        ("toko.test", "must be a name that everybody can reach"),
        (
            "database.toko.svc",
            "must be a name that everybody can reach",
        ),
        ("toko.0x1", "must be a domain, such as www.example.com"),
    ] {
        let refused = owner.ask(domain).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert_eq!(refused.detail("domain"), Some(message), "{domain}");
    }
    // The name of its record is longer, and has to fit, too.
    let label = format!("{}.", "a".repeat(57));
    let long = format!("{}b.example.com", label.repeat(4));
    assert_eq!(long.len(), 245);
    let refused = owner.ask(&long).await;
    refused.fails(400, "VALIDATION_FAILED");
    let (_, longest) = long.split_at(1);
    let claimed = owner.claim(longest).await;
    assert_eq!(claimed["domain"], longest);
    owner.remove(&claimed).await.data(200);
    let keyed = owner.client.with_key("domain-1");
    let request = json!({ "domain": "a.toko.example.com" });
    let first = keyed.post(&owner.path(), request.clone()).await;
    let again = keyed.post(&owner.path(), request).await;
    assert!(again.is_replayed() && !first.is_replayed());
    assert_eq!(first.data(201), again.data(201));
    let refused = owner.ask("A.toko.example.com").await;
    refused.fails(409, "CONFLICT");
    assert!(refused.text.contains("has the domain already"));
    for domain in ["b", "c", "d"] {
        owner.claim(&format!("{domain}.toko.example.com")).await;
    }
    let last = owner.claim("e.toko.example.com").await;
    let refused = owner.ask("f.toko.example.com").await;
    refused.fails(409, "CONFLICT");
    assert!(
        refused.text.contains("at most 5 domains"),
        "{}",
        refused.text
    );
    owner.remove(&last).await.data(200);
    owner.claim("f.toko.example.com").await;

    // Instances without a host name have no domains, and neither have removed ones.
    let client = named
        .shop
        .customer_with_credit("basisdata@example.com", 50_000)
        .await;
    let database = named.buy(client, ("postgresql", "basic")).await;
    let refused = database.ask("toko.example.com").await;
    refused.fails(409, "INVALID_STATE");
    assert!(refused.text.contains("no public address"));
    named.cancel(&owner).await;
    assert_eq!(owner.all().await, Vec::<Value>::new());
    let refused = owner.ask("toko.example.com").await;
    refused.fails(409, "INVALID_STATE");
}

async fn the_shop_looks_by_itself_and_ends_what_is_never_proven(named: Named) {
    const PROVEN: &str = "lambat.example.com";
    const FORGOTTEN: &str = "lupa.example.com";
    let clock = named.shop.clock();
    let mut owner = named.owner("tunggu@example.com").await;
    let claimed = owner.claim(PROVEN).await;
    owner.claim(FORGOTTEN).await;
    named.publish(&claimed);
    clock.advance(TimeDelta::minutes(3));
    let domains = &named.shop.state().domains;
    domains.look_after().await.unwrap();
    let all = owner
        .has(&[(PROVEN, "ACTIVE"), (FORGOTTEN, "PENDING")])
        .await;
    let own = claimed["target"].as_str().unwrap();
    named.leads(&owner, &[own, PROVEN]).await;
    let expires_at = all[1]["expiresAt"].as_str().unwrap();
    assert!(expires_at > all[1]["createdAt"].as_str().unwrap());

    // Another one who proves it, too, learns why it does not lead there.
    let other = named.owner("telat@example.com").await;
    let late = other.claim(PROVEN).await;
    named.publish(&late);
    clock.advance(TimeDelta::minutes(3));
    for _ in 0..400 {
        domains.look_after().await.unwrap();
        if other.all().await[0]["problem"].is_string() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let waiting = other.has(&[(PROVEN, "PENDING")]).await;
    let reason = waiting[0]["problem"].as_str().unwrap();
    assert!(reason.contains("another customer"), "{reason}");

    clock.advance(TimeDelta::days(8));
    owner.client = named.shop.sign_in("tunggu@example.com").await;
    for _ in 0..400 {
        domains.look_after().await.unwrap();
        if owner.all().await.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    owner.has(&[(PROVEN, "ACTIVE")]).await;
}

async fn an_expired_claim_keeps_no_place(named: Named) {
    const DOMAIN: &str = "terlambat.example.com";
    let mut owner = named.owner("habis@example.com").await;
    owner.claim(DOMAIN).await;
    for domain in ["a", "b", "c", "d"] {
        owner.claim(&format!("{domain}.toko.example.com")).await;
    }
    named.shop.clock().advance(TimeDelta::days(8));
    owner.client = named.shop.sign_in("habis@example.com").await;
    let again = owner.claim(DOMAIN).await;
    owner.has(&[(DOMAIN, "PENDING")]).await;
    named.publish(&again);
    owner.proves(&again).await;
}

async fn administrators_see_all_domains_and_remove_them(named: Named) {
    let admin = named.shop.admin().await;
    let owner = named.owner("atur@example.com").await;
    let led = owner.claim("atur.example.com").await;
    named.publish(&led);
    owner.proves(&led).await;
    let pending = owner.claim("nanti.example.com").await;
    let own = led["target"].as_str().unwrap();
    named.leads(&owner, &[own, "atur.example.com"]).await;

    owner.client.get(ALL).await.fails(403, "FORBIDDEN");
    let found = admin.get(&format!("{ALL}?state=ACTIVE")).await.data(200);
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(
        (
            &found[0]["domain"],
            &found[0]["email"],
            &found[0]["instanceName"]
        ),
        (
            &json!("atur.example.com"),
            &json!("atur@example.com"),
            &json!(owner.name)
        )
    );
    let of_instance = format!("{ALL}?instanceId={}", owner.instance);
    let found = admin.get(&of_instance).await.data(200);
    let domains: Vec<&Value> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["domain"])
        .collect();
    assert_eq!(domains, ["nanti.example.com", "atur.example.com"]);
    let found = admin.get(&format!("{ALL}?q=nanti")).await.data(200);
    assert_eq!(found[0]["id"], pending["id"]);

    let path = format!("{ALL}/{}", led["id"].as_str().unwrap());
    let why = json!({ "reason": "The owner of the brand has complained." });
    let refused = owner.client.delete_with(&path, why.clone()).await;
    refused.fails(403, "FORBIDDEN");
    let refused = admin.delete_with(&path, json!({ "reason": "" })).await;
    refused.fails(400, "VALIDATION_FAILED");
    admin.delete_with(&path, why.clone()).await.data(202);
    named.leads(&owner, &[own]).await;
    owner.has(&[("nanti.example.com", "PENDING")]).await;
    let again = admin.delete_with(&path, why.clone()).await;
    again.fails(404, "NOT_FOUND");
    let path = format!("{ALL}/{}", pending["id"].as_str().unwrap());
    admin.delete_with(&path, why.clone()).await.data(200);
    owner.has(&[]).await;

    let audit = format!("/api/admin/audit?subject=domain:{}", text(&led["id"]));
    let acts = admin.get(&audit).await.data(200);
    assert_eq!(acts.as_array().unwrap().len(), 1);
    assert_eq!(
        (&acts[0]["act"], &acts[0]["reason"]),
        (&json!("domain.removed"), &why["reason"])
    );
    assert_eq!(acts[0]["details"]["domain"], "atur.example.com");
}

async fn a_domain_ends_with_its_service(named: Named) {
    const DOMAIN: &str = "pindahan.example.com";
    let (owner, other) = (
        named.owner("pergi@example.com").await,
        named.owner("datang@example.com").await,
    );
    let (own, theirs) = (owner.claim(DOMAIN).await, other.claim(DOMAIN).await);
    named.publish(&own);
    named.publish(&theirs);
    owner.proves(&own).await;
    owner.claim("sisa.example.com").await;
    named.cancel(&owner).await;
    other.proves(&theirs).await;
    owner.has(&[]).await;
    let password = json!({ "password": "kata sandi yang panjang" });
    let deleted = owner.client.delete_with("/api/user", password).await;
    deleted.data(200);
    other.has(&[(DOMAIN, "ACTIVE")]).await;
    let mut conn = named.shop.state().db.read().await.unwrap();
    let sql = "SELECT count(*) FROM custom_domains";
    let (rows,) = fetch_one!(conn, (i64,), sql).unwrap();
    assert_eq!(rows, 1);
}

/// Lets all claims be domains that are being taken back, and no pass end that.
async fn keep_taking_back(named: &Named) {
    let later = named.shop.clock().now() + TimeDelta::hours(1);
    let mut conn = named.shop.state().db.begin().await.unwrap();
    execute!(conn, "UPDATE instances SET next_attempt_at = $1", later).unwrap();
    let sql = "UPDATE custom_domains SET state = 'REMOVING', proven_by = 'DNS', proven_at = created_at, \
               gone_with = 1000 WHERE state = 'PENDING'";
    execute!(conn, sql).unwrap();
    conn.commit().await.unwrap();
}

async fn what_is_being_taken_back_is_counted_and_removed_once(named: Named) {
    let admin = named.shop.admin().await;
    let owner = named.owner("tarik@example.com").await;
    let first = owner.claim("a.tarik.example.com").await;
    for domain in ["b", "c", "d", "e"] {
        owner.claim(&format!("{domain}.tarik.example.com")).await;
    }
    keep_taking_back(&named).await;
    let path = format!("{ALL}/{}", text(&first["id"]));
    let why = json!({ "reason": "The owner of the brand has complained." });
    admin.delete_with(&path, why).await.data(202);
    owner.remove(&first).await.data(202);
    let audit = format!("/api/admin/audit?subject=domain:{}", text(&first["id"]));
    let acts = admin.get(&audit).await.data(200);
    assert_eq!(acts, json!([]), "nothing was changed");
    assert!(!owner.events().await.contains(NOT_HERE));

    for domain in ["f", "g", "h", "i", "j"] {
        owner.claim(&format!("{domain}.tarik.example.com")).await;
    }
    keep_taking_back(&named).await;
    let refused = owner.ask("k.tarik.example.com").await;
    refused.fails(409, "CONFLICT");
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("still being taken back"), "{message}");
    assert!(owner.verify(&first).await.text.contains("being taken back"));
}

async fn a_claim_outlives_a_clock_that_is_wrong(named: Named) {
    const DOMAIN: &str = "jam.example.com";
    let owner = named.owner("jam@example.com").await;
    owner.claim(DOMAIN).await;
    let (clock, ahead) = (named.shop.clock(), TimeDelta::days(8));
    clock.step(ahead);
    for _ in 0..3 {
        named.shop.state().domains.look_after().await.unwrap();
    }
    clock.step(-ahead);
    owner.has(&[(DOMAIN, "PENDING")]).await;
}

/// A server of the release before knows no domains, and removes an instance without an end of them.
async fn a_domain_of_a_service_that_is_gone_is_free(named: Named) {
    const DOMAIN: &str = "tertinggal.example.com";
    let (owner, other) = (
        named.owner("dulu@example.com").await,
        named.owner("kini@example.com").await,
    );
    named.cancel(&owner).await;
    let clock = named.shop.clock();
    let (id, now): (DomainId, _) = (new_id(clock), clock.now());
    let sql = "INSERT INTO custom_domains (id, instance_id, user_id, name, token, state, proven_by, proven_at, \
               next_check_at, expires_at, created_at, updated_at) \
               SELECT $1, i.id, i.user_id, $2, 'token', 'ACTIVE', 'DNS', $3, $3, $3, $3, $3 \
               FROM instances i WHERE i.name = $4";
    let mut conn = named.shop.state().db.begin().await.unwrap();
    let left = execute!(conn, sql, id, DOMAIN, now, &owner.name).unwrap();
    conn.commit().await.unwrap();
    assert_eq!(left, 1);
    let claimed = other.claim(DOMAIN).await;
    named.publish(&claimed);
    other.proves(&claimed).await;
    owner.has(&[]).await;
}
