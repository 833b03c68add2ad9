//! Encrypted connections that were not made, and the reasons in plain words.

use std::{error::Error, io};

use rustls::CertificateError;

/// Returns the reason why no encrypted connection was made, if that is the cause of an error.
pub fn refusal<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(one) = next {
        if let Some(refused) = one.downcast_ref() {
            return Some(refused);
        }
        // Errors of connections wrap their reason, and name as their source what is behind it.
        next = match one.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => {
                let inner: &(dyn Error + 'static) = inner;
                Some(inner)
            }
            None => one.source(),
        };
    }
    None
}

/// Returns plain words for the faults of certificates that are met most.
pub fn plain(refused: &rustls::Error) -> Option<&'static str> {
    let rustls::Error::InvalidCertificate(reason) = refused else {
        return None;
    };
    match reason {
        CertificateError::UnknownIssuer => {
            Some("the certificate is of an authority that is not trusted")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some("the certificate is for another name")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Some("the certificate has expired")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Some("the certificate is not valid yet")
        }
        _ => None,
    }
}
