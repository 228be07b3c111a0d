//! BPF instructions, and jumps to places that are named (Documentation/bpf/standardization/instruction-set.rst). Only what
//! the program needs. Knows nothing of what the program does.

/// A register: r0 is what a call gives back, r1 to r5 are what it takes (and forgets), r6 to r9 last, r10 is the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(pub u8);

pub const R0: Register = Register(0);
pub const R1: Register = Register(1);
pub const R2: Register = Register(2);
pub const R3: Register = Register(3);
pub const R6: Register = Register(6);
pub const R7: Register = Register(7);
pub const R8: Register = Register(8);
pub const R9: Register = Register(9);
/// The end of the program's stack, which grows down.
pub const FRAME: Register = Register(10);

/// A place in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// Functions of the kernel (include/uapi/linux/bpf.h).
#[derive(Clone, Copy, Debug)]
pub enum Helper {
    MapLookupElem = 1,
    GetCurrentPidTgid = 14,
    ProbeReadUser = 112,
}

const LOAD: u8 = 0x61;
const STORE: u8 = 0x63;
const STORE_IMMEDIATE: u8 = 0x62;
/// Eight bytes instead of four.
const DOUBLE: u8 = 0x18;
const LOAD_IMMEDIATE: u8 = 0x18;
/// The immediate is a map's descriptor.
const MAP_DESCRIPTOR: u8 = 1;
const MOVE: u8 = 0xbf;
const MOVE_IMMEDIATE: u8 = 0xb7;
const ADD: u8 = 0x0f;
const ADD_IMMEDIATE: u8 = 0x07;
const SHIFT_LEFT_IMMEDIATE: u8 = 0x67;
const OR: u8 = 0x4f;
const JUMP: u8 = 0x05;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// When a conditional jump is taken: unsigned, of 64 bits.
#[derive(Clone, Copy, Debug)]
pub enum Condition {
    Equal = 0x15,
    NotEqual = 0x55,
    Above = 0x25,
}

/// A program while it is written.
#[derive(Default)]
pub struct Assembler {
    words: Vec<[u8; 8]>,
    /// Where each label is; None: not yet.
    labels: Vec<Option<usize>>,
    /// Jumps, and where to.
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label is here.
    pub fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.words.len());
    }

    fn push(&mut self, code: u8, into: Register, from: Register, offset: i16, immediate: i32) {
        let [o0, o1] = offset.to_le_bytes();
        let [i0, i1, i2, i3] = immediate.to_le_bytes();
        self.words.push([code, into.0 | from.0 << 4, o0, o1, i0, i1, i2, i3]);
    }

    /// `into = *(u64 *)(from + offset)`
    pub fn load(&mut self, into: Register, from: Register, offset: i16) {
        self.push(LOAD | DOUBLE, into, from, offset, 0);
    }

    /// `*(u64 *)(at + offset) = from`
    pub fn store(&mut self, at: Register, offset: i16, from: Register) {
        self.push(STORE | DOUBLE, at, from, offset, 0);
    }

    /// `*(u64 *)(at + offset) = value`
    pub fn store_value(&mut self, at: Register, offset: i16, value: i32) {
        self.push(STORE_IMMEDIATE | DOUBLE, at, R0, offset, value);
    }

    /// `*(u32 *)(at + offset) = from`
    pub fn store_half(&mut self, at: Register, offset: i16, from: Register) {
        self.push(STORE, at, from, offset, 0);
    }

    pub fn set(&mut self, into: Register, from: Register) {
        self.push(MOVE, into, from, 0, 0);
    }

    pub fn set_value(&mut self, into: Register, value: i32) {
        self.push(MOVE_IMMEDIATE, into, R0, 0, value);
    }

    pub fn set_map(&mut self, into: Register, descriptor: i32) {
        self.push(LOAD_IMMEDIATE, into, Register(MAP_DESCRIPTOR), 0, descriptor);
        self.push(0, R0, R0, 0, 0);
    }

    pub fn add(&mut self, into: Register, from: Register) {
        self.push(ADD, into, from, 0, 0);
    }

    pub fn add_value(&mut self, into: Register, value: i32) {
        self.push(ADD_IMMEDIATE, into, R0, 0, value);
    }

    pub fn shift_left(&mut self, into: Register, bits: i32) {
        self.push(SHIFT_LEFT_IMMEDIATE, into, R0, 0, bits);
    }

    pub fn or(&mut self, into: Register, from: Register) {
        self.push(OR, into, from, 0, 0);
    }

    pub fn call(&mut self, helper: Helper) {
        self.push(CALL, R0, R0, 0, helper as i32);
    }

    pub fn exit(&mut self) {
        self.push(EXIT, R0, R0, 0, 0);
    }

    pub fn jump(&mut self, to: Label) {
        self.jumps.push((self.words.len(), to));
        self.push(JUMP, R0, R0, 0, 0);
    }

    pub fn jump_if_value(&mut self, left: Register, condition: Condition, right: i32, to: Label) {
        self.jumps.push((self.words.len(), to));
        self.push(condition as u8, left, R0, 0, right);
    }

    pub fn jump_if(&mut self, left: Register, condition: Condition, right: Register, to: Label) {
        /// The right side is a register.
        const REGISTER: u8 = 0x08;
        self.jumps.push((self.words.len(), to));
        self.push(condition as u8 | REGISTER, left, right, 0, 0);
    }

    /// The program; None: it jumps to a label that was placed nowhere, or too far.
    pub fn finish(mut self) -> Option<Vec<[u8; 8]>> {
        for (at, to) in self.jumps {
            let target = (*self.labels.get(to.0)?)?;
            // Counted from the instruction behind the jump.
            let distance = i16::try_from(target as i64 - at as i64 - 1).ok()?;
            self.words[at][2..4].copy_from_slice(&distance.to_le_bytes());
        }
        Some(self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_what_llvm_spells() {
        let mut program = Assembler::default();
        let (again, end) = (program.label(), program.label());
        program.place(again);
        program.load(R1, FRAME, -8);
        program.store(FRAME, -8, R1);
        program.jump_if_value(R1, Condition::NotEqual, 5, end);
        program.jump(again);
        program.place(end);
        program.call(Helper::GetCurrentPidTgid);
        program.exit();
        let words = program.finish().unwrap();
        let text: Vec<String> = words
            .iter()
            .map(|word| format!("{:016x}", u64::from_be_bytes(*word)))
            .collect();
        assert_eq!(
            text,
            [
                // As `llvm-mc -triple bpfel --show-encoding` has them (LLVM 14).
                "79a1f8ff00000000",
                "7b1af8ff00000000",
                "5501010005000000",
                "0500fcff00000000",
                "850000000e000000",
                "9500000000000000",
            ]
        );
    }

    #[test]
    fn a_label_that_is_nowhere_makes_no_program() {
        let mut program = Assembler::default();
        let nowhere = program.label();
        program.jump(nowhere);
        assert_eq!(program.finish(), None);
    }
}
