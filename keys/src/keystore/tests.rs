#![allow(clippy::unwrap_used, reason = "tests")]

use super::{Kdf, Keystore, KeystoreError, Password};

#[test]
fn a_payload_of_another_length_is_not_one_key() {
    let password = Password::new("p");
    let keystore = Keystore::encrypt_payload(b"{\"private_keys\":[]}", &password, Kdf::Pbkdf2 { c: 1 }).unwrap();
    assert_eq!(keystore.decrypt(&password).unwrap_err(), KeystoreError::NotOneKey { bytes: 19 });
    let zero = Keystore::encrypt_payload(&[0; 32], &password, Kdf::Pbkdf2 { c: 1 }).unwrap();
    assert_eq!(zero.decrypt(&password).unwrap_err(), KeystoreError::BadSecret(crate::BadSecret::Zero));
}
