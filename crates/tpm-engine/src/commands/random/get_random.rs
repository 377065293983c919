//! `TPM2_GetRandom` (Part 3, 16.1).

use crate::execute::Execute;
use crate::state::Tpm;
use tpm_wire::buffers::{MAX_DIGEST, Tpm2bDigest};
use tpm_wire::commands::{GetRandom, GetRandomResponse};
use tpm_wire::rc::Rc;

impl Execute for GetRandom {
    fn execute(self, tpm: &mut Tpm) -> Result<GetRandomResponse, Rc> {
        // More than the largest digest cannot be asked for at once; fewer bytes than asked for are allowed.
        let mut random_bytes =
            Tpm2bDigest::zeros(usize::from(self.bytes_requested).min(MAX_DIGEST));
        tpm.fill_random(random_bytes.as_mut_slice());
        Ok(GetRandomResponse { random_bytes })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;
    use tpm_wire::commands::GetRandom;

    #[test]
    fn gives_as_many_bytes_as_asked_for_and_other_ones_each_time() {
        let mut tpm = testing::started();
        let first = tpm
            .run(GetRandom {
                bytes_requested: 32,
            })
            .unwrap()
            .random_bytes;
        let second = tpm
            .run(GetRandom {
                bytes_requested: 32,
            })
            .unwrap()
            .random_bytes;
        assert_eq!((first.len(), second.len()), (32, 32));
        assert_ne!(first, second);
    }

    #[test]
    fn gives_at_most_the_size_of_the_largest_digest() {
        let mut tpm = testing::started();
        assert_eq!(
            tpm.run(GetRandom {
                bytes_requested: 1000
            })
            .unwrap()
            .random_bytes
            .len(),
            64
        );
        assert!(
            tpm.run(GetRandom { bytes_requested: 0 })
                .unwrap()
                .random_bytes
                .is_empty()
        );
    }
}
