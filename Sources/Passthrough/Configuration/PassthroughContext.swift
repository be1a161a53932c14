// SPDX-License-Identifier: Apache-2.0

public import Seams
internal import Synchronization

/// What the assigned functions of one VM share on the host.
public struct PassthroughContext<B: Backend>: Sendable {
  let machine: B.Machine
  let dma: DMAMapper<B.Space>
  /// Counts the changes that can make a bare -EFAULT of KVM_RUN a thing of the past.
  public let generation = GateGeneration()
  /// True while a function has a window that is due.
  public let openings = Openings()
  /// The decoded ranges of all functions.
  public let decoder = AddressDecoder()

  /// Collects them.
  public init(machine: B.Machine, dma: DMAMapper<B.Space>) {
    self.machine = machine
    self.dma = dma
  }

  /// How many memory slots there are for windows.
  public var slotCapacity: Int { machine.slotCapacity }

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

/// The request to open due windows, for all functions of a VM.
///
/// The thread that makes a window due holds its function's lock; vCPU threads take the request without a lock.
public final class Openings: Sendable {
  private let wanted = Atomic<Bool>(false)

  /// True if a function has made a request that no vCPU has taken.
  public var isWanted: Bool { wanted.load(ordering: .acquiring) }

  /// Takes the request, before the functions are asked for theirs.
  public func take() { wanted.store(false, ordering: .sequentiallyConsistent) }

  func request() { wanted.store(true, ordering: .sequentiallyConsistent) }
}

/// How an instruction that KVM cannot emulate can run.
public enum EmulationRemedy: Int, Sendable {
  /// Not at all: no window that it accesses can open.
  case none
  /// Its window is open now; another vCPU may have opened it since the instruction was tried.
  case isOpen
  /// Its window is due.
  case isDue
}

/// One function's part of ``Openings``.
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
