# For scripts that gdb runs: writes what gdb knows of variables, one fact a line, tab-separated.
# VAR name / ENTRY / TYPE type size static-size / FIELD path name type bitpos bitsize / COUNT path elements / LEAF path kind value
import os

import gdb

out = open(os.path.join(os.environ["ORACLE_DIRECTORY"], "facts"), "w")


# Called before a variable is read; gives a function that tells why it is gone, once it turned out to be.
watch = lambda: lambda: ""
gone = watch()


def fact(*parts):
    out.write("\t".join(str(part).replace("\n", " ") for part in parts) + "\n")


def leaves(path, value, depth, in_memory=True):
    kind = value.type.strip_typedefs()
    code = kind.code
    try:
        if depth == 0 and code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION, gdb.TYPE_CODE_ARRAY):
            in_memory = value.address is not None
        if depth > 6:
            return
        if code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
            placed = [field for field in kind.fields() if hasattr(field, "bitpos")]
            bases = [field for field in placed if field.is_base_class]
            members = [field for field in placed if not field.is_base_class]
            for number, field in enumerate(bases):
                leaves(path + "/^%d" % number, value[field], depth + 1, in_memory)
            for number, field in enumerate(members):
                step = path + "/#%d" % number
                fact("FIELD", step, field.name, field.type, field.bitpos, field.bitsize)
                leaves(step, value[field], depth + 1, in_memory)
            return
        if code == gdb.TYPE_CODE_ARRAY:
            low, high = kind.range()
            fact("COUNT", path, high - low + 1)
            for index in range(0, min(high - low + 1, 6)):
                leaves(path + "/[%d]" % index, value[index], depth + 1, in_memory)
            return
        if value.is_optimized_out:
            fact("LEAF", path, "gone", gone())
            return
        if code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
            if depth > 0 and not in_memory:
                # A reference within pieces: gdb 13 fails an assertion.
                return
            address = value.referenced_value().address
            if address is None:
                fact("LEAF", path, "synthetic", "")
            else:
                fact("LEAF", path, "int", int(address.cast(gdb.lookup_type("long"))) & (1 << 64) - 1)
            leaves(path + "/*", value.referenced_value(), depth + 3, in_memory)
        elif code == gdb.TYPE_CODE_PTR:
            text = value.format_string(raw=True)
            if "synthetic" in text:
                fact("LEAF", path, "synthetic", "")
            else:
                fact("LEAF", path, "int", int(value))
        elif code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_CHAR, gdb.TYPE_CODE_BOOL, gdb.TYPE_CODE_ENUM):
            if kind.sizeof == 16:
                fact("LEAF", path, "hex", value.format_string(format="x"))
            else:
                fact("LEAF", path, "int", int(value))
        elif code == gdb.TYPE_CODE_FLT:
            fact("LEAF", path, "float", float(value).hex())
    except gdb.error as error:
        text = str(error)
        is_gone = "optimized out" in text or "not available" in text or "DW_OP" in text or "synthetic" in text
        fact("LEAF", path, *(("gone", gone()) if is_gone else ("error", text)))


def is_value_at_entry(name, frame):
    """Whether the location that holds at the frame's address is by what a register was at the function's entry."""
    newer = frame.newer()
    at = frame.pc() - (1 if newer is not None and newer.type() == gdb.NORMAL_FRAME else 0)
    holds = False
    try:
        lines = gdb.execute("info address " + name, to_string=True).splitlines()
    except gdb.error:
        # Some expressions gdb cannot describe, and some names are none to it.
        return False
    for line in lines:
        if "Range 0x" in line:
            low, high = line.split("Range ")[1].split(":")[0].split("-")
            holds = int(low, 16) <= at < int(high, 16)
        elif holds and "entry_value" in line:
            return True
    return False


def variables(frame):
    global gone
    block = frame.block()
    while True:
        for symbol in block:
            # A label without code counts as an optimised variable for gdb 13.
            if str(symbol.type) == "__CORE_ADDR" or not (symbol.is_variable or symbol.is_argument or symbol.is_constant):
                continue
            fact("VAR", symbol.name)
            gone = watch()
            try:
                value = symbol.value(frame)
                fact("TYPE", value.type, value.type.sizeof, symbol.type.sizeof)
                leaves("", value, 0)
            except (gdb.error, RuntimeError) as error:
                text = str(error)
                is_gone = "optimized out" in text or "DW_OP" in text
                fact("LEAF", "", *(("gone", gone()) if is_gone else ("error", text)))
            if frame.type() == gdb.INLINE_FRAME and is_value_at_entry(symbol.name, frame):
                fact("ENTRY")
        if block.function is not None:
            return
        block = block.superblock
