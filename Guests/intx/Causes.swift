// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Interrupt vectors of the processor.
enum Vector {
  static let line = UInt32(FIRST_VECTOR)
  static let message = UInt32(FIRST_VECTOR) + 1
  static let table = UInt32(FIRST_VECTOR) + 2
}

/// What the interrupt handlers found: how often each device had a cause, and how often none had.
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

  /// Makes the next interrupts of edu go unacknowledged.
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
    // The register that sets causes reads as they are, without taking any away.
    guard mmio_load32(registers + E1000e.Register.causeSet) & E1000e.receiveQueue != 0 else { return false }
    mmio_store32(registers + E1000e.Register.cause, .max)
    add(networkCount)
    return true
  }
}
