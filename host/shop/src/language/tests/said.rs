//! Finished sentences, and what becomes of them in Indonesian.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::language::{Language, catalogue, translated, within};

#[test]
fn arguments_that_are_words_of_ours_are_said_too() {
    for (english, indonesian) in [
        ("There is no such plan.", "Tidak ada paket tersebut."),
        (
            "The notice is not as Midtrans writes it: it must be an object.",
            "Pemberitahuan ini tidak seperti yang ditulis Midtrans: isinya harus berupa objek.",
        ),
        (
            "must be a whole number, or one of: forever",
            "harus berupa bilangan bulat, atau salah satu dari: forever",
        ),
        (
            "must be a whole number, or at least 1, or one of: forever",
            "harus berupa bilangan bulat, atau paling sedikit 1, atau salah satu dari: forever",
        ),
        (
            "must be at least 1, or one of: forever",
            "harus paling sedikit 1, atau salah satu dari: forever",
        ),
        (
            "There is no such canned answer.",
            "Tidak ada jawaban siap pakai tersebut.",
        ),
        (
            "Too many requests. Try again in 3 seconds.",
            "Terlalu banyak permintaan. Coba lagi dalam 3 detik.",
        ),
        (
            "The payment gateway is busy. Try again in 1 second.",
            "Gerbang pembayaran sedang sibuk. Coba lagi dalam 1 detik.",
        ),
        (
            "The plan costs Rp90.000 for 3 months, in place of Rp120.000.",
            "Harga paket ini Rp90.000 untuk 3 bulan, bukan Rp120.000.",
        ),
        (
            "must be a whole number, not the text \"x\"",
            "harus berupa bilangan bulat, bukan teks \"x\"",
        ),
        (
            "must be one of: A, B, not \"C\"",
            "harus salah satu dari: A, B, bukan \"C\"",
        ),
        (
            "`STANDARD` is none of: standard, large",
            "`STANDARD` bukan salah satu dari: standard, large",
        ),
        (
            "must be a text or a number, not true or false",
            "harus berupa teks atau angka, bukan true atau false",
        ),
        (
            "It was given up by hand. We restart it once more.",
            "It was given up by hand. Kami memulai ulang sekali lagi.",
        ),
        (
            "Its volume is still growing. We restart it once more.",
            "Volumenya masih diperbesar. Kami memulai ulang sekali lagi.",
        ),
        (
            "The change is being rolled out: 1 of 2 copies are new and ready.",
            "Perubahan sedang diterapkan: 1 dari 2 salinan sudah baru dan siap.",
        ),
        (
            "It is being started. Rp50.000 was charged. The period ends on 5 July 2026.",
            "Layanan sedang dijalankan. Rp50.000 sudah ditagih. Periodenya berakhir pada 5 July 2026.",
        ),
        (
            "Nothing is added or changed. 2 templates are refused.",
            "Tidak ada yang ditambah atau diubah. 2 templat ditolak.",
        ),
        (
            "Its volume is still growing. 3 restarts and 1 recreation within an hour did not mend it. \
             It is watched, and restarted once an hour.",
            "Volumenya masih diperbesar. 3 mulai ulang dan 1 pembuatan ulang dalam satu jam tidak \
             memperbaikinya. Layanan terus dipantau, dan dimulai ulang sekali sejam.",
        ),
        (
            "2 instances can be moved, 0 refused. 1 that was named is not among those to move.",
            "2 instans dapat dipindahkan, 0 ditolak. 1 yang disebut tidak termasuk yang akan dipindahkan.",
        ),
        (
            "N8N is being set up. Rp50.000 was charged.",
            "N8N sedang disiapkan. Rp50.000 sudah ditagih.",
        ),
        (
            "Uptime Kuma is being set up. Nothing was charged.",
            "Uptime Kuma sedang disiapkan. Tidak ada yang ditagih.",
        ),
        (
            "is not known here; there are: amount, note",
            "tidak dikenal di sini; yang ada: amount, note",
        ),
        ("N8N Basic, first month", "N8N Basic, bulan pertama"),
        (
            "Uptime Kuma Basic, first 12 months",
            "Uptime Kuma Basic, 12 bulan pertama",
        ),
        ("N8N Basic, month 2", "N8N Basic, bulan ke-2"),
        (
            "N8N Basic, period 2, 12 months",
            "N8N Basic, periode ke-2, 12 bulan",
        ),
        (
            "N8N Basic, period 3, storage only",
            "N8N Basic, periode ke-3, penyimpanan saja",
        ),
        (
            "N8N Pro, from Basic, for the rest of the period",
            "N8N Pro, dari Basic, untuk sisa periode",
        ),
        (
            "The change of plan could not be made and was undone: It did not become ready in time.",
            "Perubahan paket tidak dapat dilakukan dan dibatalkan: Layanan tidak siap pada waktunya.",
        ),
        (
            "must be at least 1, not 0, or one of: forever",
            "harus paling sedikit 1, bukan 0, atau salah satu dari: forever",
        ),
        (
            "A service template is refused. The problem is in ghost.toml:18:1: images: it is empty; name every \
             image that the service may run. There are 2 more problems. Its service ghost is not sold. Fix the file \
             and reload the templates (POST /api/admin/catalog/reload).",
            "Sebuah templat layanan ditolak. Masalahnya ada di ghost.toml:18:1: images: kosong; sebutkan setiap \
             image yang boleh dijalankan layanan. Ada 2 masalah lain. Layanannya, ghost, tidak dijual. Perbaiki \
             berkasnya lalu muat ulang templat (POST /api/admin/catalog/reload).",
        ),
        (
            "Instance n8n-1 in namespace c-1: The cluster refuses Deployment/n8n-1: forbidden.",
            "Instans n8n-1 di namespace c-1: Klaster menolak Deployment/n8n-1: forbidden.",
        ),
        (
            "The component was refused: its signature cannot be read: a signature is NAME:BASE64, as `dermaga \
             plugin sign` writes it.",
            "Komponen ditolak: tanda tangannya tidak dapat dibaca: tanda tangan berbentuk NAMA:BASE64, seperti \
             yang ditulis `dermaga plugin sign`.",
        ),
        (
            "The coupon GIFT is of a type that is not active. The plugin `coupon-gift` was retired. Upload it with a \
             higher version number and activate that first.",
            "Jenis kupon GIFT tidak aktif. Plugin `coupon-gift` sudah dipensiunkan. Unggah plugin itu dengan nomor \
             versi yang lebih tinggi, lalu aktifkan terlebih dahulu.",
        ),
        (
            "coupon-gift 1.0.0 is installed already and RETIRED: it is not activated again. Upload the plugin with a \
             higher version number.",
            "coupon-gift 1.0.0 sudah terpasang dan berstatus RETIRED: versi ini tidak diaktifkan lagi. Unggah plugin \
             itu dengan nomor versi yang lebih tinggi.",
        ),
        (
            "Subscription 7: CONFLICT: There is no such plan.",
            "Langganan 7: CONFLICT: Tidak ada paket tersebut.",
        ),
        ("3 tickets.", "3 tiket."),
        ("1 Ingress object.", "1 objek Ingress."),
        ("2 routes.", "2 rute."),
        (
            "must be one of: A, B, not \"plan\"",
            "harus salah satu dari: A, B, bukan \"plan\"",
        ),
    ] {
        assert_eq!(translated(english, Language::Indonesian), indonesian);
        assert_eq!(translated(english, Language::English), english);
    }
}

#[derive(serde::Serialize)]
struct Charge {
    #[serde(serialize_with = "crate::language::details_in_words")]
    details: Value,
}

#[tokio::test]
async fn labels_and_reasons_of_a_charge_are_said_and_nothing_else() {
    let line = |label: &str, reason: &str| {
        let amount = -5_000;
        json!({ "code": "Gift of the shop", "label": label, "amount": amount, "reason": reason })
    };
    let details = json!({
        "lines": [line("Coupon HEMAT", "A plugin's own sentence."),
            line("Gift of the shop", "The shop charges nothing for this period.")],
        "reason": "It was not to be renewed.", "couponCode": "Gift of the shop",
        "couponGaveNothing": "The budget of the coupon HEMAT is spent.",
    });
    let charge = Charge { details };
    let written = async || serde_json::to_value(&charge).unwrap()["details"].take();
    let english = within(Some(Language::English), written()).await;
    assert_eq!(english, charge.details);
    let indonesian = within(Some(Language::Indonesian), written()).await;
    let spoken_budget = translated(
        "The budget of the coupon HEMAT is spent.",
        Language::Indonesian,
    );
    assert_ne!(spoken_budget, "The budget of the coupon HEMAT is spent.");
    let expected = json!({
        "lines": [line("Kupon HEMAT", "A plugin's own sentence."),
            line("Hadiah dari toko", "Toko tidak menagih apa pun untuk periode ini.")],
        "reason": "Langganan ini memang tidak akan diperpanjang.", "couponCode": "Gift of the shop",
        "couponGaveNothing": spoken_budget,
    });
    assert_eq!(indonesian, expected);
}

#[test]
fn what_is_not_known_stays_and_nothing_is_too_long_or_too_strange() {
    for text in [
        "",
        " ",
        "Nothing of ours",
        "The Qwertz is down.",
        "{0} {} }{ {",
        "\u{0}\u{fe0f}é.",
        "There is no such",
        ". . . . . . . . . . . .",
    ] {
        assert_eq!(translated(text, Language::Indonesian), text);
    }
    let long = "There is no such plan. ".repeat(10_000);
    assert_eq!(translated(&long, Language::Indonesian), long);
    let name = "There is no coupon A. ".repeat(80);
    translated(&name, Language::Indonesian);
    assert_eq!(catalogue::entries("this = is = no file"), BTreeMap::new());
}
