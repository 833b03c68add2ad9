//! Tests of the language of answers: by the header, by the account, and the same codes in both.

use dermaga_tests::{Answer, Client, Engine, MailServer, Shop, both_engines};
use serde_json::{Value, json};

use super::mails::sends_to;

const PREFERENCES: &str = "/api/notifications/preferences";
const LIST: &str = "/api/catalog/categories";
const UNKNOWN: &str = "/api/instances/01890a5d-ac96-774b-bcce-b302099a8057";
const ROUNDING: (&str, &str) = (
    "Every line is computed exactly and rounded down once to whole rupiah; the lines add up to the amount due.",
    "Setiap baris dihitung dengan tepat lalu dibulatkan ke bawah sekali ke rupiah penuh; jumlah semua baris adalah \
     tagihannya.",
);

both_engines!(
    Shop,
    [
        the_header_names_the_language_of_an_answer,
        without_a_header_the_account_does,
        without_an_account_an_answer_is_in_english,
        the_profile_shows_and_takes_the_language,
        a_sign_in_is_answered_in_the_language_of_the_account,
        rules_that_fields_break_are_told_in_the_language,
        a_grace_beyond_its_bounds_is_refused_in_the_language,
        sentences_within_the_data_are_in_the_language,
        the_catalogue_is_in_the_language,
        files_are_in_the_language,
    ]
);

fn message(answer: &Answer) -> &str {
    answer.body["message"].as_str().unwrap()
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let value = answer.headers.get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

/// Returns true when an answer says that it depends on the header.
fn varies(answer: &Answer) -> bool {
    let mut names = answer.headers.get_all("vary").iter();
    names.any(|name| name == "accept-language")
}

async fn the_header_names_the_language_of_an_answer(shop: Shop) {
    const ID: (&str, &str) = ("id", "Tidak ada instans tersebut.");
    const EN: (&str, &str) = ("en", "There is no such instance.");
    let customer = shop.customer("bahasa@example.com").await;
    for (sent, (language, expected)) in [
        ("id", ID),
        ("in", ID),
        ("id-ID, en;q=0.9", ID),
        ("en;q=0.3, id;q=0.5", ID),
        ("de, id;q=0.1", ID),
        ("en", EN),
        ("en-GB", EN),
        ("id;q=0.2, en;q=0.7", EN),
        ("id;q=0, en;q=0.001", EN),
    ] {
        let answer = customer.in_language(Some(sent)).get(UNKNOWN).await;
        answer.fails(404, "NOT_FOUND");
        assert_eq!(message(&answer), expected, "{sent}");
        assert_eq!(header(&answer, "content-language"), language, "{sent}");
        assert!(varies(&answer), "{sent}");
    }
    // Strangers, and answers that no handler writes.
    let stranger = shop.client();
    for (sent, language, nowhere) in [
        (
            Some("id"),
            "id",
            "Tidak ada rute GET /api/nowhere. Lihat /api/docs.",
        ),
        (
            Some("en"),
            "en",
            "There is no route GET /api/nowhere. See /api/docs.",
        ),
        (
            Some("de, ;q=x"),
            "en",
            "There is no route GET /api/nowhere. See /api/docs.",
        ),
        (
            None,
            "en",
            "There is no route GET /api/nowhere. See /api/docs.",
        ),
    ] {
        let stranger = stranger.in_language(sent);
        let answer = stranger.get("/api/nowhere").await;
        answer.fails(404, "ROUTE_NOT_FOUND");
        assert_eq!(message(&answer), nowhere);
        assert_eq!(header(&answer, "content-language"), language);
        let answer = stranger.delete(LIST).await;
        answer.fails(405, "METHOD_NOT_ALLOWED");
        assert_eq!(header(&answer, "content-language"), language);
        let list = stranger.get(LIST).await;
        assert!(varies(&list) && list.status == 200);
    }
}

async fn without_a_header_the_account_does(shop: Shop) {
    let customer = shop.customer("profil@example.com").await.in_language(None);
    let own = customer.get(UNKNOWN).await;
    assert_eq!(message(&own), "Tidak ada instans tersebut.");
    assert_eq!(header(&own, "content-language"), "id");
    assert!(varies(&own));
    let garbage = customer.in_language(Some("xx;;q, *")).get(UNKNOWN).await;
    assert_eq!(message(&garbage), "Tidak ada instans tersebut.");

    let change = json!({ "language": "en" });
    customer.patch(PREFERENCES, change).await.data(200);
    let own = customer.get(UNKNOWN).await;
    assert_eq!(message(&own), "There is no such instance.");
    let asked = customer.in_language(Some("id")).get(UNKNOWN).await;
    assert_eq!(message(&asked), "Tidak ada instans tersebut.");

    let token = customer
        .post(
            "/api/user/api-tokens",
            json!({ "name": "Program", "scope": "READ", "expiresInDays": 1 }),
        )
        .await
        .data(201);
    let program = customer.with_token(token["token"].as_str().unwrap());
    let own = program.get(UNKNOWN).await;
    assert_eq!(message(&own), "There is no such instance.");
}

/// Refusals that reach no operation, and those of a token that has ended, know no account.
async fn without_an_account_an_answer_is_in_english(shop: Shop) {
    let customer = shop.customer("asing@example.com").await.in_language(None);
    let ended = shop.sign_in("asing@example.com").await.in_language(None);
    ended.post("/api/auth/logout", json!({})).await.data(200);
    for (sent, language) in [(None, "en"), (Some("id"), "id")] {
        let (customer, ended) = (customer.in_language(sent), ended.in_language(sent));
        for (answer, status, code) in [
            (customer.get("/api/nowhere").await, 404, "ROUTE_NOT_FOUND"),
            (customer.delete(LIST).await, 405, "METHOD_NOT_ALLOWED"),
            (ended.get(UNKNOWN).await, 401, "UNAUTHENTICATED"),
        ] {
            answer.fails(status, code);
            assert_eq!(header(&answer, "content-language"), language, "{code}");
        }
    }
}

/// The profile and the preferences have one language; a change of the profile that names none leaves it.
async fn the_profile_shows_and_takes_the_language(shop: Shop) {
    const PROFILE: &str = "/api/user/profile";
    let customer = shop.customer("profil@example.com").await.in_language(None);
    let is = async |language: &str| {
        for path in [PROFILE, "/api/auth/profile", PREFERENCES] {
            let shown = customer.get(path).await;
            assert_eq!(header(&shown, "content-language"), language, "{path}");
            assert_eq!(shown.data(200)["language"], language, "{path}");
        }
    };
    is("id").await;
    let change = json!({ "name": "Sari", "phone": "081234567890", "language": "en" });
    let changed = customer.put(PROFILE, change).await.data(200);
    assert_eq!(changed["language"], "en");
    is("en").await;
    for silent in [
        json!({ "name": "Dewi" }),
        json!({ "name": "Dewi", "language": null }),
    ] {
        customer.put(PROFILE, silent).await.data(200);
        is("en").await;
    }
    let unknown = json!({ "name": "Tini", "language": "de" });
    let refused = customer.put(PROFILE, unknown).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("language").is_some(), "{:#}", refused.body);
    assert_eq!(customer.get(PROFILE).await.data(200)["name"], "Dewi");
    let change = json!({ "language": "id" });
    customer.patch(PREFERENCES, change).await.data(200);
    is("id").await;
}

async fn rules_that_fields_break_are_told_in_the_language(shop: Shop) {
    let body = json!({ "email": "bukan surel", "password": "pendek", "name": "Sari" });
    let refused = |language: &'static str| {
        let client = shop.client().in_language(Some(language));
        let body = body.clone();
        async move { client.post("/api/auth/register", body).await }
    };
    let (english, indonesian) = (refused("en-GB").await, refused("id").await);
    for (answer, whole, email, password) in [
        (
            &english,
            "The request has invalid fields.",
            "must be an e-mail address, such as sari@example.com",
            "must be 10 to 128 characters",
        ),
        (
            &indonesian,
            "Permintaan ini memiliki isian yang tidak sah.",
            "harus berupa alamat surel, seperti sari@example.com",
            "harus terdiri atas 10 sampai 128 karakter",
        ),
    ] {
        answer.fails(400, "VALIDATION_FAILED");
        assert_eq!(message(answer), whole);
        assert_eq!(answer.detail("email"), Some(email));
        assert_eq!(answer.detail("password"), Some(password));
    }
}

/// A rule whose bounds are settings of the shop.
async fn a_grace_beyond_its_bounds_is_refused_in_the_language(shop: Shop) {
    let admin = shop.admin().await.in_language(Some("id"));
    let path = format!("/api/admin/billing/set-grace-period/{}", uuid::Uuid::nil());
    let refused = admin
        .post(
            &path,
            json!({ "graceDays": 31, "reason": "Pelanggan memintanya." }),
        )
        .await;
    refused.fails(400, "VALIDATION_FAILED");
    let whole = "Permintaan ini memiliki isian yang tidak sah.";
    assert_eq!(message(&refused), whole);
    let rule = "harus dari 1 sampai 30 hari (GRACE_PERIOD_MIN_DAYS, GRACE_PERIOD_MAX_DAYS)";
    assert_eq!(refused.detail("graceDays"), Some(rule));
    assert_eq!(header(&refused, "content-language"), "id");
}

async fn sentences_within_the_data_are_in_the_language(shop: Shop) {
    let customer = shop.customer_with_credit("isi@example.com", 100_000).await;
    let plan = shop.plan("n8n", "basic").await;
    let quote = |client: Client| {
        let order = json!({ "planId": plan });
        async move {
            client
                .post("/api/subscriptions/quote", order)
                .await
                .data(200)
        }
    };
    let english = quote(customer.clone()).await;
    let indonesian = quote(customer.in_language(Some("id"))).await;
    assert_eq!(english["rounding"], ROUNDING.0);
    assert_eq!(indonesian["rounding"], ROUNDING.1);
    assert_eq!(english["due"], indonesian["due"]);
    assert_eq!(english["lines"][0]["code"], indonesian["lines"][0]["code"]);
    assert_eq!(english["lines"][0]["label"], "BASIC plan, 1 month");
    assert_eq!(indonesian["lines"][0]["label"], "Paket BASIC, 1 bulan");
    assert_eq!(
        indonesian["lines"][0]["reason"],
        "Paket BASIC seharga Rp50.000 per bulan, untuk 1 bulan."
    );

    let description = |client: Client| async move {
        let list = client.get("/api/wallet/transactions").await.data(200);
        list[0]["description"].as_str().unwrap().to_owned()
    };
    let english = description(customer.clone()).await;
    let indonesian = description(customer.in_language(Some("id"))).await;
    let code = english.strip_prefix("Coupon ").unwrap();
    assert_eq!(indonesian, format!("Kupon {code}"));
}

/// A session is begun and refreshed without a token, and who has proven to own the account has its language.
async fn a_sign_in_is_answered_in_the_language_of_the_account(shop: Shop) {
    const PASSWORD: &str = "kata sandi yang panjang";
    let stranger = shop.client().in_language(None);
    let post = |path: &'static str, body: Value| {
        let stranger = stranger.clone();
        async move { stranger.post(path, body).await }
    };
    let register = json!({ "email": "masuk@example.com", "password": PASSWORD, "name": "Sari" });
    let session = post("/api/auth/register", register).await;
    assert_eq!(message(&session), "Selamat datang, Sari.");
    assert_eq!(header(&session, "content-language"), "id");
    let session = session.data(201);
    let owner = stranger.with_token(session["accessToken"].as_str().unwrap());
    let log_in = |password: &str| {
        let body = json!({ "email": "masuk@example.com", "password": password });
        post("/api/auth/login", body)
    };
    let refresh = |session: &Value| {
        let body = json!({ "refreshToken": session["refreshToken"] });
        post("/api/auth/refresh-token", body)
    };
    // Until then it is a stranger.
    let wrong = log_in("kata sandi yang salah").await;
    assert_eq!(message(&wrong), "The e-mail or the password is wrong.");
    for (language, logged_in, refreshed) in [
        ("id", "Anda sudah masuk.", "Sesi diperbarui."),
        ("en", "You are logged in.", "The session was renewed."),
    ] {
        let change = json!({ "language": language });
        owner.patch(PREFERENCES, change).await.data(200);
        let session = log_in(PASSWORD).await;
        assert_eq!(message(&session), logged_in);
        assert_eq!(header(&session, "content-language"), language);
        let tokens = refresh(&session.data(200)).await;
        assert_eq!(message(&tokens), refreshed);
        assert_eq!(header(&tokens, "content-language"), language);
    }
    let admin = shop.admin().await;
    let id = session["user"]["id"].as_str().unwrap();
    let change = json!({ "language": "id" });
    owner.patch(PREFERENCES, change).await.data(200);
    // A token that does not reach so far is known all the same.
    let make = json!({ "name": "Laporan", "scope": "READ", "expiresInDays": 1 });
    let token = owner.post("/api/user/api-tokens", make).await.data(201);
    let program = stranger.with_token(token["token"].as_str().unwrap());
    let refused = program.post("/api/subscriptions", json!({})).await;
    let expected =
        "Token API ini memiliki cakupan READ, sedangkan POST /api/subscriptions memerlukan WRITE.";
    assert_eq!(message(&refused), expected);
    let change = json!({ "status": "DISABLED", "reason": "Akun ini dipakai orang lain." });
    let path = format!("/api/admin/users/{id}/status");
    admin.patch(&path, change).await.data(200);
    let refused = log_in(PASSWORD).await;
    refused.fails(403, "ACCOUNT_DISABLED");
    let expected = "Akun ini dinonaktifkan. Hubungi layanan pelanggan toko ini.";
    assert_eq!(message(&refused), expected);
}

/// Descriptions of services and plans are in both languages, and names are the same in both.
async fn the_catalogue_is_in_the_language(shop: Shop) {
    const N8N: &str = "/api/catalog/services/n8n";
    const SUMMARY: &str =
        "Otomatiskan pekerjaan antara layanan yang Anda pakai, tanpa menulis program.";
    let indonesian = shop.client().in_language(Some("id"));
    let first = shop.client().get(N8N).await.data(200);
    let other = indonesian.get(N8N).await.data(200);
    for (place, said) in [
        ("/summary", SUMMARY),
        ("/categoryName", "Alat Pengembangan"),
        ("/plans/1/features/0", "Setengah inti CPU"),
        (
            "/plugin/configSchema/properties/timezone/title",
            "Zona waktu",
        ),
        (
            "/plugin/configSchema/properties/mail/properties/host/description",
            "Nama server surel.",
        ),
    ] {
        assert_eq!(other.pointer(place), Some(&json!(said)), "{place}");
        assert_ne!(first.pointer(place), other.pointer(place), "{place}");
    }
    for place in [
        "/name",
        "/plans/1/name",
        "/plans/1/monthlyPrice",
        "/plugin/configSchema/properties/timezone/pattern",
    ] {
        assert_eq!(first.pointer(place), other.pointer(place), "{place}");
    }
    let listed = indonesian.get(LIST).await.data(200);
    let mut listed = listed.as_array().unwrap().iter();
    let tools = listed
        .find(|one| one["slug"] == "development-tools")
        .unwrap();
    assert_eq!(tools["name"], "Alat Pengembangan");
    let found = indonesian.get("/api/catalog/search?q=otomatiskan").await;
    assert_eq!(found.data(200)[0]["slug"], "n8n");

    // The form explains itself in a refusal, too.
    let customer = shop.customer("katalog@example.com").await;
    let order = json!({ "planId": other["plans"][0]["id"], "config": { "timezone": "?" } });
    let quote = "/api/subscriptions/quote";
    let refused = customer.in_language(Some("id")).post(quote, order).await;
    refused.fails(400, "VALIDATION_FAILED");
    let expected = "tidak sah: Nama IANA zona waktu yang dipakai alur kerja terjadwal";
    assert_eq!(refused.detail("config/timezone"), Some(expected));

    // An administrator writes for all languages.
    let admin = shop.admin().await;
    let path = format!("/api/admin/services/{}", other["id"].as_str().unwrap());
    let reason = "The old one was too long.";
    let edit = json!({ "summary": "Flows.", "reason": reason });
    admin.put(&path, edit).await.data(200);
    let edited = indonesian.get(N8N).await.data(200);
    assert_eq!(edited["summary"], "Flows.");
    assert_eq!(edited["description"], other["description"]);
    let back = json!({ "reason": reason });
    admin.post(&format!("{path}/reset"), back).await.data(200);
    assert_eq!(indonesian.get(N8N).await.data(200)["summary"], SUMMARY);
}

/// Files that customers keep are in the language, too; names of columns, numbers and codes are in none.
async fn files_are_in_the_language(shop: Shop) {
    let customer = shop
        .customer_with_credit("berkas@example.com", 75_000)
        .await;
    let list = customer.get("/api/wallet/transactions").await.data(200);
    let number = list[0]["number"].as_str().unwrap();
    let receipt = format!("/api/wallet/transactions/{number}/receipt");
    for (language, lines, labels) in [
        (
            "id",
            ["Saldo awal", "Kupon ", "Saldo akhir"],
            ["Kuitansi", "Pelanggan", "Ditambahkan ke dompet", "Kupon "],
        ),
        (
            "en",
            ["Opening balance", "Coupon ", "Closing balance"],
            ["Receipt", "Customer", "Added to the wallet", "Coupon "],
        ),
    ] {
        let client = customer.in_language(Some(language));
        let statement = client.get("/api/wallet/statement").await;
        assert_eq!(header(&statement, "content-language"), language);
        assert!(varies(&statement));
        let heading = "time,number,type,description,paid,bonus,paid_balance,bonus_balance";
        for line in lines.into_iter().chain([heading, "75000"]) {
            assert!(statement.text.contains(line), "{line}: {}", statement.text);
        }
        let receipt = client.get(&receipt).await;
        assert_eq!(header(&receipt, "content-language"), language);
        let text = receipt.pdf_text();
        for label in labels.into_iter().chain([number, "Rp75.000"]) {
            assert!(text.contains(label), "{label}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn languages_of_a_list_are_known_apart() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let (english, indonesian) = (shop.client().clone(), shop.client().in_language(Some("id")));
    let ask = |client: Client, tag: String| async move {
        let request = client.request(reqwest::Method::GET, LIST);
        client.send(request.header("if-none-match", tag)).await
    };
    let first = english.get(LIST).await;
    let other = indonesian.get(LIST).await;
    assert_eq!(message(&first), "The categories.");
    assert_eq!(message(&other), "Daftar kategori.");
    let tags = (
        header(&first, "etag").to_owned(),
        header(&other, "etag").to_owned(),
    );
    assert_ne!(tags.0, tags.1);
    for (client, tag, status) in [
        (&english, &tags.0, 304),
        (&english, &tags.1, 200),
        (&indonesian, &tags.1, 304),
        (&indonesian, &tags.0, 200),
    ] {
        let answer = ask(client.clone(), tag.clone()).await;
        assert_eq!(answer.status, status);
        assert!(varies(&answer));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_written_to_in_the_language_that_they_were_made_in() {
    let server = MailServer::start().await;
    let shop = Shop::open_with(Engine::Sqlite, |config| sends_to(config, &server)).await;
    let shop = shop.unwrap();
    for (number, (sent, language, welcome, subject)) in [
        (
            Some("id"),
            "id",
            "Selamat datang, Sari.",
            "Konfirmasi alamat surel Anda",
        ),
        (
            Some("en-GB"),
            "en",
            "Welcome, Sari.",
            "Confirm your e-mail address",
        ),
        (
            None,
            "id",
            "Selamat datang, Sari.",
            "Konfirmasi alamat surel Anda",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("bahasa-{number}@example.com");
        let body = json!({ "email": email, "password": "kata sandi yang panjang", "name": "Sari" });
        let client = shop.client().in_language(sent);
        let answer = client.post("/api/auth/register", body).await;
        assert_eq!(message(&answer), welcome);
        let session: Value = answer.data(201);
        let client = client.with_token(session["accessToken"].as_str().unwrap());
        assert_eq!(
            client.get(PREFERENCES).await.data(200)["language"],
            language
        );
        let mails = server.wait_for(number + 1).await;
        let mail = mails.iter().find(|mail| mail.to == email).unwrap();
        assert_eq!(mail.header("Subject"), Some(subject));
    }
}
