//! Figures that are taken unless a file of measurements or an argument has better ones.
//!
//! Measured ones are those of docs/BENCHMARKS.md on PostgreSQL, on two processors that the clients needed as well. Each
//! names its command: `load` and `scale` are programs of this package, `money`, `ledger`, `mails` and `provisioning` its
//! benches (`cargo bench --package dermaga-tests --bench money`).

use super::costs::{
    Act,
    Basis::{self, Assumed, Measured, Reckoned},
    Figure, Price, Rates,
};

/// A number with its origin.
type Known = (f64, Basis, &'static str);

const READ: &str = "load: `wallet` at 16 connections";
const KEPT: &str = "load: `catalogue` at 16 connections";
const REDEEM: &str = "load: `redeem` at 16 connections";
const BUY: &str = "load: `subscribe` at 16 connections, set up into a folder meanwhile";
const AS_BUY: &str = "as a purchase";
const ACTS: &str = "scale measure: 300 times";
const SIGN_UP: &str = "scale measure: 75 times";
const TWICE: &str = "as two redemptions";
const AS_REDEEM: &str = "as a redemption";
const BARE: &str =
    "two bare commits of sixteen at once, 2 processors / 10,900 a second (bench money)";
const PASSWORD: &str = "one Argon2id of 19 MiB; `scale measure` measures it";
const WIDTHS: &str = "widths of the rows' columns and indexes";
const CODE: &str = "counted in the code";
const MAIL: &str = "a mail to a server that answers at once";
const LOOK: &str = "1.23 % of a core for 5,000 instances, 17 a second (bench provisioning)";
const LOOK_ROWS: &str = "a bare commit (bench money) and eight reads (load)";
const CLAIM: &str = "one, and one for up to eight claims";

const NONE: Known = (0.0, Reckoned, "nothing that counts");

/// Microseconds of the server and of PostgreSQL, commits, and bytes of each act.
const PRICES: [(Act, [Known; 4]); 12] = [
    (
        Act::WalletRead,
        [(242.0, Measured, READ), (194.0, Measured, READ), NONE, NONE],
    ),
    (
        Act::CatalogueRead,
        [(76.0, Measured, KEPT), (1.0, Measured, KEPT), NONE, NONE],
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
            (3_467.0, Measured, SIGN_UP),
            counted(3.0),
            (4_041.0, Measured, SIGN_UP),
        ],
    ),
    (
        Act::TopUp,
        [
            (3_308.0, Reckoned, TWICE),
            (7_526.0, Reckoned, TWICE),
            counted(4.0),
            bytes(6_000.0),
        ],
    ),
    (
        Act::Redeem,
        [
            (1_654.0, Measured, REDEEM),
            (3_763.0, Measured, REDEEM),
            counted(1.0),
            (4_997.0, Measured, ACTS),
        ],
    ),
    (
        Act::Buy,
        [
            (13_846.0, Measured, BUY),
            (13_846.0, Measured, BUY),
            counted(5.0),
            (14_609.0, Measured, ACTS),
        ],
    ),
    (
        Act::Renew,
        [
            (3_067.0, Measured, ACTS),
            (8_433.0, Measured, ACTS),
            counted(2.0),
            (6_062.0, Measured, ACTS),
        ],
    ),
    (
        Act::Cancel,
        [
            (13_846.0, Reckoned, AS_BUY),
            (13_846.0, Reckoned, AS_BUY),
            counted(4.0),
            bytes(4_000.0),
        ],
    ),
    (
        Act::Ticket,
        [
            (1_654.0, Reckoned, AS_REDEEM),
            (3_763.0, Reckoned, AS_REDEEM),
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
            (738.0, Reckoned, LOOK),
            (1_735.0, Reckoned, LOOK_ROWS),
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
    let one_plan = "load: the fastest `subscribe`, over HTTP";
    let one_coupon = "sixteen customers redeeming one coupon (bench money)";
    let renewal = "scale measure: 300 times, one after another";
    let pass = "some ten round trips to the database";
    let mails = "10,000 of them to a receiver that answers at once (bench mails)";
    let proof = "3.0 s for 300,000 entries (bench ledger)";
    let rest = "a server at rest on SQLite (docs/BENCHMARKS.md, Size and memory)";
    let known = "what is known of an instance's objects (bench provisioning prints it)";
    let table = "a row of a table that is read from its beginning to its end";
    Rates {
        commits: figure((10_900.0, Reckoned, commits)),
        plan_purchases: figure((117.0, Measured, one_plan)),
        coupon_redemptions: figure((1_090.0, Measured, one_coupon)),
        renewal_time: figure((12_730.0, Measured, renewal)),
        look_time: figure((10_000.0, Assumed, pass)),
        mails: figure((159.0, Measured, mails)),
        proof_time: figure((10.0, Measured, proof)),
        server_memory: figure((76.1, Reckoned, rest)),
        instance_memory: figure((10.0, Assumed, known)),
        sealed_head: figure((160.0, Assumed, WIDTHS)),
        unpaid_row: figure((1.0, Assumed, "a look into an index")),
        counted_row: figure((0.2, Assumed, table)),
    }
}

fn figure((value, basis, source): Known) -> Figure {
    Figure::new(value, basis, source)
}
