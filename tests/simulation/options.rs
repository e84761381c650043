//! What the command line asks for.

use super::temper::Temper;
use fantail::planted::Fault;

/// See the module.
#[derive(Default)]
pub struct Options {
    /// One run of this seed alone.
    pub seed: Option<u64>,
    /// Make that run as small as it can be while something is wrong.
    pub shrink: bool,
    /// How long fresh seeds are tried; `None`: those that are known are run.
    pub seconds: Option<u64>,
    /// Runs until so many virtual hours of a cluster are over.
    pub hours: Option<u64>,
    /// The first of fresh seeds; `None`: by the clock.
    pub from: Option<u64>,
    /// Runs at once.
    pub threads: usize,
    /// What was seen is written to `RESULTS.md`.
    pub results: bool,
    /// Plants this fault, or each in turn, and looks for it.
    pub plant: Option<Vec<Fault>>,
    /// How Redis is played, where a seed is not to say that: whether it speaks RESP.
    pub wire: Option<bool>,
    /// What kind of trouble runs have, where the seed is not to say that.
    pub temper: Option<Temper>,
    /// With what a run prints of its journal.
    pub verbose: bool,
}

pub const USAGE: &str = "\
usage: simulation                       runs the seeds that are known
       simulation --seconds N           runs fresh seeds for so long
       simulation --seed N [--shrink]   repeats a run, or makes it small
                [--plant NAME]          with that fault in it
       simulation --hours N             until so many virtual hours of a cluster are over
       simulation --plant NAME|all      plants a fault and looks for it, 60 seconds at most
each with  --redis contract|wire        how Redis is played in all of these runs
           --temper NAME                what kind of trouble they have
fresh ones --from SEED --threads N      the first of them; runs at once
with       --results                    writes what was seen to tests/simulation/RESULTS.md";

impl Options {
    /// Reads the command line; an error names the word that is wrong.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { threads: 1, ..Options::default() };
        while let Some(word) = words.next() {
            let mut number = || {
                let value = words.next().unwrap_or_default();
                value.parse::<u64>().map_err(|_| format!("{word} wants a number, not {value:?}\n{USAGE}"))
            };
            match word.as_str() {
                "--seed" => options.seed = Some(number()?),
                "--seconds" => options.seconds = Some(number()?),
                "--hours" => options.hours = Some(number()?),
                "--from" => options.from = Some(number()?),
                "--threads" => options.threads = number()?.clamp(1, 64) as usize,
                "--shrink" => options.shrink = true,
                "--redis" => options.wire = Some(is_wire(&words.next().unwrap_or_default())?),
                "--temper" => options.temper = Some(temper(&words.next().unwrap_or_default())?),
                "--results" => options.results = true,
                "--verbose" => options.verbose = true,
                "--plant" => options.plant = Some(faults(&words.next().unwrap_or_default())?),
                _ => return Err(format!("{word} is not known\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

fn is_wire(name: &str) -> Result<bool, String> {
    match name {
        "contract" => Ok(false),
        "wire" => Ok(true),
        _ => Err(format!("--redis wants contract or wire, not {name:?}\n{USAGE}")),
    }
}

fn temper(name: &str) -> Result<Temper, String> {
    let mut all = Temper::ALL.into_iter().chain([Temper::Steady]);
    let names = || Temper::ALL.map(Temper::name).join(", ");
    let named = all.find(|temper| temper.name() == name);
    named.ok_or_else(|| format!("--temper wants steady or one of {}, not {name:?}\n{USAGE}", names()))
}

fn faults(name: &str) -> Result<Vec<Fault>, String> {
    if name == "all" {
        return Ok(Fault::ALL.to_vec());
    }
    let named = Fault::ALL.iter().copied().find(|fault| format!("{fault:?}") == name);
    named.map(|fault| vec![fault]).ok_or_else(|| format!("no fault is named {name:?}: {:?}", Fault::ALL))
}
