//! Descriptions of targets, processes, threads, modules, regions; registers.

use outpost_base::{AddressSpaceId, Arch, BuildId, LoadBias, ProcessId, RegisterContext, ThreadId, Va};
use outpost_target::{
    HandleInfo, ModuleInfo, ProcessInfo, ProcessOrigin, Region, RegionUsage, TargetInfo, TargetKind, ThreadInfo,
    ThreadRunState, ThreadTimes,
};

use super::{enumeration, required};
use crate::{WireError, proto};

/// Longest floating-point block: the XSAVE area with AVX-512 and AMX tiles has about 11 KiB (Intel SDM vol. 1, 13.5).
const MAX_FLOATING: usize = 16 << 10;
/// Most words in the debug block.
const MAX_DEBUG: usize = 16;

enumeration!(origin_number, origin, ProcessOrigin, proto::ProcessOrigin, "origin":
    Attached = OriginAttached,
    Noninvasive = OriginNoninvasive,
    Created = OriginCreated,
    Child = OriginChild,
    Dump = OriginDump,
);

enumeration!(run_state_number, run_state, ThreadRunState, proto::ThreadRunState, "state":
    Stopped = ThreadStopped,
    Running = ThreadRunning,
    Unstoppable = ThreadUnstoppable,
    Exiting = ThreadExiting,
);

enumeration!(usage_number, usage, RegionUsage, proto::RegionUsage, "usage":
    Image = RegionImage,
    Stack = RegionStack,
    Heap = RegionHeap,
    MappedFile = RegionMappedFile,
    Vdso = RegionVdso,
    Unknown = RegionUnknown,
);

fn arch_number(arch: Arch) -> i32 {
    let arch = match arch {
        Arch::X86_64 => proto::Arch::X8664,
        // An architecture that this protocol cannot name yet is refused at the other end.
        _ => proto::Arch::Unspecified,
    };
    arch as i32
}

fn arch(number: i32) -> Result<Arch, WireError> {
    match proto::Arch::try_from(number) {
        Ok(proto::Arch::X8664) => Ok(Arch::X86_64),
        Ok(proto::Arch::Unspecified) | Err(_) => Err(WireError::Field { field: "arch" }),
    }
}

fn kind_number(kind: TargetKind) -> i32 {
    let kind = match kind {
        TargetKind::LiveUser => proto::TargetKind::LiveUser,
        TargetKind::UserDump => proto::TargetKind::UserDump,
        // As above.
        _ => proto::TargetKind::Unspecified,
    };
    kind as i32
}

fn kind(number: i32) -> Result<TargetKind, WireError> {
    match proto::TargetKind::try_from(number) {
        Ok(proto::TargetKind::LiveUser) => Ok(TargetKind::LiveUser),
        Ok(proto::TargetKind::UserDump) => Ok(TargetKind::UserDump),
        _ => Err(WireError::Field { field: "kind" }),
    }
}

impl From<TargetInfo> for proto::TargetInfo {
    fn from(info: TargetInfo) -> proto::TargetInfo {
        proto::TargetInfo {
            kind: kind_number(info.kind),
            arch: arch_number(info.arch),
            page_size: info.page_size,
            name: info.name,
            host: info.host,
            os: info.os,
            processors: info.processors,
        }
    }
}

impl TryFrom<proto::TargetInfo> for TargetInfo {
    type Error = WireError;

    fn try_from(info: proto::TargetInfo) -> Result<TargetInfo, WireError> {
        // Everything that rounds addresses relies on this.
        if !info.page_size.is_power_of_two() || !(512..=1 << 30).contains(&info.page_size) {
            return Err(WireError::Field { field: "page_size" });
        }
        Ok(TargetInfo {
            kind: kind(info.kind)?,
            arch: arch(info.arch)?,
            page_size: info.page_size,
            name: info.name,
            host: info.host,
            os: info.os,
            processors: info.processors,
        })
    }
}

impl From<ProcessInfo> for proto::ProcessInfo {
    fn from(info: ProcessInfo) -> proto::ProcessInfo {
        proto::ProcessInfo {
            id: info.id.0,
            parent: info.parent.0,
            space: info.space.0,
            origin: origin_number(info.origin),
            executable: info.executable,
            arguments: info.arguments,
            auxv: info.auxv.into_iter().flat_map(|(kind, value)| [kind, value]).collect(),
            start_time_us: info.start_time_us,
            user_time_us: info.user_time_us,
            system_time_us: info.system_time_us,
            steps_unsafe_because: info.steps_unsafe_because,
        }
    }
}

impl TryFrom<proto::ProcessInfo> for ProcessInfo {
    type Error = WireError;

    fn try_from(info: proto::ProcessInfo) -> Result<ProcessInfo, WireError> {
        let (pairs, []) = info.auxv.as_chunks::<2>() else { return Err(WireError::Field { field: "auxv" }) };
        Ok(ProcessInfo {
            id: ProcessId(info.id),
            parent: ProcessId(info.parent),
            space: AddressSpaceId(info.space),
            origin: origin(info.origin)?,
            executable: info.executable,
            arguments: info.arguments,
            auxv: pairs.iter().map(|&[kind, value]| (kind, value)).collect(),
            start_time_us: info.start_time_us,
            user_time_us: info.user_time_us,
            system_time_us: info.system_time_us,
            steps_unsafe_because: info.steps_unsafe_because,
        })
    }
}

impl From<ThreadInfo> for proto::ThreadInfo {
    fn from(info: ThreadInfo) -> proto::ThreadInfo {
        proto::ThreadInfo {
            id: info.id.0,
            process: info.process.0,
            name: info.name,
            state: run_state_number(info.state),
            suspend_count: info.suspend_count,
            teb: info.teb.0,
        }
    }
}

impl TryFrom<proto::ThreadInfo> for ThreadInfo {
    type Error = WireError;

    fn try_from(info: proto::ThreadInfo) -> Result<ThreadInfo, WireError> {
        Ok(ThreadInfo {
            id: ThreadId(info.id),
            process: ProcessId(info.process),
            name: info.name,
            state: run_state(info.state)?,
            suspend_count: info.suspend_count,
            teb: Va(info.teb),
        })
    }
}

impl From<ThreadTimes> for proto::ThreadTimes {
    fn from(times: ThreadTimes) -> proto::ThreadTimes {
        proto::ThreadTimes {
            id: times.id.0,
            start_time_us: times.start_time_us,
            user_time_us: times.user_time_us,
            system_time_us: times.system_time_us,
        }
    }
}

impl From<proto::ThreadTimes> for ThreadTimes {
    fn from(times: proto::ThreadTimes) -> ThreadTimes {
        ThreadTimes {
            id: ThreadId(times.id),
            start_time_us: times.start_time_us,
            user_time_us: times.user_time_us,
            system_time_us: times.system_time_us,
        }
    }
}

impl From<ModuleInfo> for proto::ModuleInfo {
    fn from(info: ModuleInfo) -> proto::ModuleInfo {
        proto::ModuleInfo {
            range: Some(info.range.into()),
            bias: info.bias.0,
            path: info.path,
            build_id: info.build_id.map(|id| id.0),
            namespace: info.namespace,
            is_main: info.is_main,
        }
    }
}

impl TryFrom<proto::ModuleInfo> for ModuleInfo {
    type Error = WireError;

    fn try_from(info: proto::ModuleInfo) -> Result<ModuleInfo, WireError> {
        Ok(ModuleInfo {
            range: required(info.range, "range")?.into(),
            bias: LoadBias(info.bias),
            path: info.path,
            build_id: info.build_id.map(BuildId),
            namespace: info.namespace,
            is_main: info.is_main,
        })
    }
}

impl From<Region> for proto::Region {
    fn from(region: Region) -> proto::Region {
        proto::Region {
            range: Some(region.range.into()),
            read: region.read,
            write: region.write,
            execute: region.execute,
            shared: region.shared,
            file_offset: region.file_offset,
            device: region.device,
            inode: region.inode,
            name: region.name,
            usage: usage_number(region.usage),
        }
    }
}

impl TryFrom<proto::Region> for Region {
    type Error = WireError;

    fn try_from(region: proto::Region) -> Result<Region, WireError> {
        Ok(Region {
            range: required(region.range, "range")?.into(),
            read: region.read,
            write: region.write,
            execute: region.execute,
            shared: region.shared,
            file_offset: region.file_offset,
            device: region.device,
            inode: region.inode,
            name: region.name,
            usage: usage(region.usage)?,
        })
    }
}

impl From<RegisterContext> for proto::RegisterContext {
    fn from(context: RegisterContext) -> proto::RegisterContext {
        proto::RegisterContext {
            arch: arch_number(context.arch),
            general: context.general,
            floating: context.floating,
            debug: context.debug,
        }
    }
}

impl TryFrom<proto::RegisterContext> for RegisterContext {
    type Error = WireError;

    fn try_from(context: proto::RegisterContext) -> Result<RegisterContext, WireError> {
        let arch = arch(context.arch)?;
        let fits = context.general.len() == arch.general_words()
            && context.floating.len() <= MAX_FLOATING
            && context.debug.len() <= MAX_DEBUG;
        match fits {
            true => {
                Ok(RegisterContext { arch, general: context.general, floating: context.floating, debug: context.debug })
            }
            false => Err(WireError::Field { field: "context" }),
        }
    }
}

impl From<HandleInfo> for proto::HandleInfo {
    fn from(info: HandleInfo) -> proto::HandleInfo {
        let HandleInfo { number, target, kind, flags, position } = info;
        proto::HandleInfo { number, target, kind, flags, position }
    }
}

impl From<proto::HandleInfo> for HandleInfo {
    fn from(info: proto::HandleInfo) -> HandleInfo {
        let proto::HandleInfo { number, target, kind, flags, position } = info;
        HandleInfo { number, target, kind, flags, position }
    }
}
