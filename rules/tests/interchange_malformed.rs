//! Web3Signer's malformed interchange files: each is refused with the path of its error, or tolerated for a reason.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "vectors lie in files; only the rules themselves touch none")]

mod slashing_common;

use consigner_rules::interchange::{Interchange, Warning};
use slashing_common::vectors;

/// What becomes of a file.
enum Expect {
    /// Refused as a whole with this message.
    Refused(&'static str),
    /// Taken; so many validators, so many warnings in all.
    Taken { validators: usize, warnings: usize, because: &'static str },
}

use Expect::{Refused, Taken};

const FILES: [(&str, Expect); 14] = [
    (
        "conflictingBlocks",
        Taken { validators: 1, warnings: 1, because: "the maximum covers both; a proven double is still history" },
    ),
    ("dataFieldNotArray", Refused("data: expected an array, got a text")),
    (
        "duplicateAttestation",
        Taken { validators: 1, warnings: 2, because: "one maximum; the short roots count as unknown" },
    ),
    ("duplicateBlocks", Taken { validators: 1, warnings: 0, because: "the same block twice is one block" }),
    ("emptyDataArray", Taken { validators: 0, warnings: 0, because: "says nothing, and says so" }),
    ("errorInSecondBlock", Refused("data[0].signed_blocks[1].slot: missing")),
    ("errorInSecondValidator", Refused("data[1].signed_attestations[0].target_epoch: missing")),
    (
        "invalidAttestationContent",
        Taken { validators: 1, warnings: 1, because: "a source after its target still raises both maxima" },
    ),
    ("missingDataField", Refused("data: missing")),
    ("missingPublicKey", Refused("data[0].pubkey: missing")),
    (
        "multipleNullSigningRootAttestation",
        Taken { validators: 1, warnings: 0, because: "roots are optional and the targets differ" },
    ),
    (
        "multipleNullSigningRootBlock",
        Taken { validators: 1, warnings: 0, because: "roots are optional and the slots differ" },
    ),
    (
        "singleValidAttestation",
        Taken { validators: 1, warnings: 1, because: "a root of 3 bytes counts as unknown, the epochs are history" },
    ),
    ("singleValidBlock", Taken { validators: 1, warnings: 0, because: "nothing is wrong with it" }),
];

#[test]
fn every_file_is_refused_or_tolerated_for_a_reason() {
    let Some(folder) = vectors("interchange-malformed") else { return };
    let present = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(present, FILES.len(), "a file without an expectation");
    for (name, expected) in &FILES {
        let text = std::fs::read(folder.join(name).with_extension("json")).unwrap();
        match (Interchange::parse(&text), expected) {
            (Err(error), Refused(message)) => assert_eq!(error.to_string(), *message, "{name}"),
            (Ok(file), Taken { validators, warnings, because }) => {
                let found: Vec<Warning> = file.report().into_iter().flat_map(|report| report.warnings).collect();
                assert_eq!(file.validators().len(), *validators, "{name}: {because}");
                assert_eq!(found.len(), *warnings, "{name}: {because}: {found:?}");
                assert_eq!(file.reduce().len(), *validators, "{name}: {because}");
            }
            (Ok(file), Refused(message)) => panic!("{name}: taken as {file:?}, expected {message}"),
            (Err(error), Taken { because, .. }) => panic!("{name}: refused with {error}, although {because}"),
        }
    }
    println!("malformed interchange files: {} of {} as expected", FILES.len(), present);
}
