//! The forks, in order, and their versions.

use super::FAR_FUTURE_EPOCH;
use crate::primitives::Epoch;
use std::fmt;

/// A fork version (consensus specification: `Version`).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u8; 4]);

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

macro_rules! forks {
    ($($fork:ident = $name:literal),+ $(,)?) => {
        /// The forks of the consensus layer, in order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fork {
            $(
                #[doc = $name]
                $fork,
            )+
        }

        impl Fork {
            /// All forks, in order.
            pub const ALL: &'static [Self] = &[$(Self::$fork),+];

            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The upper-case name, as in request bodies and configuration keys.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$fork => $name,)+
                }
            }
        }
    };
}

forks!(
    Phase0 = "PHASE0",
    Altair = "ALTAIR",
    Bellatrix = "BELLATRIX",
    Capella = "CAPELLA",
    Deneb = "DENEB",
    Electra = "ELECTRA",
    Fulu = "FULU",
    Gloas = "GLOAS",
    Heze = "HEZE",
);

impl fmt::Display for Fork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// One line of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkEntry {
    /// The version, if the network has given one; a scheduled fork always has one.
    pub version: Option<Version>,
    /// The first epoch, or [`FAR_FUTURE_EPOCH`].
    pub epoch: Epoch,
}

impl ForkEntry {
    /// A fork that the network does not name.
    pub const UNKNOWN: Self = Self { version: None, epoch: FAR_FUTURE_EPOCH };
}
