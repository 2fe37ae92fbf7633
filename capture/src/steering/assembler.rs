//! A small assembler for eBPF: the instructions the steering program needs, with labels.
//!
//! Encoding after RFC 9669: opcode (8 bits), destination and source register (4 + 4), offset (16,
//! signed), immediate (32, signed), little-endian on the machines this builds for; the kernel reads
//! the words in the machine's own order.

/// A register of the eBPF machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Reg(u8);

pub(super) const R0: Reg = Reg(0);
pub(super) const R1: Reg = Reg(1);
pub(super) const R2: Reg = Reg(2);
pub(super) const R3: Reg = Reg(3);
pub(super) const R4: Reg = Reg(4);
pub(super) const R5: Reg = Reg(5);
pub(super) const R6: Reg = Reg(6);
pub(super) const R7: Reg = Reg(7);
pub(super) const R8: Reg = Reg(8);
pub(super) const R9: Reg = Reg(9);
/// The frame pointer: the stack grows down from it.
pub(super) const FP: Reg = Reg(10);

/// Arithmetic on 64 bits (class BPF_ALU64), by operation code.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Op {
    Add = 0x00,
    Mul = 0x20,
    And = 0x50,
    Lsh = 0x60,
    Rsh = 0x70,
    Xor = 0xa0,
    Mov = 0xb0,
}

/// Size of a load from memory.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Size {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
    Double = 0x18,
}

/// A place in the program that jumps name before or after it is set.
#[derive(Clone, Copy)]
pub(super) struct Label(usize);

const CLASS_LD: u8 = 0x00;
const CLASS_LDX: u8 = 0x01;
const CLASS_ALU: u8 = 0x04;
const CLASS_JMP: u8 = 0x05;
const CLASS_ALU64: u8 = 0x07;
const SOURCE_REGISTER: u8 = 0x08;
const MODE_MEM: u8 = 0x60;
const END_TO_BIG: u8 = 0xd0 | SOURCE_REGISTER;
const JA: u8 = 0x00;
const JEQ: u8 = 0x10;
const JSET: u8 = 0x40;
const JNE: u8 = 0x50;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;

#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    dst: Reg,
    src: Reg,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    /// `struct bpf_insn` in memory, as one word in the machine's order.
    fn word(self) -> u64 {
        let registers = if cfg!(target_endian = "little") {
            self.src.0 << 4 | self.dst.0
        } else {
            self.dst.0 << 4 | self.src.0
        };
        let [o0, o1] = self.offset.to_ne_bytes();
        let [i0, i1, i2, i3] = self.immediate.to_ne_bytes();
        u64::from_ne_bytes([self.code, registers, o0, o1, i0, i1, i2, i3])
    }
}

/// Collects instructions; [`Assembler::finish`] resolves the jumps.
#[derive(Default)]
pub(super) struct Assembler {
    instructions: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    places: Vec<Option<usize>>,
}

impl Assembler {
    pub(super) fn label(&mut self) -> Label {
        self.places.push(None);
        Label(self.places.len() - 1)
    }

    /// Sets the label to the next instruction.
    pub(super) fn place(&mut self, label: Label) {
        self.places[label.0] = Some(self.instructions.len());
    }

    pub(super) fn op(&mut self, op: Op, dst: Reg, immediate: i32) {
        self.push(op as u8 | CLASS_ALU64, dst, R0, 0, immediate);
    }

    pub(super) fn op_reg(&mut self, op: Op, dst: Reg, src: Reg) {
        self.push(op as u8 | CLASS_ALU64 | SOURCE_REGISTER, dst, src, 0, 0);
    }

    /// dst = a 64-bit constant; takes two instructions.
    pub(super) fn constant(&mut self, dst: Reg, value: u64) {
        let (low, high) = (value as u32, (value >> 32) as u32);
        self.push(CLASS_LD | Size::Double as u8, dst, R0, 0, low.cast_signed());
        self.push(0, R0, R0, 0, high.cast_signed());
    }

    /// dst = the number at frame pointer + `offset`, in the machine's order.
    pub(super) fn load(&mut self, size: Size, dst: Reg, base: Reg, offset: i16) {
        self.push(CLASS_LDX | MODE_MEM | size as u8, dst, base, offset, 0);
    }

    /// Takes the low 16 bits of `dst` from network order.
    pub(super) fn network_to_host_16(&mut self, dst: Reg) {
        self.push(CLASS_ALU | END_TO_BIG, dst, R0, 0, 16);
    }

    pub(super) fn call(&mut self, helper: i32) {
        self.push(CLASS_JMP | CALL, R0, R0, 0, helper);
    }

    pub(super) fn jump(&mut self, to: Label) {
        self.conditional(JA, R0, 0, to);
    }

    pub(super) fn jump_if_equal(&mut self, dst: Reg, immediate: i32, to: Label) {
        self.conditional(JEQ, dst, immediate, to);
    }

    pub(super) fn jump_unless_equal(&mut self, dst: Reg, immediate: i32, to: Label) {
        self.conditional(JNE, dst, immediate, to);
    }

    /// Jumps when `dst & immediate` is not 0.
    pub(super) fn jump_if_any(&mut self, dst: Reg, immediate: i32, to: Label) {
        self.conditional(JSET, dst, immediate, to);
    }

    pub(super) fn exit(&mut self) {
        self.push(CLASS_JMP | EXIT, R0, R0, 0, 0);
    }

    /// The program. Every label used is placed: the programs are fixed, and a test builds each.
    pub(super) fn finish(mut self) -> Vec<u64> {
        for (at, label) in self.jumps {
            let place = self.places[label.0].expect("a label that is used is placed");
            // Offsets count from the instruction after the jump.
            let offset = place as i64 - at as i64 - 1;
            self.instructions[at].offset = i16::try_from(offset).expect("a short program");
        }
        self.instructions.iter().map(|instruction| instruction.word()).collect()
    }

    fn conditional(&mut self, code: u8, dst: Reg, immediate: i32, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.push(CLASS_JMP | code, dst, R0, 0, immediate);
    }

    fn push(&mut self, code: u8, dst: Reg, src: Reg, offset: i16, immediate: i32) {
        self.instructions.push(Instruction { code, dst, src, offset, immediate });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn instructions_are_encoded_as_rfc_9669_says() {
        let mut a = Assembler::default();
        let end = a.label();
        a.op_reg(Op::Mov, R6, R1);
        a.jump_if_equal(R6, 7, end);
        a.constant(R1, 0x1122_3344_5566_7788);
        a.load(Size::Half, R8, FP, -40);
        a.place(end);
        a.exit();
        let expected = [
            0x0000_0000_0000_16bf,
            0x0000_0007_0003_0615,
            0x5566_7788_0000_0118,
            0x1122_3344_0000_0000,
            0x0000_0000_ffd8_a869,
            0x0000_0000_0000_0095,
        ];
        assert_eq!(a.finish(), expected);
    }
}
