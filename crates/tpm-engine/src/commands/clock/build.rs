//! Steps of tests of the clock.

use crate::testing::TestTpm;
use tpm_wire::attest::TpmsTimeInfo;
use tpm_wire::commands::ReadClock;

/// Time and clock now.
pub(crate) fn read(tpm: &mut TestTpm) -> TpmsTimeInfo {
    tpm.run(ReadClock {}).unwrap().current_time
}
