//! Sessions from the outside.

use chrono::TimeDelta;
use dermaga_tests::both_engines;
use serde_json::json;

both_engines! {
    /// A token ends with its time, and every token of an account with `logout-all`.
    async fn tokens_end(shop: Shop) {
        let customer = shop.customer("sesi@example.com").await;
        let profile = customer.get("/api/auth/profile").await.data(200);
        assert_eq!(profile["email"], "sesi@example.com");
        let other = shop.sign_in("sesi@example.com").await;
        customer.post("/api/auth/logout-all", json!({})).await.data(200);
        // What other servers may remember of a session they forget within seconds.
        shop.clock().advance(TimeDelta::seconds(10));
        other.get("/api/auth/profile").await.fails(401, "UNAUTHENTICATED");
        let again = shop.sign_in("sesi@example.com").await;
        again.get("/api/auth/profile").await.data(200);
        shop.clock().advance(TimeDelta::hours(25));
        again.get("/api/auth/profile").await.fails(401, "TOKEN_EXPIRED");
    }

    /// The same address twice is a conflict, and a weak password is told why.
    async fn registration_is_checked(shop: Shop) {
        shop.register("dobel@example.com").await;
        let shop = &shop;
        let register = |email: &'static str, password: &'static str, name: &'static str| {
            let body = json!({ "email": email, "password": password, "name": name });
            async move { shop.client().post("/api/auth/register", body).await }
        };
        let register = &register;
        register("DOBEL@example.com", "kata sandi yang panjang", "Dua").await.fails(409, "EMAIL_TAKEN");
        for (email, password, name) in [
            ("not-an-address", "kata sandi yang panjang", "Nama"),
            ("a@example.com", "short", "Nama"),
            ("a@example.com", "password123", "Nama"),
            ("a@example.com", "kata sandi yang panjang", "N"),
        ] {
            register(email, password, name).await.fails(400, "VALIDATION_FAILED");
        }
        let login = json!({ "email": "nobody@example.com", "password": "kata sandi yang panjang" });
        shop.client().post("/api/auth/login", login).await.fails(401, "INVALID_CREDENTIALS");
    }
}
