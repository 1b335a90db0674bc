//! A bearer token from anybody; the claims of a verified one; a key set.
#![no_main]

use std::sync::LazyLock;

use consigner_gate::fuzzing::Jwt;
use libfuzzer_sys::fuzz_target;

/// The one token in `seeds/jwt` that these keys signed is believed; no change of it may be.
const TOKEN: &[u8] = include_bytes!("../seeds/jwt/token");

static JWT: LazyLock<Option<Jwt>> = LazyLock::new(|| Jwt::new(include_bytes!("../seeds/jwt/keys.json")));

fuzz_target!(|bytes: &[u8]| {
    let jwt = JWT.as_ref().expect("the seed is a key set");
    if jwt.read(bytes) {
        assert_eq!(bytes, TOKEN, "forged");
    }
});
