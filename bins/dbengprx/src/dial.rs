//! Clients that wait to be dialled: one at a time, patiently until it is there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use outpost_transport::ReverseDial;

use crate::log;
use crate::relay::Relays;

/// Pause after the first attempt that fails; it doubles with each ...
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// ... up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Dials in a thread of its own; once, or again for the next client. It ends with the process.
pub(crate) fn start(dial: ReverseDial, persistent: bool, relays: &Arc<Relays>) -> anyhow::Result<()> {
    let relays = Arc::clone(relays);
    let run = move || {
        while carry_one(&dial, &relays) && persistent {}
        relays.end_dialling();
    };
    std::thread::Builder::new().name("dial".into()).spawn(run).context("cannot start a thread")?;
    Ok(())
}

/// Dials until a client was there; gives that it was.
fn carry_one(dial: &ReverseDial, relays: &Arc<Relays>) -> bool {
    let (mut pause, mut told) = (FIRST_PAUSE, String::new());
    loop {
        let failure = match dial.dial() {
            Ok(client) => {
                log(format_args!("connected to {}", client.peer()));
                if relays.carry_dialled(client) {
                    return true;
                }
                "the other end closes the connection without a word".to_owned()
            }
            Err(error) => error.to_string(),
        };
        // The same failure is told once.
        if told != failure {
            log(format_args!("{failure}; trying again until the debugger is there"));
            told = failure;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
