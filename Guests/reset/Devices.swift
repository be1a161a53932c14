// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The drive's vector. The network card uses the next vector.
private let vector = UInt32(FIRST_VECTOR)

/// Interrupts that a device raises one after the other.
struct Interrupts {
  static let wanted: UInt64 = 3
  /// False if the device did not accept its commands.
  var isReady = false
  private(set) var raised: UInt64 = 0
  private(set) var arrived: UInt64 = 0
  /// The count of arrivals before the first interrupt.
  private var before: UInt64 = 0

  /// True for QEMU's e1000e before 8.0. It sends a message again if the throttling interval ends before the
  /// handler has cleared the cause. A guest on QEMU without Sluice sees the same.
  var mayRepeat = false

  /// True if each interrupt arrived, and if none arrived twice unless `mayRepeat` is true.
  var areRight: Bool { isReady && raised == Self.wanted && isComplete }

  private var isComplete: Bool { arrived == raised || mayRepeat && arrived > raised }

  /// Raises an interrupt and waits until it arrives. Then waits 2 ms, so that a surplus interrupt is counted
  /// too.
  ///
  /// - Parameter count: Returns the number of arrivals since the start of the guest.
  mutating func raise(_ count: () -> UInt64, _ body: () -> Bool) {
    guard isComplete else { return }
    if raised == 0 { before = count() }
    raised += 1
    let wanted = count() + 1
    isReady = body()
    _ = Time.wait(milliseconds: 5000) { count() >= wanted }
    Time.wait(milliseconds: 2)
    arrived = count() - before
  }
}

/// An NVMe controller. A reset disables it. (QEMU 7.2 keeps the admin queue's address.)
struct ResettableDrive: Resettable {
  let function: PCIFunction
  private let registers: UInt64

  private static let version: UInt64 = 0x08
  private static let configuration: UInt64 = 0x14
  private static let status: UInt64 = 0x1C

  init?(_ function: PCIFunction) {
    guard let bar = BAR.usable(function, 0) else { return nil }
    self.function = function
    registers = bar.address
  }

  var address: UInt64 { registers + Self.version }
  var constant: UInt32 { mmio_load32(address) }

  func mark() {
    var nvme = NVMe(registers: registers)
    _ = nvme.start()
  }

  private var isEnabled: UInt32 { mmio_load32(registers + Self.configuration) & 1 }
  private var isReady: UInt32 { mmio_load32(registers + Self.status) & 1 }
  var isMarked: Bool { isEnabled == 1 && isReady == 1 }
  var isPristine: Bool { isEnabled == 0 && isReady == 0 }

  func interrupts() -> Interrupts? {
    var interrupts = Interrupts()
    guard let msix = MSIX(function) else { return interrupts }
    msix.route(0, processor: 0, interrupt: vector)
    msix.enable(true)
    msix.mask(0, false)
    var nvme = NVMe(registers: registers)
    guard nvme.start() else { return interrupts }
    for _ in 0..<Interrupts.wanted {
      interrupts.raise({ interrupt_count(0, vector) }) {
        nvme.submitIdentify()
        return nvme.waitForCompletion()
      }
      nvme.takeCompletion()
    }
    if !nvme.stop() { interrupts.isReady = false }
    msix.mask(0, true)
    msix.enable(false)
    return interrupts
  }
}

/// An e1000e. A reset loads the receive address from the EEPROM.
struct ResettableNetwork: Resettable {
  private let network: E1000e
  private let original: UInt32

  init(_ network: E1000e) {
    self.network = network
    network.function.setCommand(PCIFunction.Command.memory, true)
    original = mmio_load32(network.bar.address + E1000e.Register.receiveAddress)
  }

  var function: PCIFunction { network.function }
  /// The upper half of the receive address. It contains the Address Valid bit, so that it is never 0.
  var address: UInt64 { network.bar.address + E1000e.Register.receiveAddress + 4 }
  var constant: UInt32 { mmio_load32(address) }

  private var receiveAddress: UInt32 { mmio_load32(network.bar.address + E1000e.Register.receiveAddress) }

  func mark() { mmio_store32(network.bar.address + E1000e.Register.receiveAddress, ~original) }
  var isMarked: Bool { receiveAddress == ~original }
  var isPristine: Bool { receiveAddress == original }

  /// Raises interrupts by MSI. Other guests check INTx and MSI-X.
  func interrupts() -> Interrupts? {
    var interrupts = Interrupts()
    interrupts.mayRepeat = true
    guard let msi = MSI(function) else { return interrupts }
    NetworkCauses.watch(network)
    interrupt_handle(vector + 1, { _ in NetworkCauses.take() })
    msi.route(processor: 0, interrupt: vector + 1)
    msi.enable(true)
    network.prepare()
    for _ in 0..<Interrupts.wanted {
      interrupts.raise({ NetworkCauses.taken }) {
        network.raise()
        return true
      }
    }
    msi.enable(false)
    return interrupts
  }
}

/// Any device with a register that is constant. The guest writes no register of it, so that a reset changes none.
struct ResettableDevice: Resettable {
  private let probe: Probe

  init(_ probe: Probe) { self.probe = probe }

  var function: PCIFunction { probe.function }
  var address: UInt64 { probe.bar.address + probe.constant }
  var constant: UInt32 { probe.value }
  func mark() {}
  var isMarked: Bool { true }
  var isPristine: Bool { true }
  func interrupts() -> Interrupts? { nil }
}

/// The number of causes that the handler of the network card's message has cleared, like a driver's handler.
/// Messages without a cause do not count. QEMU before 8.0 sends such messages. It sets a flag when it holds
/// back a message, for 128 µs after the last message or until its main loop runs. It never clears the flag.
/// From then on, it repeats each message whose cause is still set 128 µs later (hw/net/e1000e_core.c,
/// itr_intr_pending; "e1000e: Remove pending interrupt flags").
private enum NetworkCauses {
  private static let registers = SharedWord.first + 7
  private static let count = SharedWord.first + 8

  static var taken: UInt64 { shared_load(count) }

  static func watch(_ network: E1000e) { shared_store(registers, network.bar.address) }

  static func take() {
    let registers = shared_load(registers)
    // A read of the cause-set register returns the causes and clears none.
    guard mmio_load32(registers + E1000e.Register.causeSet) & E1000e.receiveQueue != 0 else { return }
    mmio_store32(registers + E1000e.Register.cause, .max)
    shared_store(count, taken + 1)
  }
}

/// The work of a second processor: it reads a register continuously.
enum Reader {
  static let address = SharedWord.first
  static let value = SharedWord.first + 1
  static let stop = SharedWord.first + 2
  static let stopped = SharedWord.first + 3
  static let values = SharedWord.first + 4
  static let closed = SharedWord.first + 5
  static let others = SharedWord.first + 6

  static func run() {
    let address = shared_load(address)
    let value = UInt32(truncatingIfNeeded: shared_load(value))
    while shared_load(stop) == 0 {
      let read = mmio_load32(address)
      let word = read == value ? values : read == .max ? closed : others
      shared_store(word, shared_load(word) + 1)
    }
    shared_store(stopped, 1)
    while true { halt() }
  }
}
