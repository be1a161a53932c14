// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Passthrough

/// A vCPU's thread: runs the guest and does the accesses that it traps.
struct Processor: Sendable {
  let cpu: VirtualCPU
  let ports: PortBus
  let root: RootBus
  let ending: Ending
  /// nil where there is no assigned function.
  let generation: GateGeneration?

  /// Runs until the VM ends.
  func run() {
    do throws(FunctionError) {
      while !ending.isOver {
        let before = generation?.current
        switch cpu.run() {
        case .memory(let access): try memory(access)
        case .port(let access): try port(access)
        case .interrupted: continue
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
