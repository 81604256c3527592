"""Records stops of a program: registers, stack, and every frame as gdb sees it.

Run in gdb after `python plan = [...]`; each item of the plan is one of
  ("run",)               start the program
  ("starti",)            start it, stopped before its first instruction
  ("maps",)              read the memory map again
  ("break", location)    set a breakpoint
  ("continue",)          let it run to the next stop
  ("command", text)      any command of gdb
  ("record",)            record the selected thread
  ("threads",)           record all threads
  ("step", n)            record, step an instruction, n times
The records go to the file named by `output`.
"""

import gdb

CALLEE_SAVED = ["rbx", "rbp", "rsp", "r12", "r13", "r14", "r15"]
GENERAL = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
           "r15", "rip", "eflags", "fs_base"]
MAX_FRAMES = 20000
# Frames whose CFA is asked for: gdb needs a command for each. Registers of frames far out take it the longer the
# farther out they are, so that only some of them are asked for.
MAX_CFA = 60
ALL_REGISTERS = 150
SOME_REGISTERS = 1000

out = open(output, "w")


def hexadecimal(value):
    return "%x" % (int(value) & 0xFFFFFFFFFFFFFFFF)


def frames():
    frame = gdb.newest_frame()
    level = 0
    result = []
    while frame is not None and level < MAX_FRAMES:
        # Neither inlined calls nor those that gdb infers from tail calls have anything on the stack.
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            cfa = "-"
            if len(result) < MAX_CFA:
                frame.select()
                try:
                    text = gdb.execute("info frame", to_string=True)
                except gdb.error:
                    # It prints what is stored in the frame, too, and may fail at that.
                    text = ""
                if " frame at 0x" in text:
                    cfa = text.split(" frame at 0x")[1].split(":")[0].split()[0]
                    # In the outermost frame it says 0.
                    cfa = "-" if cfa == "0" else cfa
            saved = []
            is_asked = level < ALL_REGISTERS or level % SOME_REGISTERS == 0 or frame.older() is None
            for name in CALLEE_SAVED:
                try:
                    saved.append(hexadecimal(frame.read_register(name)) if is_asked else "-")
                except gdb.MemoryError:
                    raise
                except gdb.error:
                    saved.append("-")
            kind = "signal" if frame.type() == gdb.SIGTRAMP_FRAME else "normal"
            result.append((frame.pc(), cfa, kind, frame.name() or "-", saved))
        level += 1
        frame = frame.older()
    gdb.newest_frame().select()
    return result


def record():
    try:
        found = frames()
    except gdb.MemoryError:
        # Some rows of gcc's are wrong for an instruction in the epilogue of functions that realign the stack, and what
        # gdb makes of them is not to be expected of anybody.
        out.write("unknown\n")
        return
    out.write("stop\n")
    for name in GENERAL:
        out.write("register %s %s\n" % (name, hexadecimal(gdb.newest_frame().read_register(name))))
    pointers = [int(gdb.newest_frame().read_register("rsp"))]
    inferior = gdb.selected_inferior()
    for pc, cfa, kind, name, saved in found:
        if saved[2] != "-":
            pointers.append(int(saved[2], 16))
    # One piece per stack: a handler may run on one of its own.
    pieces = []
    for pointer in sorted(pointers):
        low, high = pointer - 256, pointer + 4096
        if pieces and low <= pieces[-1][1] + 0x100000:
            pieces[-1][1] = max(high, pieces[-1][1])
        else:
            pieces.append([low, high])
    for low, high in pieces:
        at = low
        while at < high:
            length = min(4096 - at % 4096, high - at)
            try:
                out.write("memory %x %s\n" % (at, inferior.read_memory(at, length).tobytes().hex()))
            except gdb.MemoryError:
                pass
            at += length
    for pc, cfa, kind, name, saved in found:
        out.write("frame %x %s %s %s %s\n" % (pc, cfa, kind, " ".join(saved), name.split("(")[0].replace(" ", "_")))
    out.write("end\n")


def maps():
    inferior = gdb.selected_inferior()
    for line in open("/proc/%d/maps" % inferior.pid):
        fields = line.split()
        if len(fields) < 6:
            continue
        start, end = fields[0].split("-")
        out.write("map %s %s %s %s %s\n" % (start, end, fields[2], fields[1], fields[5]))
        if fields[5] == "[vdso]":
            low, high = int(start, 16), int(end, 16)
            out.write("memory %x %s\n" % (low, inferior.read_memory(low, high - low).tobytes().hex()))


for setting in ["confirm off", "pagination off", "debuginfod enabled off", "width 0", "startup-with-shell off",
                "backtrace limit 20000", "backtrace past-main on", "print thread-events off"]:
    gdb.execute("set " + setting)
for item in plan:
    if item[0] == "run":
        gdb.execute("run", to_string=True)
        maps()
    elif item[0] == "starti":
        gdb.execute("starti", to_string=True)
        maps()
    elif item[0] == "break":
        gdb.execute("break " + item[1], to_string=True)
    elif item[0] == "command":
        gdb.execute(item[1], to_string=True)
    elif not gdb.selected_inferior().threads():
        # It has ended; how many stops there were is for the test to judge.
        break
    elif item[0] == "continue":
        gdb.execute("continue", to_string=True)
    elif item[0] == "maps":
        maps()
    elif item[0] == "record":
        record()
    elif item[0] == "threads":
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num):
            thread.switch()
            record()
    elif item[0] == "step":
        for _ in range(item[1]):
            record()
            gdb.execute("stepi", to_string=True)
            if not gdb.selected_inferior().threads() or gdb.newest_frame().name() == "__libc_start_call_main":
                break
if gdb.selected_inferior().threads():
    gdb.execute("kill", to_string=True)
out.close()
