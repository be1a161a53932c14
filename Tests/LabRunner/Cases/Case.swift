// SPDX-License-Identifier: Apache-2.0

/// One case of the lab.
struct Case: Sendable {
  let name: String
  /// What it shows, for `list`.
  let purpose: String
  /// Seconds that it may take.
  let limit: Int
  /// True if one thread of QEMU runs all of L1's processors in turn. Else each has a thread.
  ///
  /// With several threads, QEMU before 8.1 looks addresses up in a stale table while L1's memory map changes, as it does
  /// when a guest turns a device's memory off and on: now and then a write to the local APIC goes elsewhere, and L1 stands
  /// still. The times of `bench` need processors that run together.
  let needsSingleThreadedTCG: Bool
  /// True for a case that `Tests/lab long` runs, and not `Tests/lab test`.
  let isLong: Bool
  /// Returns a remark for the report; throws `Failed` or `Skipped`.
  let body: @Sendable (CaseContext) throws -> String

  init(
    _ name: String, _ purpose: String, limit: Int = 60, needsSingleThreadedTCG: Bool = true,
    isLong: Bool = false,
    body: @escaping @Sendable (CaseContext) throws -> String
  ) {
    (self.name, self.purpose, self.limit, self.body) = (name, purpose, limit, body)
    self.needsSingleThreadedTCG = needsSingleThreadedTCG
    self.isLong = isLong
  }

  private static let linuxGuests = LinuxCases.all + LifeCycleCases.all + DeviceCases.all + LoadCases.all

  /// The cases of `Tests/lab test`.
  static var short: [Case] { all.filter { !$0.isLong } }

  /// The cases of `Tests/lab long`.
  static var long: [Case] { all.filter(\.isLong) }

  static let all: [Case] =
    linuxGuests + SmallGuestCases.all + InstructionCases.all + GateCases.all + PeerCases.all + TokenCases.all
    + ResourceCases.all + Torture.all + ToolCases.all
    + OutsideCases.all + DepartureCases.all + BadInputCases.all + TerminalCases.all + SeccompCases.all
    + Injections.all + GuestFuzz.all + ImageFuzz.all

  /// The cases of `Tests/lab test` that also run in an L1 with a 6.1 kernel, whose VFIO and KVM decide their results:
  /// vectors are allocated all at once, a mapped BAR is faulted in as a whole, and KVM_RUN leaves a stale exit reason.
  static var onOldHost: [Case] {
    let names = ["nvme-6.12-cloud", "msix", "reset", "memory-enable", "peer-dma"]
    return all.filter { names.contains($0.name) } + OutsideCases.all + DepartureCases.all
  }

  /// The cases of `Tests/lab long` in an L1 with a 6.1 kernel: the other ones in which the host's kernel has a part.
  static var longOnOldHost: [Case] {
    let short = Set(onOldHost.map(\.name))
    let names = ["nvme-reset"]
    let some =
      all.filter { names.contains($0.name) } + GateCases.all + PeerCases.all + Torture.all + DeviceCases.all
      + LoadCases.all
    return some.filter { !short.contains($0.name) }
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
