//! The `fantail` binary: reads the command line, starts the command, and gives its exit code.

use fantail::command::{
    self, Command, FAILURE, NodeSettings, Stop, USAGE, check, live, publish, revoke, tail, token, top,
};
use fantail::metrics::Registry;
use fantail::node;
use fantail::node::Metrics;
use fantail::telemetry::trace::Spans;
use fantail::telemetry::{self, Telemetry};
use std::error::Error;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{self, ExitCode};

/// The allocator of the whole process. What joins and handshakes need for a moment lies apart from what stays, by its size, and is
/// given back; glibc keeps it between what stays.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the allocator reads of its environment before `main`: after how many milliseconds it gives back what was freed.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

fn main() -> ExitCode {
    // Where the kernel makes huge pages of whatever it can, an idle node takes 17 MiB more. A kernel that refuses only costs that.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    match command::parse(std::env::args_os()) {
        Ok(Command::Serve(settings)) => {
            if std::env::var_os(PURGE_DELAY).is_none() {
                // Where it cannot be, the node takes more memory, and nothing else.
                let _ = begin_anew_with(PURGE_DELAY, "0");
            }
            let metrics = Metrics::new();
            // Dropped at the end, when the last spans are sent and the last lines written.
            let telemetry = match telemetry(&settings, &metrics) {
                Ok(telemetry) => telemetry,
                Err(wrong) => return stop(&*wrong),
            };
            for unknown in command::unknown_variables() {
                tracing::warn!(variable = unknown.name, "no command knows this variable of the environment");
            }
            node::run(settings.serve, metrics, telemetry.deliveries())
        }
        Ok(Command::Check(settings)) if settings.live => run(live::live(settings.node.serve.admin_listen)),
        Ok(Command::Check(settings)) => {
            let _log = telemetry::start(&settings.node.log, None, Spans::new(&Registry::default()));
            run(check::check(&settings.node))
        }
        Ok(Command::Publish(settings)) => run(publish::publish(settings)),
        Ok(Command::Revoke(settings)) => run(revoke::revoke(settings)),
        Ok(Command::Tail(settings)) => run(tail::tail(settings)),
        Ok(Command::Token(settings)) => token::token(&settings),
        Ok(Command::Top(settings)) => run(top::top(settings)),
        Err(Stop::Told(text)) => {
            let _ = write!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(Stop::Wrong(line)) => {
            let _ = writeln!(std::io::stderr(), "{line}");
            ExitCode::from(USAGE)
        }
    }
}

/// Begins this program anew, in this process, with a variable in its environment; returns only where that fails.
///
/// By itself the allocator looks for what was freed a second later, and only while something else is freed: an idle node would keep
/// what a storm of joins took.
fn begin_anew_with(name: &str, value: &str) -> io::Result<()> {
    let mut arguments = std::env::args_os();
    let mut program = process::Command::new(std::env::current_exe()?);
    program.arg0(arguments.next().unwrap_or_default()).args(arguments).env(name, value);
    Err(program.exec())
}

fn telemetry(settings: &NodeSettings, metrics: &Metrics) -> Result<Telemetry, Box<dyn Error>> {
    Ok(telemetry::start(&settings.log, settings.traces()?.as_ref(), metrics.spans.clone())?)
}

fn stop(wrong: &dyn Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "fantail: {wrong}");
    ExitCode::from(USAGE)
}

/// Runs a command that needs no more than one thread.
fn run(command: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "fantail: the runtime does not start: {error}");
            return ExitCode::from(FAILURE);
        }
    };
    let code = runtime.block_on(command);
    // A read of stdin or a write to stdout that blocks would hold a plain drop up.
    runtime.shutdown_background();
    code
}
