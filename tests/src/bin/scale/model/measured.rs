//! Costs from the files that `load --json` and `scale measure --json` write.

use serde_json::Value;

use super::costs::{
    Basis::{self, Measured, Reckoned},
    Costs, Figure,
};

/// Cases of `load` and the acts whose costs they measure.
const CASES: [(&str, &str); 4] = [
    ("wallet", "walletRead"),
    ("catalogue", "catalogueRead"),
    ("redeem", "redeem"),
    ("subscribe", "buy"),
];
/// Connections whose row has the costs, where it was measured: enough to share commits, few enough to wait little.
const CONNECTIONS: u64 = 16;
const ENGINE: &str = "postgres";

impl Costs {
    /// Takes the processor time of requests, and how often one plan can be bought, from the results of `load`.
    ///
    /// # Errors
    /// When the file has no rows of PostgreSQL.
    pub(crate) fn read_load(&mut self, file: &Value) -> Result<(), String> {
        let mut is_empty = true;
        for (case, act) in CASES {
            let Some(row) = preferred(file, case) else {
                continue;
            };
            is_empty = false;
            let connections = number(row, "/connections").unwrap_or_default();
            let source = format!("load: `{case}` at {connections} connections");
            for (part, field) in [
                ("server", "/serverCpuMicros"),
                ("database", "/databaseCpuMicros"),
            ] {
                self.take(
                    &format!("{act}.{part}"),
                    number(row, field),
                    (Measured, &source),
                )?;
            }
        }
        let rates = rows(file, "subscribe").filter_map(|row| number(row, "/perSecond"));
        let best = rates.max_by(f64::total_cmp);
        let source = "load: the fastest `subscribe`, over HTTP";
        self.take("plan.purchases", best, (Measured, source))?;
        if is_empty {
            return Err("the results of `load` have no rows of PostgreSQL".to_owned());
        }
        Ok(())
    }

    /// Takes bytes, and the costs of sign-ups and renewals, from the results of `scale measure`.
    ///
    /// # Errors
    /// When the file has none.
    pub(crate) fn read_measured(&mut self, file: &Value) -> Result<(), String> {
        let acts = file.get("acts").and_then(Value::as_array);
        let acts = acts.ok_or("the file has no acts; `scale measure --json` writes it")?;
        for act in acts {
            let name = act.get("name").and_then(Value::as_str).unwrap_or_default();
            let count = number(act, "/count").unwrap_or_default();
            let source = format!("scale measure: {count} times");
            let source = (Measured, source.as_str());
            self.take(&format!("{name}.bytes"), number(act, "/bytes"), source)?;
            let server = number(act, "/serverMicros");
            if name == "renew" {
                self.take("renew.time", number(act, "/micros"), source)?;
            }
            if name == "signUp" {
                let as_sign_up = (Reckoned, "as a sign-up, both check a password");
                self.take("signIn.server", server, as_sign_up)?;
            }
            // The others cost more over HTTP, which `load` measures.
            if matches!(name, "renew" | "signUp") {
                let database = number(act, "/databaseMicros");
                self.take(&format!("{name}.server"), server, source)?;
                self.take(&format!("{name}.database"), database, source)?;
            }
        }
        Ok(())
    }

    /// Sets a figure that was found.
    fn take(
        &mut self,
        name: &str,
        found: Option<f64>,
        (basis, source): (Basis, &str),
    ) -> Result<(), String> {
        match found {
            Some(value) => self.set(name, Figure::new(value, basis, source)),
            None => Ok(()),
        }
    }
}

fn rows<'a>(file: &'a Value, case: &'a str) -> impl Iterator<Item = &'a Value> {
    let rows = file.get("rows").and_then(Value::as_array);
    rows.into_iter().flatten().filter(move |row| {
        let is = |field, wanted| row.get(field).and_then(Value::as_str) == Some(wanted);
        is("engine", ENGINE) && is("case", case)
    })
}

/// Returns the row of a case with its costs.
fn preferred<'a>(file: &'a Value, case: &'a str) -> Option<&'a Value> {
    let is_wanted =
        |row: &&Value| row.get("connections").and_then(Value::as_u64) == Some(CONNECTIONS);
    rows(file, case)
        .find(is_wanted)
        .or_else(|| rows(file, case).next())
}

fn number(value: &Value, pointer: &str) -> Option<f64> {
    value.pointer(pointer).and_then(Value::as_f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::costs::Act;

    fn of(costs: &Costs, wanted: Act) -> (Figure, Figure, Figure) {
        let (_, price) = costs.acts().find(|(act, _)| *act == wanted).unwrap();
        let price = price.clone();
        (price.server, price.database, price.bytes)
    }

    fn row(engine: &str, case: &str, connections: u64, server: f64) -> Value {
        json!({
            "engine": engine, "case": case, "connections": connections, "perSecond": server,
            "serverCpuMicros": server, "databaseCpuMicros": server / 2.0,
        })
    }

    #[test]
    fn costs_are_those_of_postgresql_at_sixteen_connections() {
        let mut costs = Costs::default();
        let file = json!({ "rows": [
            row("sqlite", "wallet", 16, 1.0),
            row("postgres", "wallet", 1, 2.0),
            row("postgres", "wallet", 16, 80.0),
            row("postgres", "subscribe", 64, 250.0),
            row("postgres", "subscribe", 256, 240.0),
        ]});
        costs.read_load(&file).unwrap();
        let (server, database, _) = of(&costs, Act::WalletRead);
        assert_eq!((server.value, server.basis), (80.0, Measured));
        assert!((database.value - 40.0).abs() < f64::EPSILON);
        let (server, _, bytes) = of(&costs, Act::Buy);
        assert!((server.value - 250.0).abs() < f64::EPSILON);
        assert_eq!(bytes, of(&Costs::default(), Act::Buy).2);
        assert!((costs.rates.plan_purchases.value - 250.0).abs() < f64::EPSILON);
        // A cost that the file does not have stays as it was.
        assert_eq!(of(&costs, Act::Redeem), of(&Costs::default(), Act::Redeem));
        let other = json!({ "rows": [row("sqlite", "wallet", 16, 1.0)] });
        assert!(costs.read_load(&other).is_err());
    }

    #[test]
    fn bytes_and_renewals_are_those_that_were_measured() {
        let mut costs = Costs::default();
        let file = json!({ "acts": [
            { "name": "redeem", "count": 10, "micros": 5.0, "serverMicros": 3.0, "databaseMicros": 2.0, "bytes": 4_321 },
            { "name": "signUp", "count": 5, "serverMicros": 30_000.0, "bytes": 3_210 },
            { "name": "renew", "count": 10, "micros": 6.0, "serverMicros": 4.0, "databaseMicros": 2.5, "bytes": 5_432 },
        ]});
        costs.read_measured(&file).unwrap();
        let (server, _, bytes) = of(&costs, Act::Redeem);
        // Over HTTP it costs more than by a call.
        assert_eq!(server, of(&Costs::default(), Act::Redeem).0);
        assert_eq!(bytes.basis, Measured);
        assert!((bytes.value - 4_321.0).abs() < f64::EPSILON);
        let (server, database, _) = of(&costs, Act::Renew);
        assert!((server.value - 4.0).abs() < f64::EPSILON);
        assert!((database.value - 2.5).abs() < f64::EPSILON);
        assert!((costs.rates.renewal_time.value - 6.0).abs() < f64::EPSILON);
        let (sign_up, _, _) = of(&costs, Act::SignUp);
        let (sign_in, _, bytes) = of(&costs, Act::SignIn);
        assert_eq!((sign_up.value, sign_up.basis), (30_000.0, Measured));
        assert_eq!((sign_in.value, sign_in.basis), (30_000.0, Reckoned));
        assert_ne!(bytes.basis, Measured);
        assert!(costs.read_measured(&json!({})).is_err());
        let unknown = json!({ "acts": [{ "name": "gift", "bytes": 1 }] });
        assert!(costs.read_measured(&unknown).is_err());
    }
}
