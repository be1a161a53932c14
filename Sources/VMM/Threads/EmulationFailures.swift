// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Passthrough

/// The number of consecutive failures of one vCPU at one location in the guest.
struct EmulationFailures {
  /// The maximum number of consecutive failures that a race of two vCPUs for a window may cause.
  static let limit = 8
  private var location: VirtualCPU.FaultLocation?
  private var repeated = 0

  /// True if the vCPU may retry an instruction that KVM cannot emulate.
  ///
  /// - Parameters:
  ///   - location: The instruction and the GPA that it accesses.
  ///   - remedy: The state of the window that the instruction accesses.
  mutating func mayRetry(_ location: VirtualCPU.FaultLocation, _ remedy: EmulationRemedy) -> Bool {
    note(location)
    guard remedy != .none, repeated < Self.limit else {
      end()
      return false
    }
    // A due window does not count, because the instruction has not been executed with the window open.
    if remedy == .isOpen { count() }
    return true
  }

  /// True if the vCPU may retry the delivery of an interrupt or exception that KVM could not deliver.
  mutating func mayRetry(_ location: VirtualCPU.FaultLocation) -> Bool {
    note(location)
    count()
    return repeated <= Self.limit
  }

  /// True after more than ``limit`` consecutive failures.
  var isAtLimit: Bool { repeated > Self.limit }

  /// Counts one more failure at the same location.
  mutating func count() { repeated += 1 }

  /// Resets the count. Called when the vCPU has passed the location.
  mutating func end() { (location, repeated) = (nil, 0) }

  private mutating func note(_ location: VirtualCPU.FaultLocation) {
    if location != self.location { (self.location, repeated) = (location, 0) }
  }
}
