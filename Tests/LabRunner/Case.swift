// SPDX-License-Identifier: Apache-2.0

/// One case of the lab.
struct Case: Sendable {
  let name: String
  /// What it shows, for `list`.
  let purpose: String
  /// Seconds that it may take.
  let limit: Int
  /// Whether one thread of QEMU is to run all of L1's processors in turn.
  ///
  /// With a thread for each, QEMU 7.2 looks addresses up in a stale table while L1's memory map changes, as
  /// it does when a guest turns a device's memory off and on: now and then a write to the local APIC goes
  /// elsewhere, and L1 stands still. Linux guests with several processors are too slow that way.
  let takesTurns: Bool
  /// True for a case that `Tests/lab long` runs, and not `Tests/lab test`.
  let isLong: Bool
  /// Returns a remark for the report; throws `Failed` or `Skipped`.
  let body: @Sendable (Bench) throws -> String

  init(
    _ name: String, _ purpose: String, limit: Int = 60, takesTurns: Bool = false, isLong: Bool = false,
    body: @escaping @Sendable (Bench) throws -> String
  ) {
    (self.name, self.purpose, self.limit, self.body) = (name, purpose, limit, body)
    self.takesTurns = takesTurns
    self.isLong = isLong
  }

  /// Whether it may be tried again: a Linux guest of a kind that was seen to die under two emulations.
  var mayBeTriedAgain: Bool { Self.mortal.contains(name) }

  private static let mortal = Set(
    (LinuxCases.all + LifeCycleCases.all + ComparisonCases.linux).map(\.name))

  private static let linuxGuests = LinuxCases.all + LifeCycleCases.all + DeviceCases.all + LoadCases.all

  /// The cases of `Tests/lab test`.
  static var short: [Case] { all.filter { !$0.isLong } }

  /// The cases of `Tests/lab long`.
  static var long: [Case] { all.filter(\.isLong) }

  static let all: [Case] =
    linuxGuests + SmallGuestCases.all + InstructionCases.all + GateCases.all + PeerCases.all
    + ResourceCases.all + Torture.all + ToolCases.all
    + OutsideCases.all + DepartureCases.all + BadInputCases.all + TerminalCases.all + SeccompCases.all
    + Injections.all + GuestFuzz.all + ImageFuzz.all

  /// What also runs where L1 itself has a 6.1 kernel: its VFIO and KVM differ.
  static var onOldHost: [Case] {
    let names = ["nvme-6.12-cloud", "nvme-reset", "msix"]
    return all.filter { names.contains($0.name) } + GateCases.all + PeerCases.all + Torture.all
      + OutsideCases.all
      + DepartureCases.all + DeviceCases.all + LoadCases.all
  }
}

/// A case found something wrong.
struct Failed: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// A case cannot run here.
struct Skipped: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}
