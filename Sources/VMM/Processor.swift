// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import Passthrough

/// A vCPU's thread: runs the guest and serves the accesses that it traps.
struct Processor: Sendable {
  let cpu: VirtualCPU
  let ports: PortBus
  let root: RootBus
  let ending: Ending
  /// Nil if there is no assigned function.
  let generation: GateGeneration?
  /// The same.
  let openings: Openings?
  /// Logs a warning.
  let warn: @Sendable (String) -> Void

  /// The instructions of one vCPU that KVM could not emulate.
  private struct EmulationFailures {
    /// Two vCPUs may race for a window this often in a row; then the instruction is at fault.
    static let most = 8
    var hasWarned = false
    /// Consecutive failures with an open window.
    var repeated = 0
  }

  /// Runs until the VM ends.
  func run() {
    defer { cpu.retire() }
    var failures = EmulationFailures()
    do throws(FunctionError) {
      while !ending.isOver {
        let before = generation?.current
        switch cpu.run(isPausing: openings?.isWanted ?? false) {
        case .memory(let access):
          failures.repeated = 0
          try memory(access)
        case .port(let access):
          failures.repeated = 0
          try port(access)
        case .interrupted: continue
        case .pausable: try openWindows()
        case .notEmulated(let address): try emulate(address, &failures)
        case .shutdown: ending.end(.tripleFault)
        case .fault: try survive(before)
        case .failed(let cause): ending.end(.failure(cause))
        }
      }
    } catch { ending.end(.failure(error.description)) }
  }

  private func memory(_ access: borrowing VirtualCPU.Access) throws(FunctionError) {
    if access.isWrite {
      try root.writeMemory(access.address, width: access.width, access.value())
    } else {
      access.complete(try root.readMemory(access.address, width: access.width))
    }
  }

  private func port(_ access: borrowing VirtualCPU.Access) throws(FunctionError) {
    let port = UInt16(truncatingIfNeeded: access.address)
    for index in 0..<access.count where !ending.isOver {
      if access.isWrite {
        try ports.write(port, width: access.width, access.value(index))
      } else {
        access.complete(try ports.read(port, width: access.width), index)
      }
    }
  }

  /// Opens the windows that are due, while every vCPU is between two instructions. If one of them takes too long
  /// it does this itself after its instruction; until then accesses stay trapped.
  private func openWindows() throws(FunctionError) {
    openings?.take()
    let result = try cpu.duringPause { () throws(FunctionError) in try root.openDueWindows() }
    if case .failure(let error) = result { ending.end(.failure(error.description)) }
  }

  /// Runs an instruction again that KVM cannot emulate, with the window open that it accesses. If no window can
  /// be opened for it, the guest gets #UD.
  private func emulate(_ address: UInt64?, _ failures: inout EmulationFailures) throws(FunctionError) {
    switch try root.makeDue(address) {
    case .isDue: return
    case .isOpen where failures.repeated < EmulationFailures.most:
      failures.repeated += 1
      return
    case .isOpen, .none: failures.repeated = 0
    }
    if !failures.hasWarned {
      failures.hasWarned = true
      warn(
        "vCPU \(cpu.index): KVM cannot emulate an instruction of the guest that accesses a device; the guest gets "
          + "#UD for each such instruction")
    }
    do throws(KernelError) { try cpu.injectUndefinedInstruction() } catch {
      ending.end(.failure(error.description))
    }
  }

  /// A bare -EFAULT: the kernel took memory away under a slot. The windows concerned are demoted and
  /// the guest goes on; the access comes back as a trapped one.
  ///
  /// - Parameter before: The gate generation when the guest was entered. Where it has changed since,
  ///   what was hit may be gone already. That is asked again where nothing could be demoted: another
  ///   vCPU may have done it while this one waited for the function's lock.
  private func survive(_ before: UInt64?) throws(FunctionError) {
    guard generation?.current == before, try !root.demote(), generation?.current == before else { return }
    ending.end(
      .failure(
        "KVM_RUN on vCPU \(cpu.index): the memory behind an address of the guest is gone (EFAULT) and no "
          + "device's window stands for it; the host took guest RAM away or KVM is at fault"))
  }
}
