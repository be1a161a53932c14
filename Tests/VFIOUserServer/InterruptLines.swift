// SPDX-License-Identifier: Apache-2.0

import CLinux
import Linux

/// The eventfds of a function's interrupts, and the state of INTx.
struct InterruptLines {
  /// VFIO_PCI_*_IRQ_INDEX.
  enum Index {
    static let intx = 0
    static let msi = 1
    static let msix = 2
  }

  /// The triggers of each kind.
  private var triggers: [[SharedDescriptor?]]
  /// The eventfd that unmasks INTx, or nil.
  private(set) var unmaskEvent: SharedDescriptor?
  private(set) var isAsserted = false
  private var isMasked = false

  /// Creates lines without eventfds.
  init(vectors: [Int]) { triggers = vectors.map { [SharedDescriptor?](repeating: nil, count: $0) } }

  /// The number of vectors of a kind, 0 for an unknown kind.
  func count(_ index: UInt32) -> Int { index < triggers.count ? triggers[Int(index)].count : 0 }

  /// Sets or removes the eventfd of a vector.
  mutating func setTrigger(_ index: Int, _ vector: Int, _ event: SharedDescriptor?) {
    triggers[index][vector] = event
    if index == Index.intx, event == nil { (isMasked, unmaskEvent) = (false, nil) }
  }

  /// Sets or removes the eventfd that unmasks INTx.
  mutating func setUnmask(_ event: SharedDescriptor?) { unmaskEvent = event }

  /// Removes all eventfds of a kind.
  mutating func disable(_ index: Int) {
    for vector in triggers[index].indices { setTrigger(index, vector, nil) }
  }

  /// Masks or unmasks INTx. The masks of the other kinds are the client's.
  mutating func setMask(_ isMasked: Bool, isDisabled: Bool) {
    self.isMasked = isMasked
    update(isDisabled: isDisabled)
  }

  /// Signals the eventfd of a vector, if it has one.
  func signal(_ index: Int, _ vector: Int) {
    guard vector < triggers[index].count, let event = triggers[index][vector] else { return }
    // The client may have sent a pipe without room. A write to it would wait.
    guard cl_poll_writable(event.number, 0) > 0 else { return }
    // The call fails only if the count is at its maximum, or if the client has sent another kind of file.
    _ = cl_eventfd_add(event.number)
  }

  /// The kind of messages that the client has enabled, or nil for INTx.
  var messageKind: Int? { [Index.msix, Index.msi].first { triggers[$0].contains { $0 != nil } } }

  /// Asserts or deasserts INTx.
  mutating func setLine(_ isAsserted: Bool, isDisabled: Bool) {
    self.isAsserted = isAsserted
    update(isDisabled: isDisabled)
  }

  /// Signals INTx if it is asserted and not masked, and masks it (VFIO_IRQ_INFO_AUTOMASKED).
  mutating func update(isDisabled: Bool) {
    guard isAsserted, !isMasked, !isDisabled, triggers[Index.intx][0] != nil else { return }
    isMasked = true
    signal(Index.intx, 0)
  }
}
