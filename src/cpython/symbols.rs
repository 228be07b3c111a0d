//! Symbols and sections of a mapped program or library. Knows nothing of CPython.
//!
//! The dynamic symbol table is part of what the loader maps, so it is read from the worker's memory: that works the
//! same for a stripped file, for one that was deleted or replaced, and for one in another mount namespace. Only what
//! the loader does not map (section headers, `.symtab`) is read from the file.

use crate::memory::{Fault, Memory};
use crate::model::{Addr, Pid};
use crate::process::Mapping;
use object::elf;
use object::{Object, ObjectSection, ObjectSymbol, ReadCache};
use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

/// No interpreter is larger, with all that debuggers want to know of it.
pub const MOST_FILE: u64 = 512 << 20;

/// A file that is mapped with its ELF header, and where.
#[derive(Clone, Debug)]
pub struct Module {
    /// Where the file's first byte is mapped.
    pub base: Addr,
    pub path: PathBuf,
    /// Added to the file's virtual addresses to get those in memory.
    pub bias: u64,
    /// Loaded segments: (address in memory, length in memory, writable).
    pub segments: Vec<(Addr, u64, bool)>,
    dynamic: Option<(Addr, u64)>,
    mapping: Mapping,
}

/// What an ELF header says, or why it is refused.
pub enum Header {
    Module(Module),
    /// `e_machine` of another architecture, or a 32-bit file.
    OtherArchitecture(String),
    NotElf,
}

fn word(bytes: &[u8], at: usize) -> u64 {
    super::objects::word_at(bytes, at)
}

fn half(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn short(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u16::from_le_bytes)
}

/// Reads the ELF header that is mapped at the start of `mapping` (whose file offset is 0).
pub fn header(memory: &dyn Memory, mapping: &Mapping) -> Result<Header, Fault> {
    let mut head = [0; 64];
    memory.read(Addr(mapping.start), &mut head)?;
    if head[..4] != elf::ELFMAG {
        return Ok(Header::NotElf);
    }
    let machine = short(&head, 18);
    if head[4] != elf::ELFCLASS64.0 || machine != elf::EM_X86_64.0 {
        return Ok(Header::OtherArchitecture(
            match (head[4] == elf::ELFCLASS64.0, machine) {
                (true, 183) => "arm64".to_string(),
                (false, 3) => "i386".to_string(),
                (wide, other) => format!("ELF{} machine {other}", if wide { 64 } else { 32 }),
            },
        ));
    }
    let (table, size, count) = (
        word(&head, 32),
        u64::from(short(&head, 54)),
        u64::from(short(&head, 56)),
    );
    if size != 56 || count > 256 {
        return Ok(Header::NotElf);
    }
    let mut headers = vec![0; (size * count) as usize];
    memory.read(Addr(mapping.start).offset(table), &mut headers)?;
    let mut bias = None;
    let mut segments = Vec::new();
    let mut dynamic = None;
    for p in headers.chunks_exact(size as usize) {
        let (kind, flags, offset) = (half(p, 0), half(p, 4), word(p, 8));
        let (address, in_memory) = (word(p, 16), word(p, 40));
        if kind == elf::PT_LOAD.0 {
            if offset == 0 {
                bias = Some(mapping.start.wrapping_sub(address));
            }
            segments.push((Addr(address), in_memory, flags & elf::PF_W.0 != 0));
        } else if kind == elf::PT_DYNAMIC.0 {
            dynamic = Some((Addr(address), in_memory));
        }
    }
    let Some(bias) = bias else { return Ok(Header::NotElf) };
    for segment in &mut segments {
        segment.0 = segment.0.offset(bias);
    }
    Ok(Header::Module(Module {
        base: Addr(mapping.start),
        path: mapping.path.clone().unwrap_or_default(),
        bias,
        segments,
        dynamic: dynamic.map(|(at, length)| (at.offset(bias), length)),
        mapping: mapping.clone(),
    }))
}

impl Module {
    /// The address of an exported symbol, from the dynamic symbol table in memory, by its GNU hash table.
    pub fn exported(&self, memory: &dyn Memory, name: &str) -> Result<Option<Addr>, Fault> {
        let Some((dynamic, length)) = self.dynamic else {
            return Ok(None);
        };
        let mut entries = vec![0; (length as usize).min(64 * 1024) / 16 * 16];
        memory.read(dynamic, &mut entries)?;
        let entry = |tag: i64| {
            let found = entries.chunks_exact(16).find(|e| word(e, 0) as i64 == tag)?;
            // glibc's loader writes the relocated address back here; musl's leaves the file's.
            let value = word(found, 8);
            Some(if value < self.base.0 {
                Addr(value).offset(self.bias)
            } else {
                Addr(value)
            })
        };
        let (Some(symbols), Some(strings), Some(hashes)) = (
            entry(elf::DT_SYMTAB.0),
            entry(elf::DT_STRTAB.0),
            entry(elf::DT_GNU_HASH.0),
        ) else {
            return Ok(None);
        };
        let mut head = [0; 16];
        memory.read(hashes, &mut head)?;
        let (buckets, first, bloom) = (half(&head, 0), half(&head, 4), half(&head, 8));
        if buckets == 0 || buckets > 1 << 20 || bloom > 1 << 20 {
            return Ok(None);
        }
        let hash = elf::gnu_hash(name.as_bytes());
        let bucket_table = hashes.offset(16 + u64::from(bloom) * 8);
        let chains = bucket_table.offset(u64::from(buckets) * 4);
        let read_half = |at: Addr| -> Result<u32, Fault> {
            let mut bytes = [0; 4];
            memory.read(at, &mut bytes)?;
            Ok(u32::from_le_bytes(bytes))
        };
        let mut index = read_half(bucket_table.offset(u64::from(hash % buckets) * 4))?;
        if index < first {
            return Ok(None);
        }
        for _ in 0..10_000 {
            let chained = read_half(chains.offset(u64::from(index.wrapping_sub(first)) * 4))?;
            if chained | 1 == hash | 1 {
                let mut symbol = [0; 24];
                memory.read(symbols.offset(u64::from(index) * 24), &mut symbol)?;
                let mut text = vec![0; name.len() + 1];
                memory.read(strings.offset(u64::from(half(&symbol, 0))), &mut text)?;
                let defined = short(&symbol, 6) != 0;
                if defined && text[..name.len()] == *name.as_bytes() && text[name.len()] == 0 {
                    return Ok(Some(Addr(word(&symbol, 8)).offset(self.bias)));
                }
            }
            if chained & 1 == 1 {
                break;
            }
            index = index.wrapping_add(1);
        }
        Ok(None)
    }

    /// Address and length in memory of a section, and of any symbol, from the file. None where the file cannot be had
    /// or has none.
    pub fn in_file(&self, pid: Pid, section: &str, symbol: &str) -> Option<Addr> {
        let file = self.open(pid)?;
        // A table of symbols is read whole, and its length is for the file to say.
        if file.metadata().ok()?.len() > MOST_FILE {
            return None;
        }
        let cache = ReadCache::new(file);
        let parsed = object::File::parse(&cache).ok()?;
        if let Some(found) = parsed.section_by_name(section) {
            return Some(Addr(found.address()).offset(self.bias));
        }
        let found = parsed.symbols().find(|s| s.name() == Ok(symbol) && s.is_definition())?;
        Some(Addr(found.address()).offset(self.bias))
    }

    /// Opens the very file that is mapped: through `map_files` where that is allowed, else by its path, outside and
    /// inside the worker's root; only if device and inode are those of the mapping.
    fn open(&self, pid: Pid) -> Option<File> {
        let m = &self.mapping;
        let by_range = m.through_kernel(pid);
        let rooted = PathBuf::from(format!("/proc/{pid}/root")).join(self.path.strip_prefix("/").unwrap_or(&self.path));
        let executable = PathBuf::from(format!("/proc/{pid}/exe"));
        [by_range, executable, self.path.clone(), rooted]
            .into_iter()
            .find_map(|path| {
                // Without waiting: inside the worker's root the path is the worker's, and may be a pipe by now.
                let flags = nix::libc::O_NONBLOCK;
                let file = File::options().read(true).custom_flags(flags).open(path).ok()?;
                let about = file.metadata().ok()?;
                let device = (
                    nix::sys::stat::major(about.dev()) as i32,
                    nix::sys::stat::minor(about.dev()) as i32,
                );
                // overlayfs and btrfs show one device in maps and another in stat, so the inode alone has to do there.
                let same = about.is_file() && about.ino() == m.inode && (device == m.device || device.0 == 0);
                same.then_some(file)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Image;

    /// A library whose table of hashes is damaged, or made up: `first` symbol, and the one that the only bucket names.
    fn damaged(first: u32, bucket: u32) -> (Image, Module) {
        let mapping = Mapping {
            start: 0x1000,
            end: 0x9000,
            readable: true,
            writable: false,
            executable: false,
            offset: 0,
            device: (0, 0),
            inode: 1,
            path: None,
            deleted: false,
        };
        let tables = [
            (elf::DT_SYMTAB.0, 0x3000),
            (elf::DT_STRTAB.0, 0x4000),
            (elf::DT_GNU_HASH.0, 0x5000),
        ];
        let dynamic: Vec<u8> = tables
            .into_iter()
            .flat_map(|(tag, at): (i64, u64)| [tag.to_le_bytes(), at.to_le_bytes()].concat())
            .collect();
        let mut image = Image::new();
        image.put(Addr(0x2000), &dynamic);
        let head = [1, first, 0, 0, bucket].map(u32::to_le_bytes).concat();
        image.put(Addr(0x5000), &head);
        let module = Module {
            base: Addr(mapping.start),
            path: PathBuf::new(),
            bias: 0,
            segments: Vec::new(),
            dynamic: Some((Addr(0x2000), dynamic.len() as u64)),
            mapping,
        };
        (image, module)
    }

    #[test]
    fn a_pipe_in_the_place_of_the_file_is_not_waited_for() {
        let (_, mut module) = damaged(5, 4);
        module.path = std::env::temp_dir().join(format!("otop-pipe-{}", std::process::id()));
        nix::unistd::mkfifo(&module.path, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let found = module.in_file(Pid(std::process::id() as i32), ".PyRuntime", "_PyRuntime");
        std::fs::remove_file(&module.path).unwrap();
        assert_eq!(found, None);
    }

    #[test]
    fn a_chain_that_leaves_the_table_ends() {
        let (mut image, module) = damaged(5, u32::MAX);
        // The last symbol that there can be has another one behind it.
        let chains = 0x5000 + 16 + 4;
        image.put(Addr(chains + u64::from(u32::MAX - 5) * 4), &[0; 4]);
        assert_eq!(module.exported(&image, "_PyRuntime"), Err(Fault::Unmapped));
        let (image, module) = damaged(5, 4);
        assert_eq!(module.exported(&image, "_PyRuntime"), Ok(None));
    }
}
