//! Where a thread of the worker notes the CPU that it is on. Knows nothing of CPython but that its threads are glibc's.
//!
//! glibc 2.35 and later register a `struct rseq` (include/uapi/linux/rseq.h) for every thread. The kernel writes the CPU
//! into it before the thread runs any of its own code there, so that a reader on the same CPU can prove that the thread
//! has not run elsewhere meanwhile. It stands at `pthread_self() + __rseq_offset`; ld.so exports the offset, and
//! `__rseq_size`, which is 0 where glibc was told not to register (glibc.pthread.rseq=0).

use super::symbols::{Header, header};
use crate::memory::Memory;
use crate::model::Addr;
use crate::process::Mapping;

/// `struct rseq.cpu_id` (u32).
const CPU_ID: u64 = 4;
/// No machine has more CPUs; the values for "not registered" (−1, −2) are above it too.
pub const MOST_CPUS: u32 = 1 << 16;
/// An offset further from `pthread_self()` than this is none: it is 2336 in glibc 2.36, −224 in newer ones.
const FURTHEST: i64 = 1 << 20;

/// How far from `pthread_self()` the word stands that has the CPU; None: this worker's C library has none.
pub fn rseq_cpu(memory: &dyn Memory, mappings: &[Mapping]) -> Option<i64> {
    let loaders = mappings
        .iter()
        .filter(|m| m.offset == 0 && m.readable && m.file_name().starts_with("ld"));
    for mapping in loaders {
        let Ok(Header::Module(module)) = header(memory, mapping) else {
            continue;
        };
        let word = |name, into: &mut [u8]| match module.exported(memory, name) {
            Ok(Some(at)) => memory.read(at, into).is_ok(),
            _ => false,
        };
        let (mut offset, mut size) = ([0; 8], [0; 4]);
        if word("__rseq_offset", &mut offset) && word("__rseq_size", &mut size) && size != [0; 4] {
            let offset = i64::from_le_bytes(offset);
            return (offset.abs() < FURTHEST).then_some(offset + CPU_ID as i64);
        }
    }
    None
}

/// The CPU in the bytes of that word; None: the thread is not registered.
pub fn cpu_of(bytes: &[u8]) -> Option<u32> {
    let cpu = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
    (cpu < MOST_CPUS).then_some(cpu)
}

/// Where a thread's word stands.
pub fn rseq_at(pthread: Addr, offset: i64) -> Addr {
    Addr(pthread.0.wrapping_add_signed(offset))
}
