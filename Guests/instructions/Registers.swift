// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Instructions on the registers of edu. The registers accept 4-byte accesses, and from 0x80 on also 8-byte
/// accesses.
struct Registers {
  let edu: Edu
  /// GPA of ordinary memory.
  let memory: UInt64

  private static let liveness: UInt64 = 4

  /// Runs an instruction as the first access after memory on, and again. Returns both results.
  private func twice(
    _ operation: Operation, _ width: UInt64, at offset: UInt64, source: UInt64, isUser: Bool
  ) -> (armed: (UInt64, UInt64, UInt64), open: (UInt64, UInt64, UInt64)) {
    func once(_ isArmed: Bool) -> (UInt64, UInt64, UInt64) {
      mmio_store32(edu.bar.address + Self.liveness, 0xFFFF_FFFF)
      mmio_store64(edu.bar.address + Edu.Register.source, 0x1020_3040_5060_7080)
      mmio_store64(memory, 0x0F1E_2D3C_4B5A_6978)
      mmio_store64(memory + 8, 0)
      if isArmed {
        edu.function.setCommand(PCIFunction.Command.memory, false)
        edu.function.setCommand(PCIFunction.Command.memory, true)
      }
      operation.assemble(width)
      let vector = execution_run(
        isUser ? 1 : 0, operation.rax, operation.rcx, 0, source, edu.bar.address + offset)
      let rax = execution_register(0)
      let register =
        offset < 0x80 ? UInt64(mmio_load32(edu.bar.address + offset)) : mmio_load64(edu.bar.address + offset)
      return (
        rax, register, vector << 56 ^ mmio_load64(memory) ^ mmio_load64(memory + 8) ^ execution_register(6)
      )
    }
    return (once(true), once(false))
  }

  func write(isUser: Bool, _ report: inout Report) {
    var failures: UInt32 = 0
    var runs: UInt32 = 0
    Operation.forEach { operation in
      operation.forEachWidth { width in
        guard width == 4 || width == 8 else { return }
        // Skip repeated string instructions: they would continue to the DMA engine's registers, which are not
        // memory.
        guard operation.rcx != 3 else { return }
        let offset = width == 4 ? Self.liveness : Edu.Register.source
        let (armed, open) = twice(operation, width, at: offset, source: memory, isUser: isUser)
        runs += 1
        if armed != open {
          failures += 1
          report.check(
            false,
            "edu \(operation.name) \(width): armed RAX \(hex: armed.0) register \(hex: armed.1), open RAX \(hex: open.0) register \(hex: open.1)"
          )
        }
        let level = isUser ? 3 : 0 as UInt8
        Console.print(
          "edu.cpl\(level).\(operation.name).\(width) = \(hex: open.0) \(hex: open.1) \(hex: open.2)")
      }
    }
    report.check(
      runs > 0 && failures == 0,
      "CPL \(isUser ? 3 : 0 as UInt8): \(runs) instructions on edu's registers agree armed and open")
  }

  /// Runs the examples that revealed the fault, each as the first access: OR of a register, and REP MOVSD of
  /// two registers.
  func writeExamples(_ report: inout Report) {
    let address = edu.bar.address
    func arm() {
      edu.function.setCommand(PCIFunction.Command.memory, false)
      edu.function.setCommand(PCIFunction.Command.memory, true)
    }
    mmio_store32(address + Self.liveness, 0xFFFF_FFFF)
    arm()
    Operation(name: "or-imm", forms: "4", code: "830FFE").assemble(4)
    _ = execution_run(0, 0, 0, 0, memory, address + Self.liveness)
    let liveness = mmio_load32(address + Self.liveness)
    report.check(liveness == 1, "OR as the first access: the register reads \(hex: liveness)")
    mmio_store32(address + Self.liveness, 0x1234_5678)
    arm()
    Operation(name: "rep-movs", forms: "4", code: "A5", prefix: "F3").assemble(4)
    mmio_store64(memory, 0)
    _ = execution_run(0, 0, 2, 0, address, memory)
    report.check(
      mmio_load32(memory) == mmio_load32(address) && mmio_load32(memory + 4) == ~0x1234_5678,
      "REP MOVSD of two registers as the first access: \(hex: mmio_load32(memory)) \(hex: mmio_load32(memory + 4))"
    )
    // The count exceeds the 1,024 iterations that KVM emulates at once. Reads of these registers have no
    // effect.
    arm()
    Operation(name: "rep-lods", forms: "4", code: "AD", prefix: "F3").assemble(4)
    let vector = execution_run(0, 0, 3000, 0, address + 0x1000, memory)
    report.check(vector == 0 && execution_register(1) == 0, "REP LODSD of 3,000 registers ends")
  }
}
