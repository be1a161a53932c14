// SPDX-License-Identifier: Apache-2.0

import Hardware

/// A run of an instruction: the addresses of its operands, and a checksum of all state that it may change.
struct Trial {
  /// Guest-physical address of the operand at [RDI].
  let destination: UInt64
  /// Guest-physical address of the operand at [RSI].
  let source: UInt64
  let isUser: Bool

  /// The result of a run.
  struct Result: Equatable {
    var vector: UInt64 = 0
    /// A checksum of the registers, the defined flags and XMM0.
    var registers: UInt64 = 0
    /// A checksum of memory around both operands, read after the run.
    var memory: UInt64 = 0
    /// RAX, for reports.
    var rax: UInt64 = 0

    /// A checksum of the whole result.
    var sum: UInt32 {
      var sum = Sum()
      sum.add(vector)
      sum.add(registers)
      sum.add(memory)
      return UInt32(truncatingIfNeeded: sum.value ^ sum.value >> 32)
    }
  }

  /// An FNV-1a checksum of words.
  struct Sum {
    var value: UInt64 = 0xCBF2_9CE4_8422_2325
    mutating func add(_ word: UInt64) {
      var rest = word
      for _ in 0..<8 {
        value = (value ^ rest & 0xFF) &* 0x100_0000_01B3
        rest >>= 8
      }
    }
  }

  private static let words: UInt64 = 6

  /// Fills memory around both operands with a pattern.
  func fill() {
    for index in 0..<Self.words {
      mmio_store64(Self.address(destination, index), 0x8070_6050_4030_2010 &+ index &* 0x0101_0101_0101_0101)
      mmio_store64(Self.address(source, index), 0x0F1E_2D3C_4B5A_6978 &+ index &* 0x0302_0103_0201_0302)
    }
    // cmpxchg finds an equal value at the operand, regardless of its alignment.
    mmio_store64(destination, 0x8070_6050_4030_2010)
  }

  /// Returns the address of a word of the pattern, which begins two words before the operand.
  private static func address(_ operand: UInt64, _ index: UInt64) -> UInt64 {
    (operand & ~7) - 16 + index * 8
  }

  /// Runs the instruction once. Only ``remember(_:)`` reads memory.
  func run(_ operation: Operation, _ width: UInt64) -> Result {
    operation.assemble(width)
    var result = Result()
    result.vector = execution_run(
      isUser ? 1 : 0, operation.rax, operation.rcx, 0x2122_2324_2526_2728, source, destination)
    var sum = Sum()
    for index in 0..<3 as Range<UInt32> { sum.add(execution_register(index)) }
    // The progress of a string instruction.
    sum.add(execution_register(3) &- source)
    sum.add(execution_register(4) &- destination)
    sum.add(execution_register(5) & operation.flags)
    sum.add(execution_register(6))
    sum.add(execution_register(7))
    result.registers = sum.value
    result.rax = execution_register(0)
    return result
  }

  /// Adds the memory checksum to a result. These reads open windows that are still armed.
  func remember(_ result: inout Result) {
    var sum = Sum()
    for index in 0..<Self.words {
      sum.add(mmio_load64(Self.address(destination, index)))
      sum.add(mmio_load64(Self.address(source, index)))
    }
    result.memory = sum.value
  }
}
