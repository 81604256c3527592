//! No terminal: lines from standard input, each shown behind its prompt.

use std::io::{self, BufRead};

use outpost_session::{Client, Update};

use crate::paint::Colours;
use crate::screen::Screen;
use crate::{ConsoleError, ConsoleOptions, Finish};

pub(crate) fn run(client: &Client, options: &ConsoleOptions) -> Result<Finish, ConsoleError> {
    let mut screen = Screen::new(Colours::Off, false);
    let mut first = options.first.iter();
    let mut lines = io::stdin().lock().lines();
    loop {
        match client.next_update() {
            None => return Ok(Finish::Gone),
            Some(Update::Ended(ending)) => return Ok(Finish::Ended(ending)),
            Some(Update::Failed(reason)) => return Ok(Finish::Failed(reason)),
            Some(Update::Prompt(prompt)) => {
                let line = match first.next() {
                    Some(line) => line.clone(),
                    // The end of input is the end of the session.
                    None => match lines.next() {
                        Some(line) => line?,
                        None => crate::at_end_of_input(&prompt).to_owned(),
                    },
                };
                screen.echo(&prompt, &line)?;
                client.submit(&line);
            }
            Some(update) => screen.show(&update)?,
        }
    }
}
