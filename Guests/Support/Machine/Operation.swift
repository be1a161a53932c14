// SPDX-License-Identifier: Apache-2.0

import Hardware

/// An instruction with a memory operand at [RDI]. String instructions and some others have another at [RSI].
///
/// `forms` has a digit for each width in bytes; `A` stands for 16. Opcodes are in hexadecimal. `assemble`
/// adds the operand-size prefixes: 66 for 2 bytes, REX.W for 8.
struct Operation {
  let name: StaticString
  let forms: StaticString
  /// The opcode for 1-byte operands.
  var byte: StaticString = ""
  /// The opcode for the other widths.
  var code: StaticString = ""
  /// Prefixes before the operand-size prefix.
  var prefix: StaticString = ""
  var rax: UInt64 = 0x0102_0304_0506_0708
  var rcx: UInt64 = 0x1112_1314_1516_1718
  /// The flags that the instruction defines: CF 1, PF 4, ZF 0x40, SF 0x80, OF 0x800.
  var flags: UInt64 = 0
  /// True if the operand-size prefixes select the width.
  var hasSizes = true
  /// True if the instruction needs an open window, because KVM cannot emulate it.
  var needsWindow = false
  /// True if the operand must be aligned.
  var isAligned = false
  /// True if the instruction also accesses [RSI].
  var usesSource = false

  private static let arithmetic: UInt64 = 0x8C5

  /// Calls `body` with each instruction. An array would need a heap.
  static func forEach(_ body: (Operation) -> Void) {
    body(Operation(name: "load", forms: "1248", byte: "8A07", code: "8B07"))
    body(Operation(name: "store", forms: "1248", byte: "8807", code: "8907"))
    body(Operation(name: "store-imm", forms: "124", byte: "C6075A", code: "C7075A5B"))
    body(Operation(name: "movzx", forms: "48", code: "0FB607"))
    body(Operation(name: "or", forms: "1248", byte: "0807", code: "0907", flags: 0xC4))
    body(Operation(name: "or-imm", forms: "1248", byte: "800F21", code: "830F21", flags: 0xC4))
    body(Operation(name: "and-load", forms: "1248", byte: "2207", code: "2307", flags: 0xC4))
    body(Operation(name: "lock-or", forms: "1248", byte: "0807", code: "0907", prefix: "F0", flags: 0xC4))
    body(Operation(name: "add", forms: "1248", byte: "0007", code: "0107", flags: arithmetic))
    body(
      Operation(name: "lock-add", forms: "1248", byte: "0007", code: "0107", prefix: "F0", flags: arithmetic))
    body(Operation(name: "not", forms: "1248", byte: "F617", code: "F717"))
    body(Operation(name: "lock-inc", forms: "1248", byte: "FE07", code: "FF07", prefix: "F0", flags: 0x8C4))
    body(Operation(name: "bts", forms: "248", code: "0FAB07", rax: 37, flags: 1))
    body(Operation(name: "lock-bts-imm", forms: "248", code: "0FBA2F05", prefix: "F0", flags: 1))
    body(Operation(name: "xchg", forms: "1248", byte: "8607", code: "8707"))
    body(Operation(name: "xadd", forms: "1248", byte: "0FC007", code: "0FC107", flags: arithmetic))
    body(Operation(name: "cmpxchg", forms: "1248", byte: "0FB00F", code: "0FB10F", flags: 0x40))
    body(
      Operation(
        name: "lock-cmpxchg-equal", forms: "1248", byte: "0FB00F", code: "0FB10F", prefix: "F0",
        rax: 0x8070_6050_4030_2010, flags: 0x40))
    forEachString(body)
    forEachVector(body)
    guard execution_has_avx() != 0 else { return }
    body(Operation(name: "vmovups-load", forms: "A", code: "C5FC1007", hasSizes: false, needsWindow: true))
    body(Operation(name: "vmovups-store", forms: "A", code: "C5FC1107", hasSizes: false, needsWindow: true))
  }

  /// Calls `body` with the string instructions, single and repeated.
  private static func forEachString(_ body: (Operation) -> Void) {
    body(Operation(name: "movs", forms: "1248", byte: "A4", code: "A5", usesSource: true))
    body(
      Operation(
        name: "rep-movs", forms: "1248", byte: "A4", code: "A5", prefix: "F3", rcx: 3, usesSource: true))
    body(Operation(name: "rep-stos", forms: "1248", byte: "AA", code: "AB", prefix: "F3", rcx: 3))
    body(Operation(name: "lods", forms: "1248", byte: "AC", code: "AD", usesSource: true))
    body(
      Operation(
        name: "rep-lods", forms: "1248", byte: "AC", code: "AD", prefix: "F3", rcx: 3, usesSource: true))
    body(
      Operation(
        name: "repe-cmps", forms: "1248", byte: "A6", code: "A7", prefix: "F3", rcx: 3, flags: arithmetic,
        usesSource: true))
    body(
      Operation(
        name: "repne-scas", forms: "1248", byte: "AE", code: "AF", prefix: "F2", rcx: 3, flags: arithmetic))
  }

  /// Calls `body` with the SSE and x87 instructions.
  private static func forEachVector(_ body: (Operation) -> Void) {
    body(
      Operation(
        name: "movd-load", forms: "4", code: "0F6E07", prefix: "66", hasSizes: false, needsWindow: true))
    body(
      Operation(
        name: "movq-load", forms: "8", code: "0F7E07", prefix: "F3", hasSizes: false, needsWindow: true))
    body(
      Operation(
        name: "movq-store", forms: "8", code: "0FD607", prefix: "66", hasSizes: false, needsWindow: true))
    body(Operation(name: "movups-load", forms: "A", code: "0F1007", hasSizes: false))
    body(Operation(name: "movups-store", forms: "A", code: "0F1107", hasSizes: false))
    body(Operation(name: "movaps-load", forms: "A", code: "0F2807", hasSizes: false, isAligned: true))
    body(Operation(name: "movdqu-store", forms: "A", code: "0F7F07", prefix: "F3", hasSizes: false))
    body(
      Operation(
        name: "paddd", forms: "A", code: "0FFE07", prefix: "66", hasSizes: false, needsWindow: true,
        isAligned: true))
    body(
      Operation(name: "fld-fstp", forms: "4", code: "D907D91E", hasSizes: false, needsWindow: true))
    body(Operation(name: "fild-fistp", forms: "8", code: "DF2FDF3E", hasSizes: false, needsWindow: true))
    body(
      Operation(
        name: "fild-store", forms: "8", code: "DF2EDF3F", hasSizes: false, needsWindow: true, usesSource: true
      ))
  }

  /// Calls `body` with each width in bytes.
  func forEachWidth(_ body: (UInt64) -> Void) {
    for index in 0..<forms.byteCount {
      body(Self.digit(forms.byte(index)) == 10 ? 16 : Self.digit(forms.byte(index)))
    }
  }

  /// Assembles the instruction's bytes for the calling processor.
  func assemble(_ width: UInt64) {
    execution_clear()
    Self.append(prefix)
    if hasSizes, width == 2 { execution_append(0x66) }
    if hasSizes, width == 8 { execution_append(0x48) }
    if width == 1 {
      Self.append(byte)
    } else {
      Self.append(code)
      // The immediate of C7 has the operand's size, at most 4 bytes.
      if code.byteCount == 8, code.byte(0) == 0x43, code.byte(1) == 0x37, width != 2 {
        execution_append(0x5C)
        execution_append(0x5D)
      }
    }
  }

  private static func append(_ hexadecimal: StaticString) {
    var index: UInt64 = 0
    while index < hexadecimal.byteCount {
      let value = digit(hexadecimal.byte(index)) << 4 | digit(hexadecimal.byte(index + 1))
      execution_append(UInt8(truncatingIfNeeded: value))
      index += 2
    }
  }

  private static func digit(_ character: UInt8) -> UInt64 {
    character < 0x3A ? UInt64(character - 0x30) : UInt64(character - 0x37)
  }
}
