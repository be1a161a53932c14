// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
internal import Passthrough
internal import Seams

/// A vCPU's thread: runs the guest and serves the accesses that it traps.
struct VCPUThread<B: Backend>: Sendable {
  let cpu: VirtualCPU
  let ports: PortBus<B>
  let root: RootBus<B>
  let shutdown: ShutdownRequest
  /// Nil if there is no assigned function.
  let generation: GateGeneration?
  /// The same.
  let openings: Openings?
  /// Logs a warning.
  let warn: @Sendable (String) -> Void

  /// Runs until the VM ends.
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
        case .notEmulated(let place):
          guard failures.mayRetry(place, try root.makeDue(place.address)) else {
            refuse(hasWarned: &hasWarned)
            continue
          }
        case .notDelivered(let place, let cause):
          _ = try root.makeDue(place.address)
          if !failures.mayRetry(place) { fail(OperationError(cause)) }
        case .shutdown: shutdown.end(.tripleFault)
        case .fault:
          failures.count()
          try survive(before)
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

  /// Opens the windows that are due, while every vCPU is between two instructions. If one of them takes too long
  /// it does this itself after its instruction; until then accesses stay trapped.
  private func openWindows() throws(FunctionError) {
    openings?.take()
    let result = try cpu.duringPause { () throws(FunctionError) in try root.openDueWindows() }
    if case .failure(let error) = result { shutdown.end(.failure(.kernel(error))) }
  }

  /// Gives the guest #UD for an instruction that KVM cannot emulate and for which no window can be opened.
  private func refuse(hasWarned: inout Bool) {
    if !hasWarned {
      hasWarned = true
      warn(
        "vCPU \(cpu.index): KVM cannot emulate an instruction of the guest that accesses a device; the guest gets "
          + "#UD for each such instruction")
    }
    do throws(KernelError) { try cpu.injectUndefinedInstruction() } catch {
      shutdown.end(.failure(.kernel(error)))
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
    fail(
      OperationError(
        "KVM_RUN on vCPU \(cpu.index): the memory behind an address of the guest is gone (EFAULT) and no "
          + "device's window stands for it: the host took guest RAM away or KVM is at fault",
        errno: KernelError.fault))
  }
}
