// SPDX-License-Identifier: Apache-2.0

import Hardware

/// An access that the VMM handles, repeated a number of times. The lab counts the VMM's operations
/// concurrently.
struct Repetition {
  let function: PCIFunction
  let line: CommandLine
  let times: UInt64

  /// Repeats the access. Returns false if the function does not support the access or the kind is unknown.
  func run() -> Bool {
    guard let bar = BAR.usable(function, 0), let msix = MSIX(function) else { return false }
    let off = function.command & ~PCIFunction.Command.memory
    let memory = { (on: Bool) in
      function.store16(PCIFunction.Register.command, on ? off | PCIFunction.Command.memory : off)
    }
    memory(true)
    if line.has("kind", "port-read") {
      repeated { _ = port_load8(0x3FD) }
    } else if line.has("kind", "config-read") {
      repeated { _ = function.load32(PCIFunction.Register.firstBAR) }
    } else if line.has("kind", "config-read-device") {
      repeated { _ = function.status }
    } else if line.has("kind", "config-write") {
      repeated { function.store8(PCIFunction.Register.interruptLine, 10) }
    } else if line.has("kind", "config-write-device") {
      // Writing 0 clears no bit of STATUS.
      repeated { function.store16(PCIFunction.Register.status, 0) }
    } else if line.has("kind", "table-read") {
      repeated { _ = mmio_load32(msix.tableAddress) }
    } else if line.has("kind", "mask") {
      msix.route(0, processor: 0, interrupt: UInt32(FIRST_VECTOR))
      msix.enable(true)
      msix.mask(0, false)
      repeated {
        msix.mask(0, true)
        msix.mask(0, false)
      }
      msix.enable(false)
    } else if line.has("kind", "memory-bit") {
      repeated {
        memory(false)
        memory(true)
      }
    } else if line.has("kind", "first-touch") {
      repeated {
        memory(false)
        memory(true)
        _ = mmio_load32(bar.address)
      }
    } else {
      return false
    }
    return true
  }

  private func repeated(_ access: () -> Void) {
    for _ in 0..<times { access() }
  }
}
