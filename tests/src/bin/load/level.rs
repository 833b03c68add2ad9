//! A case at one number of connections: the shop and its floors, taking turns.

use std::{mem, time::Duration};

use dermaga_shop::db::{Clock, Db};
use dermaga_tests::{
    Engine,
    by_hand::{Buyer, Committer, Copyist, Purchase},
    processes::Watched,
    unique,
};

use crate::{
    Outcome,
    args::{Case, Options},
    floor::{self, Exchange, Replayer},
    goals::{self, BARE, BY_HAND},
    journey::{Journey, Step},
    process::Process,
    report::{Floor, Row},
    routes::{Caller, Route},
    series::Series,
    setup::User,
    site::Site,
    turn::{self, Actor},
};

/// Connections that commit a single row each: those of the rows by hand are open beside them, and PostgreSQL has 400.
const MOST_COMMITTERS: usize = 64;

/// A shop that is ready to be measured.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) site: &'a Site,
    pub(crate) engine: Engine,
    pub(crate) users: &'a [User],
    pub(crate) plan: &'a str,
    /// Copy of the database for rows that are written by hand.
    pub(crate) by_hand: &'a Db,
    pub(crate) by_hand_url: &'a str,
    /// Purchase whose rows are written by hand.
    pub(crate) bought: &'a Purchase,
}

/// Bare server of a case, and what it answers.
struct Bare {
    process: Process,
    exchanges: Vec<Exchange>,
}

/// One side of the comparison.
struct Side {
    name: &'static str,
    /// Users at work; fewer than connections where a database has one writer.
    actors: Vec<Actor>,
    watched: Watched,
    series: Series,
}

impl Stage<'_> {
    /// Measures a case at each number of connections, and proves the books after each.
    pub(crate) async fn measure(&self, case: Case, options: &Options) -> Outcome<Vec<Row>> {
        let bare = self.bare(case).await?;
        let mut rows = Vec::new();
        for connections in options.connections() {
            let mut row = Box::pin(self.level(case, connections, &bare, options)).await?;
            if options.has_goals() {
                row.goals = goals::judge(case, &row);
            }
            print!("{}", row.lines());
            let entries = self.site.verify()?;
            println!("{:9} the books hold: {entries} entries", row.engine);
            rows.push(row);
        }
        Ok(rows)
    }

    /// Asks the shop once, and starts a bare server that repeats its answers.
    async fn bare(&self, case: Case) -> Outcome<Bare> {
        let user = self.users.first().ok_or("no customers")?;
        let host = self.site.host()?;
        let exchanges = match case.route() {
            Some(route) => {
                let mut caller = Caller::connect(host, route, user, self.plan, unique()).await?;
                vec![caller.exchange().await?]
            }
            None => {
                let mut journey = Journey::connect(host, &user.coupon, self.plan).await?;
                journey.exchanges().await?
            }
        };
        let process = floor::start(self.site.folder(), &exchanges)?;
        Ok(Bare { process, exchanges })
    }

    async fn level(
        &self,
        case: Case,
        connections: usize,
        bare: &Bare,
        options: &Options,
    ) -> Outcome<Row> {
        let mut sides = vec![
            self.shop(case, connections).await?,
            self.bare_side(case, connections, bare).await?,
        ];
        match case.route() {
            Some(Route::Redeem) => sides.push(self.copyists(connections).await?),
            Some(Route::Subscribe) => {
                sides.push(self.buyers(connections).await?);
                sides.push(self.committers(connections).await?);
            }
            _ => {}
        }
        self.site.watched().forget_peak();
        let length = Duration::from_secs(options.seconds);
        // The first round warms up: caches, prepared statements, the memory of both.
        for round in 0..=options.rounds {
            for side in &mut sides {
                side.play(length, round > 0).await?;
            }
        }
        self.row(case, connections, &sides)
    }

    /// Users of the shop.
    async fn shop(&self, case: Case, connections: usize) -> Outcome<Side> {
        let host = self.site.host()?;
        let mut actors = Vec::with_capacity(connections);
        for user in self.users.iter().take(connections) {
            actors.push(match case.route() {
                Some(route) => {
                    let caller = Caller::connect(host, route, user, self.plan, unique()).await?;
                    Actor::Caller(Box::new(caller))
                }
                None => {
                    let journey = Journey::connect(host, &user.coupon, self.plan).await?;
                    Actor::Journey(Box::new(journey))
                }
            });
        }
        let series = Series::new(case.steps().len())?;
        Ok(Side {
            name: "shop",
            actors,
            watched: self.site.watched(),
            series,
        })
    }

    /// The same requests to a bare server.
    async fn bare_side(&self, case: Case, connections: usize, bare: &Bare) -> Outcome<Side> {
        let mut actors = Vec::with_capacity(connections);
        for _ in 0..connections {
            let replayer = Replayer::connect(bare.process.address(), &bare.exchanges).await?;
            actors.push(Actor::Replayer(Box::new(replayer)));
        }
        Ok(Side {
            name: if case.route().is_some() {
                BARE
            } else {
                "bare axum, the same nine answers"
            },
            actors,
            watched: Watched {
                server: Some(bare.process.id()),
                database: None,
            },
            series: Series::new(1)?,
        })
    }

    /// The rows of a redemption by hand, by the customers whose coupons these are.
    async fn copyists(&self, connections: usize) -> Outcome<Side> {
        let mut actors = Vec::new();
        let clock = Clock::system();
        for user in self.users.iter().take(self.writers(connections)) {
            let copyist = Copyist::of(self.by_hand, &clock, self.by_hand_url, user.id).await;
            actors.push(Actor::Copyist(Box::new(copyist)));
        }
        self.rows_side(BY_HAND, actors)
    }

    /// The rows of a purchase by hand, by customers who all take from the quota of its plan.
    async fn buyers(&self, connections: usize) -> Outcome<Side> {
        let mut actors = Vec::new();
        let clock = Clock::system();
        for user in self.users.iter().take(self.writers(connections)) {
            let buyer = Buyer::connect(self.by_hand_url, &clock, self.bought, user.id).await;
            actors.push(Actor::Buyer(Box::new(buyer)));
        }
        self.rows_side(BY_HAND, actors)
    }

    /// One row and its commit.
    async fn committers(&self, connections: usize) -> Outcome<Side> {
        let mut actors = Vec::new();
        for _ in 0..self.writers(connections).min(MOST_COMMITTERS) {
            let committer = Committer::connect(self.by_hand_url).await;
            actors.push(Actor::Committer(Box::new(committer)));
        }
        self.rows_side("one row in a commit", actors)
    }

    fn rows_side(&self, name: &'static str, actors: Vec<Actor>) -> Outcome<Side> {
        Ok(Side {
            name,
            actors,
            // On SQLite these rows are the work of this process, whose time is the clients' as well.
            watched: Watched {
                server: None,
                ..self.site.watched()
            },
            series: Series::new(1)?,
        })
    }

    /// Connections that write by hand: SQLite has one writer, and others would only wait for its lock.
    const fn writers(&self, connections: usize) -> usize {
        match self.engine {
            Engine::Sqlite => 1,
            Engine::Postgres => connections,
        }
    }

    fn row(&self, case: Case, connections: usize, sides: &[Side]) -> Outcome<Row> {
        let (shop, floors) = sides.split_first().ok_or("nothing was measured")?;
        let floors = floors.iter().map(|floor| Floor {
            name: floor.name,
            connections: floor.actors.len(),
            rate: floor.series.rate(),
            latencies: floor.series.latencies(),
            server_micros: floor.watched.server.map(|_| floor.series.cost().server),
            ratio: shop.series.ratio_to(&floor.series),
        });
        let names = case.steps().into_iter();
        let failures: u64 = sides.iter().map(|side| side.series.failures).sum();
        let mut first = sides.iter().filter_map(|side| {
            let failure = side.series.first_failure.as_ref()?;
            Some(format!("{}: {failure}", side.name))
        });
        Ok(Row {
            engine: self.by_hand.engine_name(),
            case: case.name(),
            connections,
            rate: shop.series.rate(),
            steps: names.zip(shop.series.latencies()).collect(),
            cost: shop.series.cost(),
            has_database: shop.watched.database.is_some(),
            server_kib: shop.watched.server_peak(),
            database_kib: shop.watched.database_memory(),
            busy: shop.series.busy,
            failures,
            first_failure: first.next(),
            unsettled: shop.series.unsettled,
            floors: floors.collect(),
            goals: Vec::new(),
        })
    }
}

impl Side {
    /// Lets this side work, and waits until what it began is done: that is its cost, and the next side's machine is
    /// idle.
    async fn play(&mut self, length: Duration, counts: bool) -> Outcome<()> {
        let before = self.watched.used();
        let (actors, turn) = turn::play(mem::take(&mut self.actors), length).await?;
        self.actors = actors;
        let is_settled = self.watched.settle().await;
        self.series.add_failures(&turn);
        if counts {
            let used = self.watched.used().since(before);
            self.series.add(&turn, used, is_settled);
        }
        Ok(())
    }
}

impl Case {
    /// Names of the steps that are told apart, the whole first.
    fn steps(self) -> Vec<&'static str> {
        let parts: &[Step] = match self.route() {
            Some(_) => &[],
            None => &Step::ALL,
        };
        let parts = parts.iter().map(|step| step.name());
        [self.name()].into_iter().chain(parts).collect()
    }
}
