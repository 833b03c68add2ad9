//! Labels of receipts, in both languages.

use crate::language::Language;

/// Labels of a receipt; those of its head fit into twelve columns.
#[derive(Debug)]
pub(super) struct Labels {
    pub(super) receipt: &'static str,
    pub(super) date: &'static str,
    pub(super) customer: &'static str,
    pub(super) email: &'static str,
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) purpose: &'static str,
    pub(super) taken: &'static str,
    pub(super) added: &'static str,
    pub(super) of_paid: &'static str,
    pub(super) of_bonus: &'static str,
    pub(super) before: &'static str,
    pub(super) after: &'static str,
}

const ENGLISH: Labels = Labels {
    receipt: "Receipt",
    date: "Date",
    customer: "Customer",
    email: "E-mail",
    kind: "Type",
    status: "Status",
    purpose: "For",
    taken: "Taken from the wallet",
    added: "Added to the wallet",
    of_paid: "  of paid credit",
    of_bonus: "  of bonus credit",
    before: "Balance before",
    after: "Balance after",
};

const INDONESIAN: Labels = Labels {
    receipt: "Kuitansi",
    date: "Tanggal",
    customer: "Pelanggan",
    email: "Surel",
    kind: "Jenis",
    status: "Status",
    purpose: "Untuk",
    taken: "Diambil dari dompet",
    added: "Ditambahkan ke dompet",
    of_paid: "  dari saldo berbayar",
    of_bonus: "  dari saldo bonus",
    before: "Saldo sebelumnya",
    after: "Saldo sesudahnya",
};

/// Returns the labels in a language.
pub(super) const fn of(language: Language) -> &'static Labels {
    match language {
        Language::English => &ENGLISH,
        Language::Indonesian => &INDONESIAN,
    }
}
