//! Figures that are taken unless a file of measurements or an argument has better ones.
//!
//! Measured ones are those of docs/BENCHMARKS.md on PostgreSQL, on two processors that the clients needed as well. Each
//! names its command: `money`, `ledger`, `mails` and `provisioning` are benches of this package
//! (`cargo bench --package dermaga-tests --bench money`).

use super::costs::{
    Act,
    Basis::{self, Assumed, Measured, Reckoned},
    Figure, Price, Rates,
};

/// A number with its origin.
type Known = (f64, Basis, &'static str);

const READ: &str = "2 processors / 13,500 wallet reads a second, two thirds the server's, client included (bench money)";
const AS_READ: &str = "as a wallet read on the server, since its bytes are kept (ADR 33)";
const ROWS: &str = "2 processors / 1,370 a second: the rows of a redemption by hand, sixteen at once (bench money)";
const REDEEM: &str =
    "2 processors / 520 a second over HTTP, less the database's, on a loaded machine (bench money)";
const BUY: &str =
    "2 processors / 272 a second of nine plans, and HTTP as a redemption has it (bench money)";
const AS_BUY: &str = "as a purchase";
const RENEW: &str =
    "as a redemption by a call: 2 processors / 670 a second, less the database's (bench money)";
const TWICE: &str = "as two redemptions";
const AS_REDEEM: &str = "as a redemption";
const BARE: &str =
    "two bare commits of sixteen at once, 2 processors / 10,900 a second (bench money)";
const PASSWORD: &str = "one Argon2id of 19 MiB; `scale measure` measures it";
const WIDTHS: &str = "widths of the rows' columns and indexes; `scale measure` measures most";
const CODE: &str = "counted in the code";
const MAIL: &str = "a mail to a server that answers at once";
const LOOK: &str =
    "the target of 2 % of a core for 10,000 instances, 33 a second (bench provisioning prints it)";
const LOOK_ROWS: &str = "a bare commit and eight reads (bench money)";
const CLAIM: &str = "one, and one for up to eight claims";

const NONE: Known = (0.0, Reckoned, "nothing that counts");

/// Microseconds of the server and of PostgreSQL, commits, and bytes of each act.
const PRICES: [(Act, [Known; 4]); 12] = [
    (
        Act::WalletRead,
        [(99.0, Reckoned, READ), (49.0, Reckoned, READ), NONE, NONE],
    ),
    (
        Act::CatalogueRead,
        [(99.0, Reckoned, AS_READ), NONE, NONE, NONE],
    ),
    (
        Act::SignIn,
        [
            (40_000.0, Assumed, PASSWORD),
            (370.0, Reckoned, BARE),
            counted(2.0),
            bytes(600.0),
        ],
    ),
    (
        Act::SignUp,
        [
            (40_000.0, Assumed, PASSWORD),
            (1_460.0, Reckoned, AS_REDEEM),
            counted(3.0),
            bytes(4_000.0),
        ],
    ),
    (
        Act::TopUp,
        [
            (4_772.0, Reckoned, TWICE),
            (2_920.0, Reckoned, TWICE),
            counted(4.0),
            bytes(6_000.0),
        ],
    ),
    (
        Act::Redeem,
        [
            (2_386.0, Reckoned, REDEEM),
            (1_460.0, Reckoned, ROWS),
            counted(1.0),
            bytes(5_500.0),
        ],
    ),
    (
        Act::Buy,
        [
            (5_096.0, Reckoned, BUY),
            (3_118.0, Reckoned, BUY),
            counted(5.0),
            bytes(16_000.0),
        ],
    ),
    (
        Act::Renew,
        [
            (1_525.0, Reckoned, RENEW),
            (1_460.0, Reckoned, ROWS),
            counted(2.0),
            bytes(6_000.0),
        ],
    ),
    (
        Act::Cancel,
        [
            (5_096.0, Reckoned, AS_BUY),
            (3_118.0, Reckoned, AS_BUY),
            counted(4.0),
            bytes(4_000.0),
        ],
    ),
    (
        Act::Ticket,
        [
            (2_386.0, Reckoned, AS_REDEEM),
            (1_460.0, Reckoned, AS_REDEEM),
            counted(3.0),
            bytes(3_000.0),
        ],
    ),
    (
        Act::Mail,
        [
            (5_000.0, Assumed, MAIL),
            (370.0, Reckoned, BARE),
            counted(2.0),
            NONE,
        ],
    ),
    (
        Act::Look,
        [
            (600.0, Assumed, LOOK),
            (575.0, Reckoned, LOOK_ROWS),
            (1.125, Reckoned, CLAIM),
            NONE,
        ],
    ),
];

const fn counted(commits: f64) -> Known {
    (commits, Reckoned, CODE)
}

const fn bytes(bytes: f64) -> Known {
    (bytes, Assumed, WIDTHS)
}

/// Returns the prices of all acts.
pub(super) fn prices() -> Vec<(Act, Price)> {
    let prices = PRICES.map(|(act, numbers)| {
        let [server, database, commits, bytes] = numbers.map(figure);
        let price = Price {
            server,
            database,
            commits,
            bytes,
        };
        (act, price)
    });
    prices.into()
}

/// Returns the figures beside those of acts.
pub(super) fn rates() -> Rates {
    let commits = "1,090 redemptions a second at 0.10 of bare rows, on a disk that hardly waits (bench money)";
    let one_plan = "sixteen customers buying one plan, on a loaded machine (bench money)";
    let one_coupon = "sixteen customers redeeming one coupon (bench money)";
    let renewal = "as a redemption by a call, 370 a second one after another, on a loaded machine (bench money)";
    let pass = "some ten round trips to the database";
    let mails = "the target of `bench mails`, which prints it";
    let proof = "3.0 s for 300,000 entries (bench ledger)";
    let rest = "a server at rest on SQLite (docs/BENCHMARKS.md, Size and memory)";
    let known = "what is known of an instance's objects (bench provisioning prints it)";
    let table = "a row of a table that is read from its beginning to its end";
    Rates {
        commits: figure((10_900.0, Reckoned, commits)),
        plan_purchases: figure((193.0, Measured, one_plan)),
        coupon_redemptions: figure((1_090.0, Measured, one_coupon)),
        renewal_time: figure((2_700.0, Reckoned, renewal)),
        look_time: figure((10_000.0, Assumed, pass)),
        mails: figure((100.0, Assumed, mails)),
        proof_time: figure((10.0, Measured, proof)),
        server_memory: figure((73.0, Reckoned, rest)),
        instance_memory: figure((10.0, Assumed, known)),
        sealed_head: figure((160.0, Assumed, WIDTHS)),
        unpaid_row: figure((1.0, Assumed, "a look into an index")),
        counted_row: figure((0.2, Assumed, table)),
    }
}

fn figure((value, basis, source): Known) -> Figure {
    Figure::new(value, basis, source)
}
