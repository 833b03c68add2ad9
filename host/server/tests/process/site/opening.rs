//! Opening of a site: its first administrator and customers, for whose passwords a busy machine may need its time.

use serde_json::{Value, json};

use super::{Patient, Server, Site};
use crate::stdout;

impl Site {
    /// Runs what a test begins with at a server of its own that cuts no request off, and stops it. A sign-in that is
    /// cut off counts as a failed one, and a registration as one more, of which an address has only so many: under
    /// the short time of this site, a busy machine would use them up.
    pub(crate) async fn opened<T>(&mut self, open: impl AsyncFnOnce(&Self) -> T) -> T {
        self.set("DERMAGA_REQUEST_TIMEOUT", "10m");
        let site = &*self;
        let server = Server::start(site);
        let opened = open(site).await;
        drop(server);
        self.environment.pop();
        opened
    }

    /// Registers a customer as [`opened`](Self::opened) does.
    pub(crate) async fn customer(&mut self, email: &str) -> Patient {
        let register = async |site: &Self| {
            let patient = Patient::new(site);
            let session = patient.registered(email).await;
            patient.signed_in(&session)
        };
        self.opened(register).await
    }
}

impl Patient {
    /// Registers a customer; returns the answer.
    pub(crate) async fn registered(&self, email: &str) -> Value {
        let body =
            json!({ "email": email, "password": "kata sandi yang panjang", "name": "Pelanggan" });
        self.post("/api/auth/register", "register", &body).await
    }

    /// The first administrator, signed in.
    pub(crate) async fn administrator(&self, site: &Site) -> Self {
        let create = [
            "admin",
            "create",
            "--email",
            "a@example.com",
            "--name",
            "Admin",
        ];
        let made = site.run(&create);
        let password = stdout(&made);
        let password = password.split_whitespace().last().unwrap_or_default();
        let login = json!({ "email": "a@example.com", "password": password });
        self.signed_in(&self.post("/api/auth/login", "login", &login).await)
    }
}
