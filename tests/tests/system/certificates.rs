//! Certificates of servers that tests start.

use std::process::Command;

use tempfile::TempDir;

/// An authority, and a certificate for a name that it signed.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn new(name: &str) -> Self {
        let made = Self(TempDir::new().unwrap());
        let names = format!("subjectAltName=DNS:{name}");
        std::fs::write(made.0.path().join("names"), names).unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        made.openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=Uji -days 2"
        ));
        made.openssl(&format!(
            "req {key} -keyout key.pem -out request.pem -subj /CN={name}"
        ));
        made.openssl(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names",
        );
        made
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command
            .args(arguments.split(' '))
            .current_dir(self.0.path());
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {error}");
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}
