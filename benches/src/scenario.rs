//! What is measured, and how each debugger is told to do it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use outpost_testkit::Running;
use outpost_testkit::link::DelayLink;

use crate::debuggee;
use crate::debugger::{ALL, Kind, Run};
use crate::{machine, memory};

/// Which direction is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// One line of the table.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// What the design asks of us, for the reader.
    pub(crate) goal: &'static str,
    measure: fn(&Bench, Kind) -> anyhow::Result<f64>,
    /// What this machine allows anybody.
    limit: Option<fn() -> anyhow::Result<f64>>,
}

impl Scenario {
    fn limited_by(self, limit: fn() -> anyhow::Result<f64>) -> Scenario {
        Scenario { limit: Some(limit), ..self }
    }
}

/// One line's results, in the order of [`ALL`].
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    pub(crate) goal: &'static str,
    pub(crate) values: Vec<anyhow::Result<f64>>,
    pub(crate) limit: Option<anyhow::Result<f64>>,
}

/// What all scenarios share.
pub(crate) struct Bench {
    pub(crate) root: PathBuf,
    pub(crate) runs: usize,
    cache: tempfile::TempDir,
}

/// What takes longer is run once.
const LONG_RUN: Duration = Duration::from_secs(30);

/// Round trip of the slow link.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// The lines of the table.
pub(crate) fn all() -> Vec<Scenario> {
    use Better::{Less, More};
    let row = |name, unit, better, goal, measure| Scenario { name, unit, better, goal, measure, limit: None };
    vec![
        row("attach to prompt with stack", "s", Less, "", |bench, kind| bench.attach(kind, None)),
        row("attach to prompt with stack, 50 ms", "s", Less, "0.5", |bench, kind| bench.attach(kind, Some(ROUND_TRIP))),
        row("attach, stack, detach: round trips", "", Less, "5", Bench::attach_round_trips),
        row("instruction steps, counted", "1/s", More, "40,000", |bench, kind| {
            bench.rate(kind, None, 20_000, instruction_steps)
        })
        .limited_by(machine::stops),
        row("source steps, each shown", "1/s", More, "5,000", |bench, kind| {
            bench.rate(kind, None, 2_000, source_steps)
        }),
        row("round trips of a source step", "", Less, "1", |bench, kind| {
            bench.round_trips_each(kind, 50, source_steps)
        }),
        row("source steps, each shown, 50 ms", "1/s", More, "", |bench, kind| {
            bench.rate(kind, Some(ROUND_TRIP), 20, source_steps)
        }),
        row("breakpoint hits, auto-continue", "1/s", More, "40,000", |bench, kind| {
            bench.rate(kind, None, hits_in_pads(kind), breakpoint_hits)
        })
        .limited_by(machine::calls),
        row("calls past a false condition, by the server", "1/s", More, "60,000", |bench, kind| {
            bench.rate(kind, None, hits(kind), false_conditions)
        })
        .limited_by(machine::stops),
        row("calls past a false condition, by jump pad", "1/s", More, "5,000,000", |bench, kind| {
            bench.rate(kind, None, hits_in_pads(kind), jump_pads)
        })
        .limited_by(machine::calls),
        row("logpoint lines, by the server", "1/s", More, "", |bench, kind| {
            bench.rate(kind, None, hits(kind), logpoints)
        })
        .limited_by(machine::stops),
        row("logpoint lines, by jump pad", "1/s", More, "100,000", |bench, kind| match kind {
            // More hits than anybody could show: what is shown counts.
            Kind::Outpost => bench.lines(kind, 20_000_000, logpoints_in_pads),
            _ => bench.rate(kind, None, hits(kind), logpoints_in_pads),
        }),
        row("memory read", "MiB/s", More, "1,500", |bench, kind| bench.memory_read(kind, None, 256))
            .limited_by(machine::memory),
        row("memory read, 50 ms", "MiB/s", More, "", |bench, kind| {
            let mebibytes = match kind {
                Kind::Outpost => 256,
                Kind::Gdb => 1,
                Kind::Lldb => 8,
            };
            bench.memory_read(kind, Some(ROUND_TRIP), mebibytes)
        }),
        row("attach and all stacks, 200 threads", "s", Less, "", |bench, kind| bench.stacks(kind, None, 200)),
        row("attach and all stacks, 200 threads, 50 ms", "s", Less, "", |bench, kind| {
            bench.stacks(kind, Some(ROUND_TRIP), 200)
        }),
        row("attach and all stacks, 1,000 threads", "s", Less, "0.2", |bench, kind| bench.stacks(kind, None, 1000)),
        row("300 MB of DWARF, first open", "CPU s", Less, "2.0", |bench, kind| bench.open(kind, false).map(cpu)),
        row("300 MB of DWARF, second open", "CPU s", Less, "0.1", |bench, kind| bench.open(kind, true).map(cpu)),
        row("300 MB of DWARF, first open, peak", "MiB", Less, "300", |bench, kind| bench.open(kind, false).map(peak)),
        row("300 MB of DWARF, second open, peak", "MiB", Less, "100", |bench, kind| bench.open(kind, true).map(peak)),
        row("server and the libraries it needs", "MiB", Less, "3", |bench, kind| Ok(bench.server_size(kind))),
        row("server idle, resident", "MiB", Less, "3", Bench::server_idle),
        row("32 attached sessions, PSS", "MiB", Less, "15", Bench::sessions),
    ]
}

impl Bench {
    /// Prepares; `runs` medians each line.
    pub(crate) fn new(root: &Path, runs: usize) -> anyhow::Result<Bench> {
        Ok(Bench { root: root.into(), runs, cache: tempfile::tempdir()? })
    }

    /// One line for all three; a failure is a result, too.
    pub(crate) fn measure(&self, scenario: &Scenario) -> Row {
        let values = ALL.map(|kind| self.median(|| (scenario.measure)(self, kind)));
        let limit = scenario.limit.map(|limit| self.median(limit));
        let Scenario { name, unit, better, goal, .. } = *scenario;
        Row { name, unit, better, goal, values: values.into(), limit }
    }

    fn median(&self, measure: impl Fn() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
        let begin = Instant::now();
        let mut values = vec![measure()?];
        // What takes so long is not decided by a stumble.
        let runs = if begin.elapsed() > LONG_RUN { 1 } else { self.runs };
        for _ in 1..runs {
            values.push(measure()?);
        }
        values.sort_by(f64::total_cmp);
        Ok(values[values.len() / 2])
    }

    /// Runs `commands` against process `pid` through a fresh server, maybe through the slow link.
    fn through(&self, kind: Kind, delay: Option<Duration>, pid: u32, commands: &[String]) -> anyhow::Result<Run> {
        let server = kind.serve_process(&self.root, pid)?;
        match delay {
            None => kind.attach(&self.root, server.port, pid, commands),
            Some(round_trip) => {
                let link = DelayLink::start(server.port, round_trip).context("the slow link")?;
                kind.attach(&self.root, link.port(), pid, commands)
            }
        }
    }

    /// Round trips of a run: times that the client spoke after the server had.
    fn round_trips(&self, kind: Kind, pid: u32, commands: &[String]) -> anyhow::Result<(f64, Run)> {
        let server = kind.serve_process(&self.root, pid)?;
        let link = DelayLink::start(server.port, Duration::ZERO).context("the counting link")?;
        let run = kind.attach(&self.root, link.port(), pid, commands)?;
        Ok((link.turns() as f64, run))
    }

    fn attach_round_trips(&self, kind: Kind) -> anyhow::Result<f64> {
        let mut debuggee = Running::start(debuggee::threads(), &["4"]);
        debuggee.line();
        let (trips, run) = self.round_trips(kind, debuggee.pid(), &stack(kind))?;
        ensure!(run.output.contains("pause"), "no stack: {}", run.output);
        Ok(trips)
    }

    /// Round trips of one operation: the difference between a run with `count` of them and one with none.
    fn round_trips_each(&self, kind: Kind, count: u32, commands: fn(Kind, u32) -> Vec<String>) -> anyhow::Result<f64> {
        let mut trips = [0.0; 2];
        for (trips, count) in trips.iter_mut().zip([0, count]) {
            let mut debuggee = Running::start(debuggee::spin(), &["100"]);
            debuggee.line();
            let (spent, run) = self.round_trips(kind, debuggee.pid(), &commands(kind, count))?;
            ensure!(run.output.contains(finished(kind).1), "did not finish: {}", tail(&run.output));
            *trips = spent;
        }
        Ok((trips[1] - trips[0]) / f64::from(count))
    }

    fn attach(&self, kind: Kind, delay: Option<Duration>) -> anyhow::Result<f64> {
        let mut debuggee = Running::start(debuggee::threads(), &["4"]);
        debuggee.line();
        let run = self.through(kind, delay, debuggee.pid(), &stack(kind))?;
        ensure!(run.output.contains("pause"), "no stack: {}", run.output);
        Ok(run.elapsed.as_secs_f64())
    }

    /// Operations a second: the difference between a run with `count` of them and one with a tenth.
    fn rate(
        &self,
        kind: Kind,
        delay: Option<Duration>,
        count: u32,
        commands: fn(Kind, u32) -> Vec<String>,
    ) -> anyhow::Result<f64> {
        let few = count / 10;
        let mut times = [0.0; 2];
        for (time, count) in times.iter_mut().zip([few, count]) {
            let mut debuggee = Running::start(debuggee::spin(), &[&count.to_string()]);
            debuggee.line();
            let run = self.through(kind, delay, debuggee.pid(), &commands(kind, count))?;
            ensure!(run.output.contains(finished(kind).1), "did not finish: {}", tail(&run.output));
            *time = run.elapsed.as_secs_f64();
        }
        ensure!(times[1] > times[0], "too quick to measure");
        Ok(f64::from(count - few) / (times[1] - times[0]))
    }

    /// Lines that begin with `value` which are shown in a second, as [`Bench::rate`] counts operations.
    fn lines(&self, kind: Kind, count: u32, commands: fn(Kind, u32) -> Vec<String>) -> anyhow::Result<f64> {
        let (mut times, mut lines) = ([0.0; 2], [0; 2]);
        for (index, count) in [count / 10, count].into_iter().enumerate() {
            let mut debuggee = Running::start(debuggee::spin(), &[&count.to_string()]);
            debuggee.line();
            let run = self.through(kind, None, debuggee.pid(), &commands(kind, count))?;
            ensure!(run.output.contains(finished(kind).1), "did not finish: {}", tail(&run.output));
            times[index] = run.elapsed.as_secs_f64();
            lines[index] = run.output.lines().filter(|line| line.starts_with("value ")).count();
        }
        ensure!(times[1] > times[0] && lines[1] > lines[0], "too quick to measure");
        Ok((lines[1] - lines[0]) as f64 / (times[1] - times[0]))
    }

    fn memory_read(&self, kind: Kind, delay: Option<Duration>, mebibytes: u32) -> anyhow::Result<f64> {
        let folder = tempfile::tempdir()?;
        let mut times = [0.0; 2];
        for (time, mebibytes) in times.iter_mut().zip([0, mebibytes]) {
            let mut debuggee = Running::start(debuggee::spin(), &[]);
            let start = u64::from_str_radix(&debuggee.line(), 16)?;
            let len = (u64::from(mebibytes) << 20) + 4096;
            let file = folder.path().join("block");
            let name = file.display();
            let end = start + len;
            let command = match kind {
                Kind::Outpost => format!(".writemem {name} {start:x} L?{len:x}"),
                Kind::Gdb => format!("dump binary memory {name} {start:#x} {end:#x}"),
                Kind::Lldb => format!("memory read --force --binary --outfile {name} {start:#x} {end:#x}"),
            };
            let run = self.through(kind, delay, debuggee.pid(), &[command])?;
            let written = std::fs::metadata(&file).map_or(0, |data| data.len());
            ensure!(written == len, "{written} bytes of {len}: {}", tail(&run.output));
            std::fs::remove_file(&file)?;
            *time = run.elapsed.as_secs_f64();
        }
        ensure!(times[1] > times[0], "too quick to measure");
        Ok(f64::from(mebibytes) / (times[1] - times[0]))
    }

    /// From nothing to all stacks: what comes with attaching need not be fetched later, so neither alone says anything.
    fn stacks(&self, kind: Kind, delay: Option<Duration>, threads: u32) -> anyhow::Result<f64> {
        let commands: Vec<String> = match kind {
            Kind::Outpost => vec!["~*k".into()],
            Kind::Gdb => vec!["thread apply all bt".into()],
            Kind::Lldb => vec!["thread backtrace all".into()],
        };
        let mut debuggee = Running::start(debuggee::threads(), &[&threads.to_string()]);
        debuggee.line();
        let run = self.through(kind, delay, debuggee.pid(), &commands)?;
        let found = run.output.matches("wait_here").count();
        ensure!(found >= threads as usize, "{found} frames: {}", tail(&run.output));
        Ok(run.elapsed.as_secs_f64())
    }

    fn open(&self, kind: Kind, again: bool) -> anyhow::Result<Run> {
        let program = debuggee::large(&self.root)?;
        let commands: Vec<&str> = match kind {
            Kind::Outpost => vec!["bp large!part7_3::Table::find", "bl", "dt large!part9_4::Item"],
            Kind::Gdb => vec!["break part7_3::Table::find", "info line part7_3::Table::find", "ptype part9_4::Item"],
            Kind::Lldb => vec![
                "breakpoint set -n part7_3::Table::find",
                "image lookup -v -n part7_3::Table::find",
                "image lookup -t part9_4::Item",
            ],
        };
        let commands: Vec<String> = commands.into_iter().map(String::from).collect();
        let cache = self.cache.path().join("index");
        if !again && kind == Kind::Outpost {
            drop(std::fs::remove_dir_all(&cache));
        }
        let run = kind.open(&self.root, &program, &commands, &cache)?;
        ensure!(run.output.contains("weight"), "type not found: {}", tail(&run.output));
        Ok(run)
    }

    fn server_size(&self, kind: Kind) -> f64 {
        let (own, libraries) = memory::size_with_libraries(&kind.server_program(&self.root));
        (own + libraries) as f64 / MEBIBYTE
    }

    fn server_idle(&self, kind: Kind) -> anyhow::Result<f64> {
        let server = kind.serve(&self.root)?;
        Ok(memory::resident(server.pid()) as f64 / MEBIBYTE)
    }

    /// What 32 clients, each holding a process, cost on the server's side. gdbserver serves one client each.
    fn sessions(&self, kind: Kind) -> anyhow::Result<f64> {
        let shared = if kind == Kind::Outpost { Some(kind.serve(&self.root)?) } else { None };
        let mut held = Vec::new();
        for _ in 0..32 {
            let mut debuggee = Running::start(debuggee::threads(), &["2"]);
            debuggee.line();
            let own = if shared.is_none() { Some(kind.serve(&self.root)?) } else { None };
            let port = shared.as_ref().or(own.as_ref()).context("a server")?.port;
            let client = kind.hold(&self.root, port, debuggee.pid())?;
            // Ended in this order: a debuggee that is ended while somebody traces it is reaped by nobody.
            held.push((client, own, debuggee));
        }
        let servers = shared.iter().chain(held.iter().filter_map(|(_, own, _)| own.as_ref()));
        let total: u64 = servers.map(|server| memory::pss_of_tree(server.pid())).sum();
        Ok(total as f64 / MEBIBYTE)
    }
}

const MEBIBYTE: f64 = 1_048_576.0;

fn stack(kind: Kind) -> Vec<String> {
    vec![match kind {
        Kind::Outpost => "k".into(),
        Kind::Gdb | Kind::Lldb => "bt".into(),
    }]
}

/// Stops at the end of a round, carries out `then` and says that it got there.
fn from_done(kind: Kind, then: Vec<String>) -> Vec<String> {
    let mut commands: Vec<String> = match kind {
        Kind::Outpost => vec!["bp spin!done".into(), "g".into()],
        Kind::Gdb => vec!["break done".into(), "continue".into()],
        Kind::Lldb => vec!["breakpoint set -n done".into(), "continue".into()],
    };
    commands.extend(then);
    commands.push(finished(kind).0.into());
    commands
}

/// A command that says that all before it were carried out, and what it says, which its own echo does not.
fn finished(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Outpost => ("? 0n70000 + 0n7777", "Evaluate expression: 77777"),
        Kind::Gdb => ("print 70000 + 7777", "= 77777"),
        Kind::Lldb => ("expression -- 70000 + 7777", "= 77777"),
    }
}

fn instruction_steps(kind: Kind, count: u32) -> Vec<String> {
    from_done(
        kind,
        vec![match kind {
            Kind::Outpost => format!("t {count:x}"),
            Kind::Gdb => format!("stepi {count}"),
            Kind::Lldb => format!("thread step-inst --count {count}"),
        }],
    )
}

fn source_steps(kind: Kind, count: u32) -> Vec<String> {
    let count = count as usize;
    from_done(
        kind,
        match kind {
            Kind::Outpost => [vec!["l+t".into(), "l+s".into()], vec!["t".into(); count]].concat(),
            Kind::Gdb => vec!["step".into(); count],
            Kind::Lldb => vec!["thread step-in".into(); count],
        },
    )
}

/// One round of hits, each of which goes on by itself.
fn breakpoint_hits(kind: Kind, _: u32) -> Vec<String> {
    from_done(
        kind,
        match kind {
            Kind::Outpost => vec!["bp spin!work \"gc\"".into(), "g".into()],
            Kind::Gdb => ["break work", "commands", "silent", "continue", "end", "continue"].map(String::from).into(),
            Kind::Lldb => vec!["breakpoint set -n work -G true".into(), "continue".into()],
        },
    )
}

/// One round of hits whose condition is false, which the server looks at: gdb's, too; lldb's client.
fn false_conditions(kind: Kind, count: u32) -> Vec<String> {
    let mut commands = jump_pads(kind, count);
    if kind == Kind::Outpost {
        commands.insert(0, ".bpmode nojumps".into());
    }
    commands
}

/// The same as every debugger does it when left alone.
fn jump_pads(kind: Kind, _: u32) -> Vec<String> {
    from_done(
        kind,
        match kind {
            Kind::Outpost => vec!["bp /w \"@rdi == -1\" spin!work".into(), "g".into()],
            Kind::Gdb => ["set breakpoint condition-evaluation target", "break work if $rdi == -1", "continue"]
                .map(String::from)
                .into(),
            Kind::Lldb => vec!["breakpoint set -n work -c '$rdi == -1'".into(), "continue".into()],
        },
    )
}

/// A line for each call, made of what the server evaluates; gdb's server prints it itself, and nobody sees it.
fn logpoints(kind: Kind, count: u32) -> Vec<String> {
    let mut commands = logpoints_in_pads(kind, count);
    if kind == Kind::Outpost {
        commands.insert(0, ".bpmode nojumps".into());
    }
    commands
}

/// The same as every debugger does it when left alone.
fn logpoints_in_pads(kind: Kind, _: u32) -> Vec<String> {
    from_done(
        kind,
        match kind {
            Kind::Outpost => vec!["bp spin!work \".printf \\\"value %d\\\\n\\\", @rdi; gc\"".into(), "g".into()],
            Kind::Gdb => {
                ["set dprintf-style agent", "dprintf work,\"value %ld\\n\",$rdi", "continue"].map(String::from).into()
            }
            Kind::Lldb => vec!["breakpoint set -n work -G true -C 'register read rdi'".into(), "continue".into()],
        },
    )
}

/// How many hits are worth measuring: about a second's.
fn hits(kind: Kind) -> u32 {
    match kind {
        Kind::Outpost => 100_000,
        Kind::Gdb => 10_000,
        Kind::Lldb => 1_000,
    }
}

/// The same where we pass in a jump pad.
fn hits_in_pads(kind: Kind) -> u32 {
    if kind == Kind::Outpost { 200_000_000 } else { hits(kind) }
}

fn cpu(run: Run) -> f64 {
    run.cpu.as_secs_f64()
}

fn peak(run: Run) -> f64 {
    run.peak as f64 / MEBIBYTE
}

fn tail(text: &str) -> &str {
    let cut = text.len().saturating_sub(300);
    text.get(cut..).unwrap_or(text)
}
