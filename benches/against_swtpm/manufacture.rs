//! Making a TPM with two endorsement keys, their certificates and a platform certificate, as `swtpm_setup` does.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::figures::{Figures, Row};
use crate::server::Transport;

/// What the row is called.
pub(crate) const NAME: &str = "manufacture, with certificates";

/// Lets both make TPMs in turns, each with an authority of its own that is there already.
pub(crate) fn measure(rounds: u32, theirs: &Path, ours: &Path) -> anyhow::Result<Row> {
    let homes = [tempfile::tempdir()?, tempfile::tempdir()?];
    let programs: [(&Path, &[&str]); 2] = [(theirs, &[]), (ours, &["swtpm-setup"])];
    let mut samples = [Vec::new(), Vec::new()];
    let mut cpu = [0, 0];
    for round in 0..=rounds {
        for (number, (program, verb)) in programs.into_iter().enumerate() {
            let home = homes[number].path();
            let run = |arguments: &[&str]| {
                let mut command = Command::new(program);
                command
                    .args(verb)
                    .args(arguments)
                    .env("XDG_CONFIG_HOME", home);
                let output = command.stdin(Stdio::null()).output();
                let output = output.with_context(|| program.display().to_string())?;
                anyhow::ensure!(
                    output.status.success(),
                    "{}: {}{}",
                    program.display(),
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                );
                anyhow::Ok(())
            };
            let state = home.join("state");
            if round == 0 {
                fs::create_dir(&state)?;
                run(&["--tpm2", "--create-config-files", "root"])?;
            }
            let state = state.display().to_string();
            let (began, before) = (Instant::now(), cpu_of_children()?);
            run(&[
                "--tpm2",
                "--tpm-state",
                &state,
                "--overwrite",
                "--vmid",
                "bench",
                "--create-ek-cert",
                "--create-platform-cert",
                "--lock-nvram",
            ])?;
            // The first one makes the authority, too.
            if round > 0 {
                samples[number].push(began.elapsed());
                cpu[number] += cpu_of_children()?.saturating_sub(before);
            }
        }
    }
    let [theirs, ours] = &mut samples;
    Ok(Row::new(
        NAME,
        Transport::None,
        Figures::new(theirs, cpu[0]),
        Figures::new(ours, cpu[1]),
    ))
}

/// CPU time of the children that were waited for, in nanoseconds; the system counts hundredths of a second.
fn cpu_of_children() -> anyhow::Result<u64> {
    const TICK: Duration = Duration::from_millis(10);
    let text = fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = text.rsplit_once(')').context("/proc/self/stat")?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let mut ticks = 0;
    for field in [13, 14] {
        ticks += fields
            .get(field)
            .context("/proc/self/stat")?
            .parse::<u32>()?;
    }
    Ok(u64::try_from((TICK * ticks).as_nanos())?)
}
