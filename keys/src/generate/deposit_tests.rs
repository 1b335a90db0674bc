#![allow(clippy::unwrap_used, reason = "tests")]

use super::{DepositMessage, Version};
use consigner_rules::{PublicKey, Root, Signature};

/// A published deposit of Holesky, made by another tool and taken by the launchpad: ChorusOne/eth-staking-smith
/// issue 42.
#[test]
fn a_published_deposit_has_the_same_roots() {
    let message = DepositMessage {
        public_key: "a33fe2120097d4e1cf461fed5953bd51c935b4f114c3f66a92743dd28ebab706d2c1d475c20b6dab62a399b0ca3b786b"
            .parse::<PublicKey>()
            .unwrap(),
        credentials: "0100000000000000000000003a1933a872f82459eab4fd39fbc6605364104a4c".parse::<Root>().unwrap().0,
        amount_gwei: 32_000_000_000,
    };
    let signature: Signature = "b5cdaba851355116e630ac2e71a4294d86ef6f864d93b2b4305d2348598a4f42343da506df784a62cc0119\
                                af6f4657680928efae9d7423424e2f12e3b3dfc1d41f9abb512a3c534b47a6e5ea9992207d7ff216617698\
                                a6c347f94f51048bed77"
        .parse()
        .unwrap();
    let root = |bytes| hex::encode(bytes);
    assert_eq!(root(message.root()), "e57d682ff895155f6e15b2475d971f10c3cbe073243628ef255b3d75571ddfb1");
    assert_eq!(root(message.data_root(&signature)), "2599953ec1fb9b9b1587960bc0100f1eddc648a07b459cb02b0c63bbd4518f24");
    let holesky = Version([1, 1, 0x70, 0]);
    assert!(crate::verify(&message.public_key, &message.signing_root(holesky), &signature));
    assert!(!crate::verify(&message.public_key, &message.signing_root(Version([0; 4])), &signature));
}
