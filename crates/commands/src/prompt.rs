//! The prompt: `0:003>`, with the system in front where there are several.

use outpost_engine::{Engine, EngineState};

pub(crate) fn prompt(engine: &Engine) -> String {
    let (Ok(process), Ok(thread)) = (engine.current_process(), engine.current_thread()) else {
        return if engine.state() == EngineState::Running { "*BUSY* ".into() } else { "NoTarget> ".into() };
    };
    let system = match engine.systems().len() {
        0 | 1 => String::new(),
        _ => engine.current_system().map_or_else(String::new, |system| format!("||{}:", system.0)),
    };
    format!("{system}{}:{:03}> ", process.0, thread.0)
}
