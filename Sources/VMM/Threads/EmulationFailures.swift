// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Passthrough

/// How often in a row one vCPU could not get past one place in the guest.
struct EmulationFailures {
  /// The most failures in a row that a race of two vCPUs for a window may cause.
  static let most = 8
  private var place: VirtualCPU.FaultLocation?
  private var repeated = 0

  /// True if an instruction that KVM cannot emulate is to run again.
  ///
  /// - Parameter remedy: The state of the window that the instruction accesses.
  mutating func mayRetry(_ place: VirtualCPU.FaultLocation, _ remedy: EmulationRemedy) -> Bool {
    note(place)
    guard remedy != .none, repeated < Self.most else {
      end()
      return false
    }
    // That a window is due does not count: the instruction has not yet run with it open.
    if remedy == .isOpen { count() }
    return true
  }

  /// True if an event that KVM cannot deliver is to be delivered again.
  mutating func mayRetry(_ place: VirtualCPU.FaultLocation) -> Bool {
    note(place)
    count()
    return repeated <= Self.most
  }

  /// Counts one more failure at the same place.
  mutating func count() { repeated += 1 }

  /// The vCPU has got past the place.
  mutating func end() { (place, repeated) = (nil, 0) }

  private mutating func note(_ place: VirtualCPU.FaultLocation) {
    if place != self.place { (self.place, repeated) = (place, 0) }
  }
}
