//! Tests of addresses that climb out of their place: none reads a file, or another route's answer.

use dermaga_tests::{
    Shop, both_engines,
    wire::{Request, Wire},
};
use serde_json::Value;

both_engines!(Shop, [an_address_does_not_climb]);

/// Addresses as they are sent, since clients take `..` out of an address before: plain, encoded once and twice, with
/// backslashes, and in bytes that are no UTF-8.
const CLIMBING: &[&str] = &[
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/api/docs/../../etc/passwd",
    "/api/docs/..%2f..%2fetc/passwd",
    "/api/docs/%2e%2e/",
    "/api/docs/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/api/docs/%252e%252e%252fetc%252fpasswd",
    "/api/docs/..\\..\\etc\\passwd",
    "/api/docs/..%5c..%5cetc%5cpasswd",
    "/api/docs/%c0%ae%c0%ae/etc/passwd",
    "/api/docs/%2fetc%2fpasswd",
    "/api/catalog/services/..%2fadmin",
    "/api/catalog/services/../../admin/plugins",
    "/api/catalog/services/%2e%2e%2f%2e%2e%2fadmin%2fplugins",
    "/api/catalog/services/..%252fadmin",
    "/api/catalog/services/..%5cadmin",
    "/api/catalog/services/..\\admin",
    "/api/catalog/services/%c0%ae%c0%ae",
    "/api/admin/plugins/..%2f..%2f",
    "/api/admin/plugins/..%2fservices",
    "/api/admin/plugins/..%252f..%252f",
    "/api/admin/plugins/..\\..\\",
    "/api/admin/plugins/coupon-credit-topup/versions/..%2f..%2f",
    "/api/tickets/attachments/..%2f..%2fdermaga.db",
];

/// An administrator, who reaches all routes, finds nothing there.
async fn an_address_does_not_climb(shop: Shop) {
    let admin = shop.admin().await;
    let (address, token) = admin.address_and_token();
    for &path in CLIMBING {
        let request = Request {
            method: "GET",
            path,
            token: Some(token),
            ..Request::default()
        };
        let mut wire = Wire::connect(address).await.unwrap();
        let answered = wire.ask(&request.to_text(address)).await.unwrap();
        let text = String::from_utf8_lossy(answered.body);
        assert!(
            matches!(answered.status, 400 | 404),
            "{path}: {} {text}",
            answered.status
        );
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let is_refusal = body["success"] == false && body["error"]["code"].is_string();
        assert!(is_refusal, "{path}: {text}");
        assert!(body["data"].is_null(), "{path}: {text}");
        assert!(!text.contains("root:"), "{path}: {text}");
    }
}
