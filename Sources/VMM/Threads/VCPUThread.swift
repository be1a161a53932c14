// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import Passthrough
internal import Seams

/// The thread of a vCPU. It runs the guest and serves trapped accesses.
struct VCPUThread<B: Backend>: Sendable {
  let cpu: VirtualCPU
  let ports: PortBus<B>
  let root: RootBus<B>
  let shutdown: ShutdownRequest
  /// The gate generation, or nil if there is no assigned function.
  let generation: GateGeneration?
  /// The request to open due windows, or nil if there is no assigned function.
  let openings: Openings?
  /// Logs a warning.
  let warn: @Sendable (String) -> Void

  /// Runs the vCPU until the VM ends.
  func run() {
    defer { cpu.retire() }
    var failures = EmulationFailures()
    var hasWarned = false
    do throws(FunctionError) {
      while !shutdown.isOver {
        let before = generation?.current
        switch cpu.run(isPausing: openings?.isWanted ?? false) {
        case .memory(let access):
          failures.end()
          try memory(access)
        case .port(let access):
          failures.end()
          try port(access)
        case .interrupted: continue
        case .pausable: try openWindows()
        case .notEmulated(let location):
          guard failures.mayRetry(location, try root.makeDue(location.address)) else {
            injectUndefined(hasWarned: &hasWarned)
            continue
          }
        case .notDelivered(let location, let cause):
          _ = try root.makeDue(location.address)
          if !failures.mayRetry(location) { fail(OperationError(cause)) }
        case .shutdown: shutdown.end(.tripleFault)
        case .fault:
          failures.count()
          try handleFault(before, isRepeated: failures.isAtLimit)
        case .failed(let cause): fail(OperationError(cause))
        }
      }
    } catch { shutdown.end(.failure(.function(error))) }
  }

  private func fail(_ error: OperationError) { shutdown.end(.failure(.operation(error))) }

  private func memory(_ access: borrowing VirtualCPU.Access) throws(FunctionError) {
    if access.isWrite {
      try root.writeMemory(access.address, width: access.width, access.value())
    } else {
      access.complete(try root.readMemory(access.address, width: access.width))
    }
  }

  private func port(_ access: borrowing VirtualCPU.Access) throws(FunctionError) {
    let port = UInt16(truncatingIfNeeded: access.address)
    for index in 0..<access.count where !shutdown.isOver {
      if access.isWrite {
        try ports.write(port, width: access.width, access.value(index))
      } else {
        access.complete(try ports.read(port, width: access.width), index)
      }
    }
  }

  /// Opens the windows that are due, while every vCPU is between two instructions. If the instruction of
  /// another vCPU takes too long, that vCPU opens the windows after its instruction. Until then, accesses
  /// stay trapped.
  private func openWindows() throws(FunctionError) {
    openings?.take()
    let result = try cpu.duringPause { () throws(FunctionError) in try root.openDueWindows() }
    if case .failure(let error) = result { shutdown.end(.failure(.kernel(error))) }
  }

  /// Injects #UD for an instruction that KVM cannot emulate and for which no window can open.
  private func injectUndefined(hasWarned: inout Bool) {
    if !hasWarned {
      hasWarned = true
      warn(
        "vCPU \(cpu.index): KVM cannot emulate a guest instruction that accesses a device: the guest gets "
          + "#UD for each such instruction")
    }
    do throws(KernelError) { try cpu.injectUndefinedInstruction() } catch {
      shutdown.end(.failure(.kernel(error)))
    }
  }

  /// Handles a bare -EFAULT: the kernel has removed the memory behind a memory slot. Demotes the affected
  /// windows. The guest continues, and its access is repeated.
  ///
  /// - Parameters:
  ///   - before: The gate generation at guest entry. If it has changed since, the memory slot of the access
  ///     may already be removed. If no window could be demoted, the generation is compared again: another
  ///     vCPU may have demoted the windows while this vCPU waited for the function's lock.
  ///   - isRepeated: True if the access has been repeated as often as permitted.
  private func handleFault(_ before: UInt64?, isRepeated: Bool) throws(FunctionError) {
    guard generation?.current == before, try !root.handleFault(isRepeated: isRepeated),
      generation?.current == before
    else { return }
    fail(
      OperationError(
        "KVM_RUN on vCPU \(cpu.index): no memory behind a guest address (EFAULT), and no window is open: "
          + "the host has unmapped guest RAM, or KVM has a bug",
        errno: KernelError.fault))
  }
}
