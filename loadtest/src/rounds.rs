//! Rounds: every server in turn, so that what changes on the machine changes for all of them; and once more where the
//! machine's host took time away meanwhile, which would be measured as somebody's slowness.

use crate::clock;
use crate::lab::Lab;
use crate::results::Run;
use crate::servers::Kind;
use anyhow::Result;

/// A round in which the host took more of the machine's time, in percent, is measured again. A machine that is left
/// alone shows less than 0.2.
const STOLEN: f64 = 0.5;

/// Measures each kind so many times. A disturbed round is set aside as long as there are as many others, and as the lab
/// has time to spare: which runs count is decided by the host's account alone, never by a result.
pub fn rounds(
    lab: &mut Lab,
    kinds: &[Kind],
    runs: u32,
    mut once: impl FnMut(&mut Lab, Kind) -> Result<()>,
) -> Result<()> {
    let (mut counted, mut again) = (0, 0);
    while counted < runs {
        let (begun, first) = (clock::now(), lab.runs.len());
        for &kind in kinds {
            once(lab, kind)?;
        }
        let took = clock::seconds(begun, clock::now());
        if lab.runs[first..].iter().any(is_disturbed) && again < runs && lab.spare >= took {
            lab.spare -= took;
            again += 1;
            lab.runs[first..].iter_mut().for_each(|run| run.set_aside = true);
        } else {
            counted += 1;
        }
    }
    Ok(())
}

fn is_disturbed(run: &Run) -> bool {
    run.figures.get("stolen_percent").is_some_and(|&percent| percent > STOLEN)
}
