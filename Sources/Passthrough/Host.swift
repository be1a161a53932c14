// SPDX-License-Identifier: Apache-2.0

public import KVM
internal import Synchronization

/// What the assigned functions of one VM share on the host.
public struct Host: Sendable {
  let machine: VirtualMachine
  let slots: MemorySlots
  let routes: InterruptRoutes
  let dma: DMAMapper
  /// Counts the changes that can make a bare -EFAULT of KVM_RUN a thing of the past.
  public let generation = GateGeneration()

  /// Collects them.
  public init(
    machine: VirtualMachine, slots: MemorySlots, routes: InterruptRoutes, dma: DMAMapper
  ) {
    self.machine = machine
    self.slots = slots
    self.routes = routes
    self.dma = dma
  }

  /// How many memory slots there are for windows.
  public var slotCapacity: Int { slots.capacity }

  /// For each I/O address space, how many mappings there are for windows.
  public var windowMappings: [Int] { dma.windowMappings }
}

/// How often an open window has been closed, over all functions of a VM.
public final class GateGeneration: Sendable {
  /// Raised by whoever has closed a window, read by vCPU threads; orders nothing else.
  private let count = Atomic<UInt64>(0)

  /// The present count.
  public var current: UInt64 { count.load(ordering: .acquiring) }

  func advance() { count.add(1, ordering: .acquiringAndReleasing) }
}
