# Run by gdb: starts a program and stops it at places that the environment names, and now and then in between. At each stop
# it keeps the process as a core, and what it knows of its frames beside it.
# STOP core reason / and what frames.py writes
import os
import signal
import subprocess
import sys

import gdb

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.environ["TOUR_FRAMES"]))
import frames
import values
from values import fact

DIRECTORY = os.environ["ORACLE_DIRECTORY"]
PROGRAM = os.path.realpath(os.environ["TOUR_PROGRAM"])
# Addresses in the file, one a line.
PLACES = [int(line) for line in open(os.environ["TOUR_PLACES"])]
STOPS = int(os.environ["TOUR_STOPS"])
# Of the places that are reached, one of so many is shown.
EVERY = int(os.environ["TOUR_EVERY"])
# Each so many stops is wherever the threads are after so many seconds.
BREAKS = int(os.environ["TOUR_BREAKS"])
PAUSE = os.environ["TOUR_PAUSE"]

TRAP = b"\xcc"


def base():
    """Where the program's first page is."""
    for line in open("/proc/%d/maps" % gdb.selected_inferior().pid):
        words = line.split()
        if words[-1] == PROGRAM and words[2] == "00000000":
            return int(words[0].split("-")[0], 16)
    raise RuntimeError("program is not mapped")


class Traps:
    """Breakpoints that go when they are hit. gdb's own would have it read the debug info of every place."""

    def __init__(self, process, bias):
        self.process, self.original, self.passed, self.children = process, {}, set(), set()
        for place in PLACES:
            at = place + bias
            self.original[at] = bytes(process.read_memory(at, 1))
        for at in self.original:
            process.write_memory(at, TRAP)

    def passes(self):
        """Whether the thread that stopped hit one; then it is back at its place, as if it had never been there."""
        at = int(gdb.newest_frame().pc()) - 1
        if at not in self.original and at not in self.passed:
            return False
        if at in self.original:
            self.process.write_memory(at, self.original.pop(at))
            self.passed.add(at)
        gdb.execute("set var $pc = %d" % at)
        return True

    def free_children(self):
        """A fork's child is let go by gdb, with the traps in its copy of the program."""
        process = self.process.pid
        children = set()
        for thread in os.listdir("/proc/%d/task" % process):
            with open("/proc/%d/task/%s/children" % (process, thread)) as file:
                children.update(file.read().split())
        for child in children - self.children:
            with open("/proc/%s/mem" % child, "r+b", buffering=0) as memory:
                for at, byte in self.original.items():
                    memory.seek(at)
                    memory.write(byte)
        found = children - self.children
        self.children |= children
        return bool(found)


def signal_of(event):
    # A trap that is no breakpoint of gdb's is no signal to it.
    return event.stop_signal if isinstance(event, gdb.SignalEvent) else "SIGTRAP"


def show_all_inlined(process):
    """After a signal gdb hides inlined functions at their first instruction, until the thread has been elsewhere."""
    at = int(gdb.newest_frame().pc())
    # An interrupted system call would not be made again.
    if bytes(process.read_memory(at - 2, 2)) != b"\x0f\x05":
        gdb.execute("set var $pc = %d" % (at + 1))
        gdb.newest_frame().function()
        gdb.execute("set var $pc = %d" % at)


def main():
    frames.prepare()
    gdb.execute("set disable-randomization on")
    gdb.execute("set print frame-arguments none")
    gdb.execute("set follow-fork-mode parent")
    gdb.execute("set detach-on-fork on")
    gdb.execute("catch fork")
    # Nobody can block it.
    gdb.execute("handle SIGSTOP stop print nopass")
    gdb.execute("handle SIGPIPE SIGCHLD SIGUSR1 SIGUSR2 nostop noprint pass")
    stops = []
    gdb.events.stop.connect(stops.append)
    gdb.execute("starti " + os.environ["TOUR_ARGUMENTS"])
    process = gdb.selected_inferior()
    with open(PROGRAM, "rb") as file:
        file.seek(16)
        is_moved = int.from_bytes(file.read(2), "little") == 3
    traps = Traps(process, base() if is_moved else 0)
    shown = hits = 0
    while shown < STOPS:
        breaks = BREAKS and shown % BREAKS == BREAKS - 1 or not traps.original
        if breaks:
            # A while in which nothing is hit would be a rare one.
            for at, byte in traps.original.items():
                process.write_memory(at, byte)
            subprocess.Popen(["sh", "-c", "sleep %s; kill -STOP %d" % (PAUSE, process.pid)])
        stops.clear()
        gdb.execute("continue", to_string=True)
        if not process.pid:
            break
        if breaks:
            for at in traps.original:
                process.write_memory(at, TRAP)
        reason = signal_of(stops[-1])
        if reason == "SIGTRAP" and traps.passes():
            hits += 1
            if hits % EVERY:
                continue
        elif reason == "SIGTRAP" and traps.free_children():
            continue
        elif reason != "SIGSTOP":
            raise RuntimeError("stopped by " + reason)
        show_all_inlined(process)
        core = os.path.join(DIRECTORY, "core%d" % shown)
        gdb.execute("generate-core-file " + core, to_string=True)
        fact("STOP", core, reason)
        frames.frames()
        values.out.flush()
        shown += 1
    if process.pid:
        gdb.execute("kill")
    fact("HITS", hits)
    fact("END")
    values.out.close()


main()
