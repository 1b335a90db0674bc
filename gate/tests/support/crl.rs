//! Revocation lists of a test CA.

use std::path::PathBuf;

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};

use super::pki::Pki;

/// What to write into a list.
pub struct List {
    pub revoked: Vec<u64>,
    /// Year at the begin of which the list ends.
    pub until: i32,
}

impl List {
    pub fn of(revoked: &[u64]) -> Self {
        Self { revoked: revoked.to_vec(), until: 2400 }
    }

    pub fn until(mut self, year: i32) -> Self {
        self.until = year;
        self
    }
}

impl Pki {
    /// A list of this CA, as PEM.
    pub fn crl_pem(&self, List { revoked, until }: &List) -> String {
        let begin = rcgen::date_time_ymd(2020, 1, 1);
        let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: begin,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: begin,
            next_update: rcgen::date_time_ymd(*until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.ca).unwrap().pem().unwrap()
    }

    pub fn crl(&self, name: &str, list: &List) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, self.crl_pem(list)).unwrap();
        path
    }
}
