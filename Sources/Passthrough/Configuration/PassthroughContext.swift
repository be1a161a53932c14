// SPDX-License-Identifier: Apache-2.0

public import Seams
internal import Synchronization

/// The resources of the host that the assigned functions of one VM share.
public struct PassthroughContext<B: Backend>: Sendable {
  let machine: B.Machine
  let dma: DMAMapper<B.Space>
  /// The gate generation, which advances after open windows have been closed. A vCPU compares it to
  /// distinguish a stale -EFAULT of KVM_RUN from a real one.
  public let generation = GateGeneration()
  /// The request to open due windows.
  public let openings = Openings()
  /// The addresses of the BARs of all functions.
  public let decoder = AddressDecoder()

  /// Creates a context. No function has been added.
  public init(machine: B.Machine, dma: DMAMapper<B.Space>) {
    self.machine = machine
    self.dma = dma
  }

  /// The number of memory slots for windows.
  public var slotCapacity: Int { machine.slotCapacity }

  /// The number of mappings for windows in each I/O address space.
  public var windowMappings: [Int] { dma.windowMappings }
}

/// The number of events that have closed or demoted open windows, over all functions of a VM.
public final class GateGeneration: Sendable {
  /// Incremented by the thread that has closed windows, read by vCPU threads. It orders nothing else.
  private let count = Atomic<UInt64>(0)

  /// The present count.
  public var current: UInt64 { count.load(ordering: .acquiring) }

  func advance() { count.add(1, ordering: .acquiringAndReleasing) }
}

/// The request to open due windows, for all functions of a VM.
///
/// The thread that makes a window due holds its function's lock. vCPU threads take the request without a
/// lock.
public final class Openings: Sendable {
  private let wanted = Atomic<Bool>(false)

  /// True if a function has made a request that no vCPU has taken.
  public var isWanted: Bool { wanted.load(ordering: .acquiring) }

  /// Takes the request. The caller takes the requests of the functions afterwards.
  public func take() { wanted.store(false, ordering: .sequentiallyConsistent) }

  func request() { wanted.store(true, ordering: .sequentiallyConsistent) }
}

/// The state of the accessed window, for an instruction that KVM cannot emulate.
public enum EmulationRemedy: Int, Sendable {
  /// The instruction cannot run: no window that it accesses can open.
  case none
  /// The window is open. Another vCPU may have opened it after KVM tried the instruction.
  case isOpen
  /// The window is due.
  case isDue
}

/// The request of one function, a part of ``Openings``.
final class OpeningRequest: Sendable {
  private let wanted = Atomic<Bool>(false)
  private let all: Openings

  init(_ all: Openings) { self.all = all }

  func request() {
    wanted.store(true, ordering: .sequentiallyConsistent)
    all.request()
  }

  /// True if there was a request.
  func take() -> Bool { wanted.exchange(false, ordering: .sequentiallyConsistent) }
}
