// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import PCI
internal import Passthrough
internal import Seams
internal import Trace

/// The mutable state of a ``Port``.
struct PortState<B: Backend>: ~Copyable {
  /// The progress of the recovery from an error that the host's kernel has reported.
  enum HostError {
    /// The guest has not reset the slot yet.
    case reported
    /// The hotplug thread resets the function, and opens it again if needed.
    case resetting
    /// The reset has ended, and the gate arms.
    case arming
  }

  var port: RootPort
  var function: AssignedFunction<B>?
  var interrupt: PortInterrupt<B.Machine>
  /// The time in microseconds at which the function leaves by surprise, or nil.
  var deadline: Int64?
  /// The function to insert, its link and the time in microseconds, or nil.
  var arrival: (function: AssignedFunction<B>, link: RootPort.Link, time: Int64)?
  /// The time in microseconds before which the guest ignores an insertion.
  var quietUntil: Int64 = 0
  /// The error of the function from which it has not recovered, or nil.
  var error: HostError?
  /// The last reported state of the function's life, or nil.
  private var life: TraceEvent.SlotState?
  /// True after the first interrupt that was lost.
  private var hasLost = false

  init(port: RootPort, function: AssignedFunction<B>?, interrupt: PortInterrupt<B.Machine>) {
    (self.port, self.function, self.interrupt) = (port, function, interrupt)
  }

  /// Reports the present state of the function's life if it has changed.
  mutating func noteLife() {
    guard let function else { return life = nil }
    let now: TraceEvent.SlotState =
      if port.isResetting || error == .resetting {
        .resetting
      } else if port.isContained {
        .contained
      } else if deadline != nil {
        .leaving
      } else {
        port.isReachable ? .enabled : .present
      }
    if now != life { function.note(now) }
    life = now
  }

  /// Forgets the function, which has left the slot.
  mutating func forgetFunction() {
    function?.note(.gone)
    (function, deadline, error, life) = (nil, nil, nil, nil)
  }

  /// Sends the port's interrupt. Logs the first failure.
  mutating func signal(_ warn: (String) -> Void) {
    do throws(OperationError) { try interrupt.update(&port) } catch {
      if !hasLost { warn("an interrupt of the port is lost: \(error)") }
      hasLost = true
    }
  }
}
