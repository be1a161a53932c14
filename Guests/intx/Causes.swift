// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The processor's interrupt vectors.
enum Vector {
  static let line = UInt32(FIRST_VECTOR)
  static let message = UInt32(FIRST_VECTOR) + 1
  static let table = UInt32(FIRST_VECTOR) + 2
}

/// Counts from the interrupt handlers: the causes of each device, and interrupts without a cause.
enum Causes {
  private static let eduRegisters = SharedWord.first
  private static let networkRegisters = SharedWord.first + 1
  private static let eduCount = SharedWord.first + 2
  private static let networkCount = SharedWord.first + 3
  private static let noneCount = SharedWord.first + 4
  private static let heldCount = SharedWord.first + 5

  static func watch(_ edu: Edu) { shared_store(eduRegisters, edu.bar.address) }
  static func watch(_ network: E1000e) { shared_store(networkRegisters, network.bar.address) }

  static var edu: UInt64 { shared_load(eduCount) }
  static var network: UInt64 { shared_load(networkCount) }
  static var none: UInt64 { shared_load(noneCount) }

  /// Leaves the next `interrupts` interrupts of edu unacknowledged.
  static func hold(_ interrupts: UInt64) { shared_store(heldCount, interrupts) }

  private static func add(_ word: UInt32) { shared_store(word, shared_load(word) + 1) }

  static func takeEdu() { if !hasTakenEdu() { add(noneCount) } }
  static func takeNetwork() { if !hasTakenNetwork() { add(noneCount) } }

  static func takeBoth() {
    let edu = hasTakenEdu()
    let network = hasTakenNetwork()
    if !edu, !network { add(noneCount) }
  }

  private static func hasTakenEdu() -> Bool {
    let registers = shared_load(eduRegisters)
    let causes = mmio_load32(registers + Edu.Register.interruptStatus)
    guard causes != 0 else { return false }
    if shared_load(heldCount) > 0 {
      shared_store(heldCount, shared_load(heldCount) - 1)
      return true
    }
    mmio_store32(registers + Edu.Register.interruptAcknowledge, causes)
    add(eduCount)
    return true
  }

  private static func hasTakenNetwork() -> Bool {
    let registers = shared_load(networkRegisters)
    // A read of the cause-set register returns the causes and clears none.
    guard mmio_load32(registers + E1000e.Register.causeSet) & E1000e.receiveQueue != 0 else { return false }
    mmio_store32(registers + E1000e.Register.cause, .max)
    add(networkCount)
    return true
  }
}
