//! The facts that GET_INFO gives, in swtpm's JSON form, asked of the TPM itself.

use tpm_engine::Tpm;

use crate::frame::{rc, response_code, word};

const SPECIFICATION: u64 = 1;
const ATTRIBUTES: u64 = 2;
const FEATURES: u64 = 4;

const FAMILY: u32 = 0x100;
const LEVEL: u32 = 0x101;
const REVISION: u32 = 0x102;
const MANUFACTURER: u32 = 0x105;
const VENDOR_STRINGS: std::ops::RangeInclusive<u32> = 0x106..=0x109;
const FIRMWARE: u32 = 0x10b;

/// Describes a TPM that nobody else uses: it is started.
pub(crate) fn describe(tpm: &mut Tpm, flags: u64) -> String {
    // TPM2_Startup(CLEAR); on a TPM that was started already it changes nothing.
    tpm.execute(&[0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0]);
    let properties = fixed_properties(tpm);
    let property = |wanted: u32| {
        properties
            .iter()
            .find(|(tag, _)| *tag == wanted)
            .map_or(0, |(_, value)| *value)
    };
    let mut parts = Vec::new();
    if flags & SPECIFICATION != 0 {
        let (family, level, revision) = (
            text(&[property(FAMILY)]),
            property(LEVEL),
            property(REVISION),
        );
        parts.push(format!(
            r#""TPMSpecification":{{"family":"{family}","level":{level},"revision":{revision}}}"#
        ));
    }
    if flags & ATTRIBUTES != 0 {
        let model = text(&VENDOR_STRINGS.map(property).collect::<Vec<_>>());
        let (manufacturer, version) = (property(MANUFACTURER), property(FIRMWARE));
        parts.push(format!(r#""TPMAttributes":{{"manufacturer":"id:{manufacturer:08X}","version":"id:{version:08X}","model":"{model}"}}"#));
    }
    if flags & FEATURES != 0 {
        let sizes: Vec<String> = rsa_key_sizes(tpm).map(|size| size.to_string()).collect();
        parts.push(format!(
            r#""TPMFeatures":{{"RSAKeySizes":[{}]}}"#,
            sizes.join(",")
        ));
    }
    format!("{{{}}}", parts.join(","))
}

/// The RSA key sizes that the TPM takes.
pub(crate) fn rsa_key_sizes(tpm: &mut Tpm) -> impl Iterator<Item = u16> {
    [1024_u16, 2048, 3072, 4096]
        .into_iter()
        .filter(move |size| {
            // TPM2_TestParms of TPM_ALG_RSA, no symmetric algorithm, no scheme, default exponent.
            let mut command = vec![
                0x80, 0x01, 0, 0, 0, 22, 0, 0, 1, 0x8a, 0, 1, 0, 0x10, 0, 0x10,
            ];
            command.extend(size.to_be_bytes());
            command.extend([0; 4]);
            response_code(tpm.execute(&command)) == Some(rc::SUCCESS)
        })
}

fn fixed_properties(tpm: &mut Tpm) -> Vec<(u32, u32)> {
    // TPM2_GetCapability(TPM_CAP_TPM_PROPERTIES, TPM_PT_FIXED, 64)
    let command = [
        0x80, 0x01, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 0, 64,
    ];
    let response = tpm.execute(&command);
    if response_code(response) != Some(rc::SUCCESS) {
        return Vec::new();
    }
    // Header, moreData, capability, count; then pairs of tag and value.
    response
        .get(19..)
        .unwrap_or_default()
        .chunks_exact(8)
        .filter_map(|pair| Some((word(pair, 0)?, word(pair, 4)?)))
        .collect()
}

/// The text in a list of properties, as far as it is safe in JSON.
fn text(words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|word| word.to_be_bytes());
    bytes
        .map(char::from)
        .filter(|letter| letter.is_ascii_alphanumeric() || " .-_".contains(*letter))
        .collect()
}
