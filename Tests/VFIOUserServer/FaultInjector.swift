// SPDX-License-Identifier: Apache-2.0

import Fakes
import VFIOUser

/// Applies a fault plan to the messages of a server. The same plan, seed and messages give the same faults.
package struct FaultInjector {
  private let plan: FaultPlan
  private var generator: SeededGenerator
  /// The number of commands so far.
  package private(set) var messages: UInt64 = 0
  /// The faults of the present message.
  private(set) var present: [Fault] = []
  /// True after ``Fault/hang``.
  private(set) var isHung = false
  /// BARs that send no reply.
  private var deadBARs: Set<UInt32> = []
  /// True if configuration space reads as all-ones.
  private(set) var isAllOnes = false
  private var lost = 0
  private var doubled = 0

  /// Creates an injector at the first message.
  package init(_ plan: FaultPlan, seed: UInt64) {
    self.plan = plan
    generator = SeededGenerator(state: seed)
  }

  /// Counts a command of the client and selects its faults.
  package mutating func next() {
    messages += 1
    present = []
    for rule in plan.rules {
      let applies =
        switch rule.trigger {
        case .at(let number): messages == number
        case .every(let number): messages.isMultiple(of: number)
        case .rate(let rate): Double.random(in: 0..<1, using: &generator) < rate
        }
      if applies { present.append(rule.fault) }
    }
    for fault in present {
      switch fault {
      case .hang: isHung = true
      case .allOnes: isAllOnes = true
      case .lostInterrupt: lost += 1
      case .doubledInterrupt: doubled += 1
      case .deadBAR(let bar): deadBARs.insert(UInt32(bar))
      default: break
      }
    }
  }

  /// True if an access to a region gets no reply.
  func isDead(_ region: UInt32) -> Bool { deadBARs.contains(region) }

  /// Returns the number of times that an interrupt is signalled.
  mutating func interruptCount() -> Int {
    if lost > 0 {
      lost -= 1
      return 0
    }
    if doubled > 0 {
      doubled -= 1
      return 2
    }
    return 1
  }

  /// The device was reset.
  mutating func reset() { isAllOnes = false }

  /// A transmission of a reply.
  struct Transmission: Equatable {
    /// The delay before it, in milliseconds.
    var delay: Int32
    var bytes: [UInt8]
    /// True if the descriptors of the reply are sent.
    var hasDescriptors: Bool
  }

  /// Returns the transmissions for a reply.
  func transmissions(_ header: Header, _ body: [UInt8]) -> [Transmission] {
    var header = header
    var body = body
    var delay: Int32 = 0
    var copies = 1
    for fault in present {
      switch fault {
      case .late(let milliseconds): delay += milliseconds
      case .wrongID: header.id ^= 0x8000
      case .duplicate: copies += 1
      case .error(let number):
        (header.isError, header.errno, body) = (true, number, [])
        header.size = UInt32(Header.size)
      case .short:
        body = Array(body.dropLast())
        header.size -= 1
      default: break
      }
    }
    let bytes = Array((header.encoded + body).prefix(Int(header.size)))
    return (0..<copies).map {
      Transmission(delay: delay, bytes: bytes, hasDescriptors: $0 == 0 && !header.isError)
    }
  }
}
