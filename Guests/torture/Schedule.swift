// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The kinds of changes of the devices.
enum Event: Int, CaseIterable {
  case toggle, moveOn, moveOff, functionReset, power, drive, storm, route, edu, network, transfer, config,
    outside, slot

  var name: StaticString {
    switch self {
    case .toggle: "toggle"
    case .moveOn: "move-on"
    case .moveOff: "move-off"
    case .functionReset: "flr"
    case .power: "d3hot"
    case .drive: "command"
    case .storm: "mask-storm"
    case .route: "msix-route"
    case .edu: "edu-interrupt"
    case .network: "e1000e-interrupt"
    case .transfer: "dma"
    case .config: "config"
    case .outside: "outside"
    case .slot: "slot"
    }
  }

  /// The weights of the events, with a sum of 256. Slow events are rare.
  private static let weights: InlineArray<14, UInt64> = [
    80, 30, 20, 4, 5, 18, 3, 8, 16, 8, 24, 17, 7, 16,
  ]

  /// Returns the event for a number below 256.
  static func of(_ number: UInt64) -> Event {
    var rest = number
    for index in weights.indices {
      if rest < weights[index] { return Event(rawValue: index) ?? .toggle }
      rest -= weights[index]
    }
    return .toggle
  }
}

/// The checks of the first processor right after its events.
struct Judgement {
  /// The number of reads of the register right after memory off, and right after memory on.
  var closed: UInt64 = 0
  var opened: UInt64 = 0
  /// The number of checks of configuration space.
  var config: UInt64 = 0
  var faults: UInt64 = 0

  /// Records the result of a check. Prints the first ten faults.
  mutating func check(_ condition: Bool, _ text: StaticString, _ device: Int, _ event: UInt64) {
    guard !condition else { return }
    faults += 1
    if faults <= 10 { Console.print("# fault: \(text), device \(UInt64(device)), event \(event)") }
  }
}

/// The work of the first processor: a sequence of events, determined by the seed.
struct Schedule: ~Copyable {
  var targets: InlineArray<4, Target>
  var causes: Causes
  var drive: Drive
  var transfers: Transfers
  var words = Words(0)
  var random: Random
  let hasOutside: Bool
  /// One of this number of events of the slot fails, removes or replaces the device. The others are toggles, because an
  /// insertion takes more than a second.
  let slotInterval: UInt64
  let isEmulated: Bool
  var counts = InlineArray<14, UInt64>(repeating: 0)
  /// The resets of the drive's slot, and the errors that the host injected into the drive.
  var slotResets: UInt64 = 0
  var errors: UInt64 = 0
  /// The removals of the drive before an addition, and its replacements.
  var additions: UInt64 = 0
  var replacements: UInt64 = 0
  private(set) var done: UInt64 = 0
  var judgement = Judgement()

  init(
    targets: InlineArray<4, Target>, causes: Causes, drive: consuming Drive, seed: UInt64, hasPeers: Bool,
    hasOutside: Bool, slotInterval: UInt64, isEmulated: Bool
  ) {
    (self.targets, self.causes, self.hasOutside, self.isEmulated) = (targets, causes, hasOutside, isEmulated)
    self.slotInterval = slotInterval
    transfers = Transfers(hasPeers: hasPeers)
    self.drive = drive
    random = Random(seed)
    words.prepare(targets[Int(Device.memory)].bar.address)
  }

  mutating func step() {
    // Each event consumes the same number of random numbers, so that it does not change the events after it.
    let event = Event.of(random.next(below: 256))
    let device = Int(random.next(below: 4))
    let number = random.next(below: 1 << 24)
    done += 1
    LocalAPIC.interruptOthers(Vector.wake)
    counts[event.rawValue] += 1
    switch event {
    case .toggle: change(device, number) { _ in }
    case .moveOn: move(device)
    case .moveOff: change(device, number) { $0.move() }
    case .functionReset:
      // Behind a port, every second reset is a reset of the slot.
      if number & 1 != 0, targets[Int(Device.drive)].port != nil {
        resetSlot(Int(Device.drive))
      } else {
        reset(Int(Device.drive), number)
      }
    case .power: sleep(number % 2 == 0 ? Int(Device.drive) : Int(Device.network), number)
    case .drive: drive.identify(masks: number % 4)
    case .storm: drive.identify(masks: 50)
    case .route: drive.route(processor: UInt32(number % 4), second: number & 4 != 0)
    case .edu: causes.raiseEdu(targets[Int(Device.edu)], switching: number % 2 == 0)
    case .network:
      let mode = InterruptMode(rawValue: number % 3) ?? .line
      causes.raiseNetwork(targets[Int(Device.network)], to: mode, raisingBefore: number & 8 != 0)
    case .transfer: transfers.step(targets[Int(Device.edu)], targets[Int(Device.memory)], number)
    case .config: checkConfig(device)
    case .outside where hasOutside:
      if number & 0x30 != 0, targets[device].port != nil {
        requestError(device, isFatal: number & 0x10 != 0)
      } else {
        requestHostChange(device, number)
      }
    case .outside: break
    case .slot:
      if hasOutside, targets[Int(Device.drive)].port != nil, counts[event.rawValue] % slotInterval == 0 {
        if number & 3 == 0 {
          requestError(Int(Device.drive), isFatal: number & 4 != 0)
        } else {
          exchange(Int(Device.drive), isReplacement: number & 4 != 0)
        }
      } else {
        change(device, number) { _ in }
      }
    }
    readOnce(0, UInt32(device))
    words.writeOnce(device)
  }
}
