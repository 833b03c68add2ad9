//! Authorities of certificates, from a file of the operator.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Authorities that may have signed the certificate of another server, beside those of the system.
#[derive(Debug, Clone)]
pub struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// Reads the certificates in a file.
    ///
    /// # Errors
    /// A sentence that completes "SMTP_CA_FILE ...".
    pub fn read(path: &str) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|error| {
            format!("must be the path of a file of certificates; {path} cannot be read: {error}")
        })?;
        let wrong = || format!("must be a file of certificates in PEM; {path} is none");
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let found = found.map_err(|_| wrong())?;
        let mut known = RootCertStore::empty();
        if found.is_empty() || found.iter().any(|one| known.add(one.clone()).is_err()) {
            return Err(wrong());
        }
        Ok(Self(found))
    }

    /// Returns the certificates in DER.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_certificates_are_checked() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("ca.pem");
        let read = || Authorities::read(path.to_str().unwrap()).unwrap_err();
        assert!(read().contains("cannot be read"), "{}", read());
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for wrong in ["", "no certificate", broken] {
            std::fs::write(&path, wrong).unwrap();
            assert!(read().ends_with("is none"), "{}", read());
        }
    }
}
