//! The calls by which a BPF program is loaded and run, and its map is read (`bpf(2)`, include/uapi/linux/bpf.h): no crate has
//! them without a compiler for BPF at hand. Knows nothing of what the program does.
#![allow(unsafe_code)]

use super::Refusal;
use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;

const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_RAW_TRACEPOINT: u32 = 17;
const TEST_RUN_ON_CPU: u32 = 1;
/// Its values can be mapped (`BPF_F_MMAPABLE`, Linux 5.5).
const MAPPABLE: u32 = 1 << 10;

/// `union bpf_attr`, as `BPF_MAP_CREATE` reads it.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map: u32,
    node: u32,
    name: [u8; 16],
    _end: u32,
}

/// As `BPF_PROG_LOAD` reads it.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// As `BPF_PROG_TEST_RUN` reads it.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    gives_back: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    _end: u32,
}

/// The call, with what it reads and writes as a struct of the shape that the command has.
fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<libc::c_long, Errno> {
    // SAFETY: the kernel reads and writes `size` bytes at the pointer, which are those of a `#[repr(C)]` struct without
    // padding, borrowed for the call. The addresses in it are of buffers that this file's functions borrow for as long, and
    // whose lengths they state or the map's value has.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    Errno::result(done)
}

/// A descriptor that a call gave back.
fn descriptor(from: libc::c_long) -> OwnedFd {
    // SAFETY: the call has just made it for us, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(from as libc::c_int) }
}

fn name() -> [u8; 16] {
    *b"otop\0\0\0\0\0\0\0\0\0\0\0\0"
}

/// What an error of these calls says of them all.
pub fn refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::EPERM | Errno::EACCES => Refusal::NotPermitted,
        _ => Refusal::NotSupported,
    }
}

/// An array of parts, which the program writes while it is run, and otop reads, and writes, at other times.
pub struct Map {
    descriptor: OwnedFd,
    size: usize,
    parts: usize,
    at: NonNull<c_void>,
}

// SAFETY: the mapping belongs to the value, and goes where it goes.
unsafe impl Send for Map {}
// SAFETY: through `&Map` it is only read.
unsafe impl Sync for Map {}

impl Map {
    /// So many parts of `size` bytes each, which is a multiple of a page.
    pub fn new(parts: usize, size: usize) -> Result<Map, Refusal> {
        let mut attributes = MapCreate {
            map_type: MAP_TYPE_ARRAY,
            key_size: 4,
            value_size: u32::try_from(size).map_err(|_| Refusal::Layout)?,
            max_entries: u32::try_from(parts).map_err(|_| Refusal::Layout)?,
            map_flags: MAPPABLE,
            inner_map: 0,
            node: 0,
            name: name(),
            _end: 0,
        };
        let made = descriptor(bpf(MAP_CREATE, &mut attributes).map_err(refusal)?);
        let whole = NonZeroUsize::new(parts * size).ok_or(Refusal::Layout)?;
        // SAFETY: a new mapping, at an address of the kernel's choice, of as many bytes as the map has.
        let at = unsafe {
            let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
            mmap(None, whole, protection, MapFlags::MAP_SHARED, &made, 0).map_err(refusal)?
        };
        Ok(Map {
            descriptor: made,
            size,
            parts,
            at,
        })
    }

    pub fn number(&self) -> i32 {
        self.descriptor.as_raw_fd()
    }

    /// What one part holds; empty if there is none with that number.
    pub fn part(&self, number: usize) -> &[u8] {
        if number >= self.parts {
            return &[];
        }
        // SAFETY: the part is inside of the mapping, which lives as long as `self`. Nobody writes to it meanwhile: the
        // program does only inside `Program::run`, and otop in `part_mut`, and both take the map as `&mut`.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr().cast::<u8>().add(number * self.size), self.size) }
    }

    /// One part, to be written; empty if there is none with that number.
    pub fn part_mut(&mut self, number: usize) -> &mut [u8] {
        if number >= self.parts {
            return &mut [];
        }
        // SAFETY: as in `part`; `&mut self` lets nobody else have it.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr().cast::<u8>().add(number * self.size), self.size) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: it is the mapping that `new` made, and nothing that was borrowed from it is left.
        let _ = unsafe { munmap(self.at, self.parts * self.size) };
    }
}

/// A program that the kernel has taken.
pub struct Program {
    descriptor: OwnedFd,
}

impl Program {
    pub fn load(instructions: &[[u8; 8]]) -> Result<Program, Refusal> {
        let mut attributes = ProgLoad {
            prog_type: PROG_TYPE_RAW_TRACEPOINT,
            instruction_count: u32::try_from(instructions.len()).map_err(|_| Refusal::Layout)?,
            instructions: instructions.as_ptr() as u64,
            // `bpf_probe_read_user` is for programs under a licence that goes with the kernel's, as MIT does.
            license: c"Dual MIT/GPL".as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log: 0,
            kernel_version: 0,
            flags: 0,
            name: name(),
        };
        let made = bpf(PROG_LOAD, &mut attributes).map_err(refusal)?;
        Ok(Program {
            descriptor: descriptor(made),
        })
    }

    /// Runs it on that CPU, inside an interrupt, and waits for it. What it gives back. `map` is the one that it writes.
    pub fn run(&self, _map: &mut Map, cpu: u32, words: [u64; 2]) -> Result<u32, Errno> {
        let mut attributes = TestRun {
            program: self.descriptor.as_raw_fd() as u32,
            context_in: words.as_ptr() as u64,
            context_size_in: size_of_val(&words) as u32,
            flags: TEST_RUN_ON_CPU,
            cpu,
            ..TestRun::default()
        };
        bpf(PROG_TEST_RUN, &mut attributes)?;
        Ok(attributes.gives_back)
    }
}
