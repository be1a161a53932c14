// SPDX-License-Identifier: Apache-2.0

import Hardware

/// Reads a device's register once and checks the value.
///
/// The expected value is certain only if nothing changed between the start and the end of the read.
func readOnce(_ processor: UInt32, _ device: UInt32) {
  let before = shared_load(Shared.epoch(device))
  let wasForeign = shared_load(Shared.isChangedByHost(device))
  let address = shared_load(Shared.address(device))
  let read = mmio_load32(address)
  let isChangedByHost = wasForeign != 0 || shared_load(Shared.isChangedByHost(device)) != 0
  let isCertain = before & 1 == 0 && shared_load(Shared.epoch(device)) == before
  let isValue = read == UInt32(truncatingIfNeeded: shared_load(Shared.value(device)))
  (isValue ? Tally.values : read == .max ? .closed : isChangedByHost && read == 0 ? .zeroReads : .wrong).add(
    processor)
  if !isValue, read != .max, !(isChangedByHost && read == 0) {
    recordViolation(processor, address, UInt64(read))
  }
  guard isCertain else { return }
  Tally.certain.add(processor)
  if !isValue {
    Tally.uncertain.add(processor)
    recordViolation(processor, address, UInt64(read))
  }
}

/// Records the first violation.
private func recordViolation(_ processor: UInt32, _ address: UInt64, _ read: UInt64) {
  guard shared_load(Shared.tally(processor, .address)) == 0 else { return }
  shared_store(Shared.tally(processor, .address), address)
  shared_store(Shared.tally(processor, .read), read)
}

/// The words of shared memory that only one processor uses, one in each of four windows.
struct Words {
  static let count = 4
  private let processor: UInt32
  /// The number of writes of each word.
  private var written = InlineArray<4, UInt64>(repeating: 0)
  /// The last number that was read from each word.
  private var seen = InlineArray<4, UInt64>(repeating: 0)

  init(_ processor: UInt32) { self.processor = processor }

  private static func offset(_ processor: UInt32, _ index: Int) -> UInt64 {
    1 << 24 + (UInt64(processor) * UInt64(count) + UInt64(index)) << 20
  }

  private func tag(_ index: Int) -> UInt64 { UInt64(processor) << 56 | UInt64(index) << 48 }

  /// Writes the first values. Memory must be on.
  func prepare(_ base: UInt64) {
    for index in 0..<Self.count { mmio_store64(base + Self.offset(processor, index), tag(index)) }
  }

  /// Writes the next value and reads the word. The read must return that value if nothing changed in between.
  /// Otherwise it may also return all-ones, or a value that is not older than the last one that was read.
  mutating func writeOnce(_ index: Int) {
    let epoch = shared_load(Shared.epoch(Device.memory))
    let wasForeign = shared_load(Shared.isChangedByHost(Device.memory))
    let address = shared_load(Shared.registers(Device.memory)) + Self.offset(processor, index)
    written[index] += 1
    mmio_store64(address, tag(index) | written[index])
    let read = mmio_load64(address)
    let isChangedByHost = wasForeign != 0 || shared_load(Shared.isChangedByHost(Device.memory)) != 0
    Tally.writes.add(processor)
    let isCertain = epoch & 1 == 0 && shared_load(Shared.epoch(Device.memory)) == epoch
    if isCertain { Tally.certain.add(processor) }
    let number = read & 0xFFFF_FFFF_FFFF
    if read == .max || read == 0 && isChangedByHost && tag(index) != 0 {
      if isCertain { violate(.uncertain, address, read) }
    } else if read >> 48 != tag(index) >> 48 || number < seen[index] || number > written[index] {
      violate(.stale, address, read)
    } else {
      if isCertain, number != written[index] { violate(.uncertain, address, read) }
      seen[index] = number
    }
  }

  private func violate(_ kind: Tally, _ address: UInt64, _ read: UInt64) {
    kind.add(processor)
    recordViolation(processor, address, read)
  }
}

/// The work of the other processors until `Shared.stop` is set. Each wake-up by the first processor starts a
/// number of accesses. The pauses leave enough time for the first processor's events on a host with few CPUs.
func work(_ processor: UInt32) {
  LocalAPIC.enable()
  interrupts_on()
  var random = Random(shared_load(Shared.seed) &+ UInt64(processor))
  var words = Words(processor)
  while shared_load(Shared.stop) == 0 {
    var left = 20 + random.next(below: 1000)
    while left > 0, shared_load(Shared.stop) == 0 {
      let choice = random.next(below: 8)
      if choice < 4 { readOnce(processor, UInt32(choice)) } else { words.writeOnce(Int(choice - 4)) }
      left -= 1
    }
    // Disable interrupts, so that none arrives between the check and the sleep.
    interrupts_off()
    if shared_load(Shared.stop) == 0 { wait_for_interrupt() }
    interrupts_on()
  }
  shared_store(Shared.tally(processor, .stopped), 1)
  while true { wait_for_interrupt() }
}
